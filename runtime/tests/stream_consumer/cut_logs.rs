//! Logs that expire, are purged or deleted while they are read.

use std::time::Duration;

use iggy::prelude::*;
use iggy_connectors::{
    config::spec::Input,
    pipeline::{FailureKind, Fetched},
};

use crate::{
    GROUP,
    harness::{
        broker::{Broker, Topic, eventually},
        reader::{Reader, first, last, numbered},
    },
};

/// More than how old what the broker said last has to be before it is asked for again.
const DOUBTED_AFTER: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_purged_log_is_read_from_its_new_beginning() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..50)).await;
    reader.take(50).await;
    eventually(Some(49), async || topic.stored(GROUP, 0).await).await;
    purge(&topic).await;
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
    topic.send(0, numbered(0..3)).await;
    reader.take(3).await;
    eventually(Some(2), async || topic.stored(GROUP, 0).await).await;
    purge(&topic).await;
    topic.send(0, numbered(3..6)).await;
    assert_eq!(reader.take(3).await[&0], ["m3", "m4", "m5"]);
    // What is stored follows the new log, though nothing of it is further than the old one was.
    eventually(Some(2), async || topic.stored(GROUP, 0).await).await;
    topic.send(0, numbered(6..7)).await;
    reader.take(1).await;
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(3));

    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(7..8)).await;
    assert_eq!(reader.take(1).await[&0], ["m7"]);
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn a_log_that_was_purged_and_grew_while_a_batch_was_held_is_read_whole() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let (mut reader, held) = holding(&broker, &topic).await;
    purge(&topic).await;
    topic.send(0, numbered(60..200)).await;
    // Its offset exists in the new log too.
    reader.settle(&held).await;
    assert_eq!(
        reader.take(140).await[&0],
        numbered(60..200).collect::<Vec<_>>()
    );
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(139));
}

#[tokio::test]
async fn a_purge_is_noticed_before_anything_is_stored() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..10)).await;
    let mut reader = Reader::with_most(&broker.iggy(), &[topic.input(GROUP)], 1).await;
    let held = reader.next().await;
    assert_eq!((first(&held), last(&held)), (0, 9));
    tokio::time::sleep(DOUBTED_AFTER).await;
    purge(&topic).await;
    topic.send(0, numbered(10..40)).await;
    reader.settle(&held).await;
    assert_eq!(
        reader.take(30).await[&0],
        numbered(10..40).collect::<Vec<_>>()
    );
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(29));
}

#[tokio::test]
async fn a_log_that_only_grew_while_a_batch_was_held_is_read_on() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..10)).await;
    let mut reader = Reader::with_most(&broker.iggy(), &[topic.input(GROUP)], 1).await;
    let mut next = 0;
    for _ in 0..3 {
        let held = reader.next().await;
        assert_eq!((first(&held), last(&held)), (next, next + 9));
        next += 10;
        topic.send(0, numbered(0..10)).await;
        reader.settle(&held).await;
    }
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(29));
}

#[tokio::test]
async fn a_stop_behind_a_purge_stores_nothing_of_the_old_log() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let (reader, held) = holding(&broker, &topic).await;
    purge(&topic).await;
    topic.send(0, numbered(60..200)).await;
    reader.settle(&held).await;
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, None);
}

#[tokio::test]
async fn a_log_that_was_purged_and_grew_between_two_polls_is_read_whole() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let input = Input {
        poll_interval: Duration::from_millis(500),
        ..topic.input(GROUP)
    };
    topic.send(0, numbered(0..10)).await;
    let mut reader = Reader::start(&broker.iggy(), &[input]).await;
    reader.take(10).await;
    eventually(Some(9), async || topic.stored(GROUP, 0).await).await;
    tokio::time::sleep(DOUBTED_AFTER).await;
    purge(&topic).await;
    topic.send(0, numbered(10..30)).await;
    assert_eq!(
        reader.take(20).await[&0],
        numbered(10..30).collect::<Vec<_>>()
    );
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(19));
}

/// A reader that has ten messages of which nothing is settled, behind fifty that are stored, and is given no more.
async fn holding(broker: &Broker, topic: &Topic) -> (Reader, Fetched) {
    topic.send(0, numbered(0..50)).await;
    let mut reader = Reader::with_most(&broker.iggy(), &[topic.input(GROUP)], 1).await;
    reader.take(50).await;
    eventually(Some(49), async || topic.stored(GROUP, 0).await).await;
    topic.send(0, numbered(50..60)).await;
    let held = reader.next().await;
    assert_eq!((first(&held), last(&held)), (50, 59));
    tokio::time::sleep(DOUBTED_AFTER).await;
    (reader, held)
}

async fn purge(topic: &Topic) {
    let (stream, id) = (topic.stream_id(), topic.id());
    topic.client.purge_topic(&stream, &id).await.unwrap();
}

#[tokio::test]
async fn a_stored_offset_beyond_the_end_of_the_log_starts_over() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..50)).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let held = reader.next().await;
    purge(&topic).await;
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
    let (broker, topic) = Broker::trimming(|topic| {
        topic.max_topic_size = Some(MaxTopicSize::Custom(IggyByteSize::from(128 * 1024)));
    })
    .await;
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
    // Until the broker has removed what it is going to.
    eventually(true, async || topic.read(0).await[0].header.offset > 1_200).await;
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
    let (broker, topic) = Broker::trimming(|topic| {
        topic.message_expiry = Some(IggyExpiry::ExpireDuration(Duration::from_secs(2).into()));
    })
    .await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..100)).await;
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
