//! Write source and sink connectors for Apache Iggy streams.
//!
//! A connector is a type that implements [`Sink`] (out of Iggy) or [`Source`] (into Iggy), and one macro line that makes a
//! library of it, which the connectors runtime loads. This is a complete one:
//!
//! ```standalone_crate
//! use iggy_connector_sdk::{
//!     ConsumedMessage, Error, MessagesMetadata, Sink, TopicMetadata, async_trait, sink_connector,
//! };
//! use serde::Deserialize;
//! use tokio::{fs::{File, OpenOptions}, io::AsyncWriteExt, sync::Mutex};
//!
//! sink_connector!(FileSink);
//!
//! /// Appends each message to a file, as a line.
//! struct FileSink {
//!     config: Config,
//!     file: Option<Mutex<File>>,
//! }
//!
//! /// What stands under `[plugin_config]`.
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     path: String,
//! }
//!
//! impl FileSink {
//!     fn new(_id: u32, config: Config) -> Self {
//!         Self { config, file: None }
//!     }
//! }
//!
//! #[async_trait]
//! impl Sink for FileSink {
//!     async fn open(&mut self) -> Result<(), Error> {
//!         let file = OpenOptions::new().create(true).append(true).open(&self.config.path).await;
//!         // What cannot be opened now cannot be opened by trying again: the connector stops, and says why.
//!         let file = file.map_err(|error| Error::InitError(self.config.path.clone()).with_source(&error))?;
//!         self.file = Some(Mutex::new(file));
//!         Ok(())
//!     }
//!
//!     async fn consume(
//!         &self,
//!         _topic: &TopicMetadata,
//!         _metadata: MessagesMetadata,
//!         messages: Vec<ConsumedMessage>,
//!     ) -> Result<(), Error> {
//!         let Some(file) = &self.file else { return Err(Error::InvalidConfig) };
//!         let mut lines = Vec::new();
//!         for message in messages {
//!             lines.extend(message.payload.try_into_vec()?);
//!             lines.push(b'\n');
//!         }
//!         let mut file = file.lock().await;
//!         file.write_all(&lines).await.map_err(not_written)?;
//!         // `Ok` says that every message is durable: Iggy will not offer them again.
//!         file.sync_data().await.map_err(not_written)
//!     }
//!
//!     async fn close(&mut self) -> Result<(), Error> {
//!         Ok(())
//!     }
//! }
//!
//! /// The disk may be full: the runtime tries again, for as long as it takes.
//! fn not_written(error: std::io::Error) -> Error {
//!     Error::transient("append to the file").with_source(&error)
//! }
//! # fn main() {
//! #     use iggy_connector_sdk::{Schema, testing::{Batch, Native, SinkPlugin}};
//! #     tokio::runtime::Runtime::new().unwrap().block_on(async {
//! #         let folder = std::env::temp_dir().join(format!("iggy-connector-sdk-{}", std::process::id()));
//! #         std::fs::create_dir_all(&folder).unwrap();
//! #         let path = folder.join("lines");
//! #         let sink = Native::sink(FileSink::new).open(&format!(r#"{{"path": "{}"}}"#, path.display())).await.unwrap();
//! #         assert!(sink.consume(&Batch::of(Schema::Json, ["{}", "[1]"])).await.is_ok());
//! #         assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n[1]\n");
//! #         std::fs::remove_dir_all(&folder).unwrap();
//! #     });
//! # }
//! ```
//!
//! # How it runs
//!
//! The library has a Tokio runtime of its own ([`get_runtime`]), on which every method runs; `tracing` lines go to the
//! runtime's log under the connector's key. A panic stops the connector and nothing else. Any call may be cancelled: its
//! future is then dropped at an `await`.
//!
//! A crate of type `cdylib` holds one connector type. It may forbid unsafe code and rename this crate. It must not be built with
//! `panic = "abort"`: the runtime refuses such a library.
//!
//! # What to return
//!
//! [`Error`] says by its [`Class`] what happens next. Transient errors are retried for ever by default, so nothing is lost
//! while a service is down. Invalid data goes to the connector's error policy (a dead letter topic, for example), record by record
//! if the error names them ([`Error::failed`]). A fatal error stops the connector.
//!
//! # Features
//!
//! None is on by default, so that a plugin builds little.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `json`, `text`, `raw` | modules `decoders` and `encoders`, by format |
//! | `transforms` | module `transforms` |
//! | `schemars` | the JSON Schema of a configuration that implements `schemars::JsonSchema` becomes part of the library; see below |
//! | `http` | the HTTP part of [`retry`] |
//! | `testing` | module `testing`: a connector in a test, without the runtime |
//!
//! # The schema of a configuration
//!
//! With the feature `schemars`, a configuration that derives `schemars::JsonSchema` is checked before the connector is opened: what does
//! not fit is told with its file, line and key, by `iggy-connectors check` too. A text from the environment gets the type that the schema
//! says. A key that is a [`kit::Secret`], or has `#[schemars(extend("writeOnly" = true))]`, is shown by the runtime nowhere. Without the
//! feature everything works, and `serde` tells what does not fit when the connector is opened.

mod config;
mod connector;
pub mod convert;
#[doc(hidden)]
pub mod export;
pub mod kit;
mod macros;
pub mod sink;
pub mod source;
mod streams;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(any(feature = "json", feature = "raw", feature = "text"))]
pub use iggy_connector_codec::{decoders, encoders};
#[cfg(feature = "transforms")]
pub use iggy_connector_transform as transforms;

pub use async_trait::async_trait;
pub use connector::{SinkConstructor, SourceConstructor};
pub use export::get_runtime;
pub use iggy_connector_message::{
    Class, ConnectorState, ConsumedMessage, DecodedMessage, Error, FailedRecord, HeaderKey,
    HeaderKind, HeaderValue, MessagesMetadata, Payload, ProducedMessage, ProducedMessages, Schema,
    Scope, StreamDecoder, StreamEncoder, TopicMetadata, Transform, TransformType, UserHeaders,
    headers,
};
pub use kit::retry;
pub use sink::Sink;
pub use source::Source;

/// The example in the README, compiled and run with the other documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
