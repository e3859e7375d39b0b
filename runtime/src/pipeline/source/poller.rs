//! The first stage of a source: asks the plugin for batches, as long as there are permits, and after the stop for what it still holds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{InFlight, Way};
use crate::{
    config::spec,
    pipeline::{Attempts, Failure, FailureKind, Monitor, Polled, SourcePlugin, Stage, Stopwatch},
};

/// The first stage: asks the plugin for batches, as long as there are permits.
pub(super) struct Poller<'a, P> {
    pub(super) plugin: &'a P,
    pub(super) poll_interval: Duration,
    pub(super) retry: spec::Backoff,
    pub(super) permits: Arc<Semaphore>,
    /// Whether the plugin is asked for what it holds after the stop.
    pub(super) drains: bool,
    pub(super) monitor: &'a Monitor,
}

/// Whether the source may hold more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Yes,
    No,
}

impl<P: SourcePlugin> Poller<'_, P> {
    /// Asks for batches until `asking` is over, and then for what is left until `halt`.
    pub(super) async fn run(
        &self,
        polled: mpsc::Sender<InFlight<Polled>>,
        asking: &CancellationToken,
        halt: &CancellationToken,
    ) -> Result<More, Failure> {
        match self.gather(&polled, asking).await {
            Ok(More::Yes) => {}
            Err(failure) if failure.kind == FailureKind::Cancelled => {}
            ended => return ended,
        }
        match self.drains {
            true => self.drain(&polled, halt).await,
            false => Ok(More::Yes),
        }
    }

    async fn gather(
        &self,
        polled: &mpsc::Sender<InFlight<Polled>>,
        asking: &CancellationToken,
    ) -> Result<More, Failure> {
        let mut attempts = Attempts::new("poll", self.retry, self.monitor, asking);
        while let Some(permit) = self.permit(asking).await {
            let asked = Instant::now();
            let batch = match self.plugin.poll(asking).await {
                Ok(batch) => batch,
                Err(failure) => {
                    attempts.pause(failure).await?;
                    continue;
                }
            };
            attempts.done();
            let was_empty = batch.messages.is_empty();
            if self.pass(batch, asked.elapsed(), permit, polled).await == More::No {
                return Ok(More::No);
            }
            if was_empty {
                self.rest(asking).await;
            }
        }
        Ok(More::Yes)
    }

    /// Asks for what the source holds, until it holds nothing.
    async fn drain(
        &self,
        polled: &mpsc::Sender<InFlight<Polled>>,
        halt: &CancellationToken,
    ) -> Result<More, Failure> {
        let mut attempts = Attempts::new("drain", self.retry, self.monitor, halt);
        while let Some(permit) = self.permit(halt).await {
            let asked = Instant::now();
            let batch = match self.plugin.drain(halt).await {
                Ok(batch) => batch,
                Err(failure) => {
                    attempts.pause(failure).await?;
                    continue;
                }
            };
            attempts.done();
            let is_last = batch.messages.is_empty() && batch.state.is_none();
            let more = self.pass(batch, asked.elapsed(), permit, polled).await;
            if is_last || more == More::No {
                return Ok(More::No);
            }
        }
        Ok(More::Yes)
    }

    /// Hands a batch on that the plugin took `polling` to give. Nothing follows when the source has ended, or when nobody takes it.
    async fn pass(
        &self,
        batch: Polled,
        polling: Duration,
        permit: OwnedSemaphorePermit,
        polled: &mpsc::Sender<InFlight<Polled>>,
    ) -> More {
        let (received, ended) = (batch.messages.len(), batch.ended);
        let mut stopwatch = Stopwatch::start(self.monitor);
        stopwatch.add(Stage::Ffi, polling);
        let bytes = batch.messages.iter().map(|message| message.payload.len());
        self.monitor.counters.produced(received);
        self.monitor.counters.bytes(bytes.sum());
        let way = Way {
            poll: batch.poll,
            received,
            permit,
            stopwatch,
        };
        // The sender reads until this side is closed, so nothing that was polled is left without a result.
        if polled.send(InFlight { batch, way }).await.is_err() {
            return More::No;
        }
        if ended {
            info!("the source has ended");
            return More::No;
        }
        More::Yes
    }

    /// `None` when it is over.
    async fn permit(&self, over: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = over.cancelled() => None,
            permit = self.permits.clone().acquire_owned() => permit.ok(),
        }
    }

    async fn rest(&self, over: &CancellationToken) {
        tokio::select! {
            biased;
            () = over.cancelled() => {}
            () = tokio::time::sleep(self.poll_interval) => {}
        }
    }
}
