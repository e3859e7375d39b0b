//! Which partition a message goes to, also when there are more of them or fewer.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use iggy::prelude::{IggyMessage, MessageClient as _, PartitionClient as _, Partitioning};
use iggy_connector_message::{HeaderKey, headers};
use iggy_connectors::pipeline::{FailureKind, Producer as _};

use super::{
    harness::broker::{Broker, text},
    keyed, numbered, producer, send,
};

#[tokio::test]
async fn a_batch_without_keys_goes_to_one_partition_and_the_next_to_the_next() {
    let broker = Broker::start().await;
    let topic = broker.topic(3).await;
    let producer = producer(&broker.iggy(), &[topic.output()]).await;
    for batch in 0..6 {
        send(&producer, numbered(batch * 250..(batch + 1) * 250)).await;
    }
    let mut seen = HashSet::new();
    for partition in 0..3 {
        let texts = topic.texts(partition).await;
        assert_eq!(texts.len(), 500);
        for batch in texts.chunks(250) {
            let first: usize = batch[0][1..].parse().unwrap();
            let expected: Vec<_> = (first..first + 250)
                .map(|number| format!("m{number}"))
                .collect();
            assert_eq!(batch, expected);
            seen.extend(batch.to_vec());
        }
    }
    assert_eq!(seen.len(), 1_500);
}

#[tokio::test]
async fn a_key_leads_to_the_partition_that_the_client_would_choose() {
    let broker = Broker::start().await;
    let (ours, theirs) = (broker.topic(5).await, broker.topic(5).await);
    let producer = producer(&broker.iggy(), &[ours.output()]).await;
    let keys: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
    let mut batch = Vec::new();
    for round in 0..3 {
        for key in &keys {
            batch.push((0, keyed(key, format!("{key}/{round}"))));
        }
    }
    send(&producer, batch).await;
    for round in 0..3 {
        for key in &keys {
            let partitioning = Partitioning::messages_key_str(key).unwrap();
            let payload = Bytes::from(format!("{key}/{round}"));
            let message = IggyMessage::builder().payload(payload).build().unwrap();
            let sent = theirs
                .client
                .send_messages(
                    &theirs.stream_id(),
                    &theirs.id(),
                    &partitioning,
                    &mut [message],
                )
                .await;
            sent.unwrap();
        }
    }
    for partition in 0..5 {
        assert_eq!(
            ours.texts(partition).await,
            theirs.texts(partition).await,
            "{partition}"
        );
    }
    let first = &ours.read(0).await[0];
    let carried = headers::decode(first.user_headers.as_deref().unwrap()).unwrap();
    let key = carried[&HeaderKey::try_from("key").unwrap()]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(text(first).starts_with(&key));
}

#[tokio::test]
async fn a_key_too_long_for_iggy_keeps_its_messages_together() {
    let broker = Broker::start().await;
    let topic = broker.topic(4).await;
    let producer = producer(&broker.iggy(), &[topic.output()]).await;
    let key = "k".repeat(10_000);
    for number in 0..8 {
        send(&producer, vec![(0, keyed(&key, format!("m{number}")))]).await;
    }
    let mut lengths = Vec::new();
    for partition in 0..4 {
        lengths.push(topic.texts(partition).await.len());
    }
    lengths.sort_unstable();
    assert_eq!(lengths, [0, 0, 0, 8]);
}

#[tokio::test]
async fn messages_for_partitions_that_are_gone_go_to_those_that_are_left() {
    let broker = Broker::start().await;
    let topic = broker.topic(4).await;
    let producer = producer(&broker.iggy(), &[topic.output()]).await;
    let keys: Vec<String> = (0..20).map(|number| format!("key-{number}")).collect();
    let mut batch: Vec<_> = keys
        .iter()
        .map(|key| (0, keyed(key, key.clone())))
        .collect();
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    topic
        .client
        .delete_partitions(&topic.stream_id(), &topic.id(), 3)
        .await
        .unwrap();
    // Some request is for a partition that is gone; the next attempt knows better.
    let failure = producer.send(&mut shipment).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(
        failure.message.contains("the partition does not exist"),
        "{failure}"
    );
    producer.send(&mut shipment).await.unwrap();
    let mut found = topic.texts(0).await;
    found.sort_unstable();
    let mut expected = keys;
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn partitions_that_are_added_are_used_a_minute_later() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let producer = producer(&broker.iggy(), &[topic.output()]).await;
    let batch = || -> Vec<_> {
        let keys = (0..20).map(|number| format!("key-{number}"));
        keys.map(|key| (0, keyed(&key, key.clone()))).collect()
    };
    send(&producer, batch()).await;
    topic
        .client
        .create_partitions(&topic.stream_id(), &topic.id(), 3)
        .await
        .unwrap();
    send(&producer, batch()).await;
    assert_eq!(topic.read(0).await.len(), 40, "nobody has counted yet");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    send(&producer, batch()).await;
    let mut counts = Vec::new();
    for partition in 0..4 {
        counts.push(topic.read(partition).await.len());
    }
    assert_eq!(counts.iter().sum::<usize>(), 60);
    assert!(counts[1..].iter().all(|count| *count > 0), "{counts:?}");
}
