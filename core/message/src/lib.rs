//! What flows through a connector: payloads, schemas, messages, headers, topics, state, and the error that every stage speaks.
//!
//! The SDK re-exports all of it to plugin authors; the codecs, transforms and the runtime use the same types. It knows neither
//! the Iggy client nor the fence.

mod error;
pub mod headers;
mod message;
mod payload;
mod schema;
mod stage;
mod state;
mod topic;

pub use error::{Class, Error, FailedRecord, Scope};
pub use headers::{HeaderField, HeaderKey, HeaderKind, HeaderValue, UserHeaders};
pub use message::{ConsumedMessage, DecodedMessage, ProducedMessage, ProducedMessages};
pub use payload::Payload;
pub use schema::Schema;
pub use stage::{StreamDecoder, StreamEncoder, Transform, TransformType};
pub use state::ConnectorState;
pub use topic::{MessagesMetadata, TopicMetadata};
