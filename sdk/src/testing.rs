//! Runs a connector in a test, without the runtime and without a library: [`Native`].
//!
//! The traits here ([`SinkPlugin`], [`SourcePlugin`] and what they open) say what the runtime can do with a plugin. [`Native`]
//! implements them on the author's type; a test of the runtime may implement them on a loaded library, and run the same
//! scenarios ([`contract`]). Calls run on the test's own Tokio runtime, so that its clock can be paused.
//!
//! ```
//! use iggy_connector_sdk::{Schema, testing::{Batch, Native, SinkPlugin, Status}};
//! # use iggy_connector_sdk::{async_trait, ConsumedMessage, Error, MessagesMetadata, Sink, TopicMetadata};
//! # #[derive(serde::Deserialize)]
//! # struct Config { largest: f64 }
//! # struct Guarded(f64);
//! # impl Guarded { fn new(_id: u32, config: Config) -> Self { Self(config.largest) } }
//! # #[async_trait]
//! # impl Sink for Guarded {
//! #     async fn open(&mut self) -> Result<(), Error> { Ok(()) }
//! #     async fn consume(&self, _: &TopicMetadata, _: MessagesMetadata, messages: Vec<ConsumedMessage>) -> Result<(), Error> {
//! #         for message in messages {
//! #             if message.as_type::<f64>()? > self.0 { return Err(Error::invalid("too large")) }
//! #         }
//! #         Ok(())
//! #     }
//! #     async fn close(&mut self) -> Result<(), Error> { Ok(()) }
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let sink = Native::sink(Guarded::new).open(r#"{"largest": 5}"#).await.unwrap();
//! assert_eq!(sink.consume(&Batch::of(Schema::Json, ["1", "5"])).await.status, Status::OK);
//! assert_eq!(sink.consume(&Batch::of(Schema::Json, ["6"])).await.status, Status::INVALID_DATA);
//! assert_eq!(sink.close().await.status, Status::OK);
//! # });
//! ```

mod batch;
pub mod contract;
mod native;
mod outcome;

pub use batch::{Batch, Message};
pub use iggy_connector_abi::Status;
pub use native::Native;
pub use outcome::{Failed, Outcome, Traits};

use async_trait::async_trait;

use crate::{
    ConnectorState,
    source::{SourceBatch, SourceBatchResult},
};

/// A sink's plugin: opens instances.
#[async_trait]
pub trait SinkPlugin: Send + Sync {
    /// Opens an instance with a configuration in JSON. An error is the outcome of the failed call.
    async fn open(&self, config: &str) -> Result<Box<dyn OpenSink>, Outcome>;
}

/// An instance of a sink. Dropped without [`OpenSink::close`] it has crashed.
#[async_trait]
pub trait OpenSink: Send + Sync {
    /// What it told about itself.
    fn traits(&self) -> Traits;

    /// Hands a batch over.
    async fn consume(&self, batch: &Batch) -> Outcome;

    /// Hands a batch over, and cancels the call at its first wait. The outcome when it ended before.
    async fn consume_cancelled(&self, batch: &Batch) -> Option<Outcome>;

    /// Makes everything handed over durable.
    async fn flush(&self) -> Outcome;

    /// Runs the health check.
    async fn health(&self) -> Outcome;

    /// Closes the instance.
    async fn close(self: Box<Self>) -> Outcome;
}

/// A source's plugin: opens instances.
#[async_trait]
pub trait SourcePlugin: Send + Sync {
    /// Opens an instance with a configuration in JSON and the state that was saved last. An error is the outcome of the
    /// failed call.
    async fn open(
        &self,
        config: &str,
        state: Option<ConnectorState>,
    ) -> Result<Box<dyn OpenSource>, Outcome>;
}

/// An instance of a source. Dropped without [`OpenSource::close`] it has crashed.
#[async_trait]
pub trait OpenSource: Send + Sync {
    /// What it told about itself.
    fn traits(&self) -> Traits;

    /// Asks for the next batch.
    async fn poll(&self) -> Result<Polled, Outcome>;

    /// Asks for the next batch, and cancels the call at its first wait. The result when it ended before.
    async fn poll_cancelled(&self) -> Option<Result<Polled, Outcome>>;

    /// Tells what became of a batch, by the number of its poll. It may be called again for the same batch: after an error, and once
    /// more after it went well.
    async fn settle(&self, poll: u64, result: SourceBatchResult) -> Outcome;

    /// Runs the health check.
    async fn health(&self) -> Outcome;

    /// Closes the instance.
    async fn close(self: Box<Self>) -> Outcome;
}

/// A batch that a poll returned.
#[derive(Clone, Debug)]
pub struct Polled {
    /// The number of the poll, to settle it by.
    pub poll: u64,
    /// The batch.
    pub batch: SourceBatch,
}
