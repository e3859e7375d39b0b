//! Plugins that panic, block a thread for ever, or never complete a call, at each of their entry points, beside a flow that must not
//! notice.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{
    flow::{Flow, GROUP, SINK, SOURCE, Server, Setup, new_topic},
    harness::{
        broker::{Topic, client},
        daemon::{Daemon, PATIENCE},
    },
    oracle::Verdict,
    run::Run,
};

/// What the API promises for an answer. Most keep it on a machine that is busy with other things, too, and the slowest takes no more
/// than ten times as long.
const PROMISED: Duration = Duration::from_millis(100);

/// Connectors that go wrong.
struct Bad {
    config: String,
    /// The keys of those that do so as soon as they run.
    failing: Vec<String>,
    /// The routes of those that do so when they are ended, and how they are.
    ending: Vec<(String, &'static str)>,
}

/// Whatever a plugin does or leaves undone is noticed soon, and not tried again.
const IMPATIENT: &str = r#"
open_timeout = "300ms"
poll_timeout = "300ms"
consume_timeout = "300ms"
close_timeout = "300ms"
restart = { policy = "never" }
health = { interval = "50ms", timeout = "300ms", failures = 1, action = "stop" }
"#;

impl Bad {
    fn new() -> Self {
        Self {
            config: "[runtime]\nshutdown_timeout = \"5s\"\n".to_owned(),
            failing: Vec::new(),
            ending: Vec::new(),
        }
    }

    /// A source that goes wrong at `entry` as its plugin's configuration says. Its messages name a route of their own.
    fn source(&mut self, entry: &str, library: &str, stream: &str, plugin: &str) {
        let key = format!("source_{entry}");
        self.config += &format!(
            r#"
[sources.{key}]
path = "{library}"
{IMPATIENT}
[[sources.{key}.streams]]
stream = "{stream}"
topic = "{key}"
schema = "raw"
[[sources.{key}.streams]]
stream = "stream"
topic = "topic"
schema = "raw"
[sources.{key}.plugin_config]
{plugin}
"#
        );
        self.sort(entry, "sources", key);
    }

    /// A sink that does, for the messages of a topic.
    fn sink(&mut self, entry: &str, library: &str, topic: &Topic, plugin: &str) {
        let key = format!("sink_{entry}");
        let Topic { stream, name, .. } = topic;
        let limits = IMPATIENT.replace("poll_timeout = \"300ms\"\n", "");
        self.config += &format!(
            r#"
[sinks.{key}]
path = "{library}"
{limits}
[[sinks.{key}.streams]]
stream = "{stream}"
topics = ["{name}"]
schema = "text"
[sinks.{key}.plugin_config]
{plugin}
"#
        );
        self.sort(entry, "sinks", key);
    }

    fn sort(&mut self, entry: &str, route: &str, key: String) {
        match entry {
            "flush" => self.ending.push((format!("/{route}/{key}"), "pause")),
            "close" => self.ending.push((format!("/{route}/{key}"), "stop")),
            _ => self.failing.push(key),
        }
    }
}

/// A topic beside the flow's, with one message.
async fn topic_of(server: &str, stream: &str, text: &str) -> Topic {
    let topic = Topic {
        client: client(server).await,
        stream: stream.to_owned(),
        name: text.to_owned(),
    };
    topic.create_in_stream(1).await;
    topic.send(0, [text.to_owned()]).await;
    topic
}

/// Plugins made with the SDK do `deed` at each entry point.
async fn scripted(server: &str, stream: &str, deed: &str) -> Bad {
    let mut bad = Bad::new();
    let (topic, quiet) = (
        topic_of(server, stream, deed).await,
        topic_of(server, stream, "well").await,
    );
    for entry in ["open", "health", "flush", "close"] {
        let plugin = format!("{entry} = \"{deed}\"");
        bad.sink(entry, "libscripted_sink", &quiet, &plugin);
    }
    bad.sink("consume", "libscripted_sink", &topic, "");
    for entry in ["open", "poll", "result", "health", "close"] {
        let poll = if entry == "poll" {
            ""
        } else {
            "poll = \"slow\"\n"
        };
        let plugin = format!("{poll}{entry} = \"{deed}\"");
        bad.source(entry, "libscripted_source", stream, &plugin);
    }
    if deed == "panic" {
        bad.sink("new", "libscripted_sink", &quiet, "new = \"panic\"");
        bad.source("new", "libscripted_source", stream, "new = \"panic\"");
        let start = "acked = \"started\"\nstart = \"panic\"";
        bad.source("start", "libledger_stream", stream, start);
    }
    bad
}

/// A plugin written by hand does `deed` with its completions at each entry point.
async fn by_hand(server: &str, stream: &str, deed: &str) -> Bad {
    let mut bad = Bad::new();
    let topic = topic_of(server, stream, deed).await;
    let plugin = |entry: &str| format!("at = \"{entry}\"\ndo = \"{deed}\"");
    for entry in ["open", "consume", "health", "flush", "close"] {
        bad.sink(entry, "libmisbehaving_sink", &topic, &plugin(entry));
    }
    // Its first batch is its last, after which nobody asks how it is.
    for entry in ["open", "poll", "settle"] {
        bad.source(entry, "libmisbehaving_source", stream, &plugin(entry));
    }
    bad
}

#[tokio::test]
async fn a_plugin_that_goes_wrong_harms_nobody_else() {
    let mut run = Run::new("plugins");
    let server = Server::start().await;
    let mut total = Verdict::of::<u64>([], []);
    let (mut slow, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for deed in [
        "panic",
        "block",
        "never",
        "panicked",
        "bad_status",
        "null_outcome",
    ] {
        let topic = new_topic(server.address()).await;
        topic.create(1).await;
        let bad = match deed {
            "panic" | "block" => scripted(server.address(), &topic.stream, deed).await,
            _ => by_hand(server.address(), &topic.stream, deed).await,
        };
        let setup = Setup {
            others: bad.config.clone(),
            ..Setup::default()
        };
        let flow = Flow::of(topic, server.address(), setup);
        let mut daemon = flow.home.start().await;
        let mut latencies = watched(&daemon, &bad, deed).await;
        latencies.sort();
        let median = latencies[latencies.len() / 2];
        let longest = latencies[latencies.len() - 1];
        assert!(
            median < PROMISED && longest < 10 * PROMISED,
            "{deed}: half of the answers of the API took up to {median:?}, one took {longest:?}"
        );
        let lines = flow.taken().len() + run.scaled(500, 20_000);
        flow.written(lines).await;
        let end = flow.end_after(100);
        flow.settled(&daemon, end).await;
        for key in [SINK, SOURCE] {
            assert_eq!(
                daemon.stats(key).await["status"],
                "running",
                "{deed}: {key}"
            );
        }
        daemon.signal(Signal::TERM);
        daemon.ended().await;
        // What the others held back at the stop did not keep the flow from being stopped in order.
        let stored = flow.topic.stored(GROUP, 0).await;
        assert_eq!(stored, Some(flow.places().await.len() as u64 - 1), "{deed}");
        run.tried();
        slowest = slowest.max(longest);
        slow = slow.max(median);
        total = total
            .and(flow.of_source(end).await)
            .and(flow.of_sink().await);
    }
    let what = format!(", API mostly {slow:.0?}, at most {slowest:.0?}");
    run.finish(&what, &total, 0);
}

/// Waits until all are in error that fail while they run, ends the others, and returns how long the API took for its answers meanwhile.
async fn watched(daemon: &Daemon, bad: &Bad, deed: &str) -> Vec<Duration> {
    let is_over = |connector: &Value| connector["status"] == "error";
    let failing = |connector: &Value| {
        let key = connector["key"].as_str().unwrap();
        bad.failing.iter().any(|failing| failing == key)
    };
    let mut latencies = all(daemon, |connector| {
        is_over(connector) || !failing(connector)
    })
    .await;
    for (connector, command) in &bad.ending {
        let (answer, said) = daemon.post(&format!("{connector}/{command}")).await;
        assert!((200..300).contains(&answer), "{deed}: {connector}: {said}");
    }
    let ended = |connector: &Value| {
        let key = connector["key"].as_str().unwrap();
        let is_ending = bad.ending.iter().any(|(route, _)| route.ends_with(key));
        let status = connector["status"].as_str().unwrap();
        !is_ending || ["paused", "stopped", "error"].contains(&status)
    };
    latencies.extend(all(daemon, ended).await);
    latencies
}

/// Waits until all connectors are as they shall be, and returns how long the API took for its answers meanwhile.
async fn all(daemon: &Daemon, is_so: impl Fn(&Value) -> bool) -> Vec<Duration> {
    let started = Instant::now();
    let mut latencies = Vec::new();
    loop {
        let asked = Instant::now();
        let stats = daemon.get("/stats").await;
        latencies.push(asked.elapsed());
        let connectors = stats["connectors"].as_array().unwrap();
        let left: Vec<_> = connectors.iter().filter(|one| !is_so(one)).collect();
        if left.is_empty() {
            return latencies;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{left:#?}\n{}",
            daemon.stderr().text()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
