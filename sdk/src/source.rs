//! What a source implements: [`Source`], and what it polls: [`SourceBatch`] of [`SourceMessage`]s.

mod batch;
mod message;
mod number;
mod unsettled;

pub use batch::SourceBatch;
pub use message::{Offset, SourceMessage};
pub use number::Number;
pub(crate) use unsettled::{NotPolled, Settled, Unsettled};

use async_trait::async_trait;

use crate::{Error, ProducedMessages};

/// Brings messages into Iggy.
///
/// The runtime opens a source once, polls it again and again, tells it what became of every batch, and closes it. What a
/// poll returns is durable only after [`SourceBatchResult::Ack`]: remove nothing from the outside before it.
///
/// A source remembers where it is in its state, which it returns with its messages. The runtime saves it after Iggy has
/// confirmed the messages, and offers the last saved one to the constructor
/// (`new(id, config, Option<ConnectorState>)`).
///
/// A poll may wait as long as it likes. It may be dropped at any `await`, when it is cancelled: what it took from the
/// outside but did not return must be offered again by the next poll.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source",
    label = "`Source` is not implemented",
    note = "implement `iggy_connector_sdk::Source`, or use `sink_connector!` if this is a sink"
)]
pub trait Source: Send + Sync {
    /// Sets the source up, before the first poll: connects, checks credentials.
    async fn open(&mut self) -> Result<(), Error>;

    /// Returns the next messages; none when there is nothing.
    async fn poll(&self) -> Result<ProducedMessages, Error>;

    /// Returns the next messages with keys, routes and offset tokens.
    ///
    /// Override it in a source that needs them; the default wraps [`Source::poll`], which is then not called.
    async fn poll_batch(&self) -> Result<SourceBatch, Error> {
        self.poll().await.map(SourceBatch::from)
    }

    /// Learns what became of a batch. Every successful poll, also an empty one, gets exactly one result, in the order of the
    /// polls. What fails or is cut off is told again, and never turns into another result.
    async fn on_batch_result(&self, _result: SourceBatchResult) -> Result<(), Error> {
        Ok(())
    }

    /// Learns the offset tokens of an acknowledged batch's messages, in order: all of them are settled, whether delivered, filtered out
    /// by a transform, dead-lettered, or skipped by the connector's policy. Not called for a batch without any. An error is
    /// retried, with the same tokens.
    async fn commit(&self, _offsets: &[Offset]) -> Result<(), Error> {
        Ok(())
    }

    /// Tells whether the outside can be reached. Called every now and then.
    async fn health_check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Gives back what [`Source::open`] took. No call follows it.
    async fn close(&mut self) -> Result<(), Error>;

    /// How many batches the runtime may poll before the first one's result. With more than one, a
    /// [`SourceBatchResult::Nack`] takes every later batch with it.
    fn max_in_flight(&self) -> u32 {
        1
    }

    /// Whether a second instance must not run beside this one, for example during a restart.
    fn exclusive(&self) -> bool {
        false
    }
}

/// What became of a polled batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceBatchResult {
    /// Iggy has confirmed it and its state is saved: what it was made from may be removed.
    Ack,
    /// It was given up: offer the same messages again.
    Nack,
}
