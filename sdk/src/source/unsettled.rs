//! Batches whose result a source does not know yet, and how it is told: [`Unsettled`], [`Settled`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Error, Source};

use super::{Offset, Receipt, SourceBatch, SourceBatchResult, SourceMessage, stream::Stream};

/// The polled batches of a source that are not settled.
#[derive(Debug, Default)]
pub(super) struct Unsettled(Mutex<Batches>);

#[derive(Debug, Default)]
struct Batches {
    /// By the number of the poll.
    waiting: BTreeMap<u64, Arc<Batch>>,
    /// The last settlement that succeeded, by poll and result: it may be told again.
    last: Option<(u64, SourceBatchResult)>,
}

/// What is remembered of a polled batch.
#[derive(Debug)]
pub(super) struct Batch {
    /// Of the messages that have one.
    offsets: Vec<Offset>,
    /// The result itself has been told: when a settlement is retried, only the rest is done again.
    is_told: AtomicBool,
}

/// What a settlement finds.
pub(super) enum Waiting {
    Batch(Arc<Batch>),
    /// It has succeeded before.
    Told,
}

/// What became of a polled batch.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    /// The number of the poll.
    pub(crate) poll: u64,
    pub(crate) result: SourceBatchResult,
    /// Of an ack: the positions that did not reach their stream, and why.
    pub(crate) undelivered: BTreeMap<u32, Receipt>,
}

impl Unsettled {
    pub(super) fn add(&self, poll: u64, batch: &SourceBatch) {
        let batch = Arc::new(Batch::of(batch));
        self.lock().waiting.insert(poll, batch);
    }

    /// The batch that is to be settled; `None` when there was none of such a poll.
    pub(super) fn find(&self, settled: &Settled) -> Option<Waiting> {
        let batches = self.lock();
        match batches.waiting.get(&settled.poll) {
            Some(batch) => Some(Waiting::Batch(Arc::clone(batch))),
            None if batches.last == Some((settled.poll, settled.result)) => Some(Waiting::Told),
            None => None,
        }
    }

    pub(super) fn remove(&self, settled: &Settled) {
        let mut batches = self.lock();
        batches.waiting.remove(&settled.poll);
        batches.last = Some((settled.poll, settled.result));
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

    /// Tells what has not been told before: the result to the source or to its stream, then the offsets.
    pub(super) async fn tell(
        &self,
        source: &dyn Source,
        stream: Option<&Stream>,
        settled: &Settled,
    ) -> Result<(), Error> {
        if !self.is_told.load(Ordering::Acquire) {
            match stream {
                Some(stream) => stream.settle(settled),
                None => source.on_batch_result(settled.result).await?,
            }
            self.is_told.store(true, Ordering::Release);
        }
        if settled.result == SourceBatchResult::Ack && !self.offsets.is_empty() {
            source.commit(&self.offsets).await?;
        }
        Ok(())
    }
}

impl Settled {
    /// What became of the message at `index` of an acknowledged batch.
    pub(super) fn receipt(&self, index: u32) -> Receipt {
        let undelivered = self.undelivered.get(&index);
        undelivered.copied().unwrap_or(Receipt::Delivered)
    }
}
