//! A loaded library behind the traits that the SDK's testing module drives plugins through: what runs natively there runs over the fence
//! here.

use std::{future::Future, pin::pin, sync::Arc, task::Poll};

use async_trait::async_trait;
use bytes::Bytes;
use iggy_connector_message::{Schema, TopicMetadata};
use iggy_connectors::{
    pipeline::{self, Failure, FailureKind, Rank, SinkPlugin as _, SourcePlugin as _},
    plugin::{self, Library},
};
use scripted::iggy_connector_sdk::{
    ConnectorState, headers,
    source::{SourceBatch, SourceBatchResult, SourceMessage},
    testing::{
        Batch, Failed, OpenSink, OpenSource, Outcome, Polled, SinkPlugin, SourcePlugin, Status,
        Traits,
    },
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::plugin::{everything, patient};

/// A library that was loaded.
pub struct Loaded(pub Library);

struct Sink(plugin::Sink);

struct Source(plugin::Source);

#[async_trait]
impl SinkPlugin for Loaded {
    async fn open(&self, config: &str) -> Result<Box<dyn OpenSink>, Outcome> {
        let config = parsed(config);
        let sink = plugin::Sink::open(&self.0, open(&config, None)).await;
        sink.map(|sink| Box::new(Sink(sink)) as Box<dyn OpenSink>)
            .map_err(|failure| outcome(Err(failure)))
    }
}

#[async_trait]
impl SourcePlugin for Loaded {
    async fn open(
        &self,
        config: &str,
        state: Option<ConnectorState>,
    ) -> Result<Box<dyn OpenSource>, Outcome> {
        let config = parsed(config);
        let state = state.map(|state| Bytes::from(state.0));
        let source = plugin::Source::open(&self.0, open(&config, state)).await;
        source
            .map(|source| Box::new(Source(source)) as Box<dyn OpenSource>)
            .map_err(|failure| outcome(Err(failure)))
    }
}

#[async_trait]
impl OpenSink for Sink {
    fn traits(&self) -> Traits {
        traits(self.0.traits())
    }

    async fn consume(&self, batch: &Batch) -> Outcome {
        match self.0.consume(handed_over(batch), Rank::First).await {
            Ok(consumed) => Outcome {
                failed: consumed.failed.into_iter().map(record).collect(),
                retry_after: consumed.retry_after,
                ..outcome(Ok(()))
            },
            Err(failure) => outcome(Err(failure)),
        }
    }

    async fn consume_cancelled(&self, batch: &Batch) -> Option<Outcome> {
        begun(self.consume(batch)).await
    }

    async fn flush(&self) -> Outcome {
        outcome(self.0.flush(everything()).await)
    }

    async fn health(&self) -> Outcome {
        outcome(self.0.health(patient().open).await)
    }

    async fn close(self: Box<Self>) -> Outcome {
        outcome(self.0.close().await)
    }
}

#[async_trait]
impl OpenSource for Source {
    fn traits(&self) -> Traits {
        traits(self.0.traits())
    }

    async fn poll(&self) -> Result<Polled, Outcome> {
        let polled = self.0.poll(&CancellationToken::new()).await;
        polled.map(read).map_err(|failure| outcome(Err(failure)))
    }

    async fn poll_cancelled(&self) -> Option<Result<Polled, Outcome>> {
        begun(self.poll()).await
    }

    async fn settle(&self, poll: u64, result: SourceBatchResult) -> Outcome {
        let settlement = match result {
            SourceBatchResult::Ack => pipeline::Settlement::Ack {
                undelivered: Vec::new(),
            },
            SourceBatchResult::Nack => pipeline::Settlement::Nack(pipeline::GivenUp::Stopped),
        };
        outcome(self.0.settle(poll, settlement).await)
    }

    async fn health(&self) -> Outcome {
        outcome(self.0.health(patient().open).await)
    }

    async fn close(self: Box<Self>) -> Outcome {
        outcome(self.0.close().await)
    }
}

fn parsed(config: &str) -> Value {
    serde_json::from_str(config).expect("a scenario's configuration is JSON")
}

fn open(config: &Value, state: Option<Bytes>) -> plugin::Open<'_> {
    plugin::Open {
        key: "loaded",
        config,
        state,
        deadlines: patient(),
    }
}

/// Starts a call and drops it at its first wait, which cancels it.
async fn begun<T>(call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn traits(traits: &plugin::Traits) -> Traits {
    Traits {
        max_unsettled: traits.max_unsettled,
        max_in_flight: traits.max_in_flight,
        exclusive: traits.exclusive,
    }
}

fn handed_over(batch: &Batch) -> Arc<pipeline::Batch> {
    let messages = batch.messages.iter().map(|message| pipeline::Message {
        id: message.id,
        offset: message.offset,
        checksum: message.checksum,
        timestamp: message.timestamp,
        origin_timestamp: message.origin_timestamp,
        headers: Bytes::copy_from_slice(&message.headers),
        payload: Bytes::copy_from_slice(&message.payload),
    });
    Arc::new(pipeline::Batch {
        topic: Arc::new(TopicMetadata {
            stream: batch.stream.clone(),
            topic: batch.topic.clone(),
        }),
        partition_id: batch.partition_id,
        current_offset: batch.messages.last().map_or(0, |message| message.offset),
        schema: batch.schema,
        messages: messages.collect(),
    })
}

fn read(polled: pipeline::Polled) -> Polled {
    let schema: Schema = polled.schema;
    let messages = polled.messages.iter().map(message).collect();
    let mut batch = SourceBatch::new(schema, messages);
    if let Some(state) = polled.state {
        batch = batch.with_state(ConnectorState(state.to_vec()));
    }
    if polled.ended {
        batch = batch.and_end();
    }
    Polled {
        poll: polled.poll,
        batch,
    }
}

fn message(produced: &pipeline::Produced) -> SourceMessage {
    let mut message = SourceMessage::from_bytes(produced.payload.to_vec());
    if let Some(id) = produced.id {
        message = message.with_id(id);
    }
    if let Some(micros) = produced.origin_timestamp {
        message = message.with_origin_timestamp(micros);
    }
    if let Some(key) = &produced.key {
        message = message.with_key(key.to_vec());
    }
    if let Some(route) = &produced.route {
        message = message.with_route(String::from_utf8_lossy(route));
    }
    for (name, value) in
        headers::decode(&produced.headers).expect("headers that the SDK has encoded")
    {
        message = message.with_header(name, value);
    }
    message
}

fn record(failed: pipeline::Failed) -> Failed {
    Failed {
        index: u32::try_from(failed.index).expect("a batch's position"),
        status: status(failed.kind),
        message: failed.message,
    }
}

fn outcome(result: Result<(), Failure>) -> Outcome {
    let (status, message, retry_after) = match result {
        Ok(()) => (Status::OK, String::new(), None),
        Err(failure) => (status(failure.kind), failure.message, failure.retry_after),
    };
    Outcome {
        status,
        message,
        retry_after,
        failed: Vec::new(),
    }
}

fn status(kind: FailureKind) -> Status {
    match kind {
        FailureKind::Transient | FailureKind::Unreachable => Status::TRANSIENT,
        FailureKind::Invalid => Status::INVALID_DATA,
        FailureKind::Fatal => Status::FATAL,
        FailureKind::Panicked => Status::PANICKED,
        FailureKind::Cancelled => Status::CANCELLED,
        FailureKind::Contract | FailureKind::Hung | FailureKind::Exhausted => Status::CONTRACT,
    }
}
