//! The two loops that move messages, and what they share. The pipeline knows neither the fence nor the Iggy client: it works
//! on the ports of `ports`, which `plugin`, `stream` and `state` implement.

mod attempts;
mod backoff;
pub mod dead_letter;
mod histogram;
mod monitor;
pub mod policy;
mod ports;
pub mod sink;
pub mod source;
mod stages;
mod stopwatch;
mod tolerance;

pub use attempts::Attempts;
pub use backoff::Backoff;
pub use histogram::Distribution;
pub use monitor::{Counters, Counts, Monitor, Retrying};
pub use ports::{
    Batch, Consumed, Consumer, Failed, Failure, FailureKind, Fetched, FlushReason, FlushRequest,
    Gauge, GivenUp, Handout, Message, Partition, Polled, Position, Produced, Producer, Rank,
    Rejected, Settlement, Shipment, SinkPlugin, SourcePlugin, StateStore, Unsent,
};
pub use stages::Stages;
use stopwatch::Stopwatch;
pub use stopwatch::{Durations, Stage};

#[cfg(test)]
mod fakes;
