//! What a daemon says and does while its broker is frozen, missing a topic or a group, or shared with others: it waits, tells why and
//! until when, and goes on. What arrives through longer faults is counted in `faults`.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod broker_process;
    pub mod daemon;
    pub mod ledger;
    pub mod port;
    pub mod reader;
}

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use harness::{
    broker::{Broker, Topic, client, eventually, iggy_at},
    broker_process::BrokerProcess,
    daemon::{Daemon, Home},
    ledger,
    reader::{Reader, numbered},
};
use iggy::prelude::*;
use rustix::process::Signal;
use serde_json::Value;

const SINK: &str = "ledger";
const SOURCE: &str = "numbers";
const GROUP: &str = "iggy-connect-sink-ledger";
const RETRY: &str = "retry = { initial_backoff = \"20ms\", max_backoff = \"300ms\" }";

/// A topic, a folder for daemons that read it, and what they wrote down of it.
struct Site {
    topic: Topic,
    home: Home,
}

impl Site {
    /// `sink` and `stream` are more lines of the sink and of its stream; `others` whatever else stands in the file.
    fn new(topic: Topic, address: &str, sink: &str, stream: &str, others: &str) -> Self {
        let config = format!(
            "[sinks.{SINK}]\npath = \"libledger_sink\"\n{RETRY}\n{sink}\n\
             [[sinks.{SINK}.streams]]\nstream = \"{}\"\ntopics = [\"{}\"]\nschema = \"raw\"\nbatch_length = 10\n{stream}\n\
             [sinks.{SINK}.plugin_config]\nledger = \"ledger\"\n{others}",
            topic.stream, topic.name,
        );
        let mut home = Home::new(&config);
        home.set("IGGY_CONNECTORS_IGGY_ADDRESS", address);
        Self { topic, home }
    }

    /// With a source that numbers its messages beside the sink.
    fn with_source(topic: Topic, address: &str, stream: &str) -> Self {
        let source = format!(
            "[sources.{SOURCE}]\npath = \"libledger_source\"\n{RETRY}\n[[sources.{SOURCE}.streams]]\nstream = \"{}\"\n\
             topic = \"{}\"\nschema = \"raw\"\n{stream}\n[sources.{SOURCE}.plugin_config]\nbatch = 10\nacked = \"acked\"\n",
            topic.stream, topic.name,
        );
        Self::new(topic, address, "", stream, &source)
    }

    /// What was written down: partition and offset.
    fn taken(&self) -> Vec<(u32, u64)> {
        ledger::places(&self.home.path().join("ledger"))
    }

    /// Waits until everything that the partition holds was written down, and nothing is missing.
    async fn caught_up(&self, partition: u32) {
        let sent = self.topic.read(partition).await;
        let sent = sent
            .iter()
            .map(|message| (partition, message.header.offset));
        let mut missing: BTreeSet<_> = sent.collect();
        eventually(0, async || {
            for place in self.taken() {
                missing.remove(&place);
            }
            missing.len()
        })
        .await;
    }
}

/// Waits until the connector says that it tries again, why, and when.
async fn told(daemon: &Daemon, key: &str, why: &str) {
    let route = if key == SINK { "sinks" } else { "sources" };
    let mut last = Value::Null;
    eventually(true, async || {
        last = daemon.get(&format!("/{route}/{key}")).await;
        let said = last["last_error"]["message"].as_str().unwrap_or_default();
        last["status"] == "retrying" && said.contains(why) && last["next_restart_at"].is_u64()
    })
    .await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let next = Duration::from_micros(last["next_restart_at"].as_u64().unwrap());
    assert!(next + Duration::from_secs(60) > now, "{last}");
    let stats = daemon.stats(key).await;
    assert!(stats["errors"].as_u64() > Some(0), "{stats}");
}

async fn running(daemon: &Daemon, key: &str) {
    daemon
        .wait_for_stats(key, |stats| stats["status"] == "running")
        .await;
}

async fn progress(daemon: &Daemon, key: &str, count: &str) {
    let before = daemon.stats(key).await[count].as_u64();
    daemon
        .wait_for_stats(key, |stats| stats[count].as_u64() > before)
        .await;
}

async fn missing_topic(address: &str) -> Topic {
    Topic {
        client: client(address).await,
        stream: format!("test-{}", uuid::Uuid::new_v4().simple()),
        name: "messages".to_owned(),
    }
}

#[tokio::test]
async fn a_broker_that_answers_nothing_is_told_and_gone_on_with() {
    let broker = BrokerProcess::start().await;
    let topic = missing_topic(broker.address()).await;
    let site = Site::with_source(topic, broker.address(), "");
    let daemon = site.home.start().await;
    progress(&daemon, SINK, "messages_processed").await;
    broker.signal(Signal::STOP);
    for key in [SINK, SOURCE] {
        told(&daemon, key, broker.address()).await;
    }
    broker.signal(Signal::CONT);
    for (key, count) in [(SOURCE, "messages_sent"), (SINK, "messages_processed")] {
        running(&daemon, key).await;
        progress(&daemon, key, count).await;
    }
    site.caught_up(0).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_broker_that_stops_taking_a_large_batch_is_told_and_gone_on_with() {
    let broker = BrokerProcess::start().await;
    let topic = missing_topic(broker.address()).await;
    // Each batch is more than what lies in sockets.
    let source = format!(
        "[sources.{SOURCE}]\npath = \"libledger_source\"\n{RETRY}\n[[sources.{SOURCE}.streams]]\nstream = \"{}\"\n\
         topic = \"{}\"\nschema = \"raw\"\n[sources.{SOURCE}.plugin_config]\nbatch = 2\nsize = 20_000_000\nuntil = \"until\"\n\
         acked = \"acked\"\n",
        topic.stream, topic.name,
    );
    let mut home = Home::new(&source);
    home.set("IGGY_CONNECTORS_IGGY_ADDRESS", broker.address());
    let until =
        |number: u64| std::fs::write(home.path().join("until"), number.to_string()).unwrap();
    until(2);
    let daemon = home.start().await;
    let sent = async |count: u64| {
        daemon
            .wait_for_stats(SOURCE, |stats| stats["messages_sent"] == count)
            .await
    };
    sent(2).await;
    broker.signal(Signal::STOP);
    until(4);
    daemon.stderr().wait_for("request_timeout").await;
    broker.signal(Signal::CONT);
    sent(4).await;
    running(&daemon, SOURCE).await;
    let found = topic.texts(0).await;
    let found: BTreeSet<_> = found.iter().map(|text| &text[..1]).collect();
    assert_eq!(found, BTreeSet::from(["0", "1", "2", "3"]));
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_daemon_ends_while_its_broker_answers_nothing() {
    let broker = BrokerProcess::start().await;
    let topic = missing_topic(broker.address()).await;
    let mut site = Site::with_source(topic, broker.address(), "");
    let timeout = "IGGY_CONNECTORS_RUNTIME_SHUTDOWN_TIMEOUT";
    site.home.set(timeout, "3s");
    let mut daemon = site.home.start().await;
    progress(&daemon, SINK, "messages_processed").await;
    broker.signal(Signal::STOP);
    daemon.signal(Signal::INT);
    // What could not be finished is said with the exit code.
    assert_eq!(daemon.ended().await.code(), Some(1));
    broker.signal(Signal::CONT);
    site.home.set(timeout, "45s");
    let daemon = site.home.start().await;
    progress(&daemon, SINK, "messages_processed").await;
    site.caught_up(0).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_daemon_may_start_before_its_broker() {
    let mut broker = BrokerProcess::start().await;
    let topic = missing_topic(broker.address()).await;
    broker.kill().await;
    let site = Site::with_source(topic, broker.address(), "");
    let daemon = site.home.start().await;
    for key in [SINK, SOURCE] {
        told(&daemon, key, "cannot reach Iggy").await;
    }
    broker.again().await;
    progress(&daemon, SOURCE, "messages_sent").await;
    progress(&daemon, SINK, "messages_processed").await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_topic_that_may_not_be_created_is_waited_for() {
    let mut broker = BrokerProcess::start().await;
    let topic = missing_topic(broker.address()).await;
    topic.create(1).await;
    let site = Site::with_source(topic, broker.address(), "create = false");
    let daemon = site.home.start().await;
    progress(&daemon, SINK, "messages_processed").await;
    broker.kill().await;
    broker.wipe();
    broker.again().await;
    for key in [SINK, SOURCE] {
        told(&daemon, key, "create = true").await;
    }
    let topic = Topic {
        client: client(broker.address()).await,
        stream: site.topic.stream.clone(),
        name: site.topic.name.clone(),
    };
    topic.create(1).await;
    progress(&daemon, SOURCE, "messages_sent").await;
    progress(&daemon, SINK, "messages_processed").await;
    daemon
        .stderr()
        .wait_for("Iggy knows nothing of the group any more")
        .await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_broker_that_comes_back_empty_gets_its_topics_again() {
    let mut broker = BrokerProcess::start().await;
    let topic = missing_topic(broker.address()).await;
    let site = Site::new(
        topic,
        broker.address(),
        "",
        "start_from = \"next\"\npartitions = 2",
        "",
    );
    let daemon = site.home.start().await;
    running(&daemon, SINK).await;
    site.topic.send(0, numbered(0..50)).await;
    site.caught_up(0).await;
    broker.kill().await;
    broker.wipe();
    broker.again().await;
    // What is sent at once is read although it is there before the sink is: the group was begun, and only its place is lost.
    let topic = Topic {
        client: client(broker.address()).await,
        stream: site.topic.stream.clone(),
        name: site.topic.name.clone(),
    };
    eventually(true, async || {
        let found = topic
            .client
            .get_topic(&topic.stream_id(), &topic.id())
            .await;
        found
            .unwrap()
            .is_some_and(|topic| topic.partitions_count == 2)
    })
    .await;
    let before = site.taken().len();
    topic.send(1, numbered(0..50)).await;
    eventually(50, async || site.taken().len() - before).await;
    daemon.stderr().wait_for("created the topic").await;
    daemon
        .stderr()
        .wait_for("Iggy knows nothing of the group any more")
        .await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_group_that_is_deleted_misses_nothing() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    let address = broker.address().to_owned();
    let site = Site::new(topic, &address, "", "", "");
    let daemon = site.home.start().await;
    for round in 0..3 {
        for partition in 0..2 {
            let texts = numbered(round * 30..round * 30 + 30);
            site.topic.send(partition, texts).await;
        }
        let (stream, name) = (site.topic.stream_id(), site.topic.id());
        let group = Identifier::named(GROUP).unwrap();
        // In the first round it may not be there yet.
        let _ = site
            .topic
            .client
            .delete_consumer_group(&stream, &name, &group)
            .await;
    }
    site.caught_up(0).await;
    site.caught_up(1).await;
    running(&daemon, SINK).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn partitions_that_are_added_are_read() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let address = broker.address().to_owned();
    let site = Site::new(topic, &address, "", "start_from = \"next\"", "");
    let daemon = site.home.start().await;
    running(&daemon, SINK).await;
    let (stream, name) = (site.topic.stream_id(), site.topic.id());
    site.topic
        .client
        .create_partitions(&stream, &name, 2)
        .await
        .unwrap();
    for partition in 0..3 {
        site.topic.send(partition, numbered(0..20)).await;
    }
    for partition in 0..3 {
        site.caught_up(partition).await;
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn an_exclusive_sink_waits_until_the_other_is_gone() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    let address = broker.address().to_owned();
    let (stream, name) = (topic.stream.clone(), topic.name.clone());
    let one = Site::new(topic, &address, "consumer.exclusive = true", "", "");
    let first = one.home.start().await;
    running(&first, SINK).await;
    let topic = Topic {
        client: client(&address).await,
        stream,
        name,
    };
    let two = Site::new(topic, &address, "consumer.exclusive = true", "", "");
    let second = two.home.start().await;
    told(&second, SINK, "another member").await;
    one.topic.send(0, numbered(0..20)).await;
    one.topic.send(1, numbered(0..20)).await;
    one.caught_up(0).await;
    one.caught_up(1).await;
    assert_eq!(first.stats(SINK).await["status"], "running");
    assert_eq!(two.taken(), []);
    first.interrupt().await;
    running(&second, SINK).await;
    two.topic.send(0, numbered(20..40)).await;
    eventually(20, async || two.taken().len()).await;
    assert!(two.taken().iter().all(|(_, offset)| *offset >= 20));
    // Who does not ask for it is not kept out, and is told of.
    let other = Reader::start(&iggy_at(&address), &[two.topic.input(GROUP)]).await;
    second
        .stderr()
        .wait_for("another member has joined the group")
        .await;
    other.stop().await.unwrap();
    second.interrupt().await;
}

#[tokio::test]
async fn where_a_sink_begins_outlives_a_kill() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..30)).await;
    let address = broker.address().to_owned();
    let site = Site::new(topic, &address, "", "start_from = \"next\"", "");
    let daemon = site.home.start().await;
    running(&daemon, SINK).await;
    daemon.kill().await;
    site.topic.send(0, numbered(30..50)).await;
    let daemon = site.home.start().await;
    eventually(20, async || site.taken().len()).await;
    assert_eq!(site.taken().first(), Some(&(0, 30)));
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_expires_while_a_daemon_is_away_is_counted() {
    let (broker, topic) = Broker::trimming(|topic| {
        topic.max_topic_size = Some(MaxTopicSize::Custom(IggyByteSize::from(128 * 1024)));
    })
    .await;
    let site = Site::new(topic, broker.address(), "", "", "");
    let daemon = site.home.start().await;
    site.topic.send(0, numbered(0..20)).await;
    eventually(20, async || site.taken().len()).await;
    daemon.interrupt().await;

    let filler = "x".repeat(1_000);
    for batch in 0..20 {
        let numbers = batch * 50..(batch + 1) * 50;
        let texts = numbers.map(|number| format!("f{number}{filler}"));
        site.topic.send(0, texts).await;
    }
    eventually(true, async || {
        site.topic.read(0).await[0].header.offset > 200
    })
    .await;
    let daemon = site.home.start().await;
    let stats = daemon
        .wait_for_stats(SINK, |stats| {
            let count = |key: &str| stats[key].as_u64().unwrap();
            count("messages_expired") + count("messages_processed") == 1_000
        })
        .await;
    assert!(stats["messages_expired"].as_u64() > Some(100), "{stats}");
    let line = daemon
        .stderr()
        .wait_for("expired before they were read")
        .await;
    for part in [&*site.topic.name, "partition=0", "from=20", "expired="] {
        assert!(line.contains(part), "{line}");
    }
    daemon.interrupt().await;
}
