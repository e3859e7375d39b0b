//! What administrators and the CLI ask for: listings, statistics, updates, purges, retention.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod harness;

use std::{fs, time::Duration};

use harness::{
    PATIENCE, create_topic, create_topic_with, id, offsets, poll, send, start, start_with,
};
use iggy::prelude::*;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_topics_are_listed_with_their_sizes() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 2).await;
    client.create_stream("empty").await.unwrap();
    send(&client, 0, 0..10).await;
    send(&client, 1, 0..5).await;
    let streams = client.get_streams().await.unwrap();
    let names: Vec<_> = streams
        .iter()
        .map(|stream| (stream.id, stream.name.as_str()))
        .collect();
    assert_eq!(names, [(0, "s"), (1, "empty")]);
    assert_eq!(
        (streams[0].topics_count, streams[0].messages_count),
        (1, 15)
    );
    assert!(streams[0].size.as_bytes_u64() > 15 * 10);
    assert_eq!((streams[1].topics_count, streams[1].messages_count), (0, 0));
    let stream = client
        .get_stream(&Identifier::numeric(0).unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stream.topics[0].messages_count, 15);
    let topics = client.get_topics(&id("s")).await.unwrap();
    assert_eq!(
        (topics[0].name.as_str(), topics[0].partitions_count),
        ("t", 2)
    );
    assert_eq!(topics[0].message_expiry, IggyExpiry::NeverExpire);
    assert_eq!(topics[0].max_topic_size, MaxTopicSize::Unlimited);
    let topic = client.get_topic(&id("s"), &id("t")).await.unwrap().unwrap();
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|p| (p.id, p.messages_count, p.current_offset))
        .collect();
    assert_eq!(partitions, [(0, 10, 9), (1, 5, 4)]);
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_topics_are_renamed_changed_and_deleted() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    client
        .update_stream(&id("s"), "renamed", &StreamUpdateOptions::default())
        .await
        .unwrap();
    assert!(client.get_stream(&id("s")).await.unwrap().is_none());
    let update = TopicUpdateOptions {
        message_expiry: Some(IggyExpiry::ExpireDuration(Duration::from_secs(60).into())),
        compression_algorithm: Some(CompressionAlgorithm::Gzip),
        ..TopicUpdateOptions::default()
    };
    client
        .update_topic(&id("renamed"), &id("t"), "changed", &update)
        .await
        .unwrap();
    let broker = broker.restart(|_| ()).await;
    let client = broker.client().await;
    let topic = client
        .get_topic(&id("renamed"), &id("changed"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        topic.message_expiry,
        IggyExpiry::ExpireDuration(Duration::from_secs(60).into())
    );
    assert_eq!(topic.compression_algorithm, CompressionAlgorithm::Gzip);
    client.create_stream("s").await.unwrap();
    client
        .delete_topic(&id("renamed"), &id("changed"))
        .await
        .unwrap();
    client.delete_stream(&id("renamed")).await.unwrap();
    let names: Vec<_> = client
        .get_streams()
        .await
        .unwrap()
        .into_iter()
        .map(|stream| stream.name)
        .collect();
    assert_eq!(names, ["s"]);
    let logs = fs::read_dir(broker.dir.path().join("logs"))
        .unwrap()
        .count();
    assert_eq!(logs, 0, "nothing is left on the disk");
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_starts_offsets_anew_and_drops_stored_ones() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 2).await;
    let consumer = Consumer::new(id("reader"));
    for whole_stream in [false, true] {
        for partition in 0..2 {
            assert_eq!(send(&client, partition, 0..10).await, 0);
        }
        client
            .store_consumer_offset(&consumer, &id("s"), &id("t"), Some(0), 5)
            .await
            .unwrap();
        match whole_stream {
            false => client.purge_topic(&id("s"), &id("t")).await.unwrap(),
            true => client.purge_stream(&id("s")).await.unwrap(),
        }
        assert!(
            poll(&client, 0, PollingStrategy::first(), 10)
                .await
                .messages
                .is_empty()
        );
        let stored = client
            .get_consumer_offset(&consumer, &id("s"), &id("t"), Some(0))
            .await
            .unwrap();
        assert!(stored.is_none());
        let topic = client.get_topic(&id("s"), &id("t")).await.unwrap().unwrap();
        assert_eq!((topic.messages_count, topic.partitions_count), (0, 2));
    }
    let broker = broker.restart(|_| ()).await;
    let client = broker.client().await;
    assert!(
        poll(&client, 0, PollingStrategy::first(), 10)
            .await
            .messages
            .is_empty()
    );
    assert_eq!(send(&client, 0, 0..3).await, 0);
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_partition_does_not_come_back_with_its_successor() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 2).await;
    send(&client, 1, 0..10).await;
    client
        .delete_partitions(&id("s"), &id("t"), 1)
        .await
        .unwrap();
    client
        .create_partitions(&id("s"), &id("t"), 1)
        .await
        .unwrap();
    assert!(
        poll(&client, 1, PollingStrategy::first(), 10)
            .await
            .messages
            .is_empty()
    );
    send(&client, 1, 20..23).await;
    let broker = broker.restart(|_| ()).await;
    let client = broker.client().await;
    assert_eq!(
        poll(&client, 1, PollingStrategy::first(), 10)
            .await
            .messages
            .len(),
        3
    );
    broker.handle.shutdown().await;
}

/// Sends until the first offset that is still there is beyond zero, and returns it.
async fn first_kept(client: &IggyClient) -> u64 {
    let trimmed = async {
        loop {
            let polled = poll(client, 0, PollingStrategy::first(), 1).await;
            match offsets(&polled).first() {
                Some(&first) if first > 0 => return first,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, trimmed).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_kept_below_its_size_limit() {
    let broker = start_with(|config| {
        config.segment_size = 64 * 1024;
        config.retention_interval = Duration::from_millis(20);
    })
    .await;
    let client = broker.client().await;
    let limit = 300_000;
    let options = TopicCreateOptions {
        max_topic_size: Some(limit.into()),
        ..TopicCreateOptions::default()
    };
    create_topic_with(&client, 1, options).await;
    for batch in 0..100 {
        send(&client, 0, batch * 50..batch * 50 + 50).await;
    }
    let first = first_kept(&client).await;
    let below = async {
        while client
            .get_topic(&id("s"), &id("t"))
            .await
            .unwrap()
            .unwrap()
            .size
            .as_bytes_u64()
            > limit
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, below).await.unwrap();
    let polled = poll(&client, 0, PollingStrategy::offset(first), 10_000).await;
    assert_eq!(offsets(&polled).last(), Some(&4999), "the newest are kept");
    assert_eq!(send(&client, 0, 0..1).await, 5000);
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_messages_go_and_younger_ones_stay() {
    let broker = start_with(|config| {
        config.segment_size = 64 * 1024;
        config.retention_interval = Duration::from_millis(20);
    })
    .await;
    let client = broker.client().await;
    let options = TopicCreateOptions {
        message_expiry: Some(IggyExpiry::ExpireDuration(
            Duration::from_millis(300).into(),
        )),
        ..TopicCreateOptions::default()
    };
    create_topic_with(&client, 1, options).await;
    for batch in 0..40 {
        send(&client, 0, batch * 50..batch * 50 + 50).await;
    }
    let consumer = Consumer::new(id("slow"));
    client
        .store_consumer_offset(&consumer, &id("s"), &id("t"), Some(0), 0)
        .await
        .unwrap();
    let gone = async {
        while client
            .get_topic(&id("s"), &id("t"))
            .await
            .unwrap()
            .unwrap()
            .messages_count
            > 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    let mut first = send(&client, 0, 0..3).await;
    assert_eq!(first, 2000, "offsets go on");
    let rest = async {
        loop {
            let polled = client
                .poll_messages(
                    &id("s"),
                    &id("t"),
                    Some(0),
                    &consumer,
                    &PollingStrategy::next(),
                    10,
                    false,
                )
                .await
                .unwrap();
            if !polled.messages.is_empty() {
                break offsets(&polled);
            }
            // These have expired too before they were asked for.
            first = send(&client, 0, 0..3).await;
        }
    };
    let rest = timeout(PATIENCE, rest).await.unwrap();
    assert_eq!(
        rest,
        [first, first + 1, first + 2],
        "a consumer that fell behind goes on with what is there"
    );
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_segments_are_deleted_on_request() {
    let broker = start_with(|config| config.segment_size = 64 * 1024).await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    for batch in 0..60 {
        send(&client, 0, batch * 50..batch * 50 + 50).await;
    }
    let before = client
        .get_topic(&id("s"), &id("t"))
        .await
        .unwrap()
        .unwrap()
        .partitions[0]
        .segments_count;
    client
        .delete_segments(&id("s"), &id("t"), 0, 2)
        .await
        .unwrap();
    let after = client
        .get_topic(&id("s"), &id("t"))
        .await
        .unwrap()
        .unwrap()
        .partitions[0]
        .segments_count;
    assert_eq!(after, before - 2);
    assert!(first_kept(&client).await > 0);
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_their_groups_can_be_looked_at() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    let group = client
        .create_consumer_group(&id("s"), &id("t"), "g")
        .await
        .unwrap();
    client
        .join_consumer_group(&id("s"), &id("t"), &id("g"))
        .await
        .unwrap();
    let me = client.get_me().await.unwrap();
    assert_eq!(
        (me.user_id, me.transport.as_str(), me.consumer_groups_count),
        (Some(0), "TCP", 1)
    );
    assert_eq!(me.consumer_groups[0].group_id, group.id);
    let other = broker.client().await;
    let clients = other.get_clients().await.unwrap();
    assert_eq!(clients.len(), 2);
    let found = other.get_client(me.client_id).await.unwrap().unwrap();
    assert_eq!(found.address, me.address);
    assert!(other.get_client(9999).await.unwrap().is_none());
    let groups = other.get_consumer_groups(&id("s"), &id("t")).await.unwrap();
    assert_eq!((groups[0].name.as_str(), groups[0].members_count), ("g", 1));
    drop(client);
    let gone = async {
        while other.get_clients().await.unwrap().len() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_and_options_tell_what_is_there() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 3).await;
    client
        .create_consumer_group(&id("s"), &id("t"), "g")
        .await
        .unwrap();
    send(&client, 0, 0..10).await;
    let stats = client.get_stats().await.unwrap();
    assert_eq!(stats.process_id, std::process::id());
    assert_eq!(
        (
            stats.streams_count,
            stats.topics_count,
            stats.partitions_count
        ),
        (1, 1, 3)
    );
    assert_eq!(
        (
            stats.messages_count,
            stats.consumer_groups_count,
            stats.clients_count
        ),
        (10, 1, 1)
    );
    assert!(stats.messages_size_bytes.as_bytes_u64() > 100);
    assert!(stats.total_disk_space >= stats.free_disk_space);
    assert!(stats.total_disk_space.as_bytes_u64() > 0);
    let options = client.describe_options(OptionsScope::Topic).await.unwrap();
    let keys: Vec<_> = options.iter().map(|option| option.key.as_str()).collect();
    assert!(
        keys.contains(&"message_expiry") && keys.contains(&"durability"),
        "{keys:?}"
    );
    assert!(
        client
            .describe_options(OptionsScope::Stream)
            .await
            .unwrap()
            .is_empty()
    );
    let cluster = client.get_cluster_metadata().await.unwrap();
    assert_eq!(cluster.nodes.len(), 1);
    assert_eq!(
        cluster.nodes[0].endpoints.tcp,
        broker.handle.address().port()
    );
    broker.handle.shutdown().await;
}
