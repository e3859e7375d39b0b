//! Our side of a measurement: a daemon with one connector, timed by its own counts.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    Load,
    bare::{TOPIC, Topic, payload},
    process::{Daemon, beside_daemon},
};

/// Which pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Pass-through into the stdout sink without printing; offsets stored.
    Sink,
    /// The same, beside the loop that stores nothing.
    SinkBesidePoll,
    /// The same with settings that could be expected to help.
    SinkTuned,
    /// Four batches in flight.
    Source,
    /// The same, each batch with a state that is saved durably before its result.
    SourceWithState,
    /// The same as `Source`, with settings that could be expected to help.
    SourceTuned,
    /// The result of a batch comes before the next poll, without state.
    SourceOneByOne,
    /// The result of a batch comes before the next poll, and its state is saved before.
    SourceOneByOneWithState,
}

/// What was measured.
#[derive(Debug)]
pub struct Ours {
    pub per_second: f64,
    /// Processor seconds of the daemon per million messages.
    pub cpu_s_per_million: f64,
    pub peak_kib: u64,
}

const GROUP: &str = "ours";

/// The shares of messages between which the clock runs: by the first the connector flows, and the second is before its end.
const WARM: f64 = 0.05;
const LATE: f64 = 0.95;

/// Seldom, since asking takes time from what is measured.
const SAMPLE: Duration = Duration::from_millis(20);

const PATIENCE: Duration = Duration::from_secs(300);

impl Path {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::SinkBesidePoll => "sink beside a loop that stores nothing",
            Self::SinkTuned => "sink, tuned",
            Self::Source => "source",
            Self::SourceWithState => "source, state saved per batch",
            Self::SourceTuned => "source, tuned",
            Self::SourceOneByOne => "source, one in flight",
            Self::SourceOneByOneWithState => "source, one in flight, state",
        }
    }

    /// Whether it reads a topic that has to be filled before.
    pub fn reads(self) -> bool {
        matches!(self, Self::Sink | Self::SinkBesidePoll | Self::SinkTuned)
    }

    fn config(self, load: &Load, topic: &Topic) -> String {
        let stream = &topic.stream;
        let batch = load.batch;
        if self.reads() {
            let tuned = if self == Self::SinkTuned {
                "commit_interval = \"1s\"\n"
            } else {
                ""
            };
            let plugin = beside_daemon("deps/libiggy_connector_stdout_sink");
            return format!(
                "[sinks.bench]\npath = \"{}\"\n{tuned}[[sinks.bench.streams]]\nstream = \"{stream}\"\ntopics = [\"{TOPIC}\"]\n\
                 schema = \"json\"\nbatch_length = {batch}\nconsumer_group = \"{GROUP}\"\n",
                plugin.display()
            );
        }
        let tuned = if self == Self::SourceTuned {
            "[plugins]\nworker_threads = 2\n"
        } else {
            ""
        };
        let plugin = beside_daemon("libiggy_connector_bench_source");
        format!(
            "{tuned}[sources.bench]\npath = \"{}\"\n[[sources.bench.streams]]\nstream = \"{stream}\"\ntopic = \"{TOPIC}\"\n\
             schema = \"json\"\nbatch_length = {batch}\n[sources.bench.plugin_config]\ncount = {}\nbatch = {batch}\n\
             state = {}\npayload = '{}'\nin_flight = {}\n",
            plugin.display(),
            load.count,
            matches!(self, Self::SourceWithState | Self::SourceOneByOneWithState),
            String::from_utf8_lossy(&payload(load.message_size)),
            if matches!(self, Self::SourceOneByOne | Self::SourceOneByOneWithState) {
                1
            } else {
                4
            },
        )
    }
}

impl Ours {
    pub async fn measure(load: &Load, topic: &Topic, path: Path) -> Result<Self, String> {
        let daemon = Daemon::start(&load.address, &path.config(load, topic)).await?;
        let mut counts = Counts::new(&daemon.api, path);
        let warm = counts.wait_for((load.count as f64 * WARM) as u64).await?;
        let cpu = daemon.cpu_seconds();
        let end = counts.wait_for((load.count as f64 * LATE) as u64).await?;
        let cpu = daemon.cpu_seconds() - cpu;
        counts.wait_for(load.count).await?;
        let messages = (end.count - warm.count) as f64;
        let measured = Self {
            per_second: messages / end.at.duration_since(warm.at).as_secs_f64(),
            cpu_s_per_million: cpu / messages * 1e6,
            peak_kib: daemon.peak_kib(),
        };
        daemon.stop().await?;
        if path.reads() {
            let stored = topic.stored(GROUP).await?;
            if stored != Some(load.count - 1) {
                return Err(format!(
                    "the stored offset is {stored:?} after {} messages",
                    load.count
                ));
            }
        }
        Ok(measured)
    }
}

/// The connector's count in `/stats`, sampled.
struct Counts {
    client: reqwest::Client,
    url: String,
    field: &'static str,
}

struct Sample {
    at: Instant,
    count: u64,
}

impl Counts {
    fn new(api: &str, path: Path) -> Self {
        Self {
            client: reqwest::Client::new(),
            url: format!("{api}/stats"),
            field: if path.reads() {
                "messages_processed"
            } else {
                "messages_sent"
            },
        }
    }

    async fn wait_for(&mut self, count: u64) -> Result<Sample, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.read().await.map_err(|error| error.to_string())?;
            let at = Instant::now();
            let connector = &stats["connectors"][0];
            let now = connector[self.field].as_u64().unwrap_or_default();
            if now >= count {
                return Ok(Sample { at, count: now });
            }
            if at > deadline || connector["status"] == "error" {
                return Err(format!("the connector does not get on: {connector}"));
            }
            tokio::time::sleep(SAMPLE).await;
        }
    }

    async fn read(&self) -> Result<Value, reqwest::Error> {
        self.client.get(&self.url).send().await?.json().await
    }
}
