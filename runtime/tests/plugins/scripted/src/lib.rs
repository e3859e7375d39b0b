//! What the scripted test plugins do ([`deed`]), and scenarios that run on them natively and through a loaded library alike ([`sink`],
//! [`source`]): each writes down what it saw, and both must have seen the same.
//!
//! Used by `scripted_sink`, `scripted_source` and the tests of the fence.

pub mod deed;
pub mod sink;
pub mod source;

pub use iggy_connector_sdk::{ConnectorState, Schema, source::SourceBatchResult, testing};
