//! Which offsets are stored, and when.

use std::time::Duration;

use crate::{
    GROUP,
    harness::{
        broker::{Broker, PATIENCE, eventually},
        reader::{Reader, first, last, numbered, position},
    },
};

#[tokio::test]
async fn only_what_is_settled_is_stored() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..300)).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let one = reader.next().await;
    let two = reader.next().await;
    assert_eq!((last(&one), first(&two)), (99, 100));
    reader.settle(&one).await;
    eventually(Some(99), async || topic.stored(GROUP, 0).await).await;
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(99));
}

#[tokio::test]
async fn a_crash_stores_nothing_more_and_loses_nothing() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..300)).await;
    let interval = Duration::from_secs(3600);
    let mut reader = Reader::with_interval(&broker.iggy(), &[topic.input(GROUP)], interval).await;
    let one = reader.next().await;
    reader.settle(&one).await;
    reader.next().await;
    reader.crash().await;
    eventually(0, async || topic.members(GROUP).await).await;
    assert_eq!(topic.stored(GROUP, 0).await, None);

    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let all = reader.take(300).await;
    assert_eq!(all[&0], numbered(0..300).collect::<Vec<_>>());
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_goes_on_behind_what_was_stored() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..150)).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    reader.take(100).await;
    reader.stop().await.unwrap();
    assert_eq!(topic.members(GROUP).await, 0);

    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    assert_eq!(first(&reader.next().await), 100);
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn an_idle_consumer_stores_at_once() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..10)).await;
    let interval = Duration::from_secs(3600);
    let mut reader = Reader::with_interval(&broker.iggy(), &[topic.input(GROUP)], interval).await;
    let fetched = reader.next().await;
    reader.settle(&fetched).await;
    eventually(Some(9), async || topic.stored(GROUP, 0).await).await;
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn sixteen_settled_batches_are_stored_however_long_the_interval_is() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..400)).await;
    let mut input = topic.input(GROUP);
    input.batch_length = 10;
    let mut reader =
        Reader::with_interval(&broker.iggy(), &[input], Duration::from_secs(3600)).await;
    for _ in 0..16 {
        let fetched = reader.next().await;
        reader.settle(&fetched).await;
    }
    // There is more to hand out, so that it is not idle.
    eventually(Some(159), async || topic.stored(GROUP, 0).await).await;
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_settled_after_the_stop_is_stored() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..300)).await;
    let mut reader = Reader::with_interval(
        &broker.iggy(),
        &[topic.input(GROUP)],
        Duration::from_secs(3600),
    )
    .await;
    let held = reader.next().await;
    let (settled, position) = (reader.settling(), position(&held));
    let stopping = tokio::spawn(reader.stop());
    settled.send(position).await.unwrap();
    drop(settled);
    tokio::time::timeout(PATIENCE, stopping)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(99));
    assert_eq!(topic.members(GROUP).await, 0);
}
