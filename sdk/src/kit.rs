//! Helpers that most connectors need: durations in configurations, trying again.

mod duration;
pub mod retry;

pub use duration::HumanDuration;
