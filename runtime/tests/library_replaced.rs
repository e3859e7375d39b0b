//! A library's file that is replaced while the daemon runs: a restart of a connector picks it up, and nothing else does.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
    pub mod plugin;
}

use std::{fs, path::Path};

use harness::{
    daemon::{Daemon, Home, PATIENCE},
    plugin::Plugins,
};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

/// A source that numbers its messages until it is told to end, and two sinks of one library, which write them down.
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

[sinks.one]
path = "libsink"
plugin_config = { path = "one" }
[[sinks.one.streams]]
stream = "s"
topics = ["t"]
schema = "raw"

[sinks.other]
path = "libsink"
plugin_config = { path = "other" }
[[sinks.other.streams]]
stream = "s"
topics = ["t"]
schema = "raw"
"#;

/// How somebody puts a file in the place of another.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As `cp` does: the same file with another content.
    InPlace,
    /// As `mv` and packagers do: another file of the same name.
    ByRename,
}

fn replace(library: &Path, build: &Path, way: Way) {
    match way {
        Way::InPlace => {
            fs::copy(build, library).unwrap();
        }
        Way::ByRename => {
            let beside = library.with_extension("new");
            fs::copy(build, &beside).unwrap();
            fs::rename(beside, library).unwrap();
        }
    }
}

/// What a sink has written: which build wrote each line, and the offset in it.
fn written(home: &Home, sink: &str) -> Vec<(String, u64)> {
    let text = fs::read_to_string(home.path().join(sink)).unwrap_or_default();
    let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
    let words = whole.lines().map(|line| {
        let mut words = line.split(' ');
        let build = words.next().unwrap().to_owned();
        (build, words.next().unwrap().parse().unwrap())
    });
    words.collect()
}

/// Waits until a build has written so many more lines.
async fn writes(home: &Home, daemon: &Daemon, sink: &str, build: &str, more: usize) {
    let count = || {
        let all = written(home, sink).into_iter();
        all.filter(|(writer, _)| writer == build).count()
    };
    let (before, deadline) = (count(), Instant::now() + PATIENCE);
    while count() < before + more {
        assert!(Instant::now() < deadline, "{}", daemon.stderr().text());
        sleep(Duration::from_millis(10)).await;
    }
}

async fn version(daemon: &Daemon, sink: &str) -> Value {
    daemon.stats(sink).await["version"].clone()
}

async fn goes_through_its_builds(way: Way) {
    let builds = Plugins::new();
    let [old, new] = ["old", "new"].map(|build| {
        let (version, mark) = (format!("VERSION=\"{build}\""), format!("MARK=\"{build} \""));
        builds.compile("c_sink/sink.c", &[&version, &mark])
    });
    let home = Home::new(CONFIG);
    let library = home.path().join("libsink.so");
    fs::copy(&old, &library).unwrap();
    let daemon = home.start().await;
    for sink in ["one", "other"] {
        writes(&home, &daemon, sink, "old", 50).await;
    }

    // Nobody has asked for it: neither those who look at the file nor a pause, which leaves the plugin open, take it.
    replace(&library, &new, way);
    daemon.get("/plugins").await;
    let document = json!({
        "type": "sink", "key": "third", "path": "libsink",
        "streams": [{ "stream": "s", "topics": ["t"], "schema": "raw" }],
    });
    let validated = reqwest::Client::new().post(daemon.url("/validate"));
    let validated = validated.json(&document).send().await.unwrap();
    assert_eq!(validated.status(), 200);
    daemon.ask("/sinks/one", "pause", "paused").await;
    daemon.ask("/sinks/one", "resume", "running").await;
    for sink in ["one", "other"] {
        writes(&home, &daemon, sink, "old", 50).await;
        assert_eq!(version(&daemon, sink).await, "old", "{sink}");
    }

    daemon.ask("/sinks/one", "restart", "running").await;
    writes(&home, &daemon, "one", "new", 50).await;
    writes(&home, &daemon, "other", "old", 50).await;
    assert_eq!(version(&daemon, "one").await, "new");
    assert_eq!(version(&daemon, "other").await, "old");

    // A copy that is not done yet costs the connector that is restarted, and no other.
    let whole = fs::read(&old).unwrap();
    let half = builds.path("half");
    fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    replace(&library, &half, way);
    let failed = daemon.ask("/sinks/one", "restart", "error").await;
    let reason = failed["last_error"]["message"].as_str().unwrap();
    assert!(
        reason.contains("libsink.so") && reason.contains("copy it again"),
        "{reason}"
    );
    writes(&home, &daemon, "other", "old", 50).await;
    replace(&library, &new, way);
    daemon.ask("/sinks/one", "start", "running").await;
    writes(&home, &daemon, "one", "new", 50).await;
    daemon.ask("/sinks/other", "restart", "running").await;
    writes(&home, &daemon, "other", "new", 50).await;

    // Whatever was replaced, each message was written once. (This sink writes two batches at once, in any order.)
    let (_, answer) = daemon.post("/sources/numbers/stop").await;
    assert_eq!(answer["target"], "stopped", "{answer}");
    daemon
        .wait_for("/sources/numbers", |source| source["status"] == "stopped")
        .await;
    let sent = daemon.stats("numbers").await["messages_sent"].as_u64();
    for sink in ["one", "other"] {
        daemon
            .wait_for_stats(sink, |stats| stats["messages_processed"].as_u64() == sent)
            .await;
        let mut offsets: Vec<_> = written(&home, sink).into_iter().map(|(_, at)| at).collect();
        offsets.sort_unstable();
        let expected: Vec<_> = (0..sent.unwrap()).collect();
        assert!(
            offsets == expected,
            "{sink}: {} of {}",
            offsets.len(),
            expected.len()
        );
    }
    let other = daemon.stats("other").await;
    assert_eq!(other["errors"], 0, "{other}");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_library_that_is_written_in_place_is_picked_up_by_a_restart_and_by_nothing_else() {
    goes_through_its_builds(Way::InPlace).await;
}

#[tokio::test]
async fn a_library_that_is_renamed_into_place_is_picked_up_by_a_restart_and_by_nothing_else() {
    goes_through_its_builds(Way::ByRename).await;
}
