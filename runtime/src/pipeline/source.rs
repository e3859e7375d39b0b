//! The loop of a source: poll → prepare → send → save → settle. The connector's task runs it.
//!
//! The state is saved only after Iggy has confirmed the batch, and the plugin hears of it only after the save: a crash in
//! between offers the batch again and never loses it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use iggy_connector_message::{Schema, TopicMetadata};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    Attempts, Failure, FailureKind, GivenUp, Monitor, Polled, Produced, Producer, Rejected,
    Settlement, SourcePlugin, Stages, StateStore, Unsent,
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

impl<P: SourcePlugin, S: StateStore, D: Producer> Source<'_, P, S, D> {
    /// Runs until `stop`, until the source ends by itself, or until something fails.
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
        let mut attempts = Attempts::new("poll", self.policy.retry(), self.monitor, stop);
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
        &mut self,
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

    /// Prepares, sends, settles what was refused, and saves; returns the positions that were not sent.
    async fn deliver<C: Producer>(
        &mut self,
        polled: Polled,
        producer: &C,
        unsettled: &mut usize,
        stop: &CancellationToken,
    ) -> Result<Vec<(u32, Unsent)>, Failure> {
        let received = polled.messages.len();
        let loaded = self.prepare(polled.schema, polled.messages);
        let sent = loaded.messages.len();
        // What a stage refuses stops the source before it sends the rest, which would come again.
        let is_sent = sent > 0 && (loaded.refused.is_empty() || !self.policy.stops_on_invalid());
        if is_sent {
            self.send(loaded.messages, producer, stop).await?;
        }
        let topic = self.outputs[0].topic.clone();
        let failed: Vec<_> = loaded
            .refused
            .iter()
            .map(|(rejected, original)| undeliverable(&topic, rejected, original))
            .collect();
        self.policy.settle(received, &failed, stop).await?;
        if let Some(state) = polled.state {
            self.save(state, stop).await?;
        }
        // Counted together at the end, so that a batch that is given up half-way leaves no trace in the counts.
        self.monitor.counters.sent(sent);
        self.monitor.counters.filtered(loaded.filtered);
        *unsettled -= sent + loaded.filtered + failed.len();
        debug!(poll = polled.poll, sent, "batch confirmed");
        Ok(loaded.undelivered)
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
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut attempts = Attempts::new("send", self.policy.retry(), self.monitor, stop);
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
        let mut attempts = Attempts::new("save", self.policy.retry(), self.monitor, stop);
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
        let mut attempts = Attempts::new("settle", self.policy.retry(), self.monitor, stop);
        while let Err(failure) = self.plugin.settle(poll, settlement.clone()).await {
            attempts.pause(failure).await?;
        }
        Ok(())
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
