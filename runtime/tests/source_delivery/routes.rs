//! Routes and keys: a key's messages stand in one partition of their route's topic, in order, whatever happens on the way.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    harness::{
        broker_process::BrokerProcess,
        gate::{Gate, Request},
    },
    site::Site,
};

const KEYS: u64 = 7;
/// Topics by route: the message's number modulo 3 names the route.
const TOPICS: [(&str, u32); 3] = [("plain", 3), ("audited", 4), ("named", 2)];
const PLUGIN: &str = "keys = 7\nroutes = [\"\", \"audit\", \"/STREAM/named\"]";

async fn site(broker: BrokerProcess, through: &str, plugin: &str) -> Site {
    let outputs = [
        "topic = \"plain\"\npartitions = 3\nbatch_length = 5",
        "topic = \"audited\"\nroute = \"audit\"\npartitions = 4",
        "topic = \"named\"\npartitions = 2\nbatch_length = 1",
    ];
    Site::new(broker, through, &outputs, "", plugin).await
}

/// Every number below `end` stands in its route's topic and in no other, and each key's in one partition and in order. What comes
/// again after a kill may repeat, from an earlier place on.
async fn verify(site: &Site, end: u64) {
    let mut seen = HashSet::new();
    for (route, (topic, partitions)) in (0..).zip(TOPICS) {
        let mut partition_of_key = HashMap::new();
        for (partition, numbers) in site
            .numbers(topic, partitions)
            .await
            .into_iter()
            .enumerate()
        {
            let mut last: HashMap<u64, u64> = HashMap::new();
            for number in numbers {
                assert_eq!(number % 3, route, "message {number} in topic {topic}");
                let key = number % KEYS;
                let first = *partition_of_key.entry(key).or_insert(partition);
                assert_eq!(first, partition, "key {key} in topic {topic}");
                if !seen.insert(number) {
                    continue;
                }
                let before = last.insert(key, number);
                assert!(
                    before.is_none_or(|before| before < number),
                    "{number} of key {key} after {before:?} in topic {topic}"
                );
            }
        }
    }
    let missing: Vec<_> = (0..end).filter(|number| !seen.contains(number)).collect();
    assert!(missing.is_empty(), "{missing:?} of {end}");
}

#[tokio::test]
async fn keys_and_routes_hold_when_the_daemon_is_killed() {
    let broker = BrokerProcess::start().await;
    let address = broker.address().to_owned();
    let site = site(broker, &address, PLUGIN).await;
    for round in 0..4 {
        let daemon = site.home.spawn();
        let wanted = site.acked() + 60 + 40 * round;
        site.acked_to(wanted, &daemon).await;
        daemon.kill().await;
    }
    let end = site.acked() + 100;
    site.end_at(end);
    let daemon = site.home.start().await;
    site.acked_to(end, &daemon).await;
    verify(&site, end).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn keys_and_routes_hold_when_sending_fails() {
    let broker = BrokerProcess::start().await;
    let gate = Gate::start(broker.address()).await;
    let plugin = format!("{PLUGIN}\nmax_in_flight = 4");
    let site = site(broker, &gate.address(), &plugin).await;
    let daemon = site.home.start().await;
    for _ in 0..3 {
        site.acked_to(site.acked() + 60, &daemon).await;
        gate.refuse(Some(Request::Send));
        daemon
            .wait_for_stats(super::site::SOURCE, |stats| stats["status"] == "retrying")
            .await;
        gate.refuse(None);
    }
    let end = site.acked() + 200;
    site.end_at(end);
    site.acked_to(end, &daemon).await;
    verify(&site, end).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn keys_and_routes_hold_when_the_broker_is_killed() {
    let broker = BrokerProcess::start().await;
    let address = broker.address().to_owned();
    let mut site = site(broker, &address, PLUGIN).await;
    let daemon = site.home.start().await;
    for _ in 0..2 {
        site.acked_to(site.acked() + 60, &daemon).await;
        site.broker.kill().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        site.broker.again().await;
    }
    let end = site.acked() + 200;
    site.end_at(end);
    site.acked_to(end, &daemon).await;
    verify(&site, end).await;
    daemon.interrupt().await;
}
