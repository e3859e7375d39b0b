//! The loop of a sink: fetch → prepare → hand over → settle → store. The connector's task runs it.
//!
//! Fetching runs beside handing over, so that the broker works on the next batch while the plugin writes this one. The dispatcher
//! gives each batch to a lane; batches of one partition keep their order, those of different partitions overlap.

mod calls;
mod delivery;
mod dispatcher;
mod flusher;
mod lane;
mod refused;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use self::{dispatcher::Dispatcher, lane::Lane};
use super::{
    Attempts, Consumer, Failure, FailureKind, FlushReason, FlushRequest, Handout, Monitor,
    Position, Producer, SinkPlugin, Stages, policy::Policy,
};
use crate::config::spec;

/// Batches that may be settled and not yet stored; then handing over waits for the store.
const UNSTORED_BATCHES: usize = 16;

/// One `[[streams]]` entry of a sink.
pub struct Input {
    pub stages: Stages,
    /// How long a batch may wait with a plugin that buffers; zero: until nothing more is there.
    pub batch_timeout: Duration,
}

/// Everything that a sink's loop works with.
pub struct Sink<'a, P, D> {
    pub plugin: &'a P,
    pub inputs: &'a [Input],
    pub policy: Policy<'a, D>,
    /// Whether what failed is tried again.
    pub delivery: spec::Delivery,
    /// How many batches of one partition may be with the plugin before the first is settled; 0 counts as 1.
    pub max_unsettled: u32,
    /// Of how many partitions batches may be with the plugin at once; 0 counts as 1.
    pub max_in_flight: u32,
    /// Cancelled before the stop when the connector is only being paused.
    pub pausing: CancellationToken,
    /// Logs each batch at info instead of debug.
    pub verbose: bool,
    /// Writes an event with the times of each batch.
    pub benchmark: bool,
    pub monitor: &'a Monitor,
}

/// What the dispatcher and the lanes of one run share.
struct Run<'a, P, D> {
    sink: &'a Sink<'a, P, D>,
    stop: &'a CancellationToken,
    /// Cancelled by the stop, and when a lane has failed.
    halt: CancellationToken,
    settled: mpsc::Sender<Position>,
    /// How many batches each lane has.
    loads: Vec<AtomicUsize>,
    /// A lane has settled a batch.
    freed: Notify,
}

impl<P: SinkPlugin, D: Producer> Sink<'_, P, D> {
    /// Runs until `stop`, or until something fails.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Transient`]: the broker is out of reach. [`FailureKind::Invalid`]: messages cannot be delivered and the
    /// policy is to stop. Others: the plugin cannot go on. In every case what was not settled is delivered again, unless it is
    /// delivered at most once.
    pub async fn run<C: Consumer>(
        &self,
        consumer: C,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let (handed_out, handouts) = mpsc::channel(1);
        let (settled, positions) = mpsc::channel(UNSTORED_BATCHES);
        // What the plugin takes, and the next one ready.
        let most = self.max_unsettled.max(1) as usize + 1;
        // In this order: what the consumer has is with a lane before the lane asks whether something waits.
        let (read, fed) = tokio::join!(
            biased;
            consumer.run(handed_out, positions, most, stop.clone()),
            self.feed(handouts, settled, stop)
        );
        fed.and(read)
    }

    /// Hands over batch after batch. It takes both channels, so that the consumer ends when it does.
    async fn feed(
        &self,
        handouts: mpsc::Receiver<Handout>,
        settled: mpsc::Sender<Position>,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        // Calls that an earlier run has cancelled end before what they delivered is handed over again.
        self.plugin.drain().await?;
        let lanes = self.max_in_flight.max(1) as usize;
        let run = Run {
            sink: self,
            stop,
            halt: stop.child_token(),
            settled,
            loads: (0..lanes).map(|_| AtomicUsize::new(0)).collect(),
            freed: Notify::new(),
        };
        let (orders, taken): (Vec<_>, Vec<_>) =
            (0..lanes).map(|_| mpsc::unbounded_channel()).unzip();
        let lanes = taken
            .into_iter()
            .enumerate()
            .map(|(number, orders)| Lane::new(&run, number, orders).run());
        let ((), ended) = tokio::join!(
            biased;
            Dispatcher::new(&run, orders.into_iter()).run(handouts),
            join_all(lanes)
        );
        ended
            .into_iter()
            .try_for_each(|ended| ended.or_else(unless_stopped))?;
        self.flush(run.ending(), stop).await
    }

    /// Makes everything durable at the end of a run.
    async fn flush(&self, reason: FlushReason, stop: &CancellationToken) -> Result<(), Failure> {
        let request = FlushRequest {
            reason,
            partition: None,
        };
        let mut attempts = Attempts::new("flush", self.policy.retry(), self.monitor, stop);
        while let Err(failure) = self.plugin.flush(request.clone()).await {
            attempts.pause(failure).await?;
        }
        Ok(())
    }
}

impl<P, D> Run<'_, P, D> {
    fn max_unsettled(&self) -> usize {
        self.sink.max_unsettled.max(1) as usize
    }

    fn delivers_once(&self) -> bool {
        self.sink.delivery == spec::Delivery::AtMostOnce
    }

    fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether it ends because a lane has failed.
    fn is_failing(&self) -> bool {
        self.halt.is_cancelled() && !self.is_stopping()
    }

    /// What a sink is told when it is flushed at the end.
    fn ending(&self) -> FlushReason {
        if self.sink.pausing.is_cancelled() {
            FlushReason::Pause
        } else if self.is_stopping() {
            FlushReason::Stop
        } else {
            FlushReason::None
        }
    }

    fn load(&self, lane: usize) -> usize {
        self.loads[lane].load(Ordering::Relaxed)
    }

    fn loaded(&self, lane: usize) {
        self.loads[lane].fetch_add(1, Ordering::Relaxed);
    }

    fn unloaded(&self, lane: usize) {
        self.loads[lane].fetch_sub(1, Ordering::Relaxed);
        self.freed.notify_one();
    }
}

/// A lane that ended because the connector is being stopped, or because its consumer has failed, has not failed itself.
fn unless_stopped(failure: Failure) -> Result<(), Failure> {
    match failure.kind {
        FailureKind::Cancelled => Ok(()),
        _ => Err(failure),
    }
}

#[cfg(test)]
mod tests;
