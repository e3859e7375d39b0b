//! The producer against a broker: where messages land, what they carry, and what happens when sending goes wrong.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod proxy;
}

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use harness::{
    broker::{Broker, Topic, iggy_at},
    proxy::Proxy,
};
use iggy::prelude::{
    Client as _, Identifier, IggyMessage, MessageClient, PartitionClient, Partitioning, TopicClient,
};
use iggy_connector_message::{HeaderKey, HeaderValue, UserHeaders, headers};
use iggy_connectors::{
    config::spec,
    pipeline::{FailureKind, Produced, Producer as _, Shipment as _},
    stream::{self, Producer},
};

async fn producer(iggy: &spec::Iggy, outputs: &[spec::Output]) -> Producer {
    let client = stream::connect(iggy, "test").await.unwrap();
    Producer::new(client, outputs).await.unwrap()
}

fn message(text: impl Into<String>) -> Produced {
    Produced {
        payload: Bytes::from(text.into()),
        ..Produced::default()
    }
}

fn keyed(key: &str, text: impl Into<String>) -> Produced {
    Produced {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        ..message(text)
    }
}

fn numbered(range: std::ops::Range<usize>) -> Vec<(usize, Produced)> {
    range
        .map(|number| (0, message(format!("m{number}"))))
        .collect()
}

async fn send(producer: &Producer, mut messages: Vec<(usize, Produced)>) {
    let mut shipment = producer.prepare(&mut messages).await.unwrap();
    assert!(messages.is_empty());
    producer.send(&mut shipment).await.unwrap();
}

async fn all_texts(topic: &Topic, partitions: u32) -> Vec<String> {
    let mut texts = Vec::new();
    for partition in 0..partitions {
        texts.extend(topic.texts(partition).await);
    }
    texts
}

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
    assert!(harness::broker::text(first).starts_with(&key));
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
async fn what_a_message_brings_arrives_and_the_rest_is_given() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let producer = producer(&broker.iggy(), &[topic.output()]).await;
    let own = UserHeaders::from([(HeaderKey::try_from("kind").unwrap(), HeaderValue::from(7u8))]);
    let full = Produced {
        id: Some(42),
        origin_timestamp: Some(1_000_000),
        headers: headers::encode(&own).into(),
        ..message("full")
    };
    send(
        &producer,
        vec![(0, full), (0, message("bare")), (0, message("bare"))],
    )
    .await;
    let found = topic.read(0).await;
    assert_eq!(
        (found[0].header.id, found[0].header.origin_timestamp),
        (42, 1_000_000)
    );
    assert_eq!(
        headers::decode(found[0].user_headers.as_deref().unwrap()).unwrap(),
        own
    );
    assert_ne!(found[1].header.id, 0);
    assert_ne!(found[1].header.id, found[2].header.id);
    assert!(found[1].header.origin_timestamp > 1_700_000_000_000_000);
    assert_eq!(found[1].user_headers, None);
}

#[tokio::test]
async fn a_message_may_be_empty() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let producer = producer(&broker.iggy(), &[topic.output()]).await;
    send(&producer, vec![(0, message("")), (0, message("x"))]).await;
    assert_eq!(topic.texts(0).await, ["", "x"]);
}

#[tokio::test]
async fn times_hours_apart_arrive_in_one_batch() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let producer = producer(&broker.iggy(), &[topic.output()]).await;
    let hour = 3_600_000_000;
    let times = [5 * hour, 0, 9 * hour, 9 * hour + 1];
    let batch = times.map(|time| {
        let message = Produced {
            origin_timestamp: Some(time),
            ..message("x")
        };
        (0, message)
    });
    send(&producer, batch.into()).await;
    let found = topic.read(0).await;
    let arrived: Vec<_> = found
        .iter()
        .map(|message| message.header.origin_timestamp)
        .collect();
    assert_eq!(arrived, times);
}

#[tokio::test]
async fn outputs_get_their_own_messages() {
    let broker = Broker::start().await;
    let (one, two) = (broker.topic(1).await, broker.topic(1).await);
    let producer = producer(&broker.iggy(), &[one.output(), two.output()]).await;
    let batch = (0..10).map(|number| (number % 2, message(format!("m{number}"))));
    send(&producer, batch.collect()).await;
    assert_eq!(one.texts(0).await, ["m0", "m2", "m4", "m6", "m8"]);
    assert_eq!(two.texts(0).await, ["m1", "m3", "m5", "m7", "m9"]);
}

#[tokio::test]
async fn a_large_batch_goes_out_in_requests_the_broker_takes() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut output = topic.output();
    output.batch_length = 10_000;
    let producer = producer(&broker.iggy(), &[output]).await;
    let batch =
        (0..100).map(|number| (0, message(format!("{number:04}{}", "x".repeat(1_000_000)))));
    send(&producer, batch.collect()).await;
    let found = topic.texts(0).await;
    assert_eq!(found.len(), 100);
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(number, text)| text.starts_with(&format!("{number:04}")))
    );
}

#[tokio::test]
async fn the_largest_message_is_sent_and_a_larger_one_fails_nothing_but_itself() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let producer = producer(&broker.iggy(), &[topic.output()]).await;
    let sized = |len: usize| Produced {
        payload: vec![7; len].into(),
        ..Produced::default()
    };
    let headers = Bytes::from(vec![0; 100_001]);
    let mut batch = vec![
        (0, sized(64_000_001)),
        (0, sized(64_000_000)),
        (
            0,
            Produced {
                headers: headers.clone(),
                ..message("fine")
            },
        ),
        (0, message("last")),
    ];
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    let rejected = shipment.take_rejected();
    let reasons: Vec<_> = rejected
        .iter()
        .map(|(rejected, _)| (rejected.index, rejected.stage, rejected.message.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (
                0,
                "deliver",
                "its payload has 64000001 bytes; Iggy takes 64000000"
            ),
            (
                2,
                "deliver",
                "its headers have 100001 bytes; Iggy takes 100000"
            ),
        ]
    );
    assert_eq!(rejected[0].1.payload.len(), 64_000_001);
    assert_eq!(rejected[1].1.headers, headers);
    producer.send(&mut shipment).await.unwrap();
    assert!(shipment.take_rejected().is_empty() && shipment.give_up().is_empty());
    let lengths: Vec<_> = topic
        .read(0)
        .await
        .iter()
        .map(|message| message.payload.len())
        .collect();
    assert_eq!(lengths, [64_000_000, 4]);
}

#[tokio::test]
async fn what_is_given_up_is_what_was_not_confirmed_as_it_was_polled() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let proxy = Proxy::start(broker.address()).await;
    let mut output = topic.output();
    output.batch_length = 10;
    let producer = producer(&iggy_at(&proxy.address()), &[output]).await;
    let padding = "x".repeat(1_000);
    let mut batch: Vec<_> = (0..40)
        .map(|number| (0, keyed("key", format!("m{number}-{padding}"))))
        .collect();
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    // Two requests of ten messages get through, and a part of the third.
    proxy.cut_after(2 * 11_500 + 5_000);
    let failure = producer.send(&mut shipment).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert_eq!(topic.read(0).await.len(), 20);
    let given_up = shipment.give_up();
    assert_eq!(given_up.len(), 20);
    for (at, (position, message)) in given_up.iter().enumerate() {
        assert_eq!(*position, at + 20);
        assert_eq!(message.payload, format!("m{position}-{padding}").as_bytes());
        assert!(message.headers.is_empty(), "the key is none of its own");
    }
    producer.send(&mut shipment).await.unwrap();
    assert_eq!(topic.read(0).await.len(), 20);
}

#[tokio::test]
async fn only_what_is_unconfirmed_is_sent_again() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let proxy = Proxy::start(broker.address()).await;
    let mut output = topic.output();
    output.batch_length = 10;
    let producer = producer(&iggy_at(&proxy.address()), &[output]).await;
    let padding = "x".repeat(1_000);
    let mut batch: Vec<_> = (0..40)
        .map(|number| (0, message(format!("m{number}-{padding}"))))
        .collect();
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    // Two requests of ten messages get through, and a part of the third.
    proxy.cut_after(2 * 11_000 + 5_000);
    let failure = producer.send(&mut shipment).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(
        failure
            .message
            .contains(&format!("{}/{}", topic.stream, topic.name)),
        "{failure}"
    );
    assert_eq!(topic.read(0).await.len(), 20);

    producer.send(&mut shipment).await.unwrap();
    let found = topic.texts(0).await;
    assert_eq!(found.len(), 40);
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(number, text)| text.starts_with(&format!("m{number}-")))
    );
    producer.send(&mut shipment).await.unwrap();
    assert_eq!(topic.read(0).await.len(), 40);
}

#[tokio::test]
async fn an_unknown_outcome_is_sent_again_with_the_same_ids() {
    let broker = Broker::start().await;
    let topic = broker.topic(3).await;
    let proxy = Proxy::start(broker.address()).await;
    let producer = producer(&iggy_at(&proxy.address()), &[topic.output()]).await;
    let mut batch = numbered(0..50);
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    proxy.swallow_answer();
    let failure = producer.send(&mut shipment).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    producer.send(&mut shipment).await.unwrap();

    let mut partitions = Vec::new();
    for partition in 0..3 {
        partitions.push(topic.read(partition).await);
    }
    partitions.retain(|messages| !messages.is_empty());
    assert_eq!(partitions.len(), 1);
    let ids: Vec<_> = partitions[0]
        .iter()
        .map(|message| message.header.id)
        .collect();
    assert_eq!(ids.len(), 100);
    assert_eq!(ids[..50], ids[50..]);
}

#[tokio::test]
async fn a_broker_that_comes_back_is_used_again() {
    let broker = Broker::embedded(|_| ()).await;
    let topic = broker.topic(1).await;
    let producer = producer(&broker.iggy(), &[topic.output()]).await;
    send(&producer, numbered(0..10)).await;
    let stopped = broker.stop().await;
    let mut batch = numbered(10..20);
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    for _ in 0..3 {
        let failure = producer.send(&mut shipment).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreachable, "{failure}");
    }
    let _broker = stopped.start().await;
    producer.send(&mut shipment).await.unwrap();
    topic.client.connect().await.unwrap();
    let expected: Vec<_> = (0..20).map(|number| format!("m{number}")).collect();
    assert_eq!(topic.texts(0).await, expected);
}

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
async fn a_send_that_is_dropped_half_way_is_made_good_by_the_next() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut output = topic.output();
    output.batch_length = 100;
    let producer = producer(&broker.iggy(), &[output]).await;
    let mut batch = numbered(0..2_000);
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    for _ in 0..5 {
        let mut polls = 0;
        let mut sending = std::pin::pin!(producer.send(&mut shipment));
        // Dropped while a request is in flight, each time a little later.
        std::future::poll_fn(|context| {
            polls += 1;
            match sending.as_mut().poll(context) {
                std::task::Poll::Pending if polls < 3 => std::task::Poll::Pending,
                _ => std::task::Poll::Ready(()),
            }
        })
        .await;
    }
    producer.send(&mut shipment).await.unwrap();
    let found: HashSet<_> = topic.texts(0).await.into_iter().collect();
    assert_eq!(found.len(), 2_000);
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
