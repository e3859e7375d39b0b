//! The last stage of a source: saves the state and tells the plugin what became of each batch.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{InFlight, Lost, Settled, Way, given_up, save};
use crate::{
    config::spec,
    pipeline::{
        Attempts, Failure, FailureKind, GivenUp, Monitor, Settlement, SourcePlugin, Stage,
        StateStore,
    },
};

/// Most batches whose states are covered by one save.
const MOST_PER_SAVE: usize = 64;

/// The last stage: saves the state and tells the plugin what became of each batch, in poll order.
pub(super) struct Settler<'a, P, S> {
    pub(super) plugin: &'a P,
    pub(super) state: &'a S,
    pub(super) retry: spec::Backoff,
    pub(super) verbose: bool,
    pub(super) benchmark: bool,
    pub(super) monitor: &'a Monitor,
}

impl<P: SourcePlugin, S: StateStore> Settler<'_, P, S> {
    /// What is saved is not offered again, and so its results are acks whatever else fails: each is told at least once.
    ///
    /// # Errors
    ///
    /// Something could not be saved, or the plugin has not taken a result: then it must not be polled any more.
    pub(super) async fn run(
        &self,
        mut batches: mpsc::Receiver<InFlight<Settled>>,
        halt: &CancellationToken,
    ) -> Result<(), Failure> {
        let (mut saved, mut told) = (Ok(()), Ok(()));
        let mut waiting = Vec::new();
        while batches.recv_many(&mut waiting, MOST_PER_SAVE).await > 0 {
            // One save covers all that are confirmed by now, up to the first that is given up.
            let confirmed = waiting
                .iter_mut()
                .map_while(|batch| batch.batch.as_mut().ok());
            let state = confirmed.filter_map(|batch| batch.state.take()).last();
            if let (Some(state), Ok(())) = (state, &saved) {
                let started = Instant::now();
                saved = save(self.state, state, self.retry, self.monitor, halt).await;
                // One save for all of them: each has waited for it.
                for batch in &mut waiting {
                    batch.way.stopwatch.add(Stage::StateSave, started.elapsed());
                }
            }
            for batch in waiting.drain(..) {
                let given_up = saved.as_ref().err().map(given_up);
                told = told.and(self.settle(batch, given_up, halt).await);
                if saved.is_err() || told.is_err() {
                    halt.cancel();
                }
            }
        }
        told.and(saved)
    }

    async fn settle(
        &self,
        in_flight: InFlight<Settled>,
        given_up: Option<GivenUp>,
        halt: &CancellationToken,
    ) -> Result<(), Failure> {
        let InFlight { batch, way } = in_flight;
        let Way {
            poll,
            received,
            permit: _permit,
            mut stopwatch,
        } = way;
        let counters = &self.monitor.counters;
        let settlement = match (batch, given_up) {
            (Ok(confirmed), None) => {
                counters.sent(confirmed.sum.sent);
                counters.filtered(confirmed.sum.filtered);
                Settlement::Ack {
                    undelivered: confirmed.sum.undelivered,
                }
            }
            (Ok(confirmed), Some(given_up)) => {
                // What failed is settled for good; the rest is offered again, and counted then.
                counters.unproduced(received - confirmed.sum.failed);
                Settlement::Nack(given_up)
            }
            (Err(Lost(given_up)), _) => {
                counters.unproduced(received);
                Settlement::Nack(given_up)
            }
        };
        self.tell(poll, settlement, halt).await?;
        let elapsed = stopwatch.finish(received, self.monitor, self.benchmark);
        if self.verbose {
            info!(received, ?elapsed, "batch produced");
        } else {
            debug!(received, ?elapsed, "batch produced");
        }
        Ok(())
    }

    /// Tells the plugin until it takes the result, or until the stop.
    async fn tell(
        &self,
        poll: u64,
        settlement: Settlement,
        halt: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut attempts = Attempts::new("settle", self.retry, self.monitor, halt);
        while let Err(failure) = self.plugin.settle(poll, settlement.clone()).await {
            let reason = failure.message.clone();
            let paused = attempts.pause(failure).await;
            paused.map_err(|ended| not_taken(ended, &reason))?;
        }
        Ok(())
    }
}

/// A plugin that goes on after a stop would wait for this result for ever: such an end is no good one.
fn not_taken(ended: Failure, reason: &str) -> Failure {
    match ended.kind {
        FailureKind::Cancelled => Failure::fatal(format!(
            "the source has not taken the result of a batch before the stop: {reason}"
        )),
        _ => ended,
    }
}
