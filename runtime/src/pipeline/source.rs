//! The loop of a source: poll → prepare → send → save → settle. The connector's task runs it.
//!
//! The state is saved only after Iggy has confirmed the batch, and the plugin hears of it only after the save: a crash in
//! between offers the batch again and never loses it.

mod poller;
mod settler;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use iggy_connector_message::{Schema, TopicMetadata};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::{poller::Poller, settler::Settler};
use super::{
    Attempts, Failure, FailureKind, GivenUp, Monitor, Polled, Produced, Producer, Rejected,
    SourcePlugin, Stages, StateStore, Unsent,
    dead_letter::{Place, Reason},
    policy::{INVALID, Policy, Undeliverable},
};

/// One `[[streams]]` entry of a source.
pub struct Output {
    pub topic: Arc<TopicMetadata>,
    pub stages: Stages,
}

/// Everything that a source's loop works with.
pub struct Source<'a, P, S, D> {
    pub plugin: &'a P,
    pub state: &'a S,
    pub outputs: &'a [Output],
    /// The wait after an empty poll.
    pub poll_interval: Duration,
    pub policy: Policy<'a, D>,
    /// Logs each batch at info instead of debug.
    pub verbose: bool,
    /// How many batches may be between their poll and their result; 0 counts as 1.
    pub max_in_flight: u32,
    pub monitor: &'a Monitor,
}

/// A polled batch on its way: what is left to send, and what will not be.
struct Loaded {
    messages: Vec<(usize, Produced)>,
    filtered: usize,
    /// What a stage has refused, with the message as it was polled.
    refused: Vec<(Rejected, Produced)>,
    /// Positions that were filtered or refused, in rising order.
    undelivered: Vec<(u32, Unsent)>,
}

/// A batch between the stages. The permit is given back when the batch is settled.
struct InFlight<T> {
    poll: u64,
    received: usize,
    batch: T,
    permit: OwnedSemaphorePermit,
}

/// A batch of which nothing is left to send.
struct Confirmed {
    sent: usize,
    filtered: usize,
    failed: usize,
    undelivered: Vec<(u32, Unsent)>,
    state: Option<Bytes>,
}

/// A batch that is given up, and why.
struct Lost(GivenUp);

type Settled = Result<Confirmed, Lost>;

impl<P: SourcePlugin, S: StateStore, D: Producer> Source<'_, P, S, D> {
    /// Runs until `stop`, until the source ends by itself, or until something fails.
    ///
    /// Polling, sending and settling run side by side, each in poll order; `max_in_flight` bounds how many batches are between
    /// the poll and the result. With one, the result of a batch comes before the next poll.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Invalid`]: a message can never be sent and the policy is to stop. Others: the plugin cannot go on, or
    /// attempts have run out. What was not confirmed is offered again.
    pub async fn run<C: Producer>(
        &mut self,
        producer: &C,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let in_flight = self.max_in_flight.max(1) as usize;
        let (polled, to_send) = mpsc::channel(in_flight);
        let (sent, to_settle) = mpsc::channel(in_flight);
        let halt = stop.child_token();
        let poller = Poller {
            plugin: self.plugin,
            poll_interval: self.poll_interval,
            retry: self.policy.retry(),
            permits: Arc::new(Semaphore::new(in_flight)),
            monitor: self.monitor,
        };
        let settler = Settler {
            plugin: self.plugin,
            state: self.state,
            retry: self.policy.retry(),
            verbose: self.verbose,
            monitor: self.monitor,
        };
        let (ended, delivered, settled) = tokio::join!(
            poller.run(polled, &halt),
            self.send_all(to_send, sent, producer, &halt),
            settler.run(to_settle, &halt)
        );
        [delivered, settled, ended]
            .into_iter()
            .try_for_each(|ended| ended.or_else(unless_stopped))
    }

    /// Sends batch after batch. After a failure the batches that wait behind it are given up, too.
    async fn send_all<C: Producer>(
        &mut self,
        mut polled: mpsc::Receiver<InFlight<Polled>>,
        sent: mpsc::Sender<InFlight<Settled>>,
        producer: &C,
        halt: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut ended = Ok(());
        while let Some(InFlight {
            poll,
            received,
            batch,
            permit,
        }) = polled.recv().await
        {
            let delivered = match &ended {
                Ok(()) => self.deliver(batch, producer, halt).await,
                Err(_) => Err(Failure::new(
                    FailureKind::Cancelled,
                    "an earlier batch was given up",
                )),
            };
            let batch = delivered.map_err(|failure| {
                let lost = Lost(given_up(&failure));
                if ended.is_ok() {
                    ended = Err(failure);
                }
                // No further batch is polled, or the ones behind this one would overtake it.
                halt.cancel();
                lost
            });
            let in_flight = InFlight {
                poll,
                received,
                batch,
                permit,
            };
            if sent.send(in_flight).await.is_err() {
                break;
            }
        }
        ended
    }

    /// Prepares and sends one batch, and settles what was refused of it.
    async fn deliver<C: Producer>(
        &mut self,
        polled: Polled,
        producer: &C,
        halt: &CancellationToken,
    ) -> Result<Confirmed, Failure> {
        let received = polled.messages.len();
        let loaded = self.prepare(polled.schema, polled.messages);
        let sent = loaded.messages.len();
        // What a stage refuses stops the source before it sends the rest, which would come again.
        if sent > 0 && (loaded.refused.is_empty() || !self.policy.stops_on_invalid()) {
            self.send(loaded.messages, producer, halt).await?;
        }
        let topic = self.outputs[0].topic.clone();
        let failed: Vec<_> = loaded
            .refused
            .iter()
            .map(|(rejected, original)| undeliverable(&topic, rejected, original))
            .collect();
        self.policy.settle(received, &failed, halt).await?;
        debug!(poll = polled.poll, sent, "batch confirmed");
        Ok(Confirmed {
            sent,
            filtered: loaded.filtered,
            failed: failed.len(),
            undelivered: loaded.undelivered,
            state: polled.state,
        })
    }

    /// Decodes, transforms and encodes.
    fn prepare(&self, schema: Schema, messages: Vec<Produced>) -> Loaded {
        let total = messages.len();
        let Output { topic, stages } = &self.outputs[0];
        // The bytes are shared, and are kept for dead letters only where a stage may refuse them.
        let originals = match stages.leaves_untouched(schema) {
            true => Vec::new(),
            false => messages.clone(),
        };
        let prepared = stages.produced(topic, schema, messages.into_iter().enumerate().collect());
        let sent = prepared.messages.iter().map(|(index, _)| *index);
        let refused = prepared.rejected.iter().map(|rejected| rejected.index);
        let unsent_as = match self.policy.is_dead_lettered(INVALID) {
            true => Unsent::DeadLettered,
            false => Unsent::Skipped,
        };
        let undelivered = unsent(total, sent, refused, unsent_as);
        let with_original = |rejected: Rejected| {
            let original = originals[rejected.index].clone();
            (rejected, original)
        };
        Loaded {
            filtered: prepared.filtered,
            refused: prepared.rejected.into_iter().map(with_original).collect(),
            messages: prepared
                .messages
                .into_iter()
                .map(|(_, message)| (0, message))
                .collect(),
            undelivered,
        }
    }

    async fn send<C: Producer>(
        &self,
        mut messages: Vec<(usize, Produced)>,
        producer: &C,
        halt: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut attempts = Attempts::new("send", self.policy.retry(), self.monitor, halt);
        let mut shipment = loop {
            match producer.prepare(&mut messages).await {
                Ok(shipment) => break shipment,
                Err(failure) => attempts.pause(failure).await?,
            }
        };
        while let Err(failure) = producer.send(&mut shipment).await {
            attempts.pause(failure).await?;
        }
        Ok(())
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

fn undeliverable<'a>(
    topic: &'a TopicMetadata,
    rejected: &'a Rejected,
    original: &Produced,
) -> Undeliverable<'a> {
    Undeliverable {
        original: original.clone(),
        place: Place {
            topic,
            partition_and_offset: None,
        },
        reason: Reason {
            stage: rejected.stage,
            code: INVALID,
            error: &rejected.message,
            attempts: 1,
        },
    }
}

/// The positions below `total` that are not in `sent`, each with the reason. Both iterators rise.
fn unsent(
    total: usize,
    sent: impl Iterator<Item = usize>,
    refused: impl Iterator<Item = usize>,
    refused_as: Unsent,
) -> Vec<(u32, Unsent)> {
    let (mut sent, mut refused) = (sent.peekable(), refused.peekable());
    (0..total)
        .filter(|index| sent.next_if_eq(index).is_none())
        .map(|index| match refused.next_if_eq(&index) {
            Some(_) => (index as u32, refused_as),
            None => (index as u32, Unsent::Filtered),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_sent_is_listed_in_order_with_the_reason() {
        let none = std::iter::empty::<usize>;
        assert_eq!(
            unsent(5, [0, 2, 4].into_iter(), [3].into_iter(), Unsent::Skipped),
            [(1, Unsent::Filtered), (3, Unsent::Skipped)]
        );
        assert_eq!(unsent(3, 0..3, none(), Unsent::Skipped), []);
        assert_eq!(
            unsent(2, none(), 0..2, Unsent::Skipped),
            [(0, Unsent::Skipped), (1, Unsent::Skipped)]
        );
    }
}
