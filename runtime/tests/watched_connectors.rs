//! Connectors that change while the daemon runs and looks for changes: in files that people edit, and at a configuration service.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
    pub mod service;
}

use std::{fs, path::PathBuf, time::Duration};

use config_service::Direction::Sink;
use harness::{
    daemon::{Daemon, Home, PATIENCE},
    service::{API_KEY, ConfigService},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// A source that numbers its messages until it is told to end; the sink that writes them down comes and changes later.
const CONFIG: &str = r#"
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

const PATH: &str = "/sinks/lines";

/// A file of the sink's version 0, whose lines end with `token`.
fn sink(token: &str) -> String {
    format!(
        r#"type = "sink"
key = "lines"
version = 0
enabled = true
path = "libledger_sink"
open_timeout = "2s"
streams = [{{ stream = "s", topics = ["t"], schema = "raw" }}]

[plugin_config]
ledger = "ledger"
token = "{token}"
"#
    )
}

/// A home with a folder of connectors that is looked at.
struct Watched {
    home: Home,
    folder: PathBuf,
}

impl Watched {
    fn new() -> Self {
        let looked_at = "[connectors]\nconfig_dir = \"connectors\"\npoll_interval = \"50ms\"\n";
        let home = Home::new(&format!("{CONFIG}{looked_at}"));
        let folder = home.path().join("connectors");
        fs::create_dir(&folder).unwrap();
        Self { home, folder }
    }

    /// In place, as simple editors and `cp` do it.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// As careful ones do it.
    fn rename(&self, name: &str, text: &str) {
        self.write(".beside", text);
        fs::rename(self.folder.join(".beside"), self.folder.join(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.folder.join(name)).unwrap();
    }
}

/// The numbers in the ledger, and which token stands behind each.
fn written(home: &Home) -> (Vec<u64>, Vec<String>) {
    let text = fs::read_to_string(home.path().join("ledger")).unwrap_or_default();
    let whole = text.lines().filter(|line| line.ends_with('.'));
    let words = whole.map(|line| line.split(' ').collect::<Vec<_>>());
    words
        .filter(|words| words.len() == 6)
        .map(|words| (words[3].parse::<u64>().unwrap(), words[4].to_owned()))
        .unzip()
}

/// Waits until lines with this token are written, from now on.
async fn writes(home: &Home, daemon: &Daemon, token: &str) {
    let (before, deadline) = (written(home).1.len(), Instant::now() + PATIENCE);
    while !written(home).1[before..].iter().any(|it| it == token) {
        assert!(Instant::now() < deadline, "{}", daemon.stderr().text());
        sleep(Duration::from_millis(10)).await;
    }
}

async fn has_status(daemon: &Daemon, path: &str, status: &str) -> Value {
    daemon.wait_for(path, |it| it["status"] == status).await
}

/// Waits until the last error contains this.
async fn shows(daemon: &Daemon, path: &str, part: &str) {
    let shows = |it: &Value| {
        let message = it["last_error"]["message"].as_str();
        message.is_some_and(|message| message.contains(part))
    };
    daemon.wait_for(path, shows).await;
}

/// Waits until there is no connector at that path.
async fn is_gone(daemon: &Daemon, path: &str) {
    daemon.wait_for(path, |it| it["code"] == "not_found").await;
}

/// Waits until the last choice that was noticed is this version.
async fn has_seen_chosen(daemon: &Daemon, version: u32) {
    let deadline = Instant::now() + PATIENCE;
    let chosen = format!("version={version} news=\"activated\"");
    loop {
        let lines = daemon.stderr().all();
        let mut choices = lines
            .iter()
            .rev()
            .filter(|line| line.contains("news=\"activated\""));
        if choices.next().is_some_and(|line| line.contains(&chosen)) {
            return;
        }
        assert!(Instant::now() < deadline, "{}", daemon.stderr().text());
        sleep(Duration::from_millis(10)).await;
    }
}

async fn ask(daemon: &Daemon, command: &str, then: &str) {
    let (status, answer) = daemon.post(&format!("{PATH}/{command}")).await;
    assert_eq!(status, 202, "{answer}");
    has_status(daemon, PATH, then).await;
}

/// Lets the source end, and checks that everything that it sent is in the ledger once and in order.
async fn nothing_is_lost_repeated_or_moved(home: &Home, daemon: &Daemon) {
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

#[tokio::test]
async fn files_that_come_change_and_go_are_followed_without_loss_or_repetition() {
    let watched = Watched::new();
    let home = &watched.home;
    let daemon = home.start().await;
    is_gone(&daemon, PATH).await;
    watched.rename("lines.toml", &sink("first"));
    has_status(&daemon, PATH, "running").await;
    writes(home, &daemon, "first").await;
    watched.write("lines.toml", &sink("second"));
    writes(home, &daemon, "second").await;
    watched.rename("lines.toml", &sink("third"));
    writes(home, &daemon, "third").await;

    // The highest version runs as long as it is there and none is activated.
    let next = sink("next").replace("version = 0", "version = 1");
    watched.rename("lines_next.toml", &next);
    writes(home, &daemon, "next").await;
    assert_eq!(
        daemon.get(&format!("{PATH}/configs/active")).await["version"],
        1
    );
    watched.remove("lines_next.toml");
    writes(home, &daemon, "third").await;

    // A pause is the operator's.
    ask(&daemon, "pause", "paused").await;
    watched.write("lines.toml", &sink("fourth"));
    daemon.stderr().wait_for("version activated").await;
    daemon
        .wait_for(&format!("{PATH}/configs/active"), |active| {
            active["plugin_config"]["ledger"] == "ledger"
        })
        .await;
    assert_eq!(daemon.get(PATH).await["status"], "paused");
    ask(&daemon, "resume", "running").await;
    writes(home, &daemon, "fourth").await;

    let disabled = sink("fourth").replace("enabled = true", "enabled = false");
    watched.write("lines.toml", &disabled);
    has_status(&daemon, PATH, "stopped").await;
    watched.write("lines.toml", &sink("fifth"));
    writes(home, &daemon, "fifth").await;

    // It goes, and goes on where it was when it comes back under another name.
    watched.remove("lines.toml");
    is_gone(&daemon, PATH).await;
    watched.rename("back.toml", &sink("sixth"));
    writes(home, &daemon, "sixth").await;
    assert_eq!(daemon.stats("lines").await["errors"], 0);
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_applied_leaves_what_runs_and_says_why() {
    let watched = Watched::new();
    watched.write("lines.toml", &sink("old"));
    let home = &watched.home;
    let daemon = home.start().await;
    writes(home, &daemon, "old").await;
    let bad = |from: &str, to: &str| {
        let bad = sink("bad");
        assert!(bad.contains(from));
        bad.replace(from, to)
    };
    for (text, reason) in [
        (
            bad("\"raw\"", "\"row\""),
            "lines.toml:7: `streams[0].schema`",
        ),
        (bad("streams =", "[[stream]]\ntopics ="), "`stream`"),
        (bad("ledger = ", "ledgr = "), "`plugin_config.ledgr`"),
        (
            bad("libledger_sink", "libnowhere"),
            "`libnowhere` not found",
        ),
        (bad("token", "open = \"fatal\"\ntoken"), "open: "),
        (bad("token", "open = \"wait\"\ntoken"), "open: "),
        (bad("token = \"", "token = "), "lines.toml:11"),
        ("type = \"sink\"\nkey = ".to_owned(), "lines.toml:2"),
        (String::new(), "lines.toml"),
    ] {
        watched.write("lines.toml", &text);
        shows(&daemon, PATH, reason).await;
        assert_eq!(daemon.get(PATH).await["status"], "running", "{text}");
        writes(home, &daemon, "old").await;
        // Nothing of it is left when it is mended.
        watched.rename("lines.toml", &sink("mended"));
        writes(home, &daemon, "mended").await;
        watched.rename("lines.toml", &sink("old"));
        writes(home, &daemon, "old").await;
    }

    // Of others that cannot be used the files are listed, or warned of, and they run when they are mended.
    let other = sink("other").replace("\"lines\"", "\"other\"");
    let other = other.replace("\"ledger\"", "\"other\"");
    watched.write("other.toml", &other.replace("topics", "topcs"));
    shows(&daemon, "/sinks/other", "topcs").await;
    watched.write("other.toml", "key = ");
    daemon
        .stderr()
        .wait_for("a file of connectors cannot be read")
        .await;
    watched.write("other.toml", &other);
    has_status(&daemon, "/sinks/other", "running").await;
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_file_that_is_written_slowly_is_waited_for() {
    let watched = Watched::new();
    watched.write("lines.toml", &sink("old"));
    let home = &watched.home;
    let daemon = home.start().await;
    writes(home, &daemon, "old").await;
    for token in ["new", "newer", "newest"] {
        let text = sink(token);
        let pieces = 1..=20;
        for piece in pieces.map(|piece| &text[..text.len() * piece / 20]) {
            watched.write("lines.toml", piece);
            sleep(Duration::from_millis(5)).await;
        }
        writes(home, &daemon, token).await;
    }
    has_status(&daemon, PATH, "running").await;
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_the_api_changes_and_what_is_looked_at_go_together() {
    let watched = Watched::new();
    let home = &watched.home;
    let daemon = home.start().await;
    let document = |token: &str| {
        json!({
            "path": "libledger_sink",
            "streams": [{ "stream": "s", "topics": ["t"], "schema": "raw" }],
            "plugin_config": { "ledger": "ledger", "token": token },
        })
    };
    let client = reqwest::Client::new();
    for (version, token) in ["a", "b"].into_iter().enumerate() {
        let request = client.post(daemon.url(&format!("{PATH}/configs")));
        let reply = request.json(&document(token)).send().await.unwrap();
        assert_eq!(reply.status(), 200);
        let stored: Value = reply.json().await.unwrap();
        assert_eq!(stored["version"], version);
        // The highest is the active one.
        writes(home, &daemon, token).await;
    }
    for (version, token) in [(0, "a"), (1, "b"), (0, "a")] {
        let request = client.put(daemon.url(&format!("{PATH}/configs/active")));
        let reply = request.json(&json!({ "version": version }));
        let reply = reply.timeout(PATIENCE).send().await.unwrap();
        assert_eq!(reply.status(), 200, "{}", reply.text().await.unwrap());
        writes(home, &daemon, token).await;
        // What is chosen and taken back between two looks is not seen.
        has_seen_chosen(&daemon, version).await;
    }
    let recorded = client.put(daemon.url(&format!("{PATH}/configs/active?restart=false")));
    let recorded = recorded
        .json(&json!({ "version": 1 }))
        .send()
        .await
        .unwrap();
    assert_eq!(recorded.status(), 200);
    writes(home, &daemon, "b").await;
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_a_service_says_is_followed_and_what_it_says_wrong_is_not() {
    let mut service = ConfigService::start().await;
    let document = |token: &str| {
        json!({
            "path": "libledger_sink",
            "open_timeout": "2s",
            "streams": [{ "stream": "s", "topics": ["t"], "schema": "raw" }],
            "plugin_config": { "ledger": "ledger", "token": token },
        })
    };
    let home = Home::new(&format!(
        "{CONFIG}[connectors]\nconfig_type = \"http\"\nbase_url = \"{}\"\npoll_interval = \"50ms\"\n\
         request_headers = {{ api-key = \"{API_KEY}\" }}\nretry.enabled = false\n",
        service.url()
    ));
    let daemon = home.start().await;
    is_gone(&daemon, PATH).await;
    service.store(Sink, "lines", document("first")).await;
    writes(&home, &daemon, "first").await;
    service.store(Sink, "lines", document("second")).await;
    writes(&home, &daemon, "second").await;
    service.activate(Sink, "lines", 0).await;
    writes(&home, &daemon, "first").await;

    let mut bad = document("bad");
    bad["streams"][0]["schema"] = "row".into();
    let bad = service.store(Sink, "lines", bad).await;
    service.activate(Sink, "lines", bad).await;
    shows(&daemon, PATH, "`streams[0].schema`").await;
    writes(&home, &daemon, "first").await;
    let mut fatal = document("fatal");
    fatal["plugin_config"]["open"] = "fatal".into();
    let fatal = service.store(Sink, "lines", fatal).await;
    service.activate(Sink, "lines", fatal).await;
    shows(&daemon, PATH, "open: ").await;
    writes(&home, &daemon, "first").await;

    // A service that is away changes nothing.
    service.kill();
    daemon
        .stderr()
        .wait_for("cannot be looked at for changes")
        .await;
    writes(&home, &daemon, "first").await;
    service.restart().await;
    service.activate(Sink, "lines", 1).await;
    writes(&home, &daemon, "second").await;

    let mut disabled = document("second");
    disabled["enabled"] = false.into();
    let disabled = service.store(Sink, "lines", disabled).await;
    service.activate(Sink, "lines", disabled).await;
    has_status(&daemon, PATH, "stopped").await;
    service.activate(Sink, "lines", 0).await;
    writes(&home, &daemon, "first").await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    service.activate(Sink, "lines", disabled).await;
    let deleted = service
        .service
        .with(|store| store.delete(Sink, "lines", None));
    assert!(deleted.await.is_ok());
    is_gone(&daemon, PATH).await;
    daemon.interrupt().await;
}
