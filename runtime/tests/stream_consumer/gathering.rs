//! `batch_timeout`: waiting for a fuller batch.

use std::{collections::HashMap, time::Duration};

use iggy_connectors::config::spec;

use crate::{
    GROUP,
    harness::{
        broker::{Broker, Topic, eventually, iggy_at},
        proxy::Proxy,
        reader::{Reader, first, last, numbered, texts},
    },
};

/// So long that no test would end if it were waited for.
const NEVER: Duration = Duration::from_secs(3600);

fn input(topic: &Topic, batch_timeout: Duration) -> spec::Input {
    spec::Input {
        batch_timeout,
        ..topic.input(GROUP)
    }
}

#[tokio::test]
async fn a_batch_is_handed_out_as_soon_as_it_is_full() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut reader = Reader::start(&broker.iggy(), &[input(&topic, NEVER)]).await;
    for part in 0..25 {
        topic.send(0, numbered(part * 10..(part + 1) * 10)).await;
    }
    for start in [0, 100] {
        let fetched = reader.next().await;
        assert_eq!((first(&fetched), last(&fetched)), (start, start + 99));
        let range = start as usize..start as usize + 100;
        assert_eq!(texts(&fetched), numbered(range).collect::<Vec<_>>());
        reader.settle(&fetched).await;
    }
    eventually(Some(199), async || topic.stored(GROUP, 0).await).await;
    // The other fifty are neither handed out nor stored, and do not keep it from stopping.
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(199));
    let mut reader = Reader::start(&broker.iggy(), &[input(&topic, Duration::ZERO)]).await;
    let fetched = reader.next().await;
    assert_eq!((first(&fetched), last(&fetched)), (200, 249));
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn what_came_in_time_is_one_batch() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let wait = Duration::from_secs(5);
    let mut reader = Reader::start(&broker.iggy(), &[input(&topic, wait)]).await;
    for part in 0..3 {
        topic.send(0, numbered(part * 10..(part + 1) * 10)).await;
    }
    let fetched = reader.next().await;
    assert_eq!((first(&fetched), last(&fetched)), (0, 29));
    assert_eq!(fetched.current_offset, 29);
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn a_partition_that_waits_keeps_nobody_waiting() {
    let broker = Broker::start().await;
    let topic = broker.topic(3).await;
    topic.send(0, numbered(0..10)).await;
    let mut reader = Reader::start(&broker.iggy(), &[input(&topic, NEVER)]).await;
    topic.send(2, numbered(0..500)).await;
    let mut count = HashMap::new();
    for _ in 0..5 {
        let fetched = reader.next().await;
        reader.settle(&fetched).await;
        assert_eq!(fetched.messages.len(), 100);
        *count.entry(fetched.partition_id).or_insert(0) += 1;
    }
    assert_eq!(count, HashMap::from([(2, 5)]));
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn a_partition_that_moves_is_not_waited_for() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    let proxy = Proxy::start(broker.address()).await;
    let iggy = iggy_at(&proxy.address());
    let mut one = Reader::start(&iggy, &[input(&topic, NEVER)]).await;
    for partition in 0..2 {
        topic.send(partition, numbered(0..10)).await;
    }
    // So many bytes are ten polls and more: both partitions were read.
    let passed = proxy.passed();
    eventually(true, async || proxy.passed() > passed + 4_000).await;
    let mut two = Reader::start(&broker.iggy(), &[input(&topic, Duration::ZERO)]).await;
    for partition in 0..2 {
        topic.send(partition, numbered(10..20)).await;
    }
    // The first to be polled is fenced, be it the one that moves or not, and is waited for no longer.
    let next = loop {
        if let Some(fetched) = one.next_within(Duration::from_millis(20)).await {
            assert_eq!(first(&fetched), 0);
            one.settle(&fetched).await;
        }
        if let Some(fetched) = two.next_within(Duration::from_millis(20)).await {
            break fetched;
        }
    };
    assert_eq!(first(&next), 10);
    two.settle(&next).await;
    two.stop().await.unwrap();
    one.stop().await.unwrap();
}
