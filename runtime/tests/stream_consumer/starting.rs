//! `start_from`: where a group begins, and that it stays there.

use iggy::prelude::*;
use iggy_connectors::{
    config::spec::{Input, StartFrom},
    pipeline::{Failure, FailureKind, StateStore},
    stream,
};

use crate::{
    GROUP,
    harness::{
        broker::{Broker, Topic, eventually},
        reader::{self, Reader, Saved, first, numbered, reading},
    },
};

fn input(topic: &Topic, start_from: StartFrom) -> Input {
    Input {
        start_from,
        ..topic.input(GROUP)
    }
}

/// The first offset that is read of each partition, after one more message was sent to each.
async fn firsts(
    broker: &Broker,
    topic: &Topic,
    start_from: StartFrom,
    partitions: u32,
) -> Vec<u64> {
    let inputs = [input(topic, start_from)];
    let mut reader = Reader::start(&broker.iggy(), &inputs).await;
    let mut firsts = vec![None; partitions as usize];
    for partition in 0..partitions {
        topic.send(partition, numbered(0..1)).await;
    }
    while firsts.contains(&None) {
        let fetched = reader.next().await;
        reader.settle(&fetched).await;
        firsts[fetched.partition_id as usize].get_or_insert(first(&fetched));
    }
    reader.stop().await.unwrap();
    firsts.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_group_begins_where_it_is_told_in_every_partition() {
    let broker = Broker::start().await;
    for (start_from, expected) in [
        (StartFrom::First, [0, 0, 0]),
        (StartFrom::Last, [9, 0, 0]),
        (StartFrom::Next, [10, 1, 0]),
        (StartFrom::Offset(4), [4, 1, 0]),
        (StartFrom::Offset(0), [0, 0, 0]),
        (StartFrom::Offset(u64::MAX), [10, 1, 0]),
        (StartFrom::Timestamp(0), [0, 0, 0]),
        (
            StartFrom::Timestamp(u64::from(u32::MAX) * 1_000_000),
            [10, 1, 0],
        ),
    ] {
        let topic = broker.topic(3).await;
        topic.send(0, numbered(0..10)).await;
        topic.send(1, numbered(0..1)).await;
        let found = firsts(&broker, &topic, start_from, 3).await;
        assert_eq!(found, expected, "{start_from}");
    }
}

#[tokio::test]
async fn a_time_is_found_between_messages() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..5)).await;
    topic.send(0, numbered(5..10)).await;
    let between = topic.read(0).await[5].header.timestamp;
    let found = firsts(&broker, &topic, StartFrom::Timestamp(between), 1).await;
    assert_eq!(found, [5]);
}

#[tokio::test]
async fn what_was_resolved_stays_whatever_the_configuration_says_later() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    topic.send(0, numbered(0..10)).await;
    let saved = Saved::default();
    let start = async |start_from| {
        Reader::with_saved(&broker.iggy(), &[input(&topic, start_from)], &saved).await
    };
    start(StartFrom::Next).await.stop().await.unwrap();
    // Both came while nothing ran; one partition had been empty, the other had not.
    topic.send(0, numbered(10..12)).await;
    topic.send(1, numbered(10..12)).await;
    for start_from in [StartFrom::First, StartFrom::Next, StartFrom::Last] {
        let mut reader = start(start_from).await;
        let firsts = [reader.next().await, reader.next().await];
        let mut firsts = firsts.map(|fetched| (fetched.partition_id, first(&fetched)));
        firsts.sort_unstable();
        assert_eq!(firsts, [(0, 10), (1, 0)], "{start_from}");
        reader.crash().await;
        eventually(0, async || topic.members(GROUP).await).await;
    }
}

#[tokio::test]
async fn what_is_stored_wins() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..10)).await;
    let mut reader = Reader::start(&broker.iggy(), &[input(&topic, StartFrom::First)]).await;
    let fetched = reader.next().await;
    reader.settle(&fetched).await;
    reader.stop().await.unwrap();
    topic.send(0, numbered(10..20)).await;
    // Another daemon, with nothing saved.
    let mut reader = Reader::start(&broker.iggy(), &[input(&topic, StartFrom::Next)]).await;
    assert_eq!(first(&reader.next().await), 10);
    reader.stop().await.unwrap();
}

/// A store that is lost just after it has saved so many times, as the process would be.
struct Crash(Saved, std::sync::atomic::AtomicU32);

impl StateStore for Crash {
    async fn save(&self, state: bytes::Bytes) -> Result<(), Failure> {
        self.0.save(state).await?;
        match self.1.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) {
            1 => Err(Failure::transient("crashed")),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_crash_before_anything_is_stored_does_not_move_it() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..10)).await;
    let saved = Saved::default();
    let inputs = [input(&topic, StartFrom::Next)];
    let client = stream::connect(&broker.iggy(), "test").await.unwrap();
    let mut starts = stream::Starts::new(Ok(None), Crash(saved.clone(), 1.into()));
    let failure = stream::Consumer::join(client, &inputs, reading(), &mut starts)
        .await
        .unwrap_err();
    assert_eq!(failure.message, "crashed");
    assert_eq!(topic.stored(GROUP, 0).await, None);
    topic.send(0, numbered(10..20)).await;
    let mut reader = Reader::with_saved(&broker.iggy(), &inputs, &saved).await;
    assert_eq!(topic.stored(GROUP, 0).await, Some(9));
    assert_eq!(first(&reader.next().await), 10);
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn after_a_purge_a_group_that_was_begun_reads_from_the_first_message() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..10)).await;
    let saved = Saved::default();
    let inputs = [input(&topic, StartFrom::Next)];
    let reader = Reader::with_saved(&broker.iggy(), &inputs, &saved).await;
    reader.stop().await.unwrap();
    topic
        .client
        .purge_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    topic.send(0, numbered(0..50)).await;
    let mut reader = Reader::with_saved(&broker.iggy(), &inputs, &saved).await;
    assert_eq!(first(&reader.next().await), 0);
    reader.stop().await.unwrap();

    // And in a topic that was made anew.
    let (stream, name) = (topic.stream_id(), topic.id());
    topic.client.delete_topic(&stream, &name).await.unwrap();
    topic.create_in_stream(1).await;
    topic.send(0, numbered(0..50)).await;
    let mut reader = Reader::with_saved(&broker.iggy(), &inputs, &saved).await;
    assert_eq!(first(&reader.next().await), 0);
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn a_partition_that_is_added_later_is_read_from_its_first_message() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..10)).await;
    let saved = Saved::default();
    let inputs = [input(&topic, StartFrom::Next)];
    let reader = Reader::with_saved(&broker.iggy(), &inputs, &saved).await;
    reader.stop().await.unwrap();
    let (stream, name) = (topic.stream_id(), topic.id());
    topic
        .client
        .create_partitions(&stream, &name, 1)
        .await
        .unwrap();
    topic.send(1, numbered(0..10)).await;
    let mut reader = Reader::with_saved(&broker.iggy(), &inputs, &saved).await;
    let fetched = reader.next().await;
    assert_eq!((fetched.partition_id, first(&fetched)), (1, 0));
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn a_later_member_skips_nothing_that_the_first_one_has_begun() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    topic.send(0, numbered(0..10)).await;
    let inputs = [input(&topic, StartFrom::Next)];
    let one = Reader::start(&broker.iggy(), &inputs).await;
    // It has begun an empty partition; for the second member `next` would be behind these.
    topic.send(1, numbered(0..10)).await;
    let mut two = Reader::start(&broker.iggy(), &inputs).await;
    one.crash().await;
    let fetched = two.next().await;
    assert_eq!((fetched.partition_id, first(&fetched)), (1, 0));
    two.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(9));
}

#[tokio::test]
async fn a_damaged_record_is_an_error_unless_reading_begins_at_the_first_message() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..10)).await;
    for damage in ["{", r#"{"version": 2, "groups": []}"#] {
        let saved = Saved::default();
        saved.set(damage);
        let inputs = [input(&topic, StartFrom::Next)];
        let joined = reader::join(&broker.iggy(), &inputs, reading(), &saved).await;
        let failure = joined.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Fatal);
        assert!(failure.message.contains("saved state"), "{failure}");
        let inputs = [input(&topic, StartFrom::First)];
        let mut reader = Reader::with_saved(&broker.iggy(), &inputs, &saved).await;
        assert_eq!(first(&reader.next().await), 0);
        reader.crash().await;
        assert_eq!(saved.text().unwrap(), damage);
        eventually(0, async || topic.members(GROUP).await).await;
    }
}
