//! One batch of a sink on its way to the plugin: what is left to hand over, what was refused, and what an outcome means for it. A
//! lane drives it.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    calls::Outcome,
    refused::{Refused, code, unless_fatal},
};
use crate::pipeline::{
    Attempts, Batch, Consumed, Failed, Failure, FailureKind, Fetched, Message, Monitor, Position,
    Producer, Rejected, Stage, Stages, Stopwatch,
    policy::{EXHAUSTED, INVALID, Policy, Undeliverable},
};

/// A batch between its arrival and its settlement. What is not settled when it is dropped comes again, and counts then.
pub(super) struct Delivery<'a> {
    original: Arc<Batch>,
    /// What is left to hand over, one part after another.
    parts: VecDeque<Arc<Batch>>,
    /// Messages that are neither delivered, filtered nor failed yet.
    unsettled: usize,
    /// What the plugin or a stage has refused, by offset.
    refused: Vec<Refused>,
    /// At the first part.
    attempts: Attempts<'a>,
    position: Position,
    stopwatch: Stopwatch,
    handed_over: Option<Instant>,
    is_recovering: bool,
    monitor: &'a Monitor,
}

/// What is to be done with a batch after an attempt.
pub(super) enum Next {
    /// Nothing is left to hand over.
    Settle,
    /// The first part is to be handed over.
    HandOver,
    /// The same after a pause, if the failure is worth it.
    Retry(Failure),
}

impl<'a> Delivery<'a> {
    /// Decodes and transforms what was fetched.
    pub(super) fn new(
        fetched: Fetched,
        stages: &Stages,
        attempts: Attempts<'a>,
        monitor: &'a Monitor,
    ) -> Self {
        let stopwatch = Stopwatch::start(monitor);
        let position = position(&fetched);
        let unsettled = fetched.messages.len();
        let bytes = fetched.messages.iter().map(|message| message.payload.len());
        monitor.counters.consumed(unsettled);
        monitor.counters.bytes(bytes.sum());
        monitor.counters.expired(fetched.expired);
        let original = Arc::new(Batch {
            topic: fetched.topic,
            partition_id: fetched.partition_id,
            current_offset: fetched.current_offset,
            schema: stages.schema(),
            messages: fetched.messages,
        });
        let mut delivery = Self {
            original: original.clone(),
            parts: VecDeque::new(),
            unsettled,
            refused: Vec::new(),
            attempts,
            position,
            stopwatch,
            handed_over: None,
            is_recovering: false,
            monitor,
        };
        let batch = match stages.passes_through() {
            true => original,
            false => Arc::new(delivery.prepare(stages)),
        };
        if !batch.messages.is_empty() {
            delivery.parts.push_back(batch);
        }
        delivery
    }

    fn prepare(&mut self, stages: &Stages) -> Batch {
        let original = &self.original;
        let started = Instant::now();
        let prepared = stages.consumed(&original.topic, &original.messages);
        let decoding = prepared.decoding;
        self.stopwatch.add(Stage::Decode, decoding);
        self.stopwatch
            .add(Stage::Prepare, started.elapsed().saturating_sub(decoding));
        for Rejected {
            index,
            stage,
            message,
        } in prepared.rejected
        {
            self.refused.push(Refused {
                offset: original.messages[index].offset,
                stage,
                code: INVALID,
                error: message,
                attempts: 1,
            });
        }
        self.monitor.counters.filtered(prepared.filtered);
        self.unsettled -= prepared.filtered;
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

    /// What is to be handed over next.
    pub(super) fn part(&self) -> Option<&Arc<Batch>> {
        self.parts.front()
    }

    /// Its next part is with the plugin from now on.
    pub(super) fn handed_over(&mut self) {
        self.handed_over = Some(Instant::now());
    }

    fn returned(&mut self) {
        if let Some(handed_over) = self.handed_over.take() {
            self.stopwatch.add(Stage::Ffi, handed_over.elapsed());
        }
    }

    /// Whether something was refused, by a stage or by the plugin.
    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Hands nothing over: the batch is going to stop the sink, and what it would deliver would come again.
    pub(super) fn withhold(&mut self) {
        self.parts.clear();
    }

    /// Whether an attempt at it has failed: nothing may overtake it.
    pub(super) fn is_recovering(&self) -> bool {
        self.is_recovering
    }

    /// Applies the outcome of the first part. One that is refused as a whole is halved, left half first, until the bad messages are
    /// alone.
    ///
    /// # Errors
    ///
    /// A record is fatal.
    pub(super) fn apply(&mut self, outcome: Outcome) -> Result<Next, Failure> {
        self.returned();
        self.is_recovering = true;
        let Some(part) = self.parts.pop_front() else {
            return Ok(Next::Settle);
        };
        match outcome {
            Ok(consumed) => {
                self.delivered(&part, &consumed);
                let Some((again, failure)) = self.sort(&part, consumed)? else {
                    return Ok(self.next());
                };
                self.parts.push_front(Arc::new(part.with(again)));
                Ok(Next::Retry(failure))
            }
            Err(failure) if failure.kind == FailureKind::Invalid => {
                self.halve(&part, failure);
                Ok(self.next())
            }
            Err(failure) => {
                self.parts.push_front(part);
                Ok(Next::Retry(failure))
            }
        }
    }

    /// Applies the outcome of the only attempt there is: what failed is refused.
    ///
    /// # Errors
    ///
    /// The connector cannot go on. The batch is to be settled all the same.
    pub(super) fn apply_once(&mut self, outcome: Outcome) -> Result<(), Failure> {
        self.returned();
        let Some(part) = self.parts.pop_front() else {
            return Ok(());
        };
        match outcome {
            Ok(consumed) => {
                self.delivered(&part, &consumed);
                let mut ended = Ok(());
                for failed in consumed.failed {
                    let message = &part.messages[failed.index];
                    let failure = Failure::new(failed.kind, failed.message);
                    self.refuse(message, code(failure.kind), failure.message.clone(), 1);
                    ended = ended.and(unless_fatal(failure));
                }
                ended
            }
            Err(failure) => {
                for message in &part.messages {
                    self.refuse(message, code(failure.kind), failure.message.clone(), 1);
                }
                unless_fatal(failure)
            }
        }
    }

    /// Waits until the first part may be tried again. When it was tried often enough it is given up, where the policy says so.
    ///
    /// # Errors
    ///
    /// As of [`Attempts::pause`].
    pub(super) async fn pause<D: Producer>(
        &mut self,
        failure: Failure,
        policy: &Policy<'_, D>,
    ) -> Result<Next, Failure> {
        let reason = failure.message.clone();
        match self.attempts.pause(failure).await {
            Ok(()) => Ok(Next::HandOver),
            Err(failure)
                if failure.kind == FailureKind::Exhausted && !policy.stops_on_exhausted() =>
            {
                let attempts = self.attempts.count();
                for message in self
                    .parts
                    .pop_front()
                    .iter()
                    .flat_map(|part| &part.messages)
                {
                    self.refuse(message, EXHAUSTED, reason.clone(), attempts);
                }
                Ok(self.next())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Settles what was refused, after everything else has been delivered.
    ///
    /// # Errors
    ///
    /// As of [`Policy::settle`].
    pub(super) async fn settle<D: Producer>(
        &mut self,
        policy: &Policy<'_, D>,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let failed = self.undeliverable()?;
        policy
            .settle(self.original.messages.len(), &failed, stop)
            .await?;
        self.unsettled -= failed.len();
        Ok(())
    }

    /// The same for a batch that does not come again.
    ///
    /// # Errors
    ///
    /// As of [`Policy::settle_once`].
    pub(super) async fn settle_once<D: Producer>(
        &mut self,
        policy: &Policy<'_, D>,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let failed = self.undeliverable()?;
        let settled = policy
            .settle_once(self.original.messages.len(), &failed, stop)
            .await;
        self.unsettled -= failed.len();
        settled
    }

    pub(super) fn position(&self) -> Position {
        self.position.clone()
    }

    pub(super) fn received(&self) -> usize {
        self.original.messages.len()
    }

    /// It is settled, and the consumer knows. Returns how long that took.
    pub(super) fn finish(&mut self, is_benchmark: bool) -> Duration {
        self.stopwatch
            .finish(self.received(), self.monitor, is_benchmark)
    }

    /// The first part has gone well, or was refused.
    fn next(&mut self) -> Next {
        self.attempts.done();
        match self.parts.is_empty() {
            true => Next::Settle,
            false => Next::HandOver,
        }
    }

    fn delivered(&mut self, part: &Batch, consumed: &Consumed) {
        let delivered = part.messages.len() - consumed.failed.len();
        self.monitor.counters.processed(delivered);
        self.unsettled -= delivered;
    }

    fn halve(&mut self, part: &Batch, failure: Failure) {
        match &*part.messages {
            [message] => {
                let attempts = self.attempts.count();
                self.refuse(message, INVALID, failure.message, attempts);
            }
            messages => {
                let (left, right) = messages.split_at(messages.len() / 2);
                self.parts.push_front(Arc::new(part.with(right.to_vec())));
                self.parts.push_front(Arc::new(part.with(left.to_vec())));
            }
        }
    }

    /// Notes what the plugin will never take, and returns what is worth trying again, with the reason.
    fn sort(
        &mut self,
        part: &Batch,
        consumed: Consumed,
    ) -> Result<Option<(Vec<Message>, Failure)>, Failure> {
        let attempts = self.attempts.count();
        let mut again = Vec::new();
        let (mut reason, mut fatal) = (None, None);
        for Failed {
            index,
            kind,
            message,
        } in consumed.failed
        {
            let record = &part.messages[index];
            match kind {
                FailureKind::Invalid => self.refuse(record, INVALID, message, attempts),
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

    fn undeliverable(&self) -> Result<Vec<Undeliverable<'_>>, Failure> {
        let refused = self.refused.iter();
        refused.map(|refused| refused.of(&self.original)).collect()
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        self.monitor.counters.unconsumed(self.unsettled);
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
