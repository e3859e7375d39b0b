//! Topics that do not exist and may not be created: waited for, with the reason in the status, and nothing is lost.

use super::{
    harness::{broker_process::BrokerProcess, daemon::Daemon},
    site::{SOURCE, Site},
};

async fn waits_for_it(daemon: &Daemon) {
    daemon
        .wait_for_stats(SOURCE, |stats| stats["status"] == "retrying")
        .await;
    daemon.stderr().wait_for("create = true").await;
}

#[tokio::test]
async fn a_route_to_a_missing_topic_waits_until_it_is_there() {
    let broker = BrokerProcess::start().await;
    let address = broker.address().to_owned();
    let outputs = [
        "topic = \"made\"",
        "topic = \"missing\"\nroute = \"other\"\ncreate = false",
    ];
    let plugin = "routes = [\"\", \"other\"]";
    let site = Site::new(broker, &address, &outputs, "", plugin).await;
    let daemon = site.home.start().await;
    waits_for_it(&daemon).await;
    let topic = site.topic("missing").await;
    topic.create_in_stream(2).await;
    site.acked_to(40, &daemon).await;

    use iggy::prelude::TopicClient as _;
    topic
        .client
        .delete_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    waits_for_it(&daemon).await;
    let acked = site.acked();
    let end = acked + 100;
    site.end_at(end);
    topic.create_in_stream(2).await;
    site.acked_to(end, &daemon).await;
    let odd: Vec<_> = (acked..end).filter(|number| number % 2 == 1).collect();
    let mut found: Vec<_> = site.numbers("missing", 2).await.concat();
    found.sort_unstable();
    found.dedup();
    assert!(found.ends_with(&odd), "{found:?}");
    let even: Vec<_> = (0..end).filter(|number| number % 2 == 0).collect();
    assert_eq!(site.numbers("made", 1).await, [even]);
    daemon.interrupt().await;
}
