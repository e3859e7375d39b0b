//! Messages that cannot be sent beside others that can: dead letters with the original, skipped ones, and a source that stops.

use iggy_connector_message::{HeaderKey, headers};

use super::{
    harness::{broker_process::BrokerProcess, daemon::Daemon},
    site::{SOURCE, Site, at_rest, number},
};

const END: u64 = 40;
/// One message for a route that there is not, one that is larger than Iggy takes, among 40 in batches of 20.
const PLUGIN: &str = "astray = [3]\noversized = [25]";

async fn started(lines: &str) -> (Site, Daemon) {
    let broker = BrokerProcess::start().await;
    let address = broker.address().to_owned();
    let site = Site::new(broker, &address, &["topic = \"t\""], lines, PLUGIN).await;
    site.end_at(END);
    let daemon = site.home.start().await;
    (site, daemon)
}

async fn arrived(site: &Site) -> Vec<u64> {
    site.numbers("t", 1).await.remove(0)
}

fn without(bad: &[u64]) -> Vec<u64> {
    (0..END).filter(|number| !bad.contains(number)).collect()
}

#[tokio::test]
async fn a_message_astray_and_one_too_large_become_dead_letters_whole_and_alone() {
    let (site, daemon) = started("dlq = { stream = \"STREAM\", topic = \"dead\" }").await;
    site.acked_to(END, &daemon).await;
    assert_eq!(arrived(&site).await, without(&[3, 25]));
    assert_eq!(at_rest(&daemon).await, [END, END - 2, 2]);

    let letters = site.messages("dead", 1).await.remove(0);
    let header = |at: usize, key: &str| {
        let bytes = letters[at].user_headers.as_deref().unwrap();
        let read = headers::decode(bytes).unwrap();
        let value = read.get(&HeaderKey::try_from(key).unwrap())?;
        Some(value.as_str().unwrap().to_owned())
    };
    assert_eq!(number(&letters[0]), 3);
    assert_eq!(header(0, "dlq.stage").unwrap(), "deliver");
    assert_eq!(header(0, "dlq.error_code").unwrap(), "invalid");
    assert!(
        header(0, "dlq.error").unwrap().contains("`nowhere`"),
        "{:?}",
        header(0, "dlq.error")
    );
    assert_eq!(header(0, "dlq.part"), None);

    let large: Vec<u8> = letters[1..]
        .iter()
        .flat_map(|letter| letter.payload.to_vec())
        .collect();
    assert_eq!(large.len(), 64_000_001);
    assert!(large.starts_with(b"25 x") && large[3..].iter().all(|byte| *byte == b'x'));
    assert_eq!(
        header(1, "dlq.parts").unwrap(),
        (letters.len() - 1).to_string()
    );
    assert!(
        header(1, "dlq.error")
            .unwrap()
            .contains("Iggy takes 64000000")
    );
    daemon.interrupt().await;
}

#[tokio::test]
async fn bad_messages_are_skipped_where_that_is_the_policy() {
    let (site, daemon) = started("errors = { on_invalid = \"skip\" }").await;
    site.acked_to(END, &daemon).await;
    assert_eq!(arrived(&site).await, without(&[3, 25]));
    assert_eq!(at_rest(&daemon).await, [END, END - 2, 2]);
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_bad_message_stops_the_source_where_nothing_else_is_said() {
    let (site, daemon) = started("").await;
    daemon
        .wait_for_stats(SOURCE, |stats| stats["status"] == "error")
        .await;
    let source = daemon.get(&format!("/sources/{SOURCE}")).await;
    let reason = source["last_error"]["message"].as_str().unwrap();
    assert!(
        reason.contains("the route `nowhere` is unknown"),
        "{reason}"
    );
    assert_eq!(site.acked(), 0);
    assert!(
        arrived(&site).await.is_empty(),
        "its batch is offered again"
    );
    daemon.interrupt().await;
}
