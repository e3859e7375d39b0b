//! A consumer that reads alone.

use iggy_connectors::{
    pipeline::{Failure, FailureKind},
    stream,
};

use crate::{
    GROUP,
    harness::{
        broker::{Broker, Topic, eventually},
        reader::{self, Reader, Saved, numbered, reading},
    },
};

fn alone() -> stream::Reading {
    stream::Reading {
        exclusive: true,
        ..reading()
    }
}

async fn join(broker: &Broker, topic: &Topic) -> Result<stream::Consumer, Failure> {
    let inputs = [topic.input(GROUP)];
    reader::join(&broker.iggy(), &inputs, alone(), &Saved::default()).await
}

#[tokio::test]
async fn it_does_not_begin_beside_another_member_and_begins_when_that_is_gone() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    let other = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let failure = join(&broker, &topic).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
    for part in [
        GROUP,
        &topic.name,
        "another member",
        "127.0.0.1:",
        "consumer.exclusive",
    ] {
        assert!(failure.message.contains(part), "{failure}");
    }
    assert_eq!(topic.members(GROUP).await, 1);
    let second = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let failure = join(&broker, &topic).await.unwrap_err();
    assert!(failure.message.contains("2 other members"), "{failure}");

    other.stop().await.unwrap();
    second.stop().await.unwrap();
    topic.send(1, numbered(0..5)).await;
    let mut reader = Reader::with(&broker.iggy(), &[topic.input(GROUP)], alone()).await;
    assert_eq!(reader.take(5).await[&1], numbered(0..5).collect::<Vec<_>>());
    assert!(join(&broker, &topic).await.is_err());
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn of_several_that_begin_at_once_at_most_one_reads() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    for _ in 0..5 {
        let started = tokio::join!(
            join(&broker, &topic),
            join(&broker, &topic),
            join(&broker, &topic)
        );
        let started = [started.0, started.1, started.2];
        let reading = started.iter().filter(|joined| joined.is_ok()).count();
        assert!(reading <= 1, "{started:?}");
        assert!(topic.members(GROUP).await as usize <= 1);
        drop(started);
        eventually(0, async || topic.members(GROUP).await).await;
    }
}

#[tokio::test]
async fn a_member_that_was_dropped_ends_its_run_before_it_joins_again() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let reader = Reader::with(&broker.iggy(), &[topic.input(GROUP)], alone()).await;
    let group = iggy::prelude::Identifier::named(GROUP).unwrap();
    iggy::prelude::ConsumerGroupClient::delete_consumer_group(
        &topic.client,
        &topic.stream_id(),
        &topic.id(),
        &group,
    )
    .await
    .unwrap();
    let failure = reader.ended().await.unwrap_err();
    assert!(failure.message.contains("no longer a member"), "{failure}");
    assert_eq!(failure.kind, FailureKind::Transient);
}
