//! `/loggers`: log levels changed while a real daemon runs.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use harness::daemon::{Daemon, Home};
use reqwest::Client;
use serde_json::{Value, json};

const SHIPPED: &str = include_str!("../../config.toml");
const STATUS: &str = "iggy_connectors::supervisor";

async fn put(daemon: &Daemon, target: &str, change: Value) -> (u16, Value) {
    let request = Client::new().put(daemon.url(&format!("/loggers/{target}")));
    let reply = request.json(&change).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

#[tokio::test]
async fn a_level_is_changed_taken_back_and_changed_for_a_while() {
    let home = Home::new(SHIPPED);
    let daemon = home.start().await;
    daemon
        .wait_for("/sources/random", |source| source["status"] == "running")
        .await;
    let before = daemon.get("/loggers").await;
    assert_eq!(before["loggers"], json!([]));
    assert!(before["configured"].is_string(), "{before}");

    let (status, answer) = put(&daemon, STATUS, json!({ "level": "off" })).await;
    assert_eq!(status, 200, "{answer}");
    let changed = json!([{ "target": STATUS, "level": "off", "until": null }]);
    assert_eq!(answer["loggers"], changed);
    daemon.ask("/sources/random", "pause", "paused").await;
    let (status, answer) = put(&daemon, STATUS, json!({ "level": null })).await;
    assert_eq!((status, &answer["loggers"]), (200, &json!([])));
    daemon.ask("/sources/random", "stop", "stopped").await;
    // A status is logged before it is shown: the one in between is missing for good.
    daemon.stderr().wait_for("to=\"stopped\"").await;
    let text = daemon.stderr().text();
    assert!(!text.contains("to=\"paused\""), "{text}");

    let (status, answer) = put(&daemon, STATUS, json!({ "level": "off", "for": "50ms" })).await;
    assert_eq!(status, 200, "{answer}");
    daemon
        .wait_for("/loggers", |loggers| loggers["loggers"] == json!([]))
        .await;
    daemon.post("/sources/random/start").await;
    daemon
        .stderr()
        .wait_for("from=\"stopped\" to=\"starting\"")
        .await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_is_no_change_of_a_level_is_refused_with_its_reason() {
    let home = Home::new("[iggy.embedded]\nenabled = true\n");
    let daemon = home.start().await;
    for (target, change, reason) in [
        ("iggy", json!({ "level": "loud" }), "loud"),
        ("iggy", json!({ "level": "info", "for": "soon" }), "`for`"),
        (
            "iggy",
            json!({ "level": "info", "for": "365days" }),
            "30 days",
        ),
        ("iggy", json!({ "level": "info", "until": "5m" }), "until"),
        ("a=b", json!({ "level": "info" }), "path of modules"),
        (
            "iggy_connectors::trace",
            json!({ "level": "info" }),
            "never logged",
        ),
    ] {
        let (status, answer) = put(&daemon, target, change).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("invalid")),
            "{answer}"
        );
        assert!(
            answer["reason"].as_str().unwrap().contains(reason),
            "{answer}"
        );
    }
    assert_eq!(daemon.get("/loggers").await["loggers"], json!([]));
    daemon.interrupt().await;
}
