//! Members of one group: who reads what, and how partitions move.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use iggy::prelude::*;

use crate::{
    GROUP,
    harness::{
        broker::{Broker, eventually, iggy_at},
        proxy::Proxy,
        reader::{Reader, first, last, numbered, texts},
    },
    stored_by_partition,
};

#[tokio::test]
async fn members_share_the_partitions_and_take_over_from_each_other() {
    let broker = Broker::start().await;
    let topic = broker.topic(4).await;
    let send = async |range: std::ops::Range<usize>| {
        for partition in 0..4 {
            let texts = numbered(range.clone()).map(|text| format!("{partition}-{text}"));
            topic.send(partition, texts).await;
        }
    };
    send(0..500).await;
    let inputs = [topic.input(GROUP)];
    let mut one = Reader::start(&broker.iggy(), &inputs).await;
    let mut seen = vec![one.take(1_000).await];
    let mut two = Reader::start(&broker.iggy(), &inputs).await;
    send(500..1_000).await;
    // Both have partitions when each of them gets something.
    let (mut first_share, mut second_share) = (0, 0);
    while first_share == 0 || second_share == 0 {
        if let Some(fetched) = one.next_within(Duration::from_millis(20)).await {
            first_share += fetched.messages.len();
            seen.push(HashMap::from([(fetched.partition_id, texts(&fetched))]));
            one.settle(&fetched).await;
        }
        if let Some(fetched) = two.next_within(Duration::from_millis(20)).await {
            second_share += fetched.messages.len();
            seen.push(HashMap::from([(fetched.partition_id, texts(&fetched))]));
            two.settle(&fetched).await;
        }
    }
    one.stop().await.unwrap();
    send(1_000..1_200).await;
    let count = |seen: &[HashMap<u32, Vec<String>>]| {
        let texts = seen.iter().flat_map(HashMap::values).flatten();
        texts.collect::<HashSet<_>>().len()
    };
    while count(&seen) < 4_800 {
        let fetched = two.next().await;
        seen.push(HashMap::from([(fetched.partition_id, texts(&fetched))]));
        two.settle(&fetched).await;
    }
    two.stop().await.unwrap();

    // In the order of settling each partition's messages rise; where one came again, what follows came again too.
    for partition in 0..4 {
        let numbers: Vec<usize> = seen
            .iter()
            .filter_map(|batch| batch.get(&partition))
            .flatten()
            .map(|text| text.split_once("-m").unwrap().1.parse().unwrap())
            .collect();
        let mut next = 0;
        for number in numbers {
            assert!(
                number <= next,
                "partition {partition}: {number} came before {next}"
            );
            next = number + 1;
        }
        assert_eq!(next, 1_200);
    }
    assert_eq!(stored_by_partition(&topic, 4).await, [Some(1_199); 4]);
}

#[tokio::test]
async fn a_partition_is_handed_over_when_what_was_taken_of_it_is_settled() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    for partition in 0..2 {
        topic.send(partition, numbered(0..1_000)).await;
    }
    let inputs = [topic.input(GROUP)];
    let mut one = Reader::start(&broker.iggy(), &inputs).await;
    let mut held: HashMap<u32, Vec<_>> = HashMap::new();
    while held.len() < 2 {
        let fetched = one.next().await;
        held.entry(fetched.partition_id).or_default().push(fetched);
    }
    let mut two = Reader::start(&broker.iggy(), &inputs).await;
    // The one that stays goes on; the one that moves was fenced and brings at most what was polled before.
    let mut count = HashMap::from([(0, 0), (1, 0)]);
    while count.values().all(|count| *count < 5) {
        let fetched = one.next().await;
        *count.get_mut(&fetched.partition_id).unwrap() += 1;
        held.get_mut(&fetched.partition_id).unwrap().push(fetched);
    }
    let moved = if count[&0] < 5 { 0 } else { 1 };
    assert!(count[&moved] <= 2, "{count:?}");
    assert_eq!(
        one.lost,
        [moved],
        "it is told once, so that it can be hurried"
    );
    let last_taken = held[&moved].iter().map(last).max().unwrap();
    for fetched in &held[&moved] {
        one.settle(fetched).await;
    }
    let fetched = two.next().await;
    assert_eq!(
        (fetched.partition_id, first(&fetched)),
        (moved, last_taken + 1)
    );
    assert_eq!(topic.stored(GROUP, moved).await, Some(last_taken));
    two.settle(&fetched).await;
    two.stop().await.unwrap();
    one.stop().await.unwrap();
}

#[tokio::test]
async fn a_partition_that_comes_back_is_read_behind_what_others_stored() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    for partition in 0..2 {
        topic.send(partition, numbered(0..100)).await;
    }
    let inputs = [topic.input(GROUP)];
    let mut one = Reader::start(&broker.iggy(), &inputs).await;
    one.take(200).await;
    let mut two = Reader::start(&broker.iggy(), &inputs).await;
    // Messages go on into both, until the second member has got some of the partition that moved.
    let mut sent = 100;
    let moved = loop {
        assert!(sent < 20_000, "nothing moves");
        for partition in 0..2 {
            topic.send(partition, numbered(sent..sent + 10)).await;
        }
        sent += 10;
        if let Some(fetched) = one.next_within(Duration::from_millis(20)).await {
            one.settle(&fetched).await;
        }
        if let Some(fetched) = two.next_within(Duration::from_millis(20)).await {
            two.settle(&fetched).await;
            break fetched;
        }
    };
    let (partition, end) = (moved.partition_id, sent as u64 - 1);
    eventually(Some(end), async || {
        if let Some(fetched) = two.next_within(Duration::from_millis(20)).await {
            two.settle(&fetched).await;
        }
        topic.stored(GROUP, partition).await
    })
    .await;
    two.stop().await.unwrap();
    topic.send(partition, numbered(sent..sent + 1)).await;
    loop {
        let fetched = one.next().await;
        one.settle(&fetched).await;
        if fetched.partition_id == partition && last(&fetched) > end {
            assert_eq!(first(&fetched), end + 1);
            break;
        }
    }
    one.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_settled_after_a_partition_was_taken_away_is_not_stored() {
    let broker =
        Broker::embedded(|config| config.handover_timeout = Duration::from_millis(300)).await;
    let topic = broker.topic(2).await;
    for partition in 0..2 {
        topic.send(partition, numbered(0..200)).await;
    }
    let inputs = [topic.input(GROUP)];
    let mut one = Reader::start(&broker.iggy(), &inputs).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(one.next().await);
    }
    let mut two = Reader::start(&broker.iggy(), &inputs).await;
    let taken = two.take(200).await;
    let moved = *taken.keys().next().unwrap();
    assert_eq!(taken[&moved], numbered(0..200).collect::<Vec<_>>());
    eventually(Some(199), async || topic.stored(GROUP, moved).await).await;

    let kept = 1 - moved;
    held.sort_by_key(|fetched| fetched.partition_id == kept);
    for fetched in &held {
        one.settle(fetched).await;
    }
    eventually(Some(199), async || topic.stored(GROUP, kept).await).await;
    one.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, moved).await, Some(199));
    two.stop().await.unwrap();
}

#[tokio::test]
async fn a_member_without_partitions_takes_over_when_the_other_is_gone() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let inputs = [topic.input(GROUP)];
    let mut one = Reader::start(&broker.iggy(), &inputs).await;
    let mut two = Reader::start(&broker.iggy(), &inputs).await;
    topic.send(0, numbered(0..10)).await;
    one.take(10).await;
    one.stop().await.unwrap();
    topic.send(0, numbered(10..20)).await;
    assert_eq!(two.take(10).await[&0], numbered(10..20).collect::<Vec<_>>());
    two.stop().await.unwrap();
}

#[tokio::test]
async fn a_consumer_that_waits_for_its_sink_stays_a_member() {
    let broker = Broker::embedded(|config| config.idle_member = Duration::from_secs(12)).await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..500)).await;
    let proxy = Proxy::start(broker.address()).await;
    let mut reader = Reader::start(&iggy_at(&proxy.address()), &[topic.input(GROUP)]).await;
    let taken = reader.next().await;
    // Nothing is taken any more. So many bytes are four signs of life; without any the member would be gone after the third.
    let passed = proxy.passed();
    eventually(true, async || proxy.passed() > passed + 2_000).await;
    assert_eq!(topic.members(GROUP).await, 1);
    reader.settle(&taken).await;
    eventually(Some(99), async || topic.stored(GROUP, 0).await).await;
    let next = reader.next().await;
    assert_eq!((next.epoch, first(&next)), (taken.epoch, 100));
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn new_partitions_are_noticed() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..1)).await;
    reader.take(1).await;
    topic
        .client
        .create_partitions(&topic.stream_id(), &topic.id(), 2)
        .await
        .unwrap();
    topic.send(2, numbered(1..2)).await;
    assert_eq!(
        reader.take(1).await,
        HashMap::from([(2, vec!["m1".to_owned()])])
    );
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn a_group_that_was_deleted_is_joined_again() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..10)).await;
    reader.take(10).await;
    let group = Identifier::named(GROUP).unwrap();
    topic
        .client
        .delete_consumer_group(&topic.stream_id(), &topic.id(), &group)
        .await
        .unwrap();
    eventually(1, async || topic.members(GROUP).await).await;
    // A new group begins at the first message.
    assert_eq!(
        reader.take(10).await[&0],
        numbered(0..10).collect::<Vec<_>>()
    );
    reader.stop().await.unwrap();
}
