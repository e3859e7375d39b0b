//! Runs an author's source as the host asks, whether it is polled or streams: [`Driver`]. The guest's side of the fence and the tests'
//! native runner call it.

use std::{sync::Arc, time::Duration};

use iggy_connector_abi::Status;

use super::{
    Output, Settled, SourceBatch,
    stream::{Fault, Stream},
    unsettled::{Unsettled, Waiting},
};
use crate::{Error, Source, export::Ended};

/// Messages of a poll that does not say how many it wants.
const USUAL_BATCH: usize = 1000;
/// Batches in flight of a streaming source that does not say how many.
const USUAL_IN_FLIGHT: u32 = 4;

/// An open source and the batches whose result it does not know yet.
pub(crate) struct Driver {
    source: Arc<dyn Source>,
    stream: Option<Stream>,
    unsettled: Unsettled,
}

/// What the host would like of a poll.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    /// Most messages; 0 for as many as the source likes.
    pub(crate) max_messages: u32,
    /// Longest wait for the first message.
    pub(crate) max_wait: Option<Duration>,
    /// How long a streaming source's first message waits for others.
    pub(crate) linger: Option<Duration>,
    /// A streaming source takes nothing more, and returns what it holds.
    pub(crate) draining: bool,
}

impl Wishes {
    /// Most messages of a streaming source's batch.
    pub(crate) fn most(&self) -> usize {
        match self.max_messages {
            0 => USUAL_BATCH,
            most => most as usize,
        }
    }
}

impl Driver {
    /// Opens the source, and begins its `start` if it has one.
    pub(crate) async fn open(mut source: impl Source + 'static) -> Result<Self, Error> {
        source.open().await?;
        let source: Arc<dyn Source> = Arc::new(source);
        Ok(Self {
            stream: Stream::begin(&source).await,
            source,
            unsettled: Unsettled::default(),
        })
    }

    /// Batches that may be polled before the first is settled.
    pub(crate) fn max_in_flight(&self) -> u32 {
        match (self.source.max_in_flight(), &self.stream) {
            (0, Some(_)) => USUAL_IN_FLIGHT,
            (own, _) => own.max(1),
        }
    }

    /// Whether it holds messages that a poll with [`Wishes::draining`] returns.
    pub(crate) fn drains(&self) -> bool {
        self.stream.is_some()
    }

    pub(crate) fn exclusive(&self) -> bool {
        self.source.exclusive()
    }

    pub(crate) fn streams(&self) -> Vec<Output> {
        self.source.streams()
    }

    /// Asks for the next batch, which is then to be settled by the number of the poll.
    pub(crate) async fn poll(&self, poll: u64, wishes: Wishes) -> Ended<Arc<SourceBatch>> {
        let polled = match &self.stream {
            Some(stream) => stream.next(poll, wishes).await,
            None => {
                let polled = self.source.poll_batch().await;
                polled.map(Arc::new).map_err(Fault::Error)
            }
        };
        match polled {
            Ok(batch) => {
                self.unsettled.add(poll, &batch);
                Ended::well(batch)
            }
            Err(Fault::Error(error)) => Ended::of(Err(error)),
            Err(Fault::Panicked(message)) => Ended::badly(Status::PANICKED, message),
        }
    }

    /// Tells the source what became of a batch. After an error, or when it is dropped half way, it can be called again and goes on
    /// with what has not succeeded. The last settlement that succeeded may be repeated.
    pub(crate) async fn settle(&self, settled: &Settled) -> Ended<()> {
        let Some(waiting) = self.unsettled.find(settled) else {
            let message = format!("poll {} has no batch to settle", settled.poll);
            return Ended::badly(Status::CONTRACT, message);
        };
        let told = match waiting {
            Waiting::Told => Ok(()),
            Waiting::Batch(batch) => {
                batch
                    .tell(self.source.as_ref(), self.stream.as_ref(), settled)
                    .await
            }
        };
        if told.is_ok() {
            self.unsettled.remove(settled);
        }
        Ended::of(told)
    }

    pub(crate) async fn health(&self) -> Result<(), Error> {
        self.source.health_check().await
    }

    pub(crate) async fn close(self) -> Result<(), Error> {
        let Self {
            mut source, stream, ..
        } = self;
        if let Some(stream) = stream {
            stream.close().await;
        }
        match Arc::get_mut(&mut source) {
            Some(source) => source.close().await,
            None => Err(Error::fatal("the source was closed while it was in use")),
        }
    }
}
