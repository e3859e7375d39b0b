//! Connections that break, brokers that go away, sends that are dropped: what is unconfirmed is sent again, and nothing else.

use std::{collections::HashSet, time::Duration};

use iggy::prelude::{Client as _, TopicClient as _};
use iggy_connectors::{
    config::spec,
    pipeline::{Failure, FailureKind, Produced, Producer as _, Shipment as _},
};

use super::{
    harness::{
        broker::{Broker, eventually, iggy_at},
        gate::{Gate, Request, Side},
        proxy::Proxy,
    },
    keyed, message, numbered, producer, send,
};

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

/// Gives up waiting soon, and not before what is small is done on a machine that does much else.
fn impatient(address: &str) -> spec::Iggy {
    spec::Iggy {
        request_timeout: Duration::from_secs(3),
        ..iggy_at(address)
    }
}

/// More than what lies in sockets.
fn large(number: usize) -> Produced {
    message(format!("m{number}-{}", "x".repeat(20_000_000)))
}

#[tokio::test]
async fn a_send_that_is_not_answered_ends_and_is_sent_again_with_the_same_ids() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let gate = Gate::start(broker.address()).await;
    let producer = producer(&impatient(&gate.address()), &[topic.output()]).await;
    let mut batch = numbered(0..50);
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    let held = gate.catch(Request::Send, Side::After, 0);
    let failure = producer.send(&mut shipment).await.unwrap_err();
    held.await.unwrap();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(
        failure
            .message
            .contains("no answer within `[iggy] request_timeout`"),
        "{failure}"
    );
    // The first answer is still on its way, on a connection of which nobody reads.
    eventually(true, async || producer.send(&mut shipment).await.is_ok()).await;
    gate.cut();
    let sent = topic.read(0).await;
    let ids: Vec<_> = sent.iter().map(|message| message.header.id).collect();
    assert!(ids.len() >= 100);
    assert_eq!(ids[..50], ids[50..100]);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 50);
}

#[tokio::test]
async fn a_send_that_is_not_even_taken_ends_and_nothing_is_missing_afterwards() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let proxy = Proxy::start(broker.address()).await;
    let hasty = producer(&impatient(&proxy.address()), &[topic.output()]).await;
    let mut batch = vec![(0, large(0)), (0, large(1))];
    let mut shipment = hasty.prepare(&mut batch).await.unwrap();
    proxy.freeze();
    for _ in 0..2 {
        let failure = hasty.send(&mut shipment).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreachable, "{failure}");
    }
    proxy.thaw();
    let patient = producer(&iggy_at(&proxy.address()), &[topic.output()]).await;
    eventually(true, async || patient.send(&mut shipment).await.is_ok()).await;
    let found: HashSet<_> = topic.texts(0).await.into_iter().collect();
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn a_connection_that_breaks_while_a_topic_is_looked_up_is_made_again() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let proxy = Proxy::start(broker.address()).await;
    let producer = producer(&iggy_at(&proxy.address()), &[topic.output()]).await;
    topic
        .client
        .delete_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    let mut batch = numbered(0..10);
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    // It is missing, and looked up before the next attempt.
    producer.send(&mut shipment).await.unwrap_err();
    topic.create_in_stream(1).await;
    proxy.swallow_answer();
    producer.send(&mut shipment).await.unwrap_err();
    eventually(true, async || producer.send(&mut shipment).await.is_ok()).await;
    assert_eq!(topic.read(0).await.len(), 10);
}

#[tokio::test]
async fn requests_that_are_never_taken_are_few_whatever_is_tried() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let proxy = Proxy::start(broker.address()).await;
    let producer = producer(&impatient(&proxy.address()), &[topic.output()]).await;
    let mut batch = vec![(0, large(0))];
    let mut shipment = producer.prepare(&mut batch).await.unwrap();
    // Enough to sign in, as through a network that drops large packets.
    proxy.take_only(50_000);
    let is_enough = |failure: &Failure| failure.message.contains("has not answered 4 requests");
    let mut failures = Vec::new();
    while !failures.iter().any(is_enough) {
        assert!(failures.len() < 20, "{failures:?}");
        let failure = producer.send(&mut shipment).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreachable, "{failure}");
        failures.push(failure);
    }
    assert!(is_enough(&producer.send(&mut shipment).await.unwrap_err()));
    assert_eq!(topic.read(0).await.len(), 0);
    proxy.take_only(u64::MAX);
    // They are taken now, and there is room for the next.
    eventually(false, async || {
        let sent = producer.send(&mut shipment).await;
        sent.is_err_and(|failure| is_enough(&failure))
    })
    .await;
    eventually(true, async || !topic.read(0).await.is_empty()).await;
}
