//! Plugins that panic, block a thread for ever, or never complete a call, at each of their entry points, beside a flow that must not
//! notice.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{
    flow::{Flow, GROUP, SINK, SOURCE, Server, Setup, new_topic},
    harness::{
        broker::{Topic, client},
        daemon::Daemon,
    },
    oracle::Verdict,
    run::Run,
};

/// Ten times what is promised: the machine may be busy.
const MOST_LATENCY: Duration = Duration::from_secs(1);

/// Connectors that go wrong, and the keys of those that do so before they are stopped.
struct Bad {
    config: String,
    failing: Vec<String>,
}

impl Bad {
    fn new() -> Self {
        Self {
            config: "[runtime]\nshutdown_timeout = \"5s\"\n".to_owned(),
            failing: Vec::new(),
        }
    }

    /// A source that goes wrong as its plugin's configuration says.
    fn source(&mut self, key: &str, library: &str, stream: &str, plugin: &str) {
        self.config += &format!(
            r#"
[sources.{key}]
path = "{library}"
open_timeout = "300ms"
poll_timeout = "300ms"
close_timeout = "300ms"
consume_timeout = "300ms"
restart = {{ policy = "never" }}
[[sources.{key}.streams]]
stream = "{stream}"
topic = "{key}"
schema = "raw"
[sources.{key}.plugin_config]
{plugin}
"#
        );
    }

    /// A sink that does, for the messages of a topic.
    fn sink(&mut self, key: &str, library: &str, topic: &Topic, plugin: &str) {
        let Topic { stream, name, .. } = topic;
        self.config += &format!(
            r#"
[sinks.{key}]
path = "{library}"
open_timeout = "300ms"
consume_timeout = "300ms"
close_timeout = "300ms"
restart = {{ policy = "never" }}
[[sinks.{key}.streams]]
stream = "{stream}"
topics = ["{name}"]
schema = "text"
[sinks.{key}.plugin_config]
{plugin}
"#
        );
    }

    fn fails(&mut self, key: &str) {
        self.failing.push(key.to_owned());
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
    let topic = topic_of(server, stream, deed).await;
    for entry in ["open", "flush", "close"] {
        let key = format!("sink_{entry}");
        bad.sink(
            &key,
            "libscripted_sink",
            &topic,
            &format!("{entry} = \"{deed}\""),
        );
    }
    bad.sink("sink_consume", "libscripted_sink", &topic, "");
    for entry in ["open", "poll", "result", "close"] {
        let key = format!("source_{entry}");
        bad.source(
            &key,
            "libscripted_source",
            stream,
            &format!("{entry} = \"{deed}\""),
        );
    }
    for key in [
        "sink_open",
        "sink_consume",
        "source_open",
        "source_poll",
        "source_result",
    ] {
        bad.fails(key);
    }
    bad
}

/// A plugin written by hand does `deed` with its completions at each entry point.
async fn by_hand(server: &str, stream: &str, deed: &str) -> Bad {
    let mut bad = Bad::new();
    let topic = topic_of(server, stream, deed).await;
    for entry in ["open", "consume", "flush", "close"] {
        let plugin = format!("at = \"{entry}\"\ndo = \"{deed}\"");
        bad.sink(
            &format!("sink_{entry}"),
            "libmisbehaving_sink",
            &topic,
            &plugin,
        );
    }
    for entry in ["open", "poll", "settle", "close"] {
        let plugin = format!("at = \"{entry}\"\ndo = \"{deed}\"");
        bad.source(
            &format!("source_{entry}"),
            "libmisbehaving_source",
            stream,
            &plugin,
        );
    }
    for key in [
        "sink_open",
        "sink_consume",
        "source_open",
        "source_poll",
        "source_settle",
    ] {
        bad.fails(key);
    }
    bad
}

#[tokio::test]
async fn a_plugin_that_goes_wrong_harms_nobody_else() {
    let mut run = Run::new("plugins");
    let server = Server::start().await;
    let (mut total, mut slowest) = (Verdict::of::<u64>([], []), Duration::ZERO);
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
        let latency = watched(&daemon, &bad.failing).await;
        assert!(latency < MOST_LATENCY, "{deed}: the API took {latency:?}");
        let lines = flow.taken().len() + run.scaled(500, 20_000);
        flow.written(lines).await;
        let end = flow.acked() + 100;
        flow.end_at(end);
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
        slowest = slowest.max(latency);
        total = total
            .and(flow.of_source(end).await)
            .and(flow.of_sink().await);
    }
    run.finish(&format!(", API {slowest:.0?}"), &total, 0);
}

/// Waits until all of these are in error, and returns the longest that the API took for an answer meanwhile.
async fn watched(daemon: &Daemon, failing: &[String]) -> Duration {
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let stats = daemon.get("/stats").await;
        longest = longest.max(asked.elapsed());
        let connectors = stats["connectors"].as_array().unwrap();
        let is_over = |key: &String| {
            let of_key = |connector: &&serde_json::Value| connector["key"] == **key;
            connectors.iter().find(of_key).unwrap()["status"] == "error"
        };
        let left: Vec<_> = failing.iter().filter(|key| !is_over(key)).collect();
        if left.is_empty() {
            return longest;
        }
        assert!(
            started.elapsed() < super::harness::daemon::PATIENCE,
            "not in error: {left:?}\n{stats:#}\n{}",
            daemon.stderr().text()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
