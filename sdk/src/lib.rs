//! Write source and sink connectors for Apache Iggy.

mod config;
mod connector;
pub mod convert;
#[doc(hidden)]
pub mod export;
pub mod kit;
mod macros;
pub mod sink;
pub mod source;
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
