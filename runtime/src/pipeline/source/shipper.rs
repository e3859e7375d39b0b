//! The third stage of a source: sends what is ready of each batch until Iggy has confirmed what it can take.

use std::time::Instant;

use bytes::Bytes;
use iggy_connector_message::TopicMetadata;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::{
    Confirmed, InFlight, Lost, Output, Settled, given_up, load::Load, preparer::Ready, save,
};
use crate::{
    config::spec::Delivery,
    pipeline::{
        Attempts, Failure, FailureKind, GivenUp, Monitor, Producer, Shipment, Stage, StateStore,
        Stopwatch, Unsent,
        policy::{EXHAUSTED, Policy, UNCONFIRMED},
    },
};

/// Sends batch after batch, and settles what cannot be sent.
pub(super) struct Shipper<'a, 'p, S, D> {
    pub(super) outputs: &'a [Output],
    pub(super) delivery: Delivery,
    pub(super) state: &'a S,
    pub(super) policy: &'a mut Policy<'p, D>,
    pub(super) monitor: &'a Monitor,
}

impl<S: StateStore, D: Producer> Shipper<'_, '_, S, D> {
    /// After a failure the batches that wait behind it are given up, too.
    pub(super) async fn run<C: Producer>(
        &mut self,
        mut ready: mpsc::Receiver<InFlight<Ready<C::Shipment>>>,
        sent: mpsc::Sender<InFlight<Settled>>,
        producer: &C,
        halt: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut ended = Ok(());
        while let Some(InFlight { batch, mut way }) = ready.recv().await {
            let (batch, delivered) = match &ended {
                Ok(()) => {
                    self.deliver(batch, &mut way.stopwatch, producer, halt)
                        .await
                }
                Err(_) => (Err(Lost(GivenUp::Stopped)), Ok(())),
            };
            if delivered.is_err() {
                ended = delivered;
                // No further batch is polled, or the ones behind this one would overtake it.
                halt.cancel();
            }
            if sent.send(InFlight { batch, way }).await.is_err() {
                break;
            }
        }
        ended
    }

    /// Sends one batch, and settles what cannot be sent of it. A batch that was tried once may be confirmed and end the run all the
    /// same.
    async fn deliver<T: Shipment, C: Producer<Shipment = T>>(
        &mut self,
        batch: Ready<T>,
        stopwatch: &mut Stopwatch,
        producer: &C,
        halt: &CancellationToken,
    ) -> (Settled, Result<(), Failure>) {
        let Ready {
            mut load,
            mut state,
            shipment,
        } = batch;
        let tried = match shipment {
            Ok(None) => Ok(false),
            Ok(Some(shipment)) => {
                let began = Instant::now();
                let tried = self
                    .send(shipment, &mut load, &mut state, producer, halt)
                    .await;
                stopwatch.add(Stage::IggySend, began.elapsed());
                tried
            }
            Err(failure) => Err(failure),
        };
        let failed = load.failed.len();
        let ended = match tried {
            Ok(_) => self.settle(&load, halt).await,
            Err(failure) => return (Err(Lost(given_up(&failure))), Err(failure)),
        };
        if let (Err(failure), Ok(false)) = (&ended, tried) {
            return (Err(Lost(given_up(failure))), ended);
        }
        if ended.is_err() {
            // It is not offered again, and so its failures count although they could not be settled as they should.
            error!(failed, "messages lost: they were tried once");
            self.monitor.counters.failed(failed);
        }
        if self.delivery == Delivery::AtMostOnce
            && let Some(state) = state.take()
            && let Err(failure) = self.save(state, halt).await
        {
            return (Err(Lost(given_up(&failure))), Err(failure));
        }
        let has_letters = ended.is_ok();
        let sum = load.sum(
            |code| match has_letters && self.policy.is_dead_lettered(code) {
                true => Unsent::DeadLettered,
                false => Unsent::Skipped,
            },
        );
        debug!(sent = sum.sent, "batch confirmed");
        (Ok(Confirmed { sum, state }), ended)
    }

    /// Where delivery is at most once every state is saved here, so that none comes after a later one: also of a batch of which there
    /// is nothing to send.
    async fn save(&self, state: Bytes, halt: &CancellationToken) -> Result<(), Failure> {
        save(self.state, state, self.policy.retry(), self.monitor, halt).await
    }

    async fn settle(&mut self, load: &Load, halt: &CancellationToken) -> Result<(), Failure> {
        let nowhere = TopicMetadata {
            stream: String::new(),
            topic: String::new(),
        };
        let failed = load.undeliverable(self.outputs, &nowhere);
        self.policy.settle(load.received, &failed, halt).await
    }

    /// Sends until nothing is left that may still be sent. Whether it was the only attempt that there may be.
    async fn send<C: Producer>(
        &self,
        mut shipment: C::Shipment,
        load: &mut Load,
        state: &mut Option<Bytes>,
        producer: &C,
        halt: &CancellationToken,
    ) -> Result<bool, Failure> {
        match self.delivery {
            Delivery::AtLeastOnce => {
                self.confirm(&mut shipment, load, producer, halt).await?;
                Ok(false)
            }
            Delivery::AtMostOnce => {
                if let Some(state) = state.take() {
                    self.save(state, halt).await?;
                }
                self.try_once(&mut shipment, load, producer, halt).await;
                Ok(true)
            }
        }
    }

    /// Sends until everything is confirmed, refused for good or given up by policy.
    async fn confirm<C: Producer>(
        &self,
        shipment: &mut C::Shipment,
        load: &mut Load,
        producer: &C,
        halt: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut attempts = Attempts::new("send", self.policy.retry(), self.monitor, halt);
        while let Err(failure) = attempts.make(producer.send(shipment)).await {
            let reason = failure.message.clone();
            match attempts.pause(failure).await {
                Ok(()) => {}
                Err(failure) if self.goes_on_after(&failure) => {
                    load.give_up(shipment.give_up(), EXHAUSTED, &reason, attempts.count());
                    break;
                }
                Err(failure) => return Err(failure),
            }
        }
        load.reject(shipment.take_rejected(), attempts.count());
        Ok(())
    }

    /// Whatever it fails for, what is not confirmed now is not sent again.
    async fn try_once<C: Producer>(
        &self,
        shipment: &mut C::Shipment,
        load: &mut Load,
        producer: &C,
        halt: &CancellationToken,
    ) {
        let attempts = Attempts::new("send", self.policy.retry(), self.monitor, halt);
        let sent = attempts.make(producer.send(shipment)).await;
        load.reject(shipment.take_rejected(), 1);
        if let Err(failure) = sent {
            load.give_up(shipment.give_up(), UNCONFIRMED, &failure.message, 1);
        }
    }

    fn goes_on_after(&self, failure: &Failure) -> bool {
        failure.kind == FailureKind::Exhausted && !self.policy.stops_on_exhausted()
    }
}
