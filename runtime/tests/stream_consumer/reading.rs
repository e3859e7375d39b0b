//! What is handed out, of which topics, and how a run ends.

use std::collections::{HashMap, HashSet};

use iggy::prelude::*;
use iggy_connectors::pipeline::FailureKind;

use crate::{
    GROUP,
    harness::{
        broker::{Broker, eventually, iggy_at},
        proxy::Proxy,
        reader::{self, Reader, Saved, numbered, reading},
    },
    stored_by_partition,
};

#[tokio::test]
async fn every_message_is_handed_out_in_order_with_what_it_carries() {
    let broker = Broker::start().await;
    let topic = broker.topic(3).await;
    for partition in 0..3 {
        topic.send(partition, numbered(0..250)).await;
    }
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let mut seen: HashMap<u32, Vec<iggy_connectors::pipeline::Message>> = HashMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < 750 {
        let fetched = reader.next().await;
        assert_eq!((fetched.input, &fetched.topic.topic), (0, &topic.name));
        assert_eq!(fetched.current_offset, 249);
        assert!(fetched.messages.len() <= 100);
        reader.settle(&fetched).await;
        seen.entry(fetched.partition_id)
            .or_default()
            .extend(fetched.messages);
    }
    for (partition, messages) in seen {
        let sent = topic.read(partition).await;
        assert_eq!(messages.len(), sent.len());
        for (message, sent) in messages.iter().zip(&sent) {
            assert_eq!(
                (message.id, message.offset),
                (sent.header.id, sent.header.offset)
            );
            assert_eq!(message.checksum, sent.header.checksum);
            assert_eq!(message.timestamp, sent.header.timestamp);
            assert_eq!(message.origin_timestamp, sent.header.origin_timestamp);
            assert_eq!(message.payload, sent.payload);
        }
    }
    reader.stop().await.unwrap();
    assert_eq!(stored_by_partition(&topic, 3).await, [Some(249); 3]);
}

#[tokio::test]
async fn inputs_and_topics_are_read_side_by_side() {
    let broker = Broker::start().await;
    let (one, two) = (broker.topic(1).await, broker.topic(2).await);
    let mut reader = Reader::start(&broker.iggy(), &[one.input(GROUP), two.input("other")]).await;
    one.send(0, numbered(0..5)).await;
    two.send(0, numbered(5..10)).await;
    two.send(1, numbered(10..15)).await;
    let mut seen = HashSet::new();
    while seen.len() < 3 {
        let fetched = reader.next().await;
        reader.settle(&fetched).await;
        seen.insert((fetched.input, fetched.partition_id));
        let expected = if fetched.input == 0 {
            &one.stream
        } else {
            &two.stream
        };
        assert_eq!(&fetched.topic.stream, expected);
    }
    assert_eq!(seen, HashSet::from([(0, 0), (1, 0), (1, 1)]));
    reader.stop().await.unwrap();
    assert_eq!(one.stored(GROUP, 0).await, Some(4));
    assert_eq!(two.stored("other", 1).await, Some(4));
}

#[tokio::test]
async fn a_quiet_partition_beside_a_busy_one_does_not_starve() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    topic.send(0, numbered(0..100_000)).await;
    let mut input = topic.input(GROUP);
    input.batch_length = 10;
    let mut reader = Reader::start(&broker.iggy(), &[input]).await;
    reader.take(100).await;
    topic.send(1, numbered(0..1)).await;
    let mut others = 0;
    loop {
        let fetched = reader.next().await;
        reader.settle(&fetched).await;
        if fetched.partition_id == 1 {
            break;
        }
        others += 1;
    }
    assert!(others < 9_900, "{others}");
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn a_broken_connection_ends_the_run_and_the_next_one_goes_on() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let proxy = Proxy::start(broker.address()).await;
    let iggy = iggy_at(&proxy.address());
    topic.send(0, numbered(0..100)).await;
    let mut reader = Reader::start(&iggy, &[topic.input(GROUP)]).await;
    reader.take(100).await;
    eventually(Some(99), async || topic.stored(GROUP, 0).await).await;
    proxy.cut();
    let failure = reader.ended().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(
        failure.message.contains("the connection was lost"),
        "{failure}"
    );

    topic.send(0, numbered(100..110)).await;
    let mut reader = Reader::start(&iggy, &[topic.input(GROUP)]).await;
    assert_eq!(
        reader.take(10).await[&0],
        numbered(100..110).collect::<Vec<_>>()
    );
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn it_ends_when_nobody_takes_its_batches() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..300)).await;
    let reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    reader.close().await.unwrap();
    assert_eq!(topic.members(GROUP).await, 0);
}

#[tokio::test]
async fn missing_topics_are_created_where_that_is_allowed() {
    let broker = Broker::start().await;
    let topic = broker.missing_topic().await;
    let mut input = topic.input(GROUP);
    let join =
        async |input| reader::join(&broker.iggy(), &[input], reading(), &Saved::default()).await;
    let failure = join(input.clone()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(failure.message.contains("create = true"), "{failure}");

    input.create = true;
    input.partitions = 3;
    let all = tokio::join!(
        join(input.clone()),
        join(input.clone()),
        join(input.clone())
    );
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok(), "{all:?}");
    let found = topic
        .client
        .get_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.partitions_count, 3);
}

#[tokio::test]
async fn a_topic_listed_twice_for_a_group_is_refused() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let inputs = [topic.input(GROUP), topic.input(GROUP)];
    let failure = reader::join(&broker.iggy(), &inputs, reading(), &Saved::default())
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal);
    assert!(failure.message.contains("listed twice"), "{failure}");
}
