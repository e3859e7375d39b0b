//! Batches whose result a source does not know yet, and how it is told: [`Unsettled`], [`Settled`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Error, Source};

use super::{Offset, SourceBatch, SourceBatchResult, SourceMessage};

/// The polled batches of a source that are not settled.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(Mutex<Batches>);

#[derive(Debug, Default)]
struct Batches {
    /// By the number of the poll.
    waiting: BTreeMap<u64, Arc<Batch>>,
    /// The last settlement that succeeded: it may be told again.
    last: Option<Settled>,
}

/// What is remembered of a polled batch.
#[derive(Debug)]
struct Batch {
    /// Of the messages that have one.
    offsets: Vec<Offset>,
    /// `on_batch_result` has succeeded: when a settlement is retried, only the rest is done again.
    is_told: AtomicBool,
}

/// What became of a polled batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The number of the poll.
    pub(crate) poll: u64,
    pub(crate) result: SourceBatchResult,
}

/// There is no batch of such a poll to settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotPolled;

impl Unsettled {
    pub(crate) fn add(&self, poll: u64, batch: &SourceBatch) {
        let batch = Arc::new(Batch::of(batch));
        self.lock().waiting.insert(poll, batch);
    }

    /// Tells `source`, and forgets the batch when that has succeeded. After an error, or when it is dropped half way, it can be
    /// called again and goes on with what has not succeeded. The last settlement that succeeded may be repeated.
    pub(crate) async fn settle(
        &self,
        source: &dyn Source,
        settled: Settled,
    ) -> Result<Result<(), Error>, NotPolled> {
        let Some(batch) = self.waiting(settled)? else {
            return Ok(Ok(()));
        };
        let told = batch.tell(source, settled.result).await;
        if told.is_ok() {
            let mut batches = self.lock();
            batches.waiting.remove(&settled.poll);
            batches.last = Some(settled);
        }
        Ok(told)
    }

    /// The batch that is to be settled; `None` when it has been.
    fn waiting(&self, settled: Settled) -> Result<Option<Arc<Batch>>, NotPolled> {
        let batches = self.lock();
        match batches.waiting.get(&settled.poll) {
            Some(batch) => Ok(Some(Arc::clone(batch))),
            None if batches.last == Some(settled) => Ok(None),
            None => Err(NotPolled),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn of(batch: &SourceBatch) -> Self {
        let offsets = batch.messages.iter().filter_map(SourceMessage::offset);
        Self {
            offsets: offsets.cloned().collect(),
            is_told: AtomicBool::new(false),
        }
    }

    async fn tell(&self, source: &dyn Source, result: SourceBatchResult) -> Result<(), Error> {
        if !self.is_told.load(Ordering::Acquire) {
            source.on_batch_result(result).await?;
            self.is_told.store(true, Ordering::Release);
        }
        if result == SourceBatchResult::Ack && !self.offsets.is_empty() {
            source.commit(&self.offsets).await?;
        }
        Ok(())
    }
}

impl Settled {
    /// What to tell a host that settles what was not polled.
    pub(crate) fn refusal(self) -> String {
        format!("poll {} has no batch to settle", self.poll)
    }
}
