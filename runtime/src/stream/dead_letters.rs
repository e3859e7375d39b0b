//! The topic of dead letters: a producer over a connection of its own, made when the first dead letter is written.

use std::time::Duration;

use iggy_connector_message::Schema;
use tokio::sync::OnceCell;

use super::{Producer, connect, error::unreachable};
use crate::{
    config::spec,
    pipeline::{self, Failure, Produced},
};

/// Most dead letters sent in one request.
const BATCH_LENGTH: u32 = 1000;

/// Writes one connector's dead letters.
pub struct DeadLetters {
    iggy: spec::Iggy,
    output: spec::Output,
    name: String,
    producer: OnceCell<Producer>,
}

impl DeadLetters {
    /// `name` says in logs who connects.
    pub fn new(iggy: &spec::Iggy, dlq: &spec::Dlq, name: &str) -> Self {
        Self {
            iggy: iggy.clone(),
            output: spec::Output {
                stream: dlq.stream.clone(),
                topic: dlq.topic.clone(),
                route: None,
                schema: Schema::Raw,
                batch_length: BATCH_LENGTH,
                poll_interval: Duration::ZERO,
                linger: None,
                partitions: 1,
                create: true,
            },
            name: format!("{name} dead letters"),
            producer: OnceCell::new(),
        }
    }

    /// Until there is a connection nothing is known about the dead letters: there is no end to trying.
    async fn producer(&self) -> Result<&Producer, Failure> {
        let made = self.producer.get_or_try_init(async || {
            let client = connect(&self.iggy, &self.name).await?;
            Producer::new(client, std::slice::from_ref(&self.output)).await
        });
        made.await.map_err(unreachable)
    }
}

impl pipeline::Producer for DeadLetters {
    type Shipment = <Producer as pipeline::Producer>::Shipment;

    async fn prepare(
        &self,
        messages: &mut Vec<(usize, Produced)>,
    ) -> Result<Self::Shipment, Failure> {
        self.producer().await?.prepare(messages).await
    }

    async fn send(&self, shipment: &mut Self::Shipment) -> Result<(), Failure> {
        self.producer().await?.send(shipment).await
    }
}
