//! The loop of a sink: fetch → prepare → hand over → settle → store. The connector's task runs it.
//!
//! Fetching runs beside handing over, so that the broker works on the next batch while the plugin writes this one.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    Attempts, Batch, Consumed, Consumer, Failed, Failure, FailureKind, Fetched, FlushReason,
    FlushRequest, Handout, Message, Monitor, Position, Produced, Producer, Rejected, SinkPlugin,
    Stages,
    dead_letter::{Place, Reason},
    policy::{EXHAUSTED, INVALID, Policy, Undeliverable},
};

/// Batches that may be settled and not yet stored; then handing over waits for the store.
const UNSTORED_BATCHES: usize = 16;

/// Everything that a sink's loop works with.
pub struct Sink<'a, P, D> {
    pub plugin: &'a P,
    /// By `[[streams]]` entry.
    pub stages: &'a [Stages],
    pub policy: Policy<'a, D>,
    /// Cancelled before the stop when the connector is only being paused.
    pub pausing: CancellationToken,
    /// Logs each batch at info instead of debug.
    pub verbose: bool,
    pub monitor: &'a Monitor,
}

/// A batch on its way to the plugin.
struct Delivery {
    /// Messages that are neither delivered, filtered nor failed yet.
    unsettled: usize,
    /// What the plugin or a stage has refused, by offset.
    refused: Vec<Refused>,
}

struct Refused {
    offset: u64,
    stage: &'static str,
    code: &'static str,
    error: String,
    attempts: u32,
}

impl<P: SinkPlugin, D: Producer> Sink<'_, P, D> {
    /// Runs until `stop`, or until something fails.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Transient`]: the broker is out of reach. [`FailureKind::Invalid`]: messages cannot be delivered and the
    /// policy is to stop. Others: the plugin cannot go on. In every case what was not settled is delivered again.
    pub async fn run<C: Consumer>(
        &mut self,
        consumer: C,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let (fetched, batches) = mpsc::channel(1);
        let (settled, positions) = mpsc::channel(UNSTORED_BATCHES);
        let (read, fed) = tokio::join!(
            consumer.run(fetched, positions, stop.clone()),
            self.feed(batches, settled, stop)
        );
        fed.and(read)
    }

    /// Hands over batch after batch. It takes both channels, so that the consumer ends when it does.
    async fn feed(
        &mut self,
        mut batches: mpsc::Receiver<Handout>,
        settled: mpsc::Sender<Position>,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        while let Some(fetched) = next(&mut batches, stop).await {
            let position = position(&fetched);
            match self.deliver(fetched, stop).await {
                Ok(()) => {}
                Err(failure) if failure.kind == FailureKind::Cancelled => break,
                Err(failure) => return Err(failure),
            }
            if settled.send(position).await.is_err() {
                // The consumer has failed and says why; this batch will be delivered again.
                break;
            }
        }
        self.flush(stop).await
    }

    /// Takes one batch to the plugin, until every message of it is settled.
    async fn deliver(&mut self, fetched: Fetched, stop: &CancellationToken) -> Result<(), Failure> {
        let started = Instant::now();
        let received = fetched.messages.len();
        self.monitor.counters.consumed(received);
        self.monitor.counters.expired(fetched.expired);
        let mut delivery = Delivery {
            unsettled: received,
            refused: Vec::new(),
        };
        let settled = self.settle(fetched, &mut delivery, stop).await;
        // Messages that were not settled come again, and count then.
        self.monitor.counters.unconsumed(delivery.unsettled);
        let elapsed = started.elapsed();
        if self.verbose {
            info!(
                received,
                unsettled = delivery.unsettled,
                ?elapsed,
                "batch consumed"
            );
        } else {
            debug!(
                received,
                unsettled = delivery.unsettled,
                ?elapsed,
                "batch consumed"
            );
        }
        settled
    }

    async fn settle(
        &mut self,
        fetched: Fetched,
        delivery: &mut Delivery,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let stages = &self.stages[fetched.input];
        let original = Arc::new(Batch {
            topic: fetched.topic,
            partition_id: fetched.partition_id,
            current_offset: fetched.current_offset,
            schema: stages.schema(),
            messages: fetched.messages,
        });
        let batch = match stages.passes_through() {
            true => original.clone(),
            false => Arc::new(self.prepare(stages, &original, delivery)),
        };
        // What a stage refuses stops the sink before it delivers the rest, which would come again.
        if delivery.refused.is_empty() || !self.policy.stops_on_invalid() {
            self.hand_over(batch, delivery, stop).await?;
        }
        let failed: Vec<Undeliverable<'_>> = delivery
            .refused
            .iter()
            .map(|refused| refused.of(&original))
            .collect::<Result<_, Failure>>()?;
        self.policy
            .settle(original.messages.len(), &failed, stop)
            .await?;
        delivery.unsettled -= failed.len();
        Ok(())
    }

    /// Decodes and transforms.
    fn prepare(&self, stages: &Stages, original: &Batch, delivery: &mut Delivery) -> Batch {
        let prepared = stages.consumed(&original.topic, &original.messages);
        for Rejected {
            index,
            stage,
            message,
        } in prepared.rejected
        {
            delivery.refused.push(Refused {
                offset: original.messages[index].offset,
                stage,
                code: INVALID,
                error: message,
                attempts: 1,
            });
        }
        self.monitor.counters.filtered(prepared.filtered);
        delivery.unsettled -= prepared.filtered;
        Batch {
            schema: prepared.schema,
            ..original.with(
                prepared
                    .messages
                    .into_iter()
                    .map(|(_, message)| message)
                    .collect(),
            )
        }
    }

    /// Hands over a batch. One that is refused as a whole is halved, left half first, until the bad messages are alone.
    async fn hand_over(
        &self,
        batch: Arc<Batch>,
        delivery: &mut Delivery,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut parts = VecDeque::from([batch]);
        while let Some(part) = parts.pop_front() {
            let Some((part, failure)) = self.attempt(part, delivery, stop).await? else {
                continue;
            };
            match &*part.messages {
                [message] => delivery.refuse(message, INVALID, failure.message, 1),
                messages => {
                    let (left, right) = messages.split_at(messages.len() / 2);
                    parts.push_front(Arc::new(part.with(right.to_vec())));
                    parts.push_front(Arc::new(part.with(left.to_vec())));
                }
            }
        }
        Ok(())
    }

    /// Hands over one part until each of its messages is delivered or refused; gives back a part that is refused as a whole.
    async fn attempt(
        &self,
        mut part: Arc<Batch>,
        delivery: &mut Delivery,
        stop: &CancellationToken,
    ) -> Result<Option<(Arc<Batch>, Failure)>, Failure> {
        let mut attempts = Attempts::new("consume", self.policy.retry(), self.monitor, stop);
        while !part.messages.is_empty() {
            let failure = match self.plugin.consume(part.clone()).await {
                Ok(consumed) => {
                    let delivered = part.messages.len() - consumed.failed.len();
                    self.monitor.counters.processed(delivered);
                    delivery.unsettled -= delivered;
                    let Some((again, failure)) = sort(&part, consumed, attempts.count(), delivery)?
                    else {
                        break;
                    };
                    part = Arc::new(part.with(again));
                    failure
                }
                Err(failure) if failure.kind == FailureKind::Invalid => {
                    return Ok(Some((part, failure)));
                }
                Err(failure) => failure,
            };
            let reason = failure.message.clone();
            match attempts.pause(failure).await {
                Ok(()) => {}
                Err(failure)
                    if failure.kind == FailureKind::Exhausted
                        && !self.policy.stops_on_exhausted() =>
                {
                    for message in &part.messages {
                        delivery.refuse(message, EXHAUSTED, reason.clone(), attempts.count());
                    }
                    break;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(None)
    }

    /// Makes everything durable at the end of a run.
    async fn flush(&self, stop: &CancellationToken) -> Result<(), Failure> {
        let request = FlushRequest {
            reason: match self.pausing.is_cancelled() {
                true => FlushReason::Pause,
                false => FlushReason::Stop,
            },
            partition: None,
        };
        let mut attempts = Attempts::new("flush", self.policy.retry(), self.monitor, stop);
        while let Err(failure) = self.plugin.flush(request.clone()).await {
            attempts.pause(failure).await?;
        }
        Ok(())
    }
}

impl Delivery {
    /// The plugin will never take this message.
    fn refuse(&mut self, message: &Message, code: &'static str, error: String, attempts: u32) {
        self.refused.push(Refused {
            offset: message.offset,
            stage: "deliver",
            code,
            error,
            attempts,
        });
    }
}

impl Refused {
    /// # Errors
    ///
    /// The message is not in the batch, which is a bug: nothing is settled without its original.
    fn of<'a>(&'a self, batch: &'a Batch) -> Result<Undeliverable<'a>, Failure> {
        let Some(original) = original(batch, self.offset) else {
            let message = format!("offset {} was refused and never fetched", self.offset);
            return Err(Failure::new(FailureKind::Contract, message));
        };
        Ok(Undeliverable {
            original,
            place: Place {
                topic: &batch.topic,
                partition_and_offset: Some((batch.partition_id, self.offset)),
            },
            reason: Reason {
                stage: self.stage,
                code: self.code,
                error: &self.error,
                attempts: self.attempts,
            },
        })
    }
}

/// A message as it was fetched. The broker's offsets need not be in order.
pub(super) fn original(batch: &Batch, offset: u64) -> Option<Produced> {
    let mut messages = batch.messages.iter();
    let message = messages.find(|message| message.offset == offset)?;
    Some(Produced {
        headers: message.headers.clone(),
        payload: message.payload.clone(),
        ..Produced::default()
    })
}

/// Notes what the plugin will never take, and returns what is worth trying again, with the reason.
fn sort(
    batch: &Batch,
    consumed: Consumed,
    attempts: u32,
    delivery: &mut Delivery,
) -> Result<Option<(Vec<Message>, Failure)>, Failure> {
    let mut again = Vec::new();
    let (mut reason, mut fatal) = (None, None);
    for Failed {
        index,
        kind,
        message,
    } in consumed.failed
    {
        let record = &batch.messages[index];
        match kind {
            FailureKind::Invalid => delivery.refuse(record, INVALID, message, attempts),
            FailureKind::Transient => {
                again.push(record.clone());
                reason.get_or_insert(message);
            }
            _ => {
                let message = format!("offset {}: {message}", record.offset);
                fatal.get_or_insert(Failure::new(kind, message));
            }
        }
    }
    if let Some(fatal) = fatal {
        return Err(fatal);
    }
    Ok(reason.map(|reason| {
        let failure = Failure {
            retry_after: consumed.retry_after,
            ..Failure::transient(reason)
        };
        (again, failure)
    }))
}

async fn next(batches: &mut mpsc::Receiver<Handout>, stop: &CancellationToken) -> Option<Fetched> {
    loop {
        let handout = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            handout = batches.recv() => handout,
        };
        match handout? {
            Handout::Batch(fetched) => return Some(fetched),
            // Every batch before it is settled already.
            Handout::Lost(_) => {}
        }
    }
}

fn position(fetched: &Fetched) -> Position {
    Position {
        topic: fetched.topic.clone(),
        partition_id: fetched.partition_id,
        offset: fetched.messages.last().map_or(0, |message| message.offset),
        epoch: fetched.epoch,
    }
}
