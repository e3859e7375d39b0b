//! A daemon's folder with one source that numbers its messages, at a broker in a process of its own, and a look into its topics.

use std::time::Duration;

use iggy::prelude::IggyMessage;
use tokio::time::Instant;

use super::harness::{
    broker::{Topic, client},
    broker_process::BrokerProcess,
    daemon::{Daemon, Home},
};

/// Longer than what a loaded machine needs for the messages of a test.
const LONG: Duration = Duration::from_secs(120);
pub const SOURCE: &str = "numbers";

pub struct Site {
    pub broker: BrokerProcess,
    pub home: Home,
    stream: String,
}

impl Site {
    /// `outputs` are the lines of each `[[streams]]` entry besides the stream, `lines` stand in the source's table, and `plugin` in
    /// its plugin's. `through` is where the daemon reaches the broker.
    pub async fn new(
        broker: BrokerProcess,
        through: &str,
        outputs: &[&str],
        lines: &str,
        plugin: &str,
    ) -> Self {
        let stream = format!("test-{}", uuid::Uuid::new_v4().simple());
        let mut config = format!(
            r#"
[http]
address = "127.0.0.1:0"
[sources.{SOURCE}]
path = "libledger_source"
retry = {{ initial_backoff = "20ms", max_backoff = "200ms" }}
restart = {{ initial_backoff = "50ms", max_backoff = "200ms" }}
{lines}
[sources.{SOURCE}.plugin_config]
until = "until"
acked = "acked"
deed = "deed"
{plugin}
"#
        );
        for output in outputs {
            config += &format!(
                "\n[[sources.{SOURCE}.streams]]\nstream = \"{stream}\"\nschema = \"raw\"\n{output}\n"
            );
        }
        let mut home = Home::new(&config.replace("STREAM", &stream));
        home.set("IGGY_CONNECTORS_IGGY_ADDRESS", through);
        Self {
            broker,
            home,
            stream,
        }
    }

    /// Makes the source end at a number.
    pub fn end_at(&self, end: u64) {
        let path = self.home.path().join("until");
        let beside = path.with_extension("new");
        std::fs::write(&beside, end.to_string()).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    /// The next number after the last one that was acknowledged.
    pub fn acked(&self) -> u64 {
        let text = std::fs::read_to_string(self.home.path().join("acked")).unwrap_or_default();
        let whole = text.lines().filter_map(|line| line.strip_suffix(" ."));
        whole
            .filter_map(|line| line.parse().ok())
            .max()
            .unwrap_or(0)
    }

    /// Waits until everything below a number was acknowledged.
    pub async fn acked_to(&self, number: u64, daemon: &Daemon) {
        let deadline = Instant::now() + LONG;
        while self.acked() < number {
            assert!(
                Instant::now() < deadline,
                "{} of {number} acknowledged\n{}",
                self.acked(),
                daemon.stderr().text()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn topic(&self, name: &str) -> Topic {
        Topic {
            client: client(self.broker.address()).await,
            stream: self.stream.clone(),
            name: name.to_owned(),
        }
    }

    /// The messages of each partition.
    pub async fn messages(&self, name: &str, partitions: u32) -> Vec<Vec<IggyMessage>> {
        let topic = self.topic(name).await;
        let mut all = Vec::new();
        for partition in 0..partitions {
            all.push(topic.read(partition).await);
        }
        all
    }

    /// The numbers in each partition, in order.
    pub async fn numbers(&self, name: &str, partitions: u32) -> Vec<Vec<u64>> {
        let all = self.messages(name, partitions).await;
        all.iter()
            .map(|messages| messages.iter().map(number).collect())
            .collect()
    }
}

/// What stands at the beginning of a payload.
pub fn number(message: &IggyMessage) -> u64 {
    let text = std::str::from_utf8(&message.payload).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// A source's counts at rest.
pub async fn at_rest(daemon: &Daemon) -> [u64; 3] {
    let count = |stats: &serde_json::Value, key: &str| stats[key].as_u64().unwrap();
    let stats = daemon
        .wait_for_stats(SOURCE, |stats| {
            let left = ["messages_sent", "messages_filtered", "messages_failed"];
            let left: u64 = left.iter().map(|key| count(stats, key)).sum();
            count(stats, "messages_produced") == left
        })
        .await;
    ["messages_produced", "messages_sent", "messages_failed"].map(|key| count(&stats, key))
}
