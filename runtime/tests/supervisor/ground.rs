//! Where sequences run: a broker, and a daemon that one sequence after another uses; and what of it can be counted from outside.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use iggy::prelude::{SystemClient as _, TopicClient as _};
use iggy_connectors::{config::spec::Direction, plugin};
use rustix::process::Signal;
use serde_json::Value;

use super::{
    acts::End,
    harness::{
        broker::{Broker, Topic, eventually},
        daemon::{Daemon, Home},
    },
};

/// Lines of the daemon's log that are shown when something is not as it should be.
const LINES_SHOWN: usize = 60;

/// How often it is looked for the least that there is.
const LOOKS: u32 = 20;

pub struct Ground {
    pub home: Home,
    /// Activations hold it until they are answered.
    pub daemon: Arc<Daemon>,
    pub topic: Topic,
    topics: u32,
    /// Clients of the broker that are not the daemon's.
    others: usize,
    /// What a daemon without connectors has, once the plugins have been loaded.
    idle: Option<Counts>,
    _broker: Broker,
}

/// What a daemon has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    connections: usize,
    tasks: u64,
    files: usize,
    /// Those of plugins: its own come and go with the files that it writes.
    threads: usize,
}

impl Ground {
    pub async fn new() -> Self {
        let broker = Broker::embedded(|_| ()).await;
        let mut home = Home::in_memory("");
        home.set("IGGY_CONNECTORS_IGGY_ADDRESS", broker.address());
        home.set("RUST_LOG", "info,iggy_connectors::api::restart=debug");
        for direction in [Direction::Sink, Direction::Source] {
            copy(direction, &home.path().join(library(direction)));
        }
        let topic = broker.topic(1).await;
        let others = topic.client.get_clients().await.unwrap().len();
        Self {
            daemon: Arc::new(home.start().await),
            home,
            topic,
            topics: 0,
            others,
            idle: None,
            _broker: broker,
        }
    }

    /// A topic of a sequence's own, and a name for whatever else it has.
    pub async fn begin(&mut self) -> String {
        self.topics += 1;
        self.topic.name = format!("t{}", self.topics);
        self.topic.create_in_stream(1).await;
        self.topic.name.clone()
    }

    /// Everything that a sequence had is gone, and nothing of it is left.
    pub async fn end(&mut self) {
        let (stream, topic) = (self.topic.stream_id(), self.topic.id());
        self.topic
            .client
            .delete_topic(&stream, &topic)
            .await
            .unwrap();
        match self.idle {
            Some(idle) => eventually(idle, async || self.counts().await).await,
            None => self.idle = Some(self.least_counts().await),
        }
    }

    /// Ends the daemon.
    pub async fn stop(&mut self, end: End) {
        let daemon = Arc::get_mut(&mut self.daemon).expect("nothing is asked of it any more");
        match end {
            End::Stopped => daemon.signal(Signal::INT),
            End::Killed => daemon.signal(Signal::KILL),
        }
        let status = daemon.ended().await;
        daemon.output_closed().await;
        if end == End::Stopped {
            assert_eq!(status.code(), Some(0), "{}", self.log());
        }
    }

    /// Starts it again.
    pub async fn start(&mut self) {
        self.daemon = Arc::new(self.home.start().await);
    }

    /// Connections of the daemon to the broker.
    pub async fn connections(&self) -> usize {
        let clients = self.topic.client.get_clients().await.unwrap();
        clients.len() - self.others
    }

    /// Which connectors are paused or stopped, as it is on disk.
    pub fn lifecycle(&self) -> Vec<Value> {
        let file = self.home.path().join("local_state/lifecycle.json");
        let Ok(text) = fs::read(file) else {
            return Vec::new();
        };
        let mut read: Value = serde_json::from_slice(&text).unwrap();
        serde_json::from_value(read["connectors"].take()).unwrap()
    }

    /// The names of the versions' files.
    pub fn versions(&self) -> BTreeSet<String> {
        let names = entries(&self.folder()).into_iter();
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// Which versions were chosen, as it is on disk.
    pub fn choices(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.folder().join(".active_versions.toml"));
        let text = text.unwrap_or_default();
        let tables = text.split("\n\n").skip(1);
        tables.map(|table| table.trim().to_owned()).collect()
    }

    /// No choice can be kept from now on.
    pub fn refuse_choices(&self) {
        fs::create_dir_all(self.in_the_way().join("full")).unwrap();
    }

    pub fn accept_choices(&self) {
        fs::remove_dir_all(self.in_the_way()).unwrap();
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("local_state/connectors")
    }

    /// What stands where a choice is written before it takes the place of the old one.
    fn in_the_way(&self) -> PathBuf {
        self.folder().join(".unfinished-.active_versions.toml.tmp")
    }

    pub fn log(&self) -> String {
        let lines = self.daemon.stderr().all();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }

    async fn counts(&self) -> Counts {
        let stats = self.daemon.get("/stats").await;
        let process = Path::new("/proc").join(self.daemon.pid().to_string());
        let threads = entries(&process.join("task"));
        let names = threads.iter().map(|thread| {
            let name = fs::read_to_string(process.join("task").join(thread).join("comm"));
            name.unwrap_or_default()
        });
        Counts {
            connections: self.connections().await,
            tasks: stats["tasks"].as_u64().unwrap(),
            files: entries(&process.join("fd")).len(),
            threads: names.filter(|name| name.starts_with("ledger_")).count(),
        }
    }

    /// The least of each that is found again and again: the API's connections come on top.
    async fn least_counts(&self) -> Counts {
        let mut least = self.counts().await;
        for _ in 1..LOOKS {
            let found = self.counts().await;
            least = Counts {
                connections: least.connections.min(found.connections),
                tasks: least.tasks.min(found.tasks),
                files: least.files.min(found.files),
                threads: least.threads.min(found.threads),
            };
        }
        least
    }
}

/// The name of a plugin.
pub fn library(direction: Direction) -> String {
    format!("libledger_{}.so", direction.name())
}

/// Copies a plugin without what is of use to debuggers only: the daemon reads all of it for every open, and for every check.
fn copy(direction: Direction, to: &Path) {
    let plugin = plugin::locate(&library(direction), Path::new(""), &[]);
    fs::copy(plugin.unwrap(), to).unwrap();
    // A machine that lacks the program is slower, and that is all.
    let _ = Command::new("strip").arg(to).status();
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}
