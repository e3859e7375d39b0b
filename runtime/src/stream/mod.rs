//! The client side of Iggy: connections, the consumer of a sink, the producer of a source. It implements the pipeline's ports
//! and knows neither plugins nor connectors.

mod client;
mod consumer;
mod dead_letters;
mod error;
mod producer;
mod settings;
mod topics;
mod transport;

pub use client::Client;
pub use consumer::{
    Consumer, Move, NotMoved, Offsets, Place, Reading, Reset, Selection, Standing, Starts,
};
pub use dead_letters::DeadLetters;
pub use producer::{Producer, Shipment};

use crate::{config::spec, pipeline::Failure};

/// Connects and signs in. `name` says in logs who connects.
///
/// # Errors
///
/// As [`Client::connect`].
pub async fn connect(iggy: &spec::Iggy, name: &str) -> Result<Client, Failure> {
    Client::connect(iggy, name).await
}
