//! A source for benchmarks: the same payload again and again, as fast as it is asked, with or without a state.

use std::sync::atomic::{AtomicU64, Ordering};

use iggy_connector_sdk::{
    ConnectorState, Error, ProducedMessage, ProducedMessages, Schema, Source, async_trait,
    source_connector,
};
use serde::Deserialize;

source_connector!(BenchSource);

/// How much, and whether each batch carries a state.
#[derive(Debug, Deserialize)]
pub struct BenchSourceConfig {
    count: u64,
    batch: u64,
    state: bool,
    payload: String,
    /// Batches that may be polled before the first is settled.
    in_flight: u32,
}

/// Produces `count` messages, then none.
#[derive(Debug)]
pub struct BenchSource {
    config: BenchSourceConfig,
    produced: AtomicU64,
}

impl BenchSource {
    /// Made by the macro.
    pub fn new(_id: u32, config: BenchSourceConfig) -> Self {
        Self {
            config,
            produced: AtomicU64::new(0),
        }
    }
}

#[async_trait]
impl Source for BenchSource {
    async fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn poll(&self) -> Result<ProducedMessages, Error> {
        let before = self.produced.load(Ordering::Relaxed);
        let length = self.config.batch.min(self.config.count - before);
        self.produced.store(before + length, Ordering::Relaxed);
        let message = |_| ProducedMessage {
            payload: self.config.payload.clone().into_bytes(),
            ..ProducedMessage::default()
        };
        let state = self
            .config
            .state
            .then(|| ConnectorState((before + length).to_le_bytes().to_vec()));
        Ok(ProducedMessages {
            schema: Schema::Json,
            messages: (0..length).map(message).collect(),
            state,
        })
    }

    fn max_in_flight(&self) -> u32 {
        self.config.in_flight
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
