//! What a message carries, how large it may be, and which request it goes out in.

use bytes::Bytes;
use iggy_connector_message::{HeaderKey, HeaderValue, UserHeaders, headers};
use iggy_connectors::pipeline::{Produced, Producer as _, Shipment as _};

use super::{harness::broker::Broker, message, producer, send};

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
