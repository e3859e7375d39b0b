//! A broker that takes requests and answers none: whatever is asked ends in time, and the next consumer goes on.

use std::time::Duration;

use iggy_connectors::{config::spec, pipeline::FailureKind};

use super::{
    GROUP,
    harness::{
        broker::{Broker, eventually, iggy_at},
        proxy::Proxy,
        reader::{Reader, Saved, join, numbered, reading},
    },
};

const UNANSWERED: &str = "no answer within `[iggy] request_timeout`";

/// Gives up waiting soon, and not before what is small is done on a machine that does much else.
fn impatient(proxy: &Proxy) -> spec::Iggy {
    spec::Iggy {
        request_timeout: Duration::from_secs(3),
        ..iggy_at(&proxy.address())
    }
}

#[tokio::test]
async fn a_poll_or_a_store_that_is_not_answered_ends_the_consumer_and_the_next_misses_nothing() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..100)).await;
    let proxy = Proxy::start(broker.address()).await;
    let mut reader = Reader::start(&impatient(&proxy), &[topic.input(GROUP)]).await;
    let fetched = reader.next().await;
    proxy.freeze();
    reader.settle(&fetched).await;
    let failure = reader.ended().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(failure.message.contains(UNANSWERED), "{failure}");
    proxy.thaw();
    topic.send(0, numbered(100..120)).await;
    let mut reader = Reader::start(&iggy_at(&proxy.address()), &[topic.input(GROUP)]).await;
    let missing = 120 - topic.stored(GROUP, 0).await.map_or(0, |offset| offset + 1);
    reader.take(missing as usize).await;
    reader.stop().await.unwrap();
    eventually(Some(119), async || topic.stored(GROUP, 0).await).await;
}

#[tokio::test]
async fn joining_ends_when_nothing_is_answered() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let proxy = Proxy::start(broker.address()).await;
    let iggy = impatient(&proxy);
    let client = iggy_connectors::stream::connect(&iggy, "test")
        .await
        .unwrap();
    proxy.freeze();
    let mut starts = iggy_connectors::stream::Starts::new(Ok(None), Saved::default());
    let inputs = [topic.input(GROUP)];
    let joined =
        iggy_connectors::stream::Consumer::join(client, &inputs, reading(), &mut starts).await;
    let failure = joined.unwrap_err();
    assert!(failure.message.contains(UNANSWERED), "{failure}");
    proxy.thaw();
    join(
        &iggy_at(&proxy.address()),
        &inputs,
        reading(),
        &Saved::default(),
    )
    .await
    .unwrap();
}
