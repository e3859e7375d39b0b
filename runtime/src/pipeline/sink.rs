//! The loop of a sink: fetch → prepare → hand over → settle → store. The connector's task runs it.
//!
//! Fetching runs beside handing over, so that the broker works on the next batch while the plugin writes this one.

use std::{sync::Arc, time::Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::{
    Attempts, Batch, Consumed, Consumer, Failed, Failure, FailureKind, Fetched, Message, Monitor,
    Position, Rejected, SinkPlugin, Stages,
};
use crate::config::spec::{self, OnInvalid};

/// Batches that may be settled and not yet stored; then handing over waits for the store.
const UNSTORED_BATCHES: usize = 16;

/// Everything that a sink's loop works with.
pub struct Sink<'a, P> {
    pub plugin: &'a P,
    /// By `[[streams]]` entry.
    pub stages: &'a [Stages],
    pub retry: spec::Backoff,
    pub on_invalid: OnInvalid,
    /// Logs each batch at info instead of debug.
    pub verbose: bool,
    pub monitor: &'a Monitor,
}

impl<P: SinkPlugin> Sink<'_, P> {
    /// Runs until `stop`, or until something fails.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Transient`]: the broker is out of reach. [`FailureKind::Invalid`]: a record can never succeed and the
    /// policy is to stop. Others: the plugin cannot go on. In every case what was not settled is delivered again.
    pub async fn run<C: Consumer>(
        &self,
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
        &self,
        mut batches: mpsc::Receiver<Fetched>,
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

    /// Takes one batch to the plugin, again and again until every record of it is settled.
    async fn deliver(&self, fetched: Fetched, stop: &CancellationToken) -> Result<(), Failure> {
        let started = Instant::now();
        let received = fetched.messages.len();
        self.monitor.counters.consumed(received);
        let mut unsettled = received;
        let delivered = self.settle(fetched, &mut unsettled, stop).await;
        // Records that were not settled come again, and count then.
        self.monitor.counters.unconsumed(unsettled);
        if self.verbose {
            info!(received, unsettled, elapsed = ?started.elapsed(), "batch consumed");
        } else {
            debug!(received, unsettled, elapsed = ?started.elapsed(), "batch consumed");
        }
        delivered
    }

    async fn settle(
        &self,
        fetched: Fetched,
        unsettled: &mut usize,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut batch = Arc::new(self.prepare(fetched, unsettled)?);
        let mut attempts = Attempts::new("consume", self.retry, self.monitor, stop);
        while !batch.messages.is_empty() {
            match self.plugin.consume(batch.clone()).await {
                Ok(consumed) => {
                    let delivered = batch.messages.len() - consumed.failed.len();
                    self.monitor.counters.processed(delivered);
                    *unsettled -= delivered;
                    let Some((again, failure)) = self.sort(&batch, consumed, unsettled)? else {
                        break;
                    };
                    batch = Arc::new(again);
                    attempts.pause(failure).await?;
                }
                Err(failure) => attempts.pause(failure).await?,
            }
        }
        Ok(())
    }

    /// Decodes and transforms. What a stage cannot handle goes by the policy for invalid records.
    fn prepare(&self, fetched: Fetched, unsettled: &mut usize) -> Result<Batch, Failure> {
        let stages = &self.stages[fetched.input];
        let (topic, partition_id, current_offset) =
            (fetched.topic, fetched.partition_id, fetched.current_offset);
        let (messages, schema) = if stages.passes_through() {
            (fetched.messages, stages.schema())
        } else {
            let prepared = stages.consumed(&topic, &fetched.messages);
            for Rejected {
                index,
                stage,
                message,
            } in &prepared.rejected
            {
                self.reject(fetched.messages[*index].offset, stage, message, unsettled)?;
            }
            self.monitor.counters.filtered(prepared.filtered);
            *unsettled -= prepared.filtered;
            let messages = prepared
                .messages
                .into_iter()
                .map(|(_, message)| message)
                .collect();
            (messages, prepared.schema)
        };
        Ok(Batch {
            topic,
            partition_id,
            current_offset,
            schema,
            messages,
        })
    }

    /// Settles the failed records that can never succeed, and returns those to try again with the reason, if any. A record that says
    /// that the sink cannot go on is an error after the others are settled.
    fn sort(
        &self,
        batch: &Batch,
        consumed: Consumed,
        unsettled: &mut usize,
    ) -> Result<Option<(Batch, Failure)>, Failure> {
        let mut again: Vec<Message> = Vec::new();
        let (mut transient, mut fatal) = (None, None);
        for Failed {
            index,
            kind,
            message,
        } in consumed.failed
        {
            let record = &batch.messages[index];
            match kind {
                FailureKind::Invalid => {
                    self.reject(record.offset, "deliver", &message, unsettled)?
                }
                FailureKind::Transient => {
                    again.push(record.clone());
                    transient = Some(message);
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
        Ok(transient.map(|reason| {
            let batch = Batch {
                topic: batch.topic.clone(),
                messages: again,
                ..*batch
            };
            let failure = Failure {
                retry_after: consumed.retry_after,
                ..Failure::transient(reason)
            };
            (batch, failure)
        }))
    }

    fn reject(
        &self,
        offset: u64,
        stage: &str,
        reason: &str,
        unsettled: &mut usize,
    ) -> Result<(), Failure> {
        self.monitor.counters.error();
        match self.on_invalid {
            OnInvalid::Stop => Err(Failure::new(
                FailureKind::Invalid,
                format!(
                    "the message at offset {offset} cannot be delivered ({stage}: {reason}); the position is kept"
                ),
            )),
            OnInvalid::Skip => {
                error!(offset, stage, reason, "message skipped");
                self.monitor.counters.failed(1);
                *unsettled -= 1;
                Ok(())
            }
        }
    }

    async fn flush(&self, stop: &CancellationToken) -> Result<(), Failure> {
        let mut attempts = Attempts::new("flush", self.retry, self.monitor, stop);
        while let Err(failure) = self.plugin.flush().await {
            attempts.pause(failure).await?;
        }
        Ok(())
    }
}

async fn next(batches: &mut mpsc::Receiver<Fetched>, stop: &CancellationToken) -> Option<Fetched> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        fetched = batches.recv() => fetched,
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
