//! Topics that are missing, deleted or named in digits.

use iggy::prelude::{Identifier, TopicClient as _};
use iggy_connectors::{
    pipeline::{FailureKind, Producer as _},
    stream::{self, Producer},
};

use super::{all_texts, harness::broker::Broker, numbered, producer, send};

#[tokio::test]
async fn a_topic_that_was_deleted_is_made_again_where_that_is_allowed() {
    let broker = Broker::start().await;
    let topic = broker.missing_topic().await;
    let mut output = topic.output();
    output.create = true;
    output.partitions = 2;
    let producer = producer(&broker.iggy(), &[output]).await;
    send(&producer, numbered(0..10)).await;
    topic
        .client
        .delete_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();

    let mut batch = numbered(10..20);
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    let failure = producer.send(&mut shipment).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    producer.send(&mut shipment).await.unwrap();
    let expected: Vec<_> = (10..20).map(|number| format!("m{number}")).collect();
    assert_eq!(all_texts(&topic, 2).await, expected);
}

#[tokio::test]
async fn a_topic_that_was_deleted_and_may_not_be_made_is_waited_for() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let producer = producer(&broker.iggy(), &[topic.output()]).await;
    topic
        .client
        .delete_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    let mut batch = numbered(0..10);
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    let failure = producer.send(&mut shipment).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    let failure = producer.send(&mut shipment).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.message.contains("create = true"), "{failure}");
    topic.create_in_stream(1).await;
    producer.send(&mut shipment).await.unwrap();
    let expected: Vec<_> = (0..10).map(|number| format!("m{number}")).collect();
    assert_eq!(topic.texts(0).await, expected);
}

#[tokio::test]
async fn missing_topics_are_created_where_that_is_allowed() {
    let broker = Broker::start().await;
    let topic = broker.missing_topic().await;
    let mut output = topic.output();
    let make = async |output| {
        let client = stream::connect(&broker.iggy(), "test").await.unwrap();
        Producer::new(client, &[output]).await
    };
    let failure = make(output.clone()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(
        failure
            .message
            .contains(&format!("{}/{}", topic.stream, topic.name)),
        "{failure}"
    );
    assert!(failure.message.contains("create = true"), "{failure}");

    output.create = true;
    output.partitions = 3;
    let all = tokio::join!(
        make(output.clone()),
        make(output.clone()),
        make(output.clone())
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
async fn digits_are_names_and_no_ids() {
    let broker = Broker::start().await;
    let mut topic = broker.missing_topic().await;
    topic.stream = format!("{}", uuid::Uuid::new_v4().as_u128() % 1_000_000_000);
    topic.name = "1".to_owned();
    let mut output = topic.output();
    output.create = true;
    let producer = producer(&broker.iggy(), &[output]).await;
    send(&producer, numbered(0..1)).await;
    assert_eq!(topic.texts(0).await, ["m0"]);
    let id = Identifier::named(&topic.stream).unwrap();
    let found = topic
        .client
        .get_topic(&id, &Identifier::named("1").unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.name, "1");
}
