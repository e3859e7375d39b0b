//! Batches whose result a source does not know yet, and how it is told: [`Unsettled`], [`Settled`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Error, Source};

use super::{Offset, SourceBatch, SourceBatchResult};

/// The polled batches of a source that are not settled, by the number of the poll.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(Mutex<BTreeMap<u64, Arc<Batch>>>);

/// What is remembered of a polled batch.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Of the messages that have one, with their positions.
    offsets: Vec<(u32, Offset)>,
    /// `on_batch_result` has succeeded: when a settlement is retried, only the rest is done again.
    is_told: AtomicBool,
}

/// What became of a polled batch.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    /// The number of the poll.
    pub(crate) poll: u64,
    pub(crate) result: SourceBatchResult,
    /// Positions, in rising order, of messages that did not reach their stream.
    pub(crate) undelivered: Vec<u32>,
}

impl Unsettled {
    pub(crate) fn add(&self, poll: u64, batch: &SourceBatch) {
        let batch = Arc::new(Batch::of(batch));
        self.lock().insert(poll, batch);
    }

    pub(crate) fn get(&self, poll: u64) -> Option<Arc<Batch>> {
        self.lock().get(&poll).map(Arc::clone)
    }

    fn remove(&self, poll: u64) {
        self.lock().remove(&poll);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Batch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn of(batch: &SourceBatch) -> Self {
        let offsets = (0..)
            .zip(&batch.messages)
            .filter_map(|(position, message)| Some((position, message.offset()?.clone())))
            .collect();
        Self {
            offsets,
            is_told: AtomicBool::new(false),
        }
    }

    /// Tells `source`, and forgets the batch. After an error, or when it is dropped half way, it can be called again and goes
    /// on with what has not succeeded.
    pub(crate) async fn settle(
        &self,
        source: &dyn Source,
        unsettled: &Unsettled,
        settled: &Settled,
    ) -> Result<(), Error> {
        if !self.is_told.load(Ordering::Acquire) {
            source.on_batch_result(settled.result).await?;
            self.is_told.store(true, Ordering::Release);
        }
        if settled.result == SourceBatchResult::Ack {
            let delivered = self.delivered(&settled.undelivered);
            if !delivered.is_empty() {
                source.commit(&delivered).await?;
            }
        }
        unsettled.remove(settled.poll);
        Ok(())
    }

    fn delivered(&self, undelivered: &[u32]) -> Vec<Offset> {
        self.offsets
            .iter()
            .filter(|(position, _)| undelivered.binary_search(position).is_err())
            .map(|(_, offset)| offset.clone())
            .collect()
    }
}
