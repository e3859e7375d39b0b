//! The bare loops: the client's low-level calls on one connection, with the same batch length, without any sleep.

use std::time::Instant;

use bytes::Bytes;
use iggy::prelude::{
    Client, Consumer, ConsumerGroupClient, ConsumerOffsetClient, Identifier, IggyClient, IggyError,
    IggyMessage, MessageClient, Partitioning, PollingStrategy, StreamClient, TopicClient,
    TopicCreateOptions,
};

use crate::Load;

/// Which loop.
#[derive(Clone, Copy, Debug)]
pub enum Bare {
    /// Polls as a group member and stores the offset after each batch.
    PollAndStore,
    /// Polls as a group member and stores nothing.
    Poll,
    /// Builds messages and sends them to one partition.
    Send,
}

/// A stream and topic of one round, with one partition.
pub struct Topic {
    client: IggyClient,
    pub stream: String,
}

/// The topic's name.
pub const TOPIC: &str = "bench";

impl Bare {
    pub fn name(self) -> &'static str {
        match self {
            Self::PollAndStore => "poll, store each batch",
            Self::Poll => "poll, store nothing",
            Self::Send => "send",
        }
    }

    /// Messages per second.
    pub async fn measure(self, load: &Load, topic: &Topic) -> Result<f64, String> {
        let client = connect(load).await?;
        let started = match self {
            Self::PollAndStore => poll(&client, load, topic, true).await,
            Self::Poll => poll(&client, load, topic, false).await,
            Self::Send => send(&client, load, topic).await,
        };
        let rate = load.count as f64 / started.map_err(text)?.elapsed().as_secs_f64();
        client.shutdown().await.map_err(text)?;
        Ok(rate)
    }
}

impl Topic {
    /// Creates it, and fills it when it is to be read.
    pub async fn create(load: &Load, filled: bool) -> Result<Self, String> {
        let client = connect(load).await?;
        let stream = format!("bench-{}", uuid::Uuid::new_v4().simple());
        client.create_stream(&stream).await.map_err(text)?;
        let options = TopicCreateOptions {
            partitions_count: Some(1),
            ..TopicCreateOptions::default()
        };
        client
            .create_topic(&id(&stream), TOPIC, &options)
            .await
            .map_err(text)?;
        let topic = Self { client, stream };
        if filled {
            send(&topic.client, load, &topic).await.map_err(text)?;
        }
        Ok(topic)
    }

    /// The offset that a group has stored.
    pub async fn stored(&self, group: &str) -> Result<Option<u64>, String> {
        let consumer = Consumer::group(id(group));
        let found = self
            .client
            .get_consumer_offset(&consumer, &id(&self.stream), &id(TOPIC), Some(0))
            .await;
        Ok(found.map_err(text)?.map(|offset| offset.stored_offset))
    }

    pub async fn delete(self) -> Result<(), String> {
        self.client
            .delete_stream(&id(&self.stream))
            .await
            .map_err(text)
    }
}

/// One payload: JSON of the wanted size.
pub fn payload(size: usize) -> Vec<u8> {
    let frame = r#"{"id":1,"text":""}"#.len();
    format!(
        r#"{{"id":1,"text":"{}"}}"#,
        "x".repeat(size.saturating_sub(frame))
    )
    .into_bytes()
}

async fn connect(load: &Load) -> Result<IggyClient, String> {
    let client = IggyClient::from_connection_string(&format!(
        "iggy://iggy:iggy@{}?nodelay=true",
        load.address
    ));
    let client = client.map_err(text)?;
    client.connect().await.map_err(text)?;
    Ok(client)
}

async fn poll(
    client: &IggyClient,
    load: &Load,
    topic: &Topic,
    store: bool,
) -> Result<Instant, IggyError> {
    let (stream, name) = (id(&topic.stream), id(TOPIC));
    let group = if store { "bare-store" } else { "bare" };
    client.create_consumer_group(&stream, &name, group).await?;
    client
        .join_consumer_group(&stream, &name, &id(group))
        .await?;
    let consumer = Consumer::group(id(group));
    let mut next = 0;
    let started = Instant::now();
    while next < load.count {
        let strategy = PollingStrategy::offset(next);
        let polled = client
            .poll_messages(
                &stream,
                &name,
                Some(0),
                &consumer,
                &strategy,
                load.batch,
                false,
            )
            .await?;
        let Some(last) = polled.messages.last() else {
            continue;
        };
        let last = last.header.offset;
        if store {
            client
                .store_consumer_offset(&consumer, &stream, &name, Some(0), last)
                .await?;
        }
        next = last + 1;
    }
    Ok(started)
}

async fn send(client: &IggyClient, load: &Load, topic: &Topic) -> Result<Instant, IggyError> {
    let (stream, name) = (id(&topic.stream), id(TOPIC));
    let partition = Partitioning::partition_id(0);
    let payload = payload(load.message_size);
    let started = Instant::now();
    let mut sent = 0;
    while sent < load.count {
        let length = u64::from(load.batch).min(load.count - sent);
        let messages = (0..length).map(|_| {
            IggyMessage::builder()
                .payload(Bytes::from(payload.clone()))
                .build()
        });
        let mut messages = messages.collect::<Result<Vec<_>, _>>()?;
        client
            .send_messages(&stream, &name, &partition, &mut messages)
            .await?;
        sent += length;
    }
    Ok(started)
}

fn id(name: &str) -> Identifier {
    Identifier::named(name).expect("names here are short and not empty")
}

fn text(error: IggyError) -> String {
    error.to_string()
}
