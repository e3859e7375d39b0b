//! The consumer against a broker: what it hands out, what it stores, and what happens when partitions move or logs are cut.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod at_most_once;
mod cut_logs;
mod exclusive;
mod frozen;
mod gathering;
#[path = "../harness"]
mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod port;
    pub mod proxy;
    pub mod reader;
}
mod reading;
mod sharing;
mod starting;
mod storing;

use harness::broker::Topic;

const GROUP: &str = "sink";

async fn stored_by_partition(topic: &Topic, partitions: u32) -> Vec<Option<u64>> {
    let mut stored = Vec::new();
    for partition in 0..partitions {
        stored.push(topic.stored(GROUP, partition).await);
    }
    stored
}
