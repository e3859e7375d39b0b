//! Helpers that most connectors need: durations in configurations, trying again, writing many batches at once.

mod batcher;
mod duration;
pub mod retry;

pub use batcher::{Batcher, Limits, Writer};
pub use duration::HumanDuration;
