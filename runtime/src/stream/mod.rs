//! The client side of Iggy: connections, the consumer of a sink, the producer of a source. It implements the pipeline's ports
//! and knows neither plugins nor connectors.

mod client;
mod error;
mod settings;
mod topics;

pub use client::Client;
