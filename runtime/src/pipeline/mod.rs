//! The two loops that move messages, and what they share. The pipeline knows neither the fence nor the Iggy client: it works
//! on the ports of `ports`, which `plugin`, `stream` and `state` implement.

mod backoff;
mod monitor;
mod ports;




pub use backoff::Backoff;
pub use monitor::{Counters, Counts, Monitor, Retrying};
pub use ports::{
    Batch, Consumer, Failed, Failure, FailureKind, Fetched, Message, Polled, Position, Produced, Producer, Settlement,
    SinkPlugin, SourcePlugin, StateStore,
};

