//! A broker in a temporary directory and clients for it, for every test file.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and a failed step is a failed test"
)]

use std::{path::Path, time::Duration};

use iggy::prelude::*;
use iggy_connector_broker::{Broker, Config, Handle};
use tempfile::TempDir;

/// Long enough for a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) handle: Handle,
    pub(crate) dir: TempDir,
}

/// Starts a broker with the settings that `adjust` makes.
pub(crate) async fn start_with(adjust: impl FnOnce(&mut Config)) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let handle = start_in(dir.path(), adjust).await;
    Running { handle, dir }
}

pub(crate) async fn start() -> Running {
    start_with(|_| ()).await
}

pub(crate) async fn start_in(dir: &Path, adjust: impl FnOnce(&mut Config)) -> Handle {
    let mut config = Config {
        dir: dir.to_owned(),
        ..Config::default()
    };
    adjust(&mut config);
    Broker::start(config).await.unwrap()
}

impl Running {
    /// A connected client, signed in.
    pub(crate) async fn client(&self) -> IggyClient {
        client(&self.handle.address().to_string()).await
    }

    /// Ends the broker and starts another on what it left.
    pub(crate) async fn restart(self, adjust: impl FnOnce(&mut Config)) -> Running {
        let Self { handle, dir } = self;
        handle.shutdown().await;
        let handle = start_in(dir.path(), adjust).await;
        Running { handle, dir }
    }
}

/// A client signed in at `address`.
pub(crate) async fn client(address: &str) -> IggyClient {
    let client = client_as(address, "iggy:iggy");
    client.connect().await.unwrap();
    client
}

/// A client that will sign in with `credentials`, and gives up after a while.
pub(crate) fn client_as(address: &str, credentials: &str) -> IggyClient {
    client_with(address, credentials, "reconnection_retries=100")
}

/// A client that gives up soon when the broker is gone.
pub(crate) async fn impatient_client(address: &str) -> IggyClient {
    let client = client_with(address, "iggy:iggy", "reconnection_retries=1");
    client.connect().await.unwrap();
    client
}

fn client_with(address: &str, credentials: &str, options: &str) -> IggyClient {
    let always = "reestablish_after=1ms&reconnection_interval=50ms&nodelay=true";
    let connection = format!("iggy://{credentials}@{address}?{always}&{options}");
    IggyClient::from_connection_string(&connection).unwrap()
}

pub(crate) fn id(name: &str) -> Identifier {
    Identifier::named(name).unwrap()
}

/// Creates stream `s` with topic `t` of so many partitions.
pub(crate) async fn create_topic(client: &IggyClient, partitions: u32) {
    create_topic_with(client, partitions, TopicCreateOptions::default()).await;
}

pub(crate) async fn create_topic_with(
    client: &IggyClient,
    partitions: u32,
    options: TopicCreateOptions,
) {
    client.create_stream("s").await.unwrap();
    let options = TopicCreateOptions {
        partitions_count: Some(partitions),
        ..options
    };
    client.create_topic(&id("s"), "t", &options).await.unwrap();
}

/// Sends the payloads `prefix-first` to `prefix-last` in one batch to a partition of `s`/`t`.
pub(crate) async fn send(client: &IggyClient, partition: u32, range: std::ops::Range<u64>) -> u64 {
    try_send(client, partition, range).await.unwrap()
}

pub(crate) async fn try_send(
    client: &IggyClient,
    partition: u32,
    range: std::ops::Range<u64>,
) -> Result<u64, IggyError> {
    let mut messages: Vec<_> = range.map(message).collect();
    let partitioning = Partitioning::partition_id(partition);
    let sent = client
        .send_messages(&id("s"), &id("t"), &partitioning, &mut messages)
        .await?;
    Ok(sent.confirmations[0].base_offset)
}

pub(crate) fn message(number: u64) -> IggyMessage {
    IggyMessage::builder()
        .payload(payload(number).into())
        .build()
        .unwrap()
}

/// Payloads of different lengths that name their number.
pub(crate) fn payload(number: u64) -> String {
    format!("message-{number}-{}", "x".repeat((number % 97) as usize))
}

pub(crate) async fn poll(
    client: &IggyClient,
    partition: u32,
    strategy: PollingStrategy,
    count: u32,
) -> PolledMessages {
    let consumer = Consumer::new(Identifier::numeric(1).unwrap());
    client
        .poll_messages(
            &id("s"),
            &id("t"),
            Some(partition),
            &consumer,
            &strategy,
            count,
            false,
        )
        .await
        .unwrap()
}

pub(crate) fn payloads(polled: &PolledMessages) -> Vec<String> {
    let text = |message: &IggyMessage| String::from_utf8(message.payload.to_vec()).unwrap();
    polled.messages.iter().map(text).collect()
}

pub(crate) fn offsets(polled: &PolledMessages) -> Vec<u64> {
    polled
        .messages
        .iter()
        .map(|message| message.header.offset)
        .collect()
}
