//! The middle stage of a source: prepares each batch and sends it until Iggy has confirmed what it can take.

use iggy_connector_message::TopicMetadata;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Confirmed, InFlight, Lost, Output, Settled, given_up, load::Load, routes::Routes};
use crate::pipeline::{
    Attempts, Failure, FailureKind, Monitor, Polled, Producer, Shipment, Unsent, policy::Policy,
};

/// The middle stage: prepares and sends, batch after batch.
pub(super) struct Shipper<'a, 'p, D> {
    pub(super) outputs: &'a [Output],
    pub(super) routes: Routes,
    pub(super) policy: &'a mut Policy<'p, D>,
    pub(super) monitor: &'a Monitor,
}

impl<D: Producer> Shipper<'_, '_, D> {
    /// After a failure the batches that wait behind it are given up, too.
    pub(super) async fn run<C: Producer>(
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

    /// Prepares and sends one batch, and settles what cannot be sent of it.
    async fn deliver<C: Producer>(
        &mut self,
        polled: Polled,
        producer: &C,
        halt: &CancellationToken,
    ) -> Result<Confirmed, Failure> {
        let received = polled.messages.len();
        let mut load = Load::new(self.outputs, &self.routes, polled.schema, polled.messages);
        if !load.messages.is_empty() && !self.stops_for(&load) {
            self.send(&mut load, producer, halt).await?;
        }
        let nowhere = TopicMetadata {
            stream: String::new(),
            topic: String::new(),
        };
        let failed = load.undeliverable(self.outputs, &nowhere);
        self.policy.settle(received, &failed, halt).await?;
        let sum = load.sum(|code| match self.policy.is_dead_lettered(code) {
            true => Unsent::DeadLettered,
            false => Unsent::Skipped,
        });
        debug!(poll = polled.poll, sent = sum.sent, "batch confirmed");
        Ok(Confirmed {
            sum,
            state: polled.state,
        })
    }

    /// Sends until everything is confirmed, refused for good or given up by policy.
    async fn send<C: Producer>(
        &self,
        load: &mut Load,
        producer: &C,
        halt: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut shipment = self.prepare(load, producer, halt).await?;
        load.reject(shipment.take_rejected(), 1);
        if self.stops_for(load) {
            return Ok(());
        }
        let mut attempts = Attempts::new("send", self.policy.retry(), self.monitor, halt);
        while let Err(failure) = producer.send(&mut shipment).await {
            let reason = failure.message.clone();
            match attempts.pause(failure).await {
                Ok(()) => {}
                Err(failure) if self.goes_on_after(&failure) => {
                    load.give_up(shipment.give_up(), &reason, attempts.count());
                    break;
                }
                Err(failure) => return Err(failure),
            }
        }
        load.reject(shipment.take_rejected(), attempts.count());
        Ok(())
    }

    async fn prepare<C: Producer>(
        &self,
        load: &mut Load,
        producer: &C,
        halt: &CancellationToken,
    ) -> Result<C::Shipment, Failure> {
        let retry = self.policy.retry().without_end();
        let mut attempts = Attempts::new("prepare", retry, self.monitor, halt);
        loop {
            match producer.prepare(&mut load.messages).await {
                Ok(shipment) => return Ok(shipment),
                Err(failure) => attempts.pause(failure).await?,
            }
        }
    }

    /// What is refused for good stops the source before it sends the rest, which would come again.
    fn stops_for(&self, load: &Load) -> bool {
        !load.failed.is_empty() && self.policy.stops_on_invalid()
    }

    fn goes_on_after(&self, failure: &Failure) -> bool {
        failure.kind == FailureKind::Exhausted && !self.policy.stops_on_exhausted()
    }
}
