//! The loop of a source: poll → prepare → send → save → settle. The connector's task runs it.
//!
//! The state is saved only after Iggy has confirmed the batch, and the plugin hears of it only after the save: a crash in
//! between offers the batch again and never loses it.
//!
//! `[retry] max_retries` bounds how often Iggy may refuse a batch's messages; `on_exhausted` says what becomes of those that it has not
//! taken then. Everything else is tried again without end: polls, a broker out of reach, a connection that breaks, a topic that is
//! missing, the save of the state, the plugin's own settling.
//!
//! Where delivery is at most once, the state is saved before the only attempt at sending.
//!
//! A source that holds messages which it has taken for good is drained after the stop: polled until it has no more, for [`DRAIN`].

mod load;
mod poller;
mod preparer;
mod routes;
mod settler;
mod shipper;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use iggy_connector_message::TopicMetadata;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::{
    load::Sum,
    poller::{More, Poller},
    preparer::Preparer,
    routes::Routes,
    settler::Settler,
    shipper::Shipper,
};
use super::{
    Attempts, Failure, FailureKind, GivenUp, Monitor, Producer, SourcePlugin, Stages, StateStore,
    Stopwatch, policy::Policy,
};
use crate::config::spec::{self, Delivery};

/// How long after a stop a source may be drained, with all the attempts that sending takes.
pub const DRAIN: Duration = Duration::from_secs(5);

/// One `[[streams]]` entry of a source.
pub struct Output {
    pub topic: Arc<TopicMetadata>,
    /// The name under which messages choose it, besides its stream and topic.
    pub route: Option<String>,
    pub stages: Stages,
}

/// Everything that a source's loop works with.
pub struct Source<'a, P, S, D> {
    pub plugin: &'a P,
    pub state: &'a S,
    /// At least one; the first takes the messages that name no route.
    pub outputs: &'a [Output],
    pub delivery: Delivery,
    /// The wait after an empty poll.
    pub poll_interval: Duration,
    pub policy: Policy<'a, D>,
    /// Logs each batch at info instead of debug.
    pub verbose: bool,
    /// Writes an event with the times of each batch.
    pub benchmark: bool,
    /// How many batches may be between their poll and their result; 0 counts as 1.
    pub max_in_flight: u32,
    /// Whether the plugin holds messages that are still to be had after the stop.
    pub drains: bool,
    pub monitor: &'a Monitor,
}

/// A batch between the stages.
struct InFlight<T> {
    batch: T,
    way: Way,
}

/// What goes along with a batch, whatever becomes of it. The permit is given back when the batch is settled.
struct Way {
    poll: u64,
    received: usize,
    permit: OwnedSemaphorePermit,
    stopwatch: Stopwatch,
}

/// A batch of which nothing is left to send.
struct Confirmed {
    sum: Sum,
    state: Option<Bytes>,
}

/// A batch that is given up, and why.
struct Lost(GivenUp);

type Settled = Result<Confirmed, Lost>;

impl<P: SourcePlugin, S: StateStore, D: Producer> Source<'_, P, S, D> {
    /// Runs until `stop`, until the source ends by itself, or until something fails.
    ///
    /// Polling, preparing, sending and settling run side by side, each in poll order; `max_in_flight` bounds how many batches are between
    /// the poll and the result. With one, the result of a batch comes before the next poll.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Invalid`]: a message can never be sent and the policy is to stop. [`FailureKind::Exhausted`]: Iggy has refused
    /// messages as often as is allowed and the policy is to stop. Others: the plugin cannot go on. What was not confirmed is
    /// offered again.
    pub async fn run<C: Producer>(
        &mut self,
        producer: &C,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let in_flight = self.max_in_flight.max(1) as usize;
        let (polled, to_prepare) = mpsc::channel(in_flight);
        // One batch waits for its turn, and one behind it is prepared.
        let (ready, to_send) = mpsc::channel(1);
        let (sent, to_settle) = mpsc::channel(in_flight);
        // Ends what is under way. What is drained is sent, saved and settled as at any other time, and so it comes later then.
        let halt = match self.drains {
            true => CancellationToken::new(),
            false => stop.child_token(),
        };
        let asking = halt.child_token();
        // Whatever is not about Iggy's answer to messages has no end.
        let retry = self.policy.retry().without_end();
        let poller = Poller {
            plugin: self.plugin,
            poll_interval: self.poll_interval,
            retry,
            permits: Arc::new(Semaphore::new(in_flight)),
            drains: self.drains,
            monitor: self.monitor,
        };
        let preparer = Preparer {
            outputs: self.outputs,
            routes: Routes::new(self.outputs),
            stops_on_invalid: self.policy.stops_on_invalid(),
            retry,
            monitor: self.monitor,
        };
        let mut shipper = Shipper {
            outputs: self.outputs,
            delivery: self.delivery,
            state: self.state,
            policy: &mut self.policy,
            monitor: self.monitor,
        };
        let settler = Settler {
            plugin: self.plugin,
            state: self.state,
            retry,
            verbose: self.verbose,
            benchmark: self.benchmark,
            monitor: self.monitor,
        };
        // When Iggy has confirmed a batch the next one goes out before anything else is done.
        let stages = async {
            tokio::join!(
                biased;
                shipper.run(to_send, sent, producer, &halt),
                settler.run(to_settle, &halt),
                preparer.run(to_prepare, ready, producer, &halt),
                poller.run(polled, &asking, &halt),
            )
        };
        let (delivered, settled, (), ended) = tokio::select! {
            biased;
            never = follow(stop, &asking, &halt) => match never {},
            ended = stages => ended,
        };
        let is_drained = delivered.is_ok() && settled.is_ok() && ended == Ok(More::No);
        if self.drains && stop.is_cancelled() && !is_drained {
            tell_undrained();
        }
        [delivered, settled, ended.map(drop)]
            .into_iter()
            .try_for_each(|ended| ended.or_else(unless_stopped))
    }
}

/// Says that [`DRAIN`] was too short.
pub fn tell_undrained() {
    warn!(
        within = ?DRAIN,
        "the source was not drained: what it still holds in memory is lost when it is closed"
    );
}

/// Ends the polls at the stop, and everything a while later.
async fn follow(
    stop: &CancellationToken,
    asking: &CancellationToken,
    halt: &CancellationToken,
) -> Infallible {
    stop.cancelled().await;
    asking.cancel();
    tokio::time::sleep(DRAIN).await;
    halt.cancel();
    std::future::pending().await
}

/// Makes a batch's state durable, however long it takes. After a stop it is waited for a moment more; the state is saved or not then.
async fn save<S: StateStore>(
    store: &S,
    state: Bytes,
    retry: spec::Backoff,
    monitor: &Monitor,
    halt: &CancellationToken,
) -> Result<(), Failure> {
    let mut attempts = Attempts::new("save", retry.without_end(), monitor, halt);
    loop {
        // A second write beside the first could end before it.
        let saving = store.save(state.clone());
        let saved = attempts.make_patiently(saving, "the state is not saved yet");
        match saved.await {
            Ok(()) => return Ok(()),
            Err(failure) => attempts.pause(failure).await?,
        }
    }
}

/// A call that ended because the connector is being stopped is no failure.
fn unless_stopped(failure: Failure) -> Result<(), Failure> {
    match failure.kind {
        FailureKind::Cancelled => Ok(()),
        _ => Err(failure),
    }
}

/// Why a batch is given up, by what has ended its delivery.
fn given_up(failure: &Failure) -> GivenUp {
    match failure.kind {
        FailureKind::Exhausted => GivenUp::Exhausted,
        _ => GivenUp::Stopped,
    }
}

#[cfg(test)]
mod tests;
