//! A daemon's folder with a source that numbers its messages and a sink that writes them down, whose configuration changes.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::harness::{
    daemon::{Daemon, Home, PATIENCE},
    ledger,
};

/// A source that numbers its messages until it is told to end; the sink that writes them down comes and changes later.
pub const CONFIG: &str = r#"
[iggy.embedded]
enabled = true

[sources.numbers]
path = "libledger_source"
[[sources.numbers.streams]]
stream = "s"
topic = "t"
schema = "raw"
[sources.numbers.plugin_config]
until = "until"
acked = "acked"
"#;

pub const PATH: &str = "/sinks/lines";

/// A file of the sink's version 0, whose lines end with `token`.
pub fn sink(token: &str) -> String {
    format!(
        r#"type = "sink"
key = "lines"
version = 0
enabled = true
path = "libledger_sink"
open_timeout = "20s"
streams = [{{ stream = "s", topics = ["t"], schema = "raw" }}]

[plugin_config]
ledger = "ledger"
token = "{token}"
"#
    )
}

/// A home with a folder of connectors that is looked at.
pub struct Watched {
    pub home: Home,
    pub folder: PathBuf,
}

impl Watched {
    pub fn new() -> Self {
        Self::every("50ms")
    }

    /// With so long from one look to the next.
    pub fn every(interval: &str) -> Self {
        let looked_at = "[connectors]\nconfig_dir = \"connectors\"\n";
        let home = Home::new(&format!(
            "{CONFIG}{looked_at}poll_interval = \"{interval}\"\n"
        ));
        let folder = home.path().join("connectors");
        fs::create_dir(&folder).unwrap();
        Self { home, folder }
    }

    /// In place, as simple editors and `cp` do it.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// As careful ones do it.
    pub fn rename(&self, name: &str, text: &str) {
        self.write(".beside", text);
        fs::rename(self.folder.join(".beside"), self.folder.join(name)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.folder.join(name)).unwrap();
    }
}

/// A version of the sink as it is stored over the API and at a service.
pub fn document(token: &str) -> Value {
    json!({
        "path": "libledger_sink",
        "open_timeout": "20s",
        "streams": [{ "stream": "s", "topics": ["t"], "schema": "raw" }],
        "plugin_config": { "ledger": "ledger", "token": token },
    })
}

/// The numbers in the ledger, and which token stands behind each.
pub fn written(home: &Home) -> (Vec<u64>, Vec<String>) {
    let written = ledger::entries(&home.path().join("ledger")).into_iter();
    written
        .map(|entry| (entry.id.parse::<u64>().unwrap(), entry.writer))
        .unzip()
}

/// Waits until lines with this token are written, from now on.
pub async fn writes(home: &Home, daemon: &Daemon, token: &str) {
    writes_behind(written(home).1.len(), home, daemon, token).await;
}

/// Waits until lines with this token stand behind the first so many.
pub async fn writes_behind(before: usize, home: &Home, daemon: &Daemon, token: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !written(home).1[before..].iter().any(|it| it == token) {
        assert!(Instant::now() < deadline, "{}", daemon.stderr().text());
        sleep(Duration::from_millis(10)).await;
    }
}

pub async fn has_status(daemon: &Daemon, path: &str, status: &str) -> Value {
    daemon.wait_for(path, |it| it["status"] == status).await
}

/// Waits until the last error contains this.
pub async fn shows(daemon: &Daemon, path: &str, part: &str) {
    let shows = |it: &Value| {
        let message = it["last_error"]["message"].as_str();
        message.is_some_and(|message| message.contains(part))
    };
    daemon.wait_for(path, shows).await;
}

/// Waits until there is no connector at that path.
pub async fn is_gone(daemon: &Daemon, path: &str) {
    daemon.wait_for(path, |it| it["code"] == "not_found").await;
}

/// Waits until everything that is in the folder now has been looked at, and what is to be applied of it has begun to be.
pub async fn is_looked_at(watched: &Watched, daemon: &Daemon) {
    for _ in 0..2 {
        let count = fs::read_dir(&watched.folder).unwrap().count();
        let key = format!("mark{count}");
        let mark = sink("").replace("\"lines\"", &format!("\"{key}\""));
        watched.rename(
            &format!("{key}.toml"),
            &mark.replace("enabled = true", "enabled = false"),
        );
        has_status(daemon, &format!("/sinks/{key}"), "stopped").await;
    }
}

/// Activates a version, or has that only recorded with `?restart=false` as the `query`.
pub async fn activate(daemon: &Daemon, version: u32, query: &str) -> (u16, Value) {
    let request = reqwest::Client::new().put(daemon.url(&format!("{PATH}/configs/active{query}")));
    let request = request.json(&json!({ "version": version }));
    let reply = request.timeout(PATIENCE).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

pub async fn activated(daemon: &Daemon, version: u32, query: &str) {
    let (status, answer) = activate(daemon, version, query).await;
    assert_eq!(status, 200, "{answer}");
}

/// How often something was begun to be applied to the sink.
pub fn changes(daemon: &Daemon) -> usize {
    let lines = daemon.stderr().all();
    let lines = lines.iter();
    let begun = lines.filter(|line| line.contains("the connector is to be another"));
    begun.filter(|line| line.contains("sink `lines`")).count()
}

pub async fn ask(daemon: &Daemon, command: &str, then: &str) {
    let (status, answer) = daemon.post(&format!("{PATH}/{command}")).await;
    assert_eq!(status, 202, "{answer}");
    has_status(daemon, PATH, then).await;
}

/// Lets the source end, and checks that everything that it sent is in the ledger once and in order.
pub async fn nothing_is_lost_repeated_or_moved(home: &Home, daemon: &Daemon) {
    let (_, answer) = daemon.post("/sources/numbers/stop").await;
    assert_eq!(answer["target"], "stopped", "{answer}");
    has_status(daemon, "/sources/numbers", "stopped").await;
    let sent = daemon.stats("numbers").await["messages_sent"].as_u64();
    let deadline = Instant::now() + PATIENCE;
    while (written(home).0.len() as u64) < sent.unwrap() {
        assert!(Instant::now() < deadline, "{}", daemon.stderr().text());
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(written(home).0, (0..sent.unwrap()).collect::<Vec<_>>());
}
