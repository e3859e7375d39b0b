//! What a newcomer sees: the shipped configuration, two real plugins, a real broker, Ctrl-C, and a second start.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use std::collections::BTreeSet;

use harness::daemon::{Daemon, Home};
use serde_json::Value;

const SHIPPED: &str = include_str!("../../config.toml");

/// The shipped configuration, quicker and with an end.
fn with_max_count(count: u64) -> String {
    let quick = format!("interval = \"1ms\"\nmax_count = {count}");
    let config = SHIPPED.replacen("interval = \"1s\"", &quick, 1);
    assert_ne!(
        config, SHIPPED,
        "the shipped configuration has lost its interval"
    );
    config
}

/// The ids that the sink has printed, in order.
fn printed_ids(daemon: &Daemon) -> Vec<u64> {
    let ids = daemon.stdout().all().into_iter().filter_map(|line| {
        let json = line.find('{').map(|at| line[at..].to_owned())?;
        let payload: Value = serde_json::from_str(&json).ok()?;
        assert_eq!(payload["message"], "hello", "{line}");
        payload["id"].as_u64()
    });
    ids.collect()
}

#[tokio::test]
async fn the_shipped_configuration_moves_messages_until_ctrl_c() {
    let home = Home::new(SHIPPED);
    let daemon = home.start().await;
    let sink = daemon
        .wait_for_stats("stdout", |stats| {
            stats["messages_processed"].as_u64() > Some(0)
        })
        .await;
    assert_eq!(sink["status"], "running");
    assert_eq!(sink["connector_type"], "sink");
    let line = daemon.stdout().wait_for("hello").await;
    assert!(line.contains("\"id\":1"), "{line}");
    let health = daemon.get("/health").await;
    assert_eq!(health["status"], "healthy", "{health}");
    let sinks = daemon.get("/sinks").await;
    assert_eq!(sinks[0]["key"], "stdout");
    let details = daemon.get("/sources/random").await;
    assert_eq!(
        details["streams"][0]["stream"], "example_stream",
        "{details}"
    );
    daemon.interrupt().await;
}

#[tokio::test]
async fn counts_are_equal_once_the_source_has_stopped() {
    let home = Home::new(&with_max_count(500));
    let daemon = home.start().await;
    let source = daemon
        .wait_for_stats("random", |stats| stats["messages_sent"] == 500)
        .await;
    assert_eq!(source["messages_produced"], 500);
    let sink = daemon
        .wait_for_stats("stdout", |stats| stats["messages_processed"] == 500)
        .await;
    assert_eq!(sink["messages_consumed"], 500);
    daemon.stdout().wait_for("\"id\":500").await;
    assert_eq!(printed_ids(&daemon), (1..=500).collect::<Vec<_>>());
    daemon.interrupt().await;
}

#[tokio::test]
async fn after_a_clean_stop_nothing_comes_twice_and_nothing_is_missing() {
    let config = SHIPPED.replacen("interval = \"1s\"", "interval = \"2ms\"", 1);
    let home = Home::new(&config);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let daemon = home.start().await;
        daemon
            .wait_for_stats("stdout", |stats| {
                stats["messages_processed"].as_u64() > Some(200)
            })
            .await;
        let stderr = daemon.stderr().clone();
        let stdout = daemon.stdout().clone();
        let consumed = daemon_ids_after_interrupt(daemon).await;
        assert!(!consumed.is_empty(), "{}\n{}", stderr.text(), stdout.text());
        seen.extend(consumed);
    }
    // What was still in the stream at the last stop is not printed yet; what is printed has no gap and no repetition.
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn sigterm_drains_as_ctrl_c_does() {
    let home = Home::new(&with_max_count(100));
    let mut daemon = home.start().await;
    daemon
        .wait_for_stats("stdout", |stats| stats["messages_processed"] == 100)
        .await;
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    daemon.output_closed().await;
    assert_eq!(printed_ids(&daemon), (1..=100).collect::<Vec<_>>());
    let again = home.start().await;
    again
        .wait_for_stats("random", |stats| stats["status"] == "running")
        .await;
    let stats = again.stats("stdout").await;
    assert_eq!(
        stats["messages_consumed"], 0,
        "consumed again after a clean stop: {stats}"
    );
    again.interrupt().await;
}

#[tokio::test]
async fn the_same_runs_against_a_server_elsewhere() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = iggy_connector_broker::Broker::start(iggy_connector_broker::Config {
        dir: data.path().join("data"),
        ..Default::default()
    })
    .await
    .unwrap();
    let mut home = Home::new(SHIPPED);
    home.set("IGGY_CONNECTORS_IGGY_EMBEDDED_ENABLED", "false");
    home.set(
        "IGGY_CONNECTORS_IGGY_ADDRESS",
        &elsewhere.address().to_string(),
    );
    let daemon = home.start().await;
    daemon
        .wait_for_stats("stdout", |stats| {
            stats["messages_processed"].as_u64() > Some(0)
        })
        .await;
    daemon.stdout().wait_for("hello").await;
    assert!(
        !home.path().join("local_data").exists(),
        "a broker was embedded all the same"
    );
    daemon.interrupt().await;
    elsewhere.shutdown().await;
}

async fn daemon_ids_after_interrupt(mut daemon: Daemon) -> Vec<u64> {
    daemon.signal(rustix::process::Signal::INT);
    let status = daemon.ended().await;
    assert_eq!(status.code(), Some(0), "{}", daemon.stderr().text());
    daemon.output_closed().await;
    printed_ids(&daemon)
}

#[tokio::test]
async fn sigkill_in_mid_flow_loses_nothing() {
    let config = SHIPPED.replacen("interval = \"1s\"", "interval = \"1ms\"", 1);
    let home = Home::new(&config);
    let mut seen = BTreeSet::new();
    for round in 0..20_u64 {
        let daemon = home.start().await;
        let wanted = 20 + round * 13 % 97;
        daemon
            .wait_for_stats("stdout", |stats| {
                stats["messages_processed"].as_u64() > Some(wanted)
            })
            .await;
        let (stdout, stderr) = (daemon.stdout().clone(), daemon.stderr().clone());
        let ids = killed_ids(daemon).await;
        assert!(
            !ids.is_empty(),
            "round {round}\n{}\n{}",
            stderr.text(),
            stdout.text()
        );
        seen.extend(ids);
    }
    let daemon = home.start().await;
    daemon
        .wait_for_stats("stdout", |stats| {
            stats["messages_processed"].as_u64() > Some(100)
        })
        .await;
    seen.extend(daemon_ids_after_interrupt(daemon).await);
    let last = *seen.last().unwrap();
    let missing: Vec<_> = (1..=last).filter(|id| !seen.contains(id)).collect();
    assert!(missing.is_empty(), "missing {missing:?} of {last}");
}

async fn killed_ids(mut daemon: Daemon) -> Vec<u64> {
    daemon.signal(rustix::process::Signal::KILL);
    daemon.ended().await;
    daemon.output_closed().await;
    printed_ids(&daemon)
}
