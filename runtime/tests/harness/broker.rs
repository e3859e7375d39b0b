//! A broker for tests: the embedded one in a temporary directory, or the server at `IGGY_TEST_ADDRESS` (its user `iggy` with
//! password `iggy`) where a test needs nothing special. Topics get names of their own, so that tests may share a server.

use std::time::{Duration, Instant};

use iggy::prelude::*;
use iggy_connector_broker::{Config, Error, Handle};
use iggy_connector_message::Schema;
use iggy_connectors::config::spec;
use secrecy::SecretString;
use tempfile::TempDir;

use super::port::Port;

/// Ten times and more of what anything here takes on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running broker.
pub struct Broker {
    address: String,
    embedded: Option<(Handle, Home)>,
}

/// Where an embedded broker is, from one start to the next.
struct Home {
    port: Port,
    dir: TempDir,
}

/// A topic of a test's own, and a client to look into it.
pub struct Topic {
    pub client: IggyClient,
    pub stream: String,
    pub name: String,
}

impl Broker {
    /// Any broker will do.
    pub async fn start() -> Self {
        match std::env::var("IGGY_TEST_ADDRESS") {
            Ok(address) => Self {
                address,
                embedded: None,
            },
            Err(_) => Self::embedded(|_| ()).await,
        }
    }

    /// An embedded broker, for tests that restart it or need other settings.
    pub async fn embedded(adjust: impl FnOnce(&mut Config)) -> Self {
        let home = Home {
            port: Port::reserve(),
            dir: TempDir::new().unwrap(),
        };
        home.start(adjust).await
    }

    /// Ends it and returns what starts it again at the same address with the same data.
    pub async fn stop(self) -> Stopped {
        let (handle, home) = self.embedded.expect("only the embedded broker is stopped");
        handle.shutdown().await;
        Stopped(home)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn iggy(&self) -> spec::Iggy {
        iggy_at(&self.address)
    }

    /// A topic with so many partitions, in a stream of its own.
    pub async fn topic(&self, partitions: u32) -> Topic {
        let topic = self.missing_topic().await;
        topic.create(partitions).await;
        topic
    }

    /// One that soon removes what is beyond a topic's limits, 64 KiB at once, and such a topic of one partition.
    pub async fn trimming(limit: impl FnOnce(&mut TopicCreateOptions)) -> (Self, Topic) {
        let broker = Self::embedded(|config| {
            config.segment_size = 64 * 1024;
            config.retention_interval = Duration::from_millis(20);
        })
        .await;
        let topic = broker.missing_topic().await;
        topic.client.create_stream(&topic.stream).await.unwrap();
        topic.create_limited(1, limit).await;
        (broker, topic)
    }

    /// The names of a topic that does not exist.
    pub async fn missing_topic(&self) -> Topic {
        let client = client(&self.address).await;
        let unique = uuid::Uuid::new_v4().simple().to_string();
        Topic {
            client,
            stream: format!("test-{unique}"),
            name: "messages".to_owned(),
        }
    }
}

/// An embedded broker that was stopped.
pub struct Stopped(Home);

impl Stopped {
    pub async fn start(self) -> Broker {
        self.0.start(|_| ()).await
    }
}

impl Home {
    async fn start(self, adjust: impl FnOnce(&mut Config)) -> Broker {
        let mut config = Config {
            listen: self.port.address(),
            dir: self.dir.path().join("data"),
            ..Config::default()
        };
        adjust(&mut config);
        let deadline = Instant::now() + PATIENCE;
        let handle = loop {
            match iggy_connector_broker::Broker::start(config.clone()).await {
                Ok(handle) => break handle,
                // A process that another test is starting has a copy of what the last one listened at, for a moment.
                Err(Error::Listen { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        };
        Broker {
            address: handle.address().to_string(),
            embedded: Some((handle, self)),
        }
    }
}

impl Topic {
    pub async fn create(&self, partitions: u32) {
        self.client.create_stream(&self.stream).await.unwrap();
        self.create_in_stream(partitions).await;
    }

    pub async fn create_in_stream(&self, partitions: u32) {
        self.create_limited(partitions, |_| ()).await;
    }

    async fn create_limited(&self, partitions: u32, limit: impl FnOnce(&mut TopicCreateOptions)) {
        let mut options = TopicCreateOptions {
            partitions_count: Some(partitions),
            ..TopicCreateOptions::default()
        };
        limit(&mut options);
        self.client
            .create_topic(&self.stream_id(), &self.name, &options)
            .await
            .unwrap();
    }

    pub fn stream_id(&self) -> Identifier {
        Identifier::named(&self.stream).unwrap()
    }

    pub fn id(&self) -> Identifier {
        Identifier::named(&self.name).unwrap()
    }

    /// Sends texts to a partition.
    pub async fn send(&self, partition: u32, texts: impl IntoIterator<Item = String>) {
        let messages = texts
            .into_iter()
            .map(|text| IggyMessage::builder().payload(text.into()).build().unwrap());
        let mut messages: Vec<_> = messages.collect();
        for chunk in messages.chunks_mut(1_000) {
            let partitioning = Partitioning::partition_id(partition);
            self.client
                .send_messages(&self.stream_id(), &self.id(), &partitioning, chunk)
                .await
                .unwrap();
        }
    }

    /// All messages of a partition as it is when they are asked for.
    pub async fn read(&self, partition: u32) -> Vec<IggyMessage> {
        let consumer = Consumer::new(Identifier::named("test").unwrap());
        let mut found: Vec<IggyMessage> = Vec::new();
        let mut end = None;
        loop {
            let next = found.last().map_or(0, |message| message.header.offset + 1);
            let polled = self
                .client
                .poll_messages(
                    &self.stream_id(),
                    &self.id(),
                    Some(partition),
                    &consumer,
                    &PollingStrategy::offset(next),
                    1_000,
                    false,
                )
                .await
                .unwrap();
            let end = *end.get_or_insert(polled.current_offset);
            let is_last = |message: &IggyMessage| message.header.offset >= end;
            if polled.messages.is_empty() || polled.messages.last().is_some_and(is_last) {
                found.extend(polled.messages);
                return found;
            }
            found.extend(polled.messages);
        }
    }

    /// The texts of a partition's messages.
    pub async fn texts(&self, partition: u32) -> Vec<String> {
        self.read(partition).await.iter().map(text).collect()
    }

    /// What a group has stored.
    pub async fn stored(&self, group: &str, partition: u32) -> Option<u64> {
        let consumer = Consumer::group(Identifier::named(group).unwrap());
        let stored = self
            .client
            .get_consumer_offset(&consumer, &self.stream_id(), &self.id(), Some(partition))
            .await;
        stored.unwrap().map(|info| info.stored_offset)
    }

    /// How many members a group has, 0 when there is no group.
    pub async fn members(&self, group: &str) -> u32 {
        let group = Identifier::named(group).unwrap();
        let found = self
            .client
            .get_consumer_group(&self.stream_id(), &self.id(), &group)
            .await;
        found.unwrap().map_or(0, |group| group.members_count)
    }

    /// A sink's entry for it.
    pub fn input(&self, group: &str) -> spec::Input {
        spec::Input {
            stream: self.stream.clone(),
            topics: vec![self.name.clone()],
            schema: Schema::Raw,
            batch_length: 100,
            batch_timeout: Duration::ZERO,
            poll_interval: Duration::from_millis(5),
            consumer_group: group.to_owned(),
            start_from: spec::StartFrom::First,
            partitions: 1,
            create: false,
        }
    }

    /// A source's entry for it.
    pub fn output(&self) -> spec::Output {
        spec::Output {
            stream: self.stream.clone(),
            topic: self.name.clone(),
            route: None,
            schema: Schema::Raw,
            batch_length: 100,
            poll_interval: Duration::from_millis(5),
            linger: None,
            partitions: 1,
            create: false,
        }
    }
}

/// A signed-in client that gives up soon when the broker is gone.
pub async fn client(address: &str) -> IggyClient {
    let options =
        "reestablish_after=1ms&reconnection_interval=50ms&reconnection_retries=40&nodelay=true";
    let connection = format!("iggy://iggy:iggy@{address}?{options}");
    let client = IggyClient::from_connection_string(&connection).unwrap();
    client.connect().await.unwrap();
    client
}

pub fn iggy_at(address: &str) -> spec::Iggy {
    spec::Iggy {
        address: address.to_owned(),
        username: "iggy".to_owned(),
        password: SecretString::from("iggy"),
        token: None,
        request_timeout: Duration::from_secs(10),
        tls: None,
        embedded: None,
    }
}

pub fn text(message: &IggyMessage) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

/// Waits until `found` is what is wanted.
pub async fn eventually<T: PartialEq + std::fmt::Debug>(
    wanted: T,
    mut find: impl AsyncFnMut() -> T,
) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = find().await;
        if found == wanted {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{found:?} instead of {wanted:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
