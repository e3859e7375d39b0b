//! Helpers that most connectors need: durations in configurations.

mod duration;

pub use duration::HumanDuration;
