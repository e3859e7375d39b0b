//! The first stage of a source: asks the plugin for batches, as long as there are permits.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::InFlight;
use crate::{
    config::spec,
    pipeline::{Attempts, Failure, Monitor, Polled, SourcePlugin},
};

/// The first stage: asks the plugin for batches, as long as there are permits.
pub(super) struct Poller<'a, P> {
    pub(super) plugin: &'a P,
    pub(super) poll_interval: Duration,
    pub(super) retry: spec::Backoff,
    pub(super) permits: Arc<Semaphore>,
    pub(super) monitor: &'a Monitor,
}

impl<P: SourcePlugin> Poller<'_, P> {
    pub(super) async fn run(
        &self,
        polled: mpsc::Sender<InFlight<Polled>>,
        halt: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut attempts = Attempts::new("poll", self.retry, self.monitor, halt);
        while let Some(permit) = self.permit(halt).await {
            let batch = match self.plugin.poll(halt).await {
                Ok(batch) => batch,
                Err(failure) => {
                    attempts.pause(failure).await?;
                    continue;
                }
            };
            attempts.done();
            let (received, ended) = (batch.messages.len(), batch.ended);
            self.monitor.counters.produced(received);
            let in_flight = InFlight {
                poll: batch.poll,
                received,
                batch,
                permit,
            };
            // The sender reads until this side is closed, so nothing that was polled is left without a result.
            if polled.send(in_flight).await.is_err() {
                return Ok(());
            }
            if ended {
                info!("the source has ended");
                return Ok(());
            }
            if received == 0 {
                self.rest(halt).await;
            }
        }
        Ok(())
    }

    /// `None` when the connector is being stopped.
    async fn permit(&self, halt: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = halt.cancelled() => None,
            permit = self.permits.clone().acquire_owned() => permit.ok(),
        }
    }

    async fn rest(&self, halt: &CancellationToken) {
        tokio::select! {
            biased;
            () = halt.cancelled() => {}
            () = tokio::time::sleep(self.poll_interval) => {}
        }
    }
}
