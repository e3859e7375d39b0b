//! Logs that expire, are purged or deleted while they are read.

use std::time::Duration;

use iggy::prelude::*;
use iggy_connectors::pipeline::FailureKind;

use crate::{
    GROUP,
    harness::{
        broker::{Broker, eventually},
        reader::{Reader, first, last, numbered},
    },
};

#[tokio::test]
async fn a_purged_log_is_read_from_its_new_beginning() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..50)).await;
    reader.take(50).await;
    eventually(Some(49), async || topic.stored(GROUP, 0).await).await;
    topic
        .client
        .purge_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    topic.send(0, numbered(50..60)).await;
    assert_eq!(
        reader.take(10).await[&0],
        numbered(50..60).collect::<Vec<_>>()
    );
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(9));
}

#[tokio::test]
async fn a_purge_is_noticed_even_where_the_cursor_fits_the_new_log() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..1)).await;
    reader.take(1).await;
    eventually(Some(0), async || topic.stored(GROUP, 0).await).await;
    topic
        .client
        .purge_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    topic.send(0, numbered(1..2)).await;
    assert_eq!(reader.take(1).await[&0], ["m1"]);
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn a_stored_offset_beyond_the_end_of_the_log_starts_over() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..50)).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let held = reader.next().await;
    topic
        .client
        .purge_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    topic.send(0, numbered(50..55)).await;
    // Offset 49 does not exist any more: the store is refused and drops the cursor.
    reader.settle(&held).await;
    assert_eq!(
        reader.take(5).await[&0],
        numbered(50..55).collect::<Vec<_>>()
    );
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(4));
}

#[tokio::test]
async fn expired_messages_are_left_behind() {
    let broker = Broker::embedded(|config| {
        config.segment_size = 64 * 1024;
        config.retention_interval = Duration::from_millis(20);
    })
    .await;
    let topic = broker.missing_topic().await;
    topic.client.create_stream(&topic.stream).await.unwrap();
    let options = TopicCreateOptions {
        partitions_count: Some(1),
        max_topic_size: Some(MaxTopicSize::Custom(IggyByteSize::from(128 * 1024))),
        ..TopicCreateOptions::default()
    };
    topic
        .client
        .create_topic(&topic.stream_id(), &topic.name, &options)
        .await
        .unwrap();
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..100)).await;
    reader.take(100).await;
    // The consumer is kept from polling while what it has not read expires: one batch is taken, one waits.
    topic.send(0, numbered(100..400)).await;
    let held = reader.next().await;
    let filler = "x".repeat(1_000);
    for batch in 0..20 {
        let numbers = batch * 50..(batch + 1) * 50;
        topic
            .send(0, numbers.map(|number| format!("f{number}{filler}")))
            .await;
    }
    eventually(true, async || topic.read(0).await[0].header.offset > 410).await;
    reader.settle(&held).await;
    let mut next = last(&held) + 1;
    let mut batches = 0;
    let gap = loop {
        let fetched = reader.next().await;
        reader.settle(&fetched).await;
        batches += 1;
        let gap = first(&fetched) - next;
        assert_eq!(fetched.expired, gap);
        next = last(&fetched) + 1;
        if gap > 0 {
            break gap;
        }
        assert!(batches < 3, "nothing is missing");
    };
    assert!(gap > 100, "{gap}");
    while next < 1_400 {
        let fetched = reader.next().await;
        assert_eq!(first(&fetched), next);
        next = last(&fetched) + 1;
        reader.settle(&fetched).await;
    }
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(1_399));
}

#[tokio::test]
async fn a_log_of_which_everything_expired_is_not_taken_for_a_new_one() {
    let broker = Broker::embedded(|config| {
        config.segment_size = 64 * 1024;
        config.retention_interval = Duration::from_millis(20);
    })
    .await;
    let topic = broker.missing_topic().await;
    topic.client.create_stream(&topic.stream).await.unwrap();
    let options = TopicCreateOptions {
        partitions_count: Some(1),
        message_expiry: Some(IggyExpiry::ExpireDuration(
            Duration::from_millis(200).into(),
        )),
        ..TopicCreateOptions::default()
    };
    topic
        .client
        .create_topic(&topic.stream_id(), &topic.name, &options)
        .await
        .unwrap();
    topic.send(0, numbered(0..100)).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let before = reader.next().await;
    reader.settle(&before).await;
    eventually(0, async || topic.read(0).await.len()).await;
    topic.send(0, numbered(100..110)).await;
    let after = reader.next().await;
    assert_eq!((first(&after), after.epoch), (100, before.epoch));
    reader.settle(&after).await;
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(109));
}

#[tokio::test]
async fn a_topic_that_is_deleted_ends_the_run_with_a_reason() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..1)).await;
    reader.take(1).await;
    topic
        .client
        .delete_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    let failure = reader.ended().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(
        failure.message.contains("the topic does not exist"),
        "{failure}"
    );
    assert!(
        failure
            .message
            .contains(&format!("{}/{}", topic.stream, topic.name)),
        "{failure}"
    );
}
