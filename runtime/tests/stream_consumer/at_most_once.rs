//! `delivery = "at_most_once"`: an offset is stored before its batch is handed out.

use std::time::Duration;

use iggy_connectors::{
    config::spec::{Delivery, Input},
    stream,
};

use crate::{
    GROUP,
    harness::{
        broker::{Broker, eventually, iggy_at},
        proxy::Proxy,
        reader::{Reader, first, last, numbered, reading},
    },
};

fn at_most_once() -> stream::Reading {
    stream::Reading {
        delivery: Delivery::AtMostOnce,
        commit_interval: Duration::from_secs(3600),
        ..reading()
    }
}

#[tokio::test]
async fn what_was_handed_out_does_not_come_again_after_a_crash() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..1_000)).await;
    let mut next = 0;
    for _ in 0..3 {
        let inputs = [topic.input(GROUP)];
        let mut reader = Reader::with(&broker.iggy(), &inputs, at_most_once()).await;
        let fetched = reader.next().await;
        assert!(first(&fetched) >= next);
        // Nothing was settled, and it is stored all the same.
        assert!(topic.stored(GROUP, 0).await >= Some(last(&fetched)));
        next = last(&fetched) + 1;
        reader.crash().await;
        eventually(0, async || topic.members(GROUP).await).await;
    }
}

#[tokio::test]
async fn a_batch_whose_offset_is_refused_is_not_handed_out() {
    // Partitions move at once, so that what the first has gathered of one cannot be stored any more.
    let broker = Broker::embedded(|config| config.handover_timeout = Duration::ZERO).await;
    let topic = broker.topic(2).await;
    let proxy = Proxy::start(broker.address()).await;
    let gathering = Input {
        batch_timeout: Duration::from_secs(3600),
        ..topic.input(GROUP)
    };
    let mut one = Reader::with(&iggy_at(&proxy.address()), &[gathering], at_most_once()).await;
    for partition in 0..2 {
        topic.send(partition, numbered(0..60)).await;
    }
    let passed = proxy.passed();
    eventually(true, async || proxy.passed() > passed + 4_000).await;
    let mut two = Reader::with(&broker.iggy(), &[topic.input(GROUP)], at_most_once()).await;
    let moved = two.next().await;
    assert_eq!((first(&moved), last(&moved)), (0, 59));
    let kept = 1 - moved.partition_id;
    topic.send(kept, numbered(60..100)).await;
    let fetched = one.next().await;
    assert_eq!((fetched.partition_id, first(&fetched)), (kept, 0));
    two.stop().await.unwrap();
    one.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, moved.partition_id).await, Some(59));
}
