//! Delivery at most once: nothing comes twice, and what is lost is counted.

use std::collections::HashSet;

use super::{
    harness::{
        broker_process::BrokerProcess,
        gate::{Gate, Request},
    },
    site::{SOURCE, Site, at_rest},
};

#[tokio::test]
async fn nothing_comes_twice_and_what_is_lost_is_counted() {
    let broker = BrokerProcess::start().await;
    let gate = Gate::start(broker.address()).await;
    let lines = "delivery = \"at_most_once\"";
    let site = Site::new(broker, &gate.address(), &["topic = \"t\""], lines, "").await;
    let daemon = site.home.start().await;
    site.acked_to(60, &daemon).await;
    gate.refuse(Some(Request::Send));
    daemon
        .wait_for_stats(SOURCE, |stats| stats["messages_failed"].as_u64() > Some(0))
        .await;
    gate.refuse(None);
    // It stands still while it is told where to end.
    let path = format!("/sources/{SOURCE}");
    daemon.ask(&path, "pause", "paused").await;
    let end = site.acked() + 100;
    site.end_at(end);
    daemon.ask(&path, "resume", "running").await;
    site.acked_to(end, &daemon).await;
    let [produced, sent, failed] = at_rest(&daemon).await;
    assert_eq!(produced, end);
    assert!(failed > 0 && produced == sent + failed);
    let found = site.numbers("t", 1).await.remove(0);
    assert_eq!(found.len() as u64, sent);
    let different: HashSet<_> = found.iter().collect();
    assert_eq!(different.len(), found.len());
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_kill_repeats_nothing() {
    let broker = BrokerProcess::start().await;
    let address = broker.address().to_owned();
    let lines = "delivery = \"at_most_once\"";
    let site = Site::new(broker, &address, &["topic = \"t\""], lines, "").await;
    for _ in 0..4 {
        let daemon = site.home.spawn();
        site.acked_to(site.acked() + 60, &daemon).await;
        daemon.kill().await;
    }
    let end = site.acked() + 100;
    site.end_at(end);
    let daemon = site.home.start().await;
    site.acked_to(end, &daemon).await;
    let found = site.numbers("t", 1).await.remove(0);
    let different: HashSet<_> = found.iter().collect();
    assert_eq!(different.len(), found.len());
    daemon.interrupt().await;
}
