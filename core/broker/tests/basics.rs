//! What every application does: sign in, create, send, poll, store offsets, with the client's both levels.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod harness;

use futures_util::StreamExt;
use harness::{PATIENCE, create_topic, id, offsets, payload, payloads, poll, send, start};
use iggy::prelude::*;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_back_as_they_were_sent() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    assert_eq!(send(&client, 0, 0..10).await, 0);
    assert_eq!(send(&client, 0, 10..25).await, 10);
    let polled = poll(&client, 0, PollingStrategy::first(), 100).await;
    assert_eq!(payloads(&polled), (0..25).map(payload).collect::<Vec<_>>());
    assert_eq!(offsets(&polled), (0..25).collect::<Vec<_>>());
    assert_eq!((polled.partition_id, polled.current_offset), (0, 24));
    broker.handle.shutdown().await;
}

#[tokio::test]
async fn a_runtime_with_one_thread_will_do() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    send(&client, 0, 0..3).await;
    assert_eq!(
        poll(&client, 0, PollingStrategy::offset(1), 1)
            .await
            .messages
            .len(),
        1
    );
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_topics_and_messages_outlive_a_restart() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 2).await;
    send(&client, 1, 0..10).await;
    let consumer = Consumer::new(id("reader"));
    client
        .store_consumer_offset(&consumer, &id("s"), &id("t"), Some(1), 4)
        .await
        .unwrap();
    drop(client);

    let broker = broker.restart(|_| ()).await;
    let client = broker.client().await;
    let topic = client.get_topic(&id("s"), &id("t")).await.unwrap().unwrap();
    assert_eq!((topic.partitions_count, topic.messages_count), (2, 10));
    assert_eq!(topic.partitions[1].current_offset, 9);
    let stored = client
        .get_consumer_offset(&consumer, &id("s"), &id("t"), Some(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((stored.stored_offset, stored.current_offset), (4, 9));
    assert_eq!(send(&client, 1, 10..11).await, 10);
    let polled = poll(&client, 1, PollingStrategy::offset(8), 10).await;
    assert_eq!(payloads(&polled), (8..11).map(payload).collect::<Vec<_>>());
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_high_level_producer_and_consumer_work_together() {
    let broker = start().await;
    let producer_client = broker.client().await;
    let producer = producer_client
        .producer("s", "t")
        .unwrap()
        .direct(
            DirectConfig::builder()
                .batch_length(100)
                .linger_time(IggyDuration::ONE_SECOND)
                .build(),
        )
        .partitioning(Partitioning::balanced())
        .create_stream_if_not_exists()
        .create_topic_if_not_exists(2, IggyExpiry::NeverExpire, MaxTopicSize::Unlimited)
        .build();
    producer.init().await.unwrap();
    producer
        .send((0..500).map(harness::message).collect())
        .await
        .unwrap();

    let consumer_client = broker.client().await;
    let mut consumer = consumer_client
        .consumer_group("readers", "s", "t")
        .unwrap()
        .batch_length(50)
        .poll_interval("1ms".parse().unwrap())
        .polling_strategy(PollingStrategy::next())
        .auto_commit(AutoCommit::When(AutoCommitWhen::PollingMessages))
        .create_consumer_group_if_not_exists()
        .auto_join_consumer_group()
        .build();
    consumer.init().await.unwrap();
    let mut received = Vec::new();
    while received.len() < 500 {
        let message = timeout(PATIENCE, consumer.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        received.push(String::from_utf8(message.message.payload.to_vec()).unwrap());
    }
    received.sort();
    let mut sent: Vec<_> = (0..500).map(payload).collect();
    sent.sort();
    assert_eq!(received, sent);
    broker.handle.shutdown().await;
}
