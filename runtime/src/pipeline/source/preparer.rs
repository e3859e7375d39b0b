//! The second stage of a source: routes, decodes, transforms and encodes each batch and fixes its requests, while the batch before it
//! is being sent.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{InFlight, Output, load::Load, routes::Routes};
use crate::{
    config::spec,
    pipeline::{Attempts, Failure, Monitor, Polled, Producer, Shipment as _, Stage},
};

/// Prepares batch after batch. It ends nothing by itself: what a batch failed for goes on with it, and so takes its turn.
pub(super) struct Preparer<'a> {
    pub(super) outputs: &'a [Output],
    pub(super) routes: Routes,
    /// One message that can never be sent is enough to stop.
    pub(super) stops_on_invalid: bool,
    pub(super) retry: spec::Backoff,
    pub(super) monitor: &'a Monitor,
}

/// A batch that may be sent when its turn comes.
pub(super) struct Ready<T> {
    pub(super) load: Load,
    pub(super) state: Option<Bytes>,
    /// What there is to send of it, or why nothing can be.
    pub(super) shipment: Result<Option<T>, Failure>,
}

impl Preparer<'_> {
    pub(super) async fn run<C: Producer>(
        &self,
        mut polled: mpsc::Receiver<InFlight<Polled>>,
        ready: mpsc::Sender<InFlight<Ready<C::Shipment>>>,
        producer: &C,
        halt: &CancellationToken,
    ) {
        while let Some(InFlight { batch, mut way }) = polled.recv().await {
            // The client sends in a task of its own, which comes up only when this one rests.
            tokio::task::yield_now().await;
            let began = Instant::now();
            let batch = self.prepare(batch, producer, halt).await;
            let decoding = batch.load.decoding;
            let preparing = began.elapsed().saturating_sub(decoding);
            way.stopwatch.add(Stage::Decode, decoding);
            way.stopwatch.add(Stage::Prepare, preparing);
            if ready.send(InFlight { batch, way }).await.is_err() {
                break;
            }
        }
    }

    async fn prepare<C: Producer>(
        &self,
        polled: Polled,
        producer: &C,
        halt: &CancellationToken,
    ) -> Ready<C::Shipment> {
        let mut load = Load::new(self.outputs, &self.routes, polled.schema, polled.messages);
        let shipment = match load.messages.is_empty() || self.stops_for(&load) {
            true => Ok(None),
            false => self.fix(&mut load, producer, halt).await.map(Some),
        };
        Ready {
            shipment: shipment.map(|shipment| shipment.filter(|_| !self.stops_for(&load))),
            load,
            state: polled.state,
        }
    }

    /// Fixes ids, partitions and requests.
    async fn fix<C: Producer>(
        &self,
        load: &mut Load,
        producer: &C,
        halt: &CancellationToken,
    ) -> Result<C::Shipment, Failure> {
        let mut attempts = Attempts::new("prepare", self.retry, self.monitor, halt);
        loop {
            match attempts.make(producer.prepare(&mut load.messages)).await {
                Ok(mut shipment) => {
                    load.reject(shipment.take_rejected(), 1);
                    return Ok(shipment);
                }
                Err(failure) => attempts.pause(failure).await?,
            }
        }
    }

    /// What is refused for good stops the source before it sends the rest, which would come again.
    fn stops_for(&self, load: &Load) -> bool {
        self.stops_on_invalid && !load.failed.is_empty()
    }
}
