//! The consumer against a broker: what it hands out, what it stores, and what happens when partitions move or logs are cut.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod proxy;
    pub mod reader;
}

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use harness::{
    broker::{Broker, PATIENCE, Topic, eventually, iggy_at},
    proxy::Proxy,
    reader::{Reader, first, last, numbered, texts},
};
use iggy::prelude::*;
use iggy_connectors::{pipeline::FailureKind, stream};

const GROUP: &str = "sink";

async fn stored_by_partition(topic: &Topic, partitions: u32) -> Vec<Option<u64>> {
    let mut stored = Vec::new();
    for partition in 0..partitions {
        stored.push(topic.stored(GROUP, partition).await);
    }
    stored
}

#[tokio::test]
async fn every_message_is_handed_out_in_order_with_what_it_carries() {
    let broker = Broker::start().await;
    let topic = broker.topic(3).await;
    for partition in 0..3 {
        topic.send(partition, numbered(0..250)).await;
    }
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let mut seen: HashMap<u32, Vec<iggy_connectors::pipeline::Message>> = HashMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < 750 {
        let fetched = reader.next().await;
        assert_eq!((fetched.input, &fetched.topic.topic), (0, &topic.name));
        assert_eq!(fetched.current_offset, 249);
        assert!(fetched.messages.len() <= 100);
        reader.settle(&fetched).await;
        seen.entry(fetched.partition_id)
            .or_default()
            .extend(fetched.messages);
    }
    for (partition, messages) in seen {
        let sent = topic.read(partition).await;
        assert_eq!(messages.len(), sent.len());
        for (message, sent) in messages.iter().zip(&sent) {
            assert_eq!(
                (message.id, message.offset),
                (sent.header.id, sent.header.offset)
            );
            assert_eq!(message.checksum, sent.header.checksum);
            assert_eq!(message.timestamp, sent.header.timestamp);
            assert_eq!(message.origin_timestamp, sent.header.origin_timestamp);
            assert_eq!(message.payload, sent.payload);
        }
    }
    reader.stop().await.unwrap();
    assert_eq!(stored_by_partition(&topic, 3).await, [Some(249); 3]);
}

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
async fn inputs_and_topics_are_read_side_by_side() {
    let broker = Broker::start().await;
    let (one, two) = (broker.topic(1).await, broker.topic(2).await);
    let mut reader = Reader::start(&broker.iggy(), &[one.input(GROUP), two.input("other")]).await;
    one.send(0, numbered(0..5)).await;
    two.send(0, numbered(5..10)).await;
    two.send(1, numbered(10..15)).await;
    let mut seen = HashSet::new();
    while seen.len() < 3 {
        let fetched = reader.next().await;
        reader.settle(&fetched).await;
        seen.insert((fetched.input, fetched.partition_id));
        let expected = if fetched.input == 0 {
            &one.stream
        } else {
            &two.stream
        };
        assert_eq!(&fetched.topic.stream, expected);
    }
    assert_eq!(seen, HashSet::from([(0, 0), (1, 0), (1, 1)]));
    reader.stop().await.unwrap();
    assert_eq!(one.stored(GROUP, 0).await, Some(4));
    assert_eq!(two.stored("other", 1).await, Some(4));
}

#[tokio::test]
async fn a_quiet_partition_beside_a_busy_one_does_not_starve() {
    let broker = Broker::start().await;
    let topic = broker.topic(2).await;
    topic.send(0, numbered(0..20_000)).await;
    let mut input = topic.input(GROUP);
    input.batch_length = 10;
    let mut reader = Reader::start(&broker.iggy(), &[input]).await;
    reader.take(100).await;
    topic.send(1, numbered(0..1)).await;
    let mut others = 0;
    loop {
        let fetched = reader.next().await;
        reader.settle(&fetched).await;
        if fetched.partition_id == 1 {
            break;
        }
        others += 1;
    }
    assert!(others < 1_900, "{others}");
    reader.stop().await.unwrap();
}

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
    let broker = Broker::embedded(|config| config.idle_member = Duration::from_secs(8)).await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..500)).await;
    let proxy = Proxy::start(broker.address()).await;
    let mut reader = Reader::start(&iggy_at(&proxy.address()), &[topic.input(GROUP)]).await;
    let taken = reader.next().await;
    // Nothing is taken any more. So many bytes are three signs of life; without any the member would be gone after the second.
    let passed = proxy.passed();
    eventually(true, async || proxy.passed() > passed + 1_500).await;
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

#[tokio::test]
async fn a_purged_log_is_read_from_its_new_beginning() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..50)).await;
    reader.take(50).await;
    eventually(Some(49), async || topic.stored(GROUP, 0).await).await;
    topic
        .client
        .purge_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    topic.send(0, numbered(50..60)).await;
    assert_eq!(
        reader.take(10).await[&0],
        numbered(50..60).collect::<Vec<_>>()
    );
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(9));
}

#[tokio::test]
async fn a_purge_is_noticed_even_where_the_cursor_fits_the_new_log() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..1)).await;
    reader.take(1).await;
    eventually(Some(0), async || topic.stored(GROUP, 0).await).await;
    topic
        .client
        .purge_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    topic.send(0, numbered(1..2)).await;
    assert_eq!(reader.take(1).await[&0], ["m1"]);
    reader.stop().await.unwrap();
}

#[tokio::test]
async fn a_stored_offset_beyond_the_end_of_the_log_starts_over() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..50)).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let held = reader.next().await;
    topic
        .client
        .purge_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    topic.send(0, numbered(50..55)).await;
    // Offset 49 does not exist any more: the store is refused and drops the cursor.
    reader.settle(&held).await;
    assert_eq!(
        reader.take(5).await[&0],
        numbered(50..55).collect::<Vec<_>>()
    );
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(4));
}

#[tokio::test]
async fn expired_messages_are_left_behind() {
    let broker = Broker::embedded(|config| {
        config.segment_size = 64 * 1024;
        config.retention_interval = Duration::from_millis(20);
    })
    .await;
    let topic = broker.missing_topic().await;
    topic.client.create_stream(&topic.stream).await.unwrap();
    let options = TopicCreateOptions {
        partitions_count: Some(1),
        max_topic_size: Some(MaxTopicSize::Custom(IggyByteSize::from(128 * 1024))),
        ..TopicCreateOptions::default()
    };
    topic
        .client
        .create_topic(&topic.stream_id(), &topic.name, &options)
        .await
        .unwrap();
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..100)).await;
    reader.take(100).await;
    // The consumer is kept from polling while what it has not read expires: one batch is taken, one waits.
    topic.send(0, numbered(100..400)).await;
    let held = reader.next().await;
    let filler = "x".repeat(1_000);
    for batch in 0..20 {
        let numbers = batch * 50..(batch + 1) * 50;
        topic
            .send(0, numbers.map(|number| format!("f{number}{filler}")))
            .await;
    }
    eventually(true, async || topic.read(0).await[0].header.offset > 410).await;
    reader.settle(&held).await;
    let mut next = last(&held) + 1;
    let mut batches = 0;
    let gap = loop {
        let fetched = reader.next().await;
        reader.settle(&fetched).await;
        batches += 1;
        let gap = first(&fetched) - next;
        next = last(&fetched) + 1;
        if gap > 0 {
            break gap;
        }
        assert!(batches < 3, "nothing is missing");
    };
    assert!(gap > 100, "{gap}");
    while next < 1_400 {
        let fetched = reader.next().await;
        assert_eq!(first(&fetched), next);
        next = last(&fetched) + 1;
        reader.settle(&fetched).await;
    }
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(1_399));
}

#[tokio::test]
async fn a_log_of_which_everything_expired_is_not_taken_for_a_new_one() {
    let broker = Broker::embedded(|config| {
        config.segment_size = 64 * 1024;
        config.retention_interval = Duration::from_millis(20);
    })
    .await;
    let topic = broker.missing_topic().await;
    topic.client.create_stream(&topic.stream).await.unwrap();
    let options = TopicCreateOptions {
        partitions_count: Some(1),
        message_expiry: Some(IggyExpiry::ExpireDuration(
            Duration::from_millis(200).into(),
        )),
        ..TopicCreateOptions::default()
    };
    topic
        .client
        .create_topic(&topic.stream_id(), &topic.name, &options)
        .await
        .unwrap();
    topic.send(0, numbered(0..100)).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    let before = reader.next().await;
    reader.settle(&before).await;
    eventually(0, async || topic.read(0).await.len()).await;
    topic.send(0, numbered(100..110)).await;
    let after = reader.next().await;
    assert_eq!((first(&after), after.epoch), (100, before.epoch));
    reader.settle(&after).await;
    reader.stop().await.unwrap();
    assert_eq!(topic.stored(GROUP, 0).await, Some(109));
}

#[tokio::test]
async fn a_topic_that_is_deleted_ends_the_run_with_a_reason() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let mut reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    topic.send(0, numbered(0..1)).await;
    reader.take(1).await;
    topic
        .client
        .delete_topic(&topic.stream_id(), &topic.id())
        .await
        .unwrap();
    let failure = reader.ended().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(
        failure.message.contains("the topic does not exist"),
        "{failure}"
    );
    assert!(
        failure
            .message
            .contains(&format!("{}/{}", topic.stream, topic.name)),
        "{failure}"
    );
}

#[tokio::test]
async fn a_broken_connection_ends_the_run_and_the_next_one_goes_on() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let proxy = Proxy::start(broker.address()).await;
    let iggy = iggy_at(&proxy.address());
    topic.send(0, numbered(0..100)).await;
    let mut reader = Reader::start(&iggy, &[topic.input(GROUP)]).await;
    reader.take(100).await;
    eventually(Some(99), async || topic.stored(GROUP, 0).await).await;
    proxy.cut();
    let failure = reader.ended().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(
        failure.message.contains("the connection was lost"),
        "{failure}"
    );

    topic.send(0, numbered(100..110)).await;
    let mut reader = Reader::start(&iggy, &[topic.input(GROUP)]).await;
    assert_eq!(
        reader.take(10).await[&0],
        numbered(100..110).collect::<Vec<_>>()
    );
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
    let (settled, position) = (reader.settling(), harness::reader::position(&held));
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

#[tokio::test]
async fn it_ends_when_nobody_takes_its_batches() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    topic.send(0, numbered(0..300)).await;
    let reader = Reader::start(&broker.iggy(), &[topic.input(GROUP)]).await;
    reader.close().await.unwrap();
    assert_eq!(topic.members(GROUP).await, 0);
}

#[tokio::test]
async fn missing_topics_are_created_where_that_is_allowed() {
    let broker = Broker::start().await;
    let topic = broker.missing_topic().await;
    let mut input = topic.input(GROUP);
    let join = async |input| {
        let client = stream::connect(&broker.iggy(), "test").await.unwrap();
        stream::Consumer::join(client, &[input], Duration::ZERO).await
    };
    let failure = join(input.clone()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(failure.message.contains("create = true"), "{failure}");

    input.create = true;
    input.partitions = 3;
    let all = tokio::join!(
        join(input.clone()),
        join(input.clone()),
        join(input.clone())
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
async fn a_topic_listed_twice_for_a_group_is_refused() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let client = stream::connect(&broker.iggy(), "test").await.unwrap();
    let inputs = [topic.input(GROUP), topic.input(GROUP)];
    let failure = stream::Consumer::join(client, &inputs, Duration::ZERO)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal);
    assert!(failure.message.contains("listed twice"), "{failure}");
}
