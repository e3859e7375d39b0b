//! The loop of a source: poll → prepare → send → save → settle. The connector's task runs it.
//!
//! The state is saved only after Iggy has confirmed the batch, and the plugin hears of it only after the save: a crash in
//! between offers the batch again and never loses it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use iggy_connector_message::TopicMetadata;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::{
    Attempts, Failure, FailureKind, GivenUp, Monitor, Polled, Produced, Producer, Rejected,
    Settlement, SourcePlugin, Stages, StateStore, Unsent,
};
use crate::config::spec::{self, OnInvalid};

/// One `[[streams]]` entry of a source.
pub struct Output {
    pub topic: Arc<TopicMetadata>,
    pub stages: Stages,
}

/// Everything that a source's loop works with.
pub struct Source<'a, P, S> {
    pub plugin: &'a P,
    pub state: &'a S,
    pub outputs: &'a [Output],
    /// The wait after an empty poll.
    pub poll_interval: Duration,
    pub retry: spec::Backoff,
    pub on_invalid: OnInvalid,
    /// Logs each batch at info instead of debug.
    pub verbose: bool,
    pub monitor: &'a Monitor,
}

/// A polled batch on its way: what is left to send, and what will not be.
struct Loaded {
    poll: u64,
    messages: Vec<(usize, Produced)>,
    state: Option<Bytes>,
    /// Positions that were filtered or rejected, in rising order.
    undelivered: Vec<(u32, Unsent)>,
}

impl<P: SourcePlugin, S: StateStore> Source<'_, P, S> {
    /// Runs until `stop`, until the source ends by itself, or until something fails.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Invalid`]: a message can never be sent and the policy is to stop. Others: the plugin cannot go on, or
    /// attempts have run out. What was not confirmed is offered again.
    pub async fn run<C: Producer>(
        &self,
        producer: &C,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut attempts = Attempts::new("poll", self.retry, self.monitor, stop);
        while !stop.is_cancelled() {
            let polled = match self.plugin.poll(stop).await {
                Ok(polled) => polled,
                Err(failure) => {
                    if let Err(failure) = attempts.pause(failure).await {
                        return unless_stopped(failure);
                    }
                    continue;
                }
            };
            attempts.done();
            let (empty, ended) = (polled.messages.is_empty(), polled.ended);
            if let Err(failure) = self.forward(polled, producer, stop).await {
                return unless_stopped(failure);
            }
            if ended {
                info!("the source has ended");
                return Ok(());
            }
            if empty {
                self.rest(stop).await;
            }
        }
        Ok(())
    }

    /// Takes one batch to Iggy, saves the state and tells the plugin.
    async fn forward<C: Producer>(
        &self,
        polled: Polled,
        producer: &C,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let (poll, received) = (polled.poll, polled.messages.len());
        self.monitor.counters.produced(received);
        let mut unsettled = received;
        let delivered = self.deliver(polled, producer, &mut unsettled, stop).await;
        let settlement = match &delivered {
            Ok(undelivered) => Settlement::Ack {
                undelivered: undelivered.clone(),
            },
            Err(failure) => Settlement::Nack(given_up(failure)),
        };
        if delivered.is_err() {
            // A message that was confirmed before the batch was given up is offered and counted again.
            self.monitor.counters.unproduced(unsettled);
        }
        let settled = self.settle(poll, settlement, stop).await;
        delivered?;
        settled?;
        if self.verbose {
            info!(received, "batch produced");
        } else {
            debug!(received, "batch produced");
        }
        Ok(())
    }

    /// Prepares, sends and saves; returns the positions that were not sent.
    async fn deliver<C: Producer>(
        &self,
        polled: Polled,
        producer: &C,
        unsettled: &mut usize,
        stop: &CancellationToken,
    ) -> Result<Vec<(u32, Unsent)>, Failure> {
        let loaded = self.prepare(polled, unsettled)?;
        let sent = loaded.messages.len();
        if sent > 0 {
            self.send(loaded.messages, producer, stop).await?;
            self.monitor.counters.sent(sent);
            *unsettled -= sent;
        }
        if let Some(state) = loaded.state {
            self.save(state, stop).await?;
        }
        debug!(poll = loaded.poll, sent, "batch confirmed");
        Ok(loaded.undelivered)
    }

    /// Decodes, transforms and encodes. What a stage cannot handle goes by the policy for invalid records.
    fn prepare(&self, polled: Polled, unsettled: &mut usize) -> Result<Loaded, Failure> {
        let total = polled.messages.len();
        let output = &self.outputs[0];
        let numbered = polled.messages.into_iter().enumerate().collect();
        let prepared = output
            .stages
            .produced(&output.topic, polled.schema, numbered);
        for Rejected {
            index,
            stage,
            message,
        } in &prepared.rejected
        {
            self.reject(*index, stage, message, unsettled)?;
        }
        self.monitor.counters.filtered(prepared.filtered);
        *unsettled -= prepared.filtered;
        let sent = prepared.messages.iter().map(|(index, _)| *index);
        let skipped = prepared.rejected.iter().map(|rejected| rejected.index);
        let undelivered = unsent(total, sent, skipped);
        Ok(Loaded {
            poll: polled.poll,
            messages: prepared
                .messages
                .into_iter()
                .map(|(_, message)| (0, message))
                .collect(),
            state: polled.state,
            undelivered,
        })
    }

    async fn send<C: Producer>(
        &self,
        mut messages: Vec<(usize, Produced)>,
        producer: &C,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut attempts = Attempts::new("send", self.retry, self.monitor, stop);
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

    async fn save(&self, state: Bytes, stop: &CancellationToken) -> Result<(), Failure> {
        let mut attempts = Attempts::new("save", self.retry, self.monitor, stop);
        while let Err(failure) = self.state.save(state.clone()).await {
            attempts.pause(failure).await?;
        }
        Ok(())
    }

    async fn settle(
        &self,
        poll: u64,
        settlement: Settlement,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut attempts = Attempts::new("settle", self.retry, self.monitor, stop);
        while let Err(failure) = self.plugin.settle(poll, settlement.clone()).await {
            attempts.pause(failure).await?;
        }
        Ok(())
    }

    fn reject(
        &self,
        index: usize,
        stage: &str,
        reason: &str,
        unsettled: &mut usize,
    ) -> Result<(), Failure> {
        self.monitor.counters.error();
        match self.on_invalid {
            OnInvalid::Stop => Err(Failure::new(
                FailureKind::Invalid,
                format!(
                    "message {index} of a polled batch cannot be sent ({stage}: {reason}); it will be offered again"
                ),
            )),
            OnInvalid::Skip => {
                error!(index, stage, reason, "message skipped");
                self.monitor.counters.failed(1);
                *unsettled -= 1;
                Ok(())
            }
        }
    }

    async fn rest(&self, stop: &CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(self.poll_interval) => {}
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

/// The positions below `total` that are not in `sent`, each with the reason. Both iterators rise.
fn unsent(
    total: usize,
    sent: impl Iterator<Item = usize>,
    skipped: impl Iterator<Item = usize>,
) -> Vec<(u32, Unsent)> {
    let (mut sent, mut skipped) = (sent.peekable(), skipped.peekable());
    (0..total)
        .filter(|index| sent.next_if_eq(index).is_none())
        .map(|index| match skipped.next_if_eq(&index) {
            Some(_) => (index as u32, Unsent::Skipped),
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
            unsent(5, [0, 2, 4].into_iter(), [3].into_iter()),
            [(1, Unsent::Filtered), (3, Unsent::Skipped)]
        );
        assert_eq!(unsent(3, 0..3, none()), []);
        assert_eq!(
            unsent(2, none(), 0..2),
            [(0, Unsent::Skipped), (1, Unsent::Skipped)]
        );
    }
}
