//! Every way to ask for messages, against known content, with segments small enough to be many.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod harness;

use std::time::{Duration, Instant};

use harness::{
    PATIENCE, Running, create_topic, id, offsets, payload, payloads, poll, send, start, start_with,
};
use iggy::prelude::*;
use tokio::time::timeout;

/// Batches of 1 to 30 messages, 2000 in all, in segments of 64 KiB.
async fn filled() -> (Running, IggyClient) {
    let broker = start_with(|config| config.segment_size = 64 * 1024).await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    let mut next = 0;
    while next < 2000 {
        let end = (next + 1 + next % 30).min(2000);
        assert_eq!(send(&client, 0, next..end).await, next);
        next = end;
    }
    (broker, client)
}

/// Numbers that look random and are the same every time.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn any_offset_and_count_gives_exactly_those_messages() {
    let (broker, client) = filled().await;
    let topic = client.get_topic(&id("s"), &id("t")).await.unwrap().unwrap();
    assert!(topic.partitions[0].segments_count > 3, "{topic:?}");
    let mut numbers = numbers();
    for _ in 0..300 {
        let (start, count) = (
            numbers.next().unwrap() % 2100,
            1 + numbers.next().unwrap() % 400,
        );
        let polled = poll(&client, 0, PollingStrategy::offset(start), count as u32).await;
        let wanted = start.min(2000)..(start + count).min(2000);
        assert_eq!(
            offsets(&polled),
            wanted.clone().collect::<Vec<_>>(),
            "{start} {count}"
        );
        assert_eq!(payloads(&polled), wanted.map(payload).collect::<Vec<_>>());
        assert_eq!(polled.current_offset, 1999);
    }
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_last_and_next_begin_where_they_say() {
    let (broker, client) = filled().await;
    let polled = poll(&client, 0, PollingStrategy::first(), 3).await;
    assert_eq!(offsets(&polled), [0, 1, 2]);
    let polled = poll(&client, 0, PollingStrategy::last(), 3).await;
    assert_eq!(offsets(&polled), [1997, 1998, 1999]);
    let polled = poll(&client, 0, PollingStrategy::last(), 5000).await;
    assert_eq!(polled.messages.len(), 2000);
    let polled = poll(&client, 0, PollingStrategy::next(), 3).await;
    assert_eq!(offsets(&polled), [0, 1, 2]);
    let consumer = Consumer::new(Identifier::numeric(1).unwrap());
    client
        .store_consumer_offset(&consumer, &id("s"), &id("t"), Some(0), 41)
        .await
        .unwrap();
    let polled = poll(&client, 0, PollingStrategy::next(), 3).await;
    assert_eq!(offsets(&polled), [42, 43, 44]);
    let next = PollingStrategy::next();
    for expected in [[42, 43], [44, 45]] {
        let polled = client
            .poll_messages(&id("s"), &id("t"), None, &consumer, &next, 2, true)
            .await
            .unwrap();
        assert_eq!(offsets(&polled), expected, "an auto-committed poll goes on");
    }
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_gives_the_first_batch_not_older_than_it() {
    let (broker, client) = filled().await;
    let all = poll(&client, 0, PollingStrategy::first(), 2000).await;
    let times: Vec<u64> = all
        .messages
        .iter()
        .map(|message| message.header.timestamp)
        .collect();
    assert!(times.is_sorted());
    for wanted in numbers()
        .take(100)
        .map(|number| times[number as usize % times.len()])
    {
        for time in [wanted - 1, wanted, wanted + 1] {
            let polled = poll(&client, 0, PollingStrategy::timestamp(time.into()), 1).await;
            let expected = times.iter().position(|found| *found >= time);
            let found = offsets(&polled).first().map(|offset| *offset as usize);
            assert_eq!(found, expected, "{time}");
        }
    }
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumer_names_and_numbers_are_told_apart() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    send(&client, 0, 0..10).await;
    let consumers = [
        Consumer::new(id("a")),
        Consumer::new(id("b")),
        Consumer::new(Identifier::numeric(7).unwrap()),
    ];
    for (offset, consumer) in (3..).zip(&consumers) {
        client
            .store_consumer_offset(consumer, &id("s"), &id("t"), Some(0), offset)
            .await
            .unwrap();
    }
    let broker = broker.restart(|_| ()).await;
    let client = broker.client().await;
    for (offset, consumer) in (3..).zip(&consumers) {
        let stored = client
            .get_consumer_offset(consumer, &id("s"), &id("t"), Some(0))
            .await
            .unwrap();
        assert_eq!(stored.unwrap().stored_offset, offset);
    }
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_is_answered_as_soon_as_a_message_arrives() {
    let broker = start_with(|config| config.poll_hold = PATIENCE).await;
    let reader = broker.client().await;
    let writer = broker.client().await;
    create_topic(&writer, 2).await;
    send(&writer, 0, 0..1).await;
    let polling =
        tokio::spawn(async move { poll(&reader, 0, PollingStrategy::offset(1), 10).await });
    // Messages in another partition wake it, and it goes on waiting.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(100) {
        send(&writer, 1, 0..1).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!polling.is_finished());
    send(&writer, 0, 1..4).await;
    let polled = timeout(PATIENCE / 2, polling).await.unwrap().unwrap();
    assert_eq!(offsets(&polled), [1, 2, 3]);
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_is_answered_empty_when_its_time_is_up() {
    let hold = Duration::from_millis(50);
    let broker = start_with(|config| config.poll_hold = hold).await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    let begun = Instant::now();
    let polled = poll(&client, 0, PollingStrategy::next(), 10).await;
    assert!(polled.messages.is_empty());
    assert!(begun.elapsed() >= hold);
    assert_eq!(polled.partition_id, 0);
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_bounded_but_holds_one_batch_at_least() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    let big = vec![b'x'; 6_000_000];
    for _ in 0..5 {
        let mut batch = [IggyMessage::builder()
            .payload(big.clone().into())
            .build()
            .unwrap()];
        let partitioning = Partitioning::partition_id(0);
        client
            .send_messages(&id("s"), &id("t"), &partitioning, &mut batch)
            .await
            .unwrap();
    }
    let mut huge = [IggyMessage::builder()
        .payload(vec![b'y'; 40_000_000].into())
        .build()
        .unwrap()];
    client
        .send_messages(
            &id("s"),
            &id("t"),
            &Partitioning::partition_id(0),
            &mut huge,
        )
        .await
        .unwrap();
    let polled = poll(&client, 0, PollingStrategy::first(), 100).await;
    assert_eq!(offsets(&polled), [0, 1], "16 MiB");
    let polled = poll(&client, 0, PollingStrategy::offset(5), 100).await;
    assert_eq!(polled.messages[0].payload.len(), 40_000_000);
    broker.handle.shutdown().await;
}
