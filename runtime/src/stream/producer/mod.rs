//! Sends what a source produces: the pipeline's `Producer`. A batch is fixed once (ids, partitions, requests) and then sent as
//! often as it takes, each time only what Iggy has not confirmed.

mod message;
mod request;
mod shipment;
mod target;

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use iggy_binary_protocol::codes::SEND_MESSAGES_CODE;
use iggy_common::{BinaryTransport as _, IggyError, IggyTimestamp};
use tokio::sync::Mutex;
use tracing::debug;

pub use shipment::Shipment;

use self::{
    message::Stamp,
    shipment::{Chunk, Loader},
    target::Target,
};
use super::{
    client::Client,
    error::{failure, is_lost, is_missing_topic, unreachable},
};
use crate::{
    config::spec,
    pipeline::{self, Failure, FailureKind, Produced},
};

/// Sends to the topics of one source, over a connection of its own.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    targets: Vec<Target>,
    /// Ids of messages that bring none: consecutive numbers from a random start, unique as random ones are.
    first_id: u128,
    ids: AtomicU64,
    /// Held across a reconnect, so that two senders do not tear down each other's new connection.
    reconnecting: Mutex<()>,
}

impl Producer {
    /// Makes sure that every output's stream and topic exist.
    ///
    /// # Errors
    ///
    /// The broker could not be asked, or something is missing that may not be created.
    pub async fn new(client: Client, outputs: &[spec::Output]) -> Result<Self, Failure> {
        let mut targets = Vec::with_capacity(outputs.len());
        for output in outputs {
            targets.push(Target::new(&client, output).await?);
        }
        Ok(Self {
            client,
            targets,
            first_id: uuid::Uuid::new_v4().as_u128(),
            ids: AtomicU64::new(0),
            reconnecting: Mutex::new(()),
        })
    }

    async fn ensure_connected(&self) -> Result<(), Failure> {
        // A new connection is there before it can be used: whoever makes it is waited for.
        let _one = self.reconnecting.lock().await;
        if self.client.is_lost() {
            self.client.reconnect().await?;
        }
        Ok(())
    }

    /// Looks again at topics whose partitions may have changed, and takes what is unsent to where they are now: also what was
    /// prepared while the batch before it found them changed.
    async fn repair(&self, shipment: &mut Shipment) -> Result<(), Failure> {
        for (output, target) in self.targets.iter().enumerate() {
            if !shipment.needs(output) {
                continue;
            }
            let was_broken = target.is_broken();
            if was_broken {
                target.ensure(&self.client).await?;
            }
            let route = target.route();
            if was_broken || shipment.is_outdated(output, route.partitions) {
                shipment.reroute(output, route);
            }
        }
        Ok(())
    }

    /// A topic's partitions are counted anew now and then. When that fails the last count goes on serving: the send will tell.
    async fn refresh(&self, shipment: &Shipment) {
        for (output, target) in self.targets.iter().enumerate() {
            if !target.is_stale() || !shipment.needs(output) {
                continue;
            }
            if let Err(failure) = target.recount(&self.client).await {
                debug!(error = %failure, "the partitions of a topic could not be counted again");
            }
        }
    }

    /// Fixes ids and partitions.
    fn load(&self, messages: &mut Vec<(usize, Produced)>) -> Shipment {
        let count = messages.len() as u64;
        let mut stamp = Stamp {
            next_id: self
                .first_id
                .wrapping_add(self.ids.fetch_add(count, Ordering::Relaxed).into()),
            now: IggyTimestamp::now().as_micros(),
        };
        let routes = self.targets.iter().map(Target::route).collect();
        let mut loader = Loader::new(routes, messages.len());
        for (position, (output, message)) in messages.drain(..).enumerate() {
            if let Err(reason) = message::check(&message) {
                loader.reject(position, message, reason);
                continue;
            }
            loader.add(output, stamp.outgoing(position as u32, message));
        }
        let shipment = loader.finish();
        for (output, target) in self.targets.iter().enumerate() {
            if shipment.needs(output) {
                target.next_turn();
            }
        }
        shipment
    }

    /// The request that carries a chunk.
    fn request(&self, chunk: &mut Chunk) -> Result<Bytes, IggyError> {
        if let Some(request) = &chunk.request {
            return Ok(request.clone());
        }
        let topic = &self.targets[chunk.output].name;
        let request = request::encode(topic, chunk.partition, &chunk.messages)?;
        chunk.request = Some(request.clone());
        Ok(request)
    }

    async fn send_chunk(&self, chunk: &mut Chunk) -> Result<(), IggyError> {
        let request = self.request(chunk)?;
        let client = self.client.tcp();
        let answer = client.send_raw_with_response(SEND_MESSAGES_CODE, request);
        // Iggy confirms a request as a whole.
        answer.await.map(drop)
    }

    /// What a failed request says: about the connection, about the topic, or about the messages.
    fn failed(&self, output: usize, error: &IggyError) -> Failure {
        let target = &self.targets[output];
        // Servers answer `ResourceNotFound` for whatever is missing.
        let is_missing = is_missing_topic(error)
            || matches!(
                error,
                IggyError::PartitionNotFound(..) | IggyError::ResourceNotFound(..)
            );
        if is_missing {
            target.mark_broken();
        }
        let doing = self
            .client
            .doing(format_args!("send to topic {}", target.name));
        match failure(doing, error) {
            failure if is_lost(error) || is_missing => unreachable(failure),
            failure => failure,
        }
    }
}

impl pipeline::Producer for Producer {
    type Shipment = Shipment;

    async fn prepare(&self, messages: &mut Vec<(usize, Produced)>) -> Result<Shipment, Failure> {
        if let Some((output, _)) = messages.iter().find(|(at, _)| *at >= self.targets.len()) {
            let message = format!("a message is for output {output}, which does not exist");
            return Err(Failure::fatal(message));
        }
        let mut shipment = self.load(messages);
        if let Some(chunk) = shipment.first() {
            // Ahead of its turn. What fails here fails again when it is to be sent.
            drop(self.request(chunk));
        }
        Ok(shipment)
    }

    /// Dropping the future leaves the request in flight unconfirmed, to be sent again.
    async fn send(&self, shipment: &mut Shipment) -> Result<(), Failure> {
        // Not before its turn: it would wait for the answers to what is being sent, and could be given up for that.
        self.refresh(shipment).await;
        self.ensure_connected().await.map_err(unreachable)?;
        self.repair(shipment).await.map_err(unreachable)?;
        shipment.begin();
        while let Some(chunk) = shipment.first() {
            let output = chunk.output;
            match self.send_chunk(chunk).await {
                Ok(()) => shipment.confirm_first(),
                Err(error) => {
                    let failure = self.failed(output, &error);
                    if failure.kind != FailureKind::Invalid {
                        return Err(failure);
                    }
                    shipment.refuse_first(&failure.message);
                }
            }
        }
        Ok(())
    }
}
