//! What most faults are provoked in: a daemon with a source that numbers its messages and a sink that writes down what it was given,
//! at a broker in a process of its own, and what each of them must have seen in the end.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use iggy::prelude::IggyMessage;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    harness::{
        broker::{Topic, client, eventually},
        broker_process::BrokerProcess,
        daemon::{Daemon, Home, PATIENCE},
        ledger,
    },
    oracle::Verdict,
};

/// The source's and the sink's keys in the configuration.
pub const SOURCE: &str = "numbers";
pub const SINK: &str = "ledger";
/// Longer than what a loaded machine needs for the last messages of a run.
pub const LONG: Duration = Duration::from_secs(120);

/// The group that the sink joins when nothing else is said.
pub const GROUP: &str = "iggy-connect-sink-ledger";

/// What the source and the sink of a flow are told beyond the defaults, in TOML.
#[derive(Clone, Debug)]
pub struct Setup {
    pub partitions: u32,
    /// Messages of one poll of the source, and of one batch of the sink.
    pub batch: u64,
    pub source: &'static str,
    /// The source's plugin.
    pub library: &'static str,
    pub source_plugin: String,
    /// Topics that messages take in turn by their names, instead of the flow's own.
    pub routes: Vec<&'static str>,
    pub sink: String,
    /// The sink's input.
    pub stream: String,
    pub sink_plugin: String,
    pub has_sink: bool,
    pub has_source: bool,
    /// More connectors, and whatever else stands in the file.
    pub others: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            partitions: 1,
            batch: 20,
            source: "",
            library: "libledger_source",
            source_plugin: String::new(),
            routes: Vec::new(),
            sink: String::new(),
            stream: String::new(),
            sink_plugin: String::new(),
            has_sink: true,
            has_source: true,
            others: String::new(),
        }
    }
}

/// A broker that a flow uses: a process of its own, or the server that the environment names.
pub enum Server {
    Own(Box<BrokerProcess>),
    Given(String),
}

impl Server {
    pub async fn start() -> Self {
        match std::env::var("IGGY_TEST_ADDRESS") {
            Ok(address) => Self::Given(address),
            Err(_) => Self::Own(Box::new(BrokerProcess::start().await)),
        }
    }

    pub fn address(&self) -> &str {
        match self {
            Self::Own(broker) => broker.address(),
            Self::Given(address) => address,
        }
    }
}

/// A folder with its configuration, a topic, and what source and sink write down.
pub struct Flow {
    pub home: Home,
    pub topic: Topic,
    pub partitions: u32,
    batch: u64,
    has_sink: bool,
}

impl Flow {
    /// Daemons reach the broker at `address`, the test looks into it at `server`.
    pub async fn new(server: &str, address: &str, setup: Setup) -> Self {
        let topic = new_topic(server).await;
        topic.create(setup.partitions).await;
        Self::of(topic, address, setup)
    }

    /// A flow through a topic that is there.
    pub fn of(topic: Topic, address: &str, setup: Setup) -> Self {
        let mut config = String::new();
        if setup.has_source {
            config += &source(&topic, &setup);
        }
        if setup.has_sink {
            config += &sink(SINK, &topic, &setup);
        }
        config += &setup.others;
        Self {
            home: home(address, &config),
            topic,
            partitions: setup.partitions,
            batch: setup.batch,
            has_sink: setup.has_sink,
        }
    }

    /// Another daemon's folder for the same topic: a further member of the sink's group.
    pub async fn member(&self, server: &str, setup: Setup) -> Self {
        let topic = Topic {
            client: client(server).await,
            stream: self.topic.stream.clone(),
            name: self.topic.name.clone(),
        };
        Self::of(topic, server, setup)
    }

    /// What the sink is told from its next start on.
    pub fn mend(&self, setup: &Setup) {
        let config = HEAD.to_owned() + &sink(SINK, &self.topic, setup);
        std::fs::write(self.home.path().join("config.toml"), config).unwrap();
    }

    pub fn ledger(&self) -> PathBuf {
        self.home.path().join(SINK)
    }

    pub fn acked_file(&self) -> PathBuf {
        self.home.path().join("acked")
    }

    pub fn acked(&self) -> u64 {
        ledger::acked(&self.acked_file())
    }

    pub fn state_file(&self) -> PathBuf {
        self.home
            .path()
            .join(format!("local_state/source_{SOURCE}.state"))
    }

    /// Waits until so many more bytes were written down: by the sink if there is one, else by the source.
    pub async fn progress(&self, bytes: u64) {
        let path = match self.has_sink {
            true => self.ledger(),
            false => self.acked_file(),
        };
        let wanted = size(&path) + bytes;
        self.until(PATIENCE, || size(&path) >= wanted).await;
    }

    /// Waits until the source has had so many acknowledged.
    pub async fn acked_to(&self, number: u64) {
        self.until(LONG, || self.acked() >= number).await;
    }

    /// Waits until the sink has written so many lines.
    pub async fn written(&self, lines: usize) {
        self.until(LONG, || ledger::entries(&self.ledger()).len() >= lines)
            .await;
    }

    async fn until(&self, patience: Duration, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + patience;
        while !is_so() {
            assert!(
                Instant::now() < deadline,
                "no progress: {} acknowledged, {} written",
                self.acked(),
                ledger::entries(&self.ledger()).len()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Makes the source end a little beyond what anything has seen, and returns where. The daemon must not be running.
    pub async fn end_soon(&self) -> u64 {
        let seen = self.numbers().await.into_iter().max();
        let end = self.acked().max(seen.map_or(0, |seen| seen + 1)) + 3 * self.batch;
        self.end_at(end);
        end
    }

    /// Makes the source end at a number, also beside a running daemon.
    pub fn end_at(&self, end: u64) {
        self.put("until", &end.to_string());
    }

    /// Makes the source end so many messages beyond what was acknowledged, beside a running daemon, and returns where.
    pub fn end_after(&self, messages: u64) -> u64 {
        loop {
            let end = self.acked() + messages;
            self.end_at(end);
            // At most four batches are under way. Otherwise it may have gone past the end before it could read it.
            if self.acked() + 4 * self.batch <= end {
                return end;
            }
        }
    }

    /// Lets a source that has ended at a number go on.
    pub fn goes_on(&self) {
        self.end_at(u64::MAX);
    }

    /// From now on the plugin of a connector does this at each call.
    pub fn tell(&self, connector: &str, deed: &str) {
        self.put(&format!("{connector}_deed"), deed);
    }

    /// The plugin of a connector behaves again.
    pub fn forgive(&self, connector: &str) {
        std::fs::remove_file(self.home.path().join(format!("{connector}_deed"))).unwrap();
    }

    /// In one step: a plugin may look at any moment.
    fn put(&self, name: &str, text: &str) {
        let path = self.home.path().join(name);
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    /// The numbers that stand in the topic.
    pub async fn numbers(&self) -> Vec<u64> {
        self.by_partition().await.concat()
    }

    /// The same, by partition.
    pub async fn by_partition(&self) -> Vec<Vec<u64>> {
        let mut numbers = Vec::new();
        for partition in 0..self.partitions {
            let messages = self.topic.read(partition).await;
            numbers.push(messages.iter().map(number).collect());
        }
        numbers
    }

    /// Places in the topic, by partition and offset.
    pub async fn places(&self) -> Vec<(u32, u64)> {
        let mut places = Vec::new();
        for partition in 0..self.partitions {
            let messages = self.topic.read(partition).await;
            places.extend(
                messages
                    .iter()
                    .map(|message| (partition, message.header.offset)),
            );
        }
        places
    }

    /// Waits until the source has offered everything up to `end` and the sink has taken all of the topic; both are at rest then.
    pub async fn settled(&self, daemon: &Daemon, end: u64) {
        self.acked_to(end).await;
        self.drained(daemon).await;
        at_rest(daemon, SOURCE).await;
    }

    /// Waits until the sink has taken all of the topic and is at rest.
    pub async fn drained(&self, daemon: &Daemon) {
        let places = self.places().await;
        let deadline = Instant::now() + LONG;
        loop {
            let taken = self.taken();
            let verdict = Verdict::of(places.iter().copied(), taken);
            if verdict.missing.is_empty() {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "not delivered: {} messages, the first of them {:?}\n{}",
                verdict.missing.len(),
                verdict.missing.first(),
                daemon.stderr().text()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        at_rest(daemon, SINK).await;
    }

    /// Waits until the sink has stored the end of every partition.
    pub async fn stored(&self) {
        for partition in 0..self.partitions {
            let last = self.topic.read(partition).await;
            let last = last.last().map(|message| message.header.offset);
            eventually(last, async || self.topic.stored(GROUP, partition).await).await;
        }
    }

    /// How many messages the broker knows to be settled.
    pub async fn stored_messages(&self) -> u64 {
        let mut count = 0;
        for partition in 0..self.partitions {
            let stored = self.topic.stored(GROUP, partition).await;
            count += stored.map_or(0, |offset| offset + 1);
        }
        count
    }

    /// What the sink has written, by partition and offset.
    pub fn taken(&self) -> Vec<(u32, u64)> {
        ledger::places(&self.ledger())
    }

    /// Whether every number below `end` stands in the topic.
    pub async fn of_source(&self, end: u64) -> Verdict {
        let numbers = self.by_partition().await;
        Verdict::of(0..end, numbers.concat()).in_partitions(numbers)
    }

    /// Whether everything in the topic was written down.
    pub async fn of_sink(&self) -> Verdict {
        let verdict = Verdict::of(self.places().await, self.taken());
        verdict.in_partitions(self.taken_by_partition())
    }

    /// What the sink has written of each partition, in its order.
    pub fn taken_by_partition(&self) -> Vec<Vec<u64>> {
        let mut offsets = vec![Vec::new(); self.partitions as usize];
        for (partition, offset) in self.taken() {
            offsets[partition as usize].push(offset);
        }
        offsets
    }

    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// How many messages one kill may make come again at a sink: what was handed over and what was settled but not stored.
    pub fn unstored(&self) -> u64 {
        const BATCHES: u64 = 16 + 2;
        BATCHES * self.batch
    }
}

pub async fn new_topic(server: &str) -> Topic {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    Topic {
        client: client(server).await,
        stream: format!("faults-{unique}"),
        name: "messages".to_owned(),
    }
}

const HEAD: &str = "[http]\naddress = \"127.0.0.1:0\"\n";

/// A folder for daemons that use the broker at `address`.
pub fn home(address: &str, connectors: &str) -> Home {
    let mut home = Home::new(&format!("[http]\naddress = \"127.0.0.1:0\"\n{connectors}"));
    home.set("IGGY_CONNECTORS_IGGY_ADDRESS", address);
    // An answer that a machine that does much else is late with would be a fault of its own.
    home.set("IGGY_CONNECTORS_IGGY_REQUEST_TIMEOUT", "30s");
    home
}

/// Soon tried again: a run has better things to do than wait.
const RETRY: &str = "retry = { initial_backoff = \"20ms\", max_backoff = \"200ms\" }\nrestart = { initial_backoff = \"50ms\", max_backoff = \"200ms\" }";

pub fn source(topic: &Topic, setup: &Setup) -> String {
    let (stream, batch, partitions) = (&topic.stream, setup.batch, setup.partitions);
    let (lines, plugin, routes) = (setup.source, &setup.source_plugin, &setup.routes);
    let library = setup.library;
    let output = |topic: &str, line: String| {
        format!(
            r#"
[[sources.{SOURCE}.streams]]
stream = "{stream}"
topic = "{topic}"
{line}
schema = "raw"
poll_interval = "5ms"
partitions = {partitions}
"#
        )
    };
    let outputs: String = match routes.is_empty() {
        true => output(&topic.name, String::new()),
        false => {
            let routes = routes.iter();
            routes
                .map(|route| output(route, format!("route = \"{route}\"")))
                .collect()
        }
    };
    format!(
        r#"
[sources.{SOURCE}]
path = "{library}"
{RETRY}
{lines}
{outputs}
[sources.{SOURCE}.plugin_config]
batch = {batch}
until = "until"
acked = "acked"
deed = "{SOURCE}_deed"
routes = {routes:?}
{plugin}
"#
    )
}

pub fn sink(key: &str, topic: &Topic, setup: &Setup) -> String {
    let (Topic { stream, name, .. }, batch) = (topic, setup.batch);
    let (lines, input, plugin) = (&setup.sink, &setup.stream, &setup.sink_plugin);
    let retry = if lines.contains("retry =") { "" } else { RETRY };
    format!(
        r#"
[sinks.{key}]
path = "libledger_sink"
{retry}
{lines}
[[sinks.{key}.streams]]
stream = "{stream}"
topics = ["{name}"]
schema = "raw"
batch_length = {batch}
{input}
[sinks.{key}.plugin_config]
ledger = "{key}"
deed = "{key}_deed"
{plugin}
"#
    )
}

/// The number of a source's message.
pub fn number(message: &IggyMessage) -> u64 {
    let text = std::str::from_utf8(&message.payload).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// At rest, everything that entered has left.
pub fn assert_balanced(stats: &Value) {
    assert!(is_balanced(stats), "the counts do not add up: {stats}");
}

/// Tells a connector, named by its route, to do something, and waits until its status says that it has.
pub async fn ask(daemon: &Daemon, connector: &str, command: &str, status: &str) {
    let (answer, said) = daemon.post(&format!("{connector}/{command}")).await;
    assert!((200..300).contains(&answer), "{command}: {said}");
    daemon
        .wait_for(connector, |shown| shown["status"] == status)
        .await;
}

/// Waits until a connector is at rest: everything that entered has left. What feeds it has ended.
pub async fn at_rest(daemon: &Daemon, connector: &str) {
    eventually(true, async || is_balanced(&daemon.stats(connector).await)).await;
}

/// Waits until it is at rest, and this many messages have entered.
pub async fn counted(daemon: &Daemon, connector: &str, messages: u64) {
    at_rest(daemon, connector).await;
    let stats = daemon.stats(connector).await;
    assert_eq!(entered(&stats), messages, "{stats}");
}

fn entered(stats: &Value) -> u64 {
    let entered = match stats["connector_type"].as_str() {
        Some("source") => &stats["messages_produced"],
        _ => &stats["messages_consumed"],
    };
    entered.as_u64().unwrap()
}

fn is_balanced(stats: &Value) -> bool {
    let count = |key: &str| stats[key].as_u64().unwrap();
    let left = match stats["connector_type"].as_str() {
        Some("source") => "messages_sent",
        _ => "messages_processed",
    };
    entered(stats) == count(left) + count("messages_filtered") + count("messages_failed")
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
