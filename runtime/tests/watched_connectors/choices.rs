//! What is chosen over the API while the daemon looks for changes.

use std::fs;

use super::{
    harness::daemon::Daemon,
    site::{
        PATH, Watched, activated, ask, changes, document, has_status, is_looked_at,
        nothing_is_lost_repeated_or_moved, sink, writes, writes_behind, written,
    },
};

/// Stores a version and returns its number.
async fn stored(daemon: &Daemon, token: &str) -> u64 {
    let request = reqwest::Client::new().post(daemon.url(&format!("{PATH}/configs")));
    let reply = request.json(&document(token)).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let stored: serde_json::Value = reply.json().await.unwrap();
    stored["version"].as_u64().unwrap()
}

fn chosen(version: u32) -> String {
    format!("[sinks.lines]\nversion = {version}\n")
}

#[tokio::test]
async fn what_the_api_changes_and_what_is_looked_at_go_together() {
    let watched = Watched::new();
    let home = &watched.home;
    let daemon = home.start().await;
    for (version, token) in (0..).zip(["a", "b"]) {
        assert_eq!(stored(&daemon, token).await, version);
        // The highest is the active one.
        writes(home, &daemon, token).await;
    }
    let before = changes(&daemon);
    for (version, token) in [(0, "a"), (1, "b"), (0, "a"), (1, "b")] {
        activated(&daemon, version, "").await;
        writes(home, &daemon, token).await;
    }
    is_looked_at(&watched, &daemon).await;
    assert_eq!(changes(&daemon), before, "it is what it is to be");
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_is_changed_back_between_two_looks_is_followed() {
    let watched = Watched::every("3s");
    let home = &watched.home;
    watched.write("a.toml", &sink("a"));
    let other = sink("b").replace("version = 0", "version = 1");
    watched.write("b.toml", &other);
    watched.write(".active_versions.toml", &chosen(0));
    let daemon = home.start().await;
    writes(home, &daemon, "a").await;
    activated(&daemon, 1, "").await;
    watched.rename(".active_versions.toml", &chosen(0));
    writes(home, &daemon, "a").await;

    // The same of what a file holds.
    watched.rename("a.toml", &sink("edited"));
    activated(&daemon, 0, "").await;
    watched.rename("a.toml", &sink("a"));
    // It may have been seen to be changed back already.
    writes_behind(0, home, &daemon, "edited").await;
    writes(home, &daemon, "a").await;
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_choice_that_is_only_recorded_waits_for_a_restart_or_for_another_change() {
    let watched = Watched::new();
    let home = &watched.home;
    watched.write("a.toml", &sink("a"));
    let other = sink("b").replace("version = 0", "version = 1");
    watched.write("b.toml", &other);
    watched.write(".active_versions.toml", &chosen(0));
    let daemon = home.start().await;
    writes(home, &daemon, "a").await;
    activated(&daemon, 1, "?restart=false").await;
    let active = daemon.get(&format!("{PATH}/configs/active")).await;
    assert_eq!(active["version"], 1);
    is_looked_at(&watched, &daemon).await;
    ask(&daemon, "pause", "paused").await;
    ask(&daemon, "resume", "running").await;
    is_looked_at(&watched, &daemon).await;
    writes(home, &daemon, "a").await;
    assert!(!written(home).1.contains(&"b".to_owned()));
    ask(&daemon, "restart", "running").await;
    writes(home, &daemon, "b").await;

    // One that is stopped begins anew with what was chosen.
    activated(&daemon, 0, "?restart=false").await;
    is_looked_at(&watched, &daemon).await;
    writes(home, &daemon, "b").await;
    ask(&daemon, "stop", "stopped").await;
    daemon.stderr().wait_for("version activated").await;
    ask(&daemon, "start", "running").await;
    writes(home, &daemon, "a").await;

    // What somebody else changes of it is followed.
    activated(&daemon, 1, "?restart=false").await;
    is_looked_at(&watched, &daemon).await;
    watched.rename("b.toml", &other.replace("\"b\"", "\"edited\""));
    writes(home, &daemon, "edited").await;
    activated(&daemon, 0, "?restart=false").await;
    is_looked_at(&watched, &daemon).await;
    watched.rename(".active_versions.toml", &chosen(1));
    is_looked_at(&watched, &daemon).await;
    writes(home, &daemon, "edited").await;
    // The recorded choice was replaced: made once more by somebody else it is followed.
    watched.rename(".active_versions.toml", &chosen(0));
    writes(home, &daemon, "a").await;
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_an_operator_did_is_not_undone() {
    let watched = Watched::new();
    let home = &watched.home;
    let disabled = sink("old").replace("enabled = true", "enabled = false");
    watched.write("lines.toml", &disabled);
    let daemon = home.start().await;
    has_status(&daemon, PATH, "stopped").await;
    ask(&daemon, "start", "running").await;
    is_looked_at(&watched, &daemon).await;
    writes(home, &daemon, "old").await;
    assert_eq!(changes(&daemon), 0);

    // What changes while it is stopped is there when it is started.
    ask(&daemon, "stop", "stopped").await;
    watched.write("lines.toml", &sink("new"));
    daemon.stderr().wait_for("version activated").await;
    is_looked_at(&watched, &daemon).await;
    assert_eq!(daemon.get(PATH).await["status"], "stopped");
    let before = written(home).1.len();
    ask(&daemon, "start", "running").await;
    writes(home, &daemon, "new").await;
    assert!(!written(home).1[before..].contains(&"old".to_owned()));
    assert_eq!(changes(&daemon), 1);
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn one_that_is_deleted_over_the_api_does_not_come_back() {
    let watched = Watched::new();
    let home = &watched.home;
    watched.write(
        "lines.toml",
        &sink("a").replace("enabled = true", "enabled = false"),
    );
    let daemon = home.start().await;
    for _ in 0..3 {
        has_status(&daemon, PATH, "stopped").await;
        let request = reqwest::Client::new().delete(daemon.url(&format!("{PATH}/configs")));
        assert_eq!(request.send().await.unwrap().status(), 204);
        is_looked_at(&watched, &daemon).await;
        assert_eq!(daemon.get(PATH).await["code"], "not_found");
        fs::write(
            watched.folder.join("lines.toml"),
            sink("a").replace("enabled = true", "enabled = false"),
        )
        .unwrap();
    }
    daemon.interrupt().await;
}
