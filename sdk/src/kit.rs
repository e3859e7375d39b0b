//! Helpers that most connectors need: durations and secrets in configurations, trying again, writing many batches at once.

mod batcher;
mod duration;
pub mod retry;
mod secret;

pub use batcher::{Batcher, Limits, Writer};
pub use duration::HumanDuration;
pub use secret::Secret;
