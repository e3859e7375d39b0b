//! Consumer groups with the real client: sharing, leaving, disconnecting, and the cooperative hand-over.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod harness;

use std::{
    collections::BTreeSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use harness::{PATIENCE, create_topic, id, offsets, payload, send, start, start_with};
use iggy::prelude::*;
use tokio::time::timeout;

async fn join(client: &IggyClient) {
    client
        .join_consumer_group(&id("s"), &id("t"), &id("g"))
        .await
        .unwrap();
}

async fn group_poll(
    client: &IggyClient,
    partition: Option<u32>,
    auto_commit: bool,
) -> PolledMessages {
    let group = Consumer::group(id("g"));
    client
        .poll_messages(
            &id("s"),
            &id("t"),
            partition,
            &group,
            &PollingStrategy::next(),
            100,
            auto_commit,
        )
        .await
        .unwrap()
}

async fn store(client: &IggyClient, partition: u32, offset: u64) -> Result<(), IggyError> {
    let group = Consumer::group(id("g"));
    client
        .store_consumer_offset(&group, &id("s"), &id("t"), Some(partition), offset)
        .await
}

/// Whose partitions the broker says they are, by the order in which members joined.
async fn assignments(client: &IggyClient) -> Vec<Vec<u32>> {
    let group = client
        .get_consumer_group(&id("s"), &id("t"), &id("g"))
        .await
        .unwrap()
        .unwrap();
    group
        .members
        .into_iter()
        .map(|member| member.partitions)
        .collect()
}

async fn eventually(client: &IggyClient, expected: &[&[u32]]) {
    let reached = async {
        while assignments(client).await != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    assert!(
        reached.is_ok(),
        "{:?} instead of {expected:?}",
        assignments(client).await
    );
}

async fn with_group(client: &IggyClient, partitions: u32) {
    create_topic(client, partitions).await;
    client
        .create_consumer_group(&id("s"), &id("t"), "g")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_partitions_and_take_over_from_those_who_leave_or_vanish() {
    let broker = start().await;
    let admin = broker.client().await;
    with_group(&admin, 3).await;
    let (first, second, third) = (
        broker.client().await,
        broker.client().await,
        broker.client().await,
    );
    join(&first).await;
    eventually(&admin, &[&[0, 1, 2]]).await;
    join(&second).await;
    eventually(&admin, &[&[0, 1], &[2]]).await;
    join(&third).await;
    eventually(&admin, &[&[0], &[2], &[1]]).await;
    second
        .leave_consumer_group(&id("s"), &id("t"), &id("g"))
        .await
        .unwrap();
    eventually(&admin, &[&[0, 2], &[1]]).await;
    third.disconnect().await.unwrap();
    eventually(&admin, &[&[0, 1, 2]]).await;
    first.logout_user().await.unwrap();
    eventually(&admin, &[]).await;
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_partition_waits_until_its_old_owner_has_stored() {
    let broker = start().await;
    let admin = broker.client().await;
    with_group(&admin, 2).await;
    for partition in 0..2 {
        send(&admin, partition, 0..10).await;
    }
    let (old, new) = (broker.client().await, broker.client().await);
    join(&old).await;
    for _ in 0..2 {
        assert_eq!(group_poll(&old, None, false).await.messages.len(), 10);
    }
    join(&new).await;
    eventually(&admin, &[&[0], &[]]).await;
    assert_eq!(
        group_poll(&old, Some(1), false).await.partition_id,
        RESYNC_REQUIRED_PARTITION_SENTINEL
    );
    assert_eq!(
        group_poll(&new, None, false).await.partition_id,
        NO_ASSIGNED_PARTITION
    );
    assert_eq!(
        store(&new, 1, 3).await.unwrap_err().as_code(),
        5009,
        "not its own yet"
    );
    store(&old, 1, 4).await.unwrap();
    eventually(&admin, &[&[0], &[]]).await;
    store(&old, 1, 9).await.unwrap();
    eventually(&admin, &[&[0], &[1]]).await;
    assert_eq!(
        store(&old, 1, 5).await.unwrap_err().as_code(),
        5009,
        "not its own any more"
    );
    send(&admin, 1, 10..12).await;
    assert_eq!(
        offsets(&group_poll(&new, None, true).await),
        [10, 11],
        "goes on where the old one stopped"
    );
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_owner_that_stores_nothing_holds_a_partition_for_a_limited_time() {
    let patience = Duration::from_millis(200);
    let broker = start_with(|config| config.handover_timeout = patience).await;
    let admin = broker.client().await;
    with_group(&admin, 2).await;
    for partition in 0..2 {
        send(&admin, partition, 0..10).await;
    }
    let (old, new) = (broker.client().await, broker.client().await);
    join(&old).await;
    for _ in 0..2 {
        group_poll(&old, None, false).await;
    }
    let begun = Instant::now();
    join(&new).await;
    let received = async {
        loop {
            let polled = group_poll(&new, None, true).await;
            if !polled.messages.is_empty() {
                return polled;
            }
        }
    };
    let polled = timeout(PATIENCE, received).await.unwrap();
    assert!(begun.elapsed() >= patience);
    assert_eq!(
        offsets(&polled).first(),
        Some(&0),
        "what was not stored comes again"
    );
    assert_eq!(
        store(&old, polled.partition_id, 9)
            .await
            .unwrap_err()
            .as_code(),
        5009
    );
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_learns_of_its_new_partitions_with_its_next_poll() {
    let broker = start().await;
    let admin = broker.client().await;
    with_group(&admin, 2).await;
    let (first, second) = (broker.client().await, broker.client().await);
    join(&first).await;
    join(&second).await;
    eventually(&admin, &[&[0], &[1]]).await;
    for client in [&first, &second] {
        group_poll(client, None, true).await;
    }
    second.disconnect().await.unwrap();
    eventually(&admin, &[&[0, 1]]).await;
    send(&admin, 1, 0..5).await;
    // One poll is told to ask, asks, and polls one of the two; the next one polls the other.
    let mut received = 0;
    for _ in 0..2 {
        received += group_poll(&first, None, true).await.messages.len();
    }
    assert_eq!(received, 5);
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_not_held_at_one_partition_while_another_has_messages() {
    let broker = start_with(|config| config.poll_hold = 2 * PATIENCE).await;
    let admin = broker.client().await;
    with_group(&admin, 3).await;
    let member = broker.client().await;
    join(&member).await;
    for round in 0..3 {
        send(&admin, 2, round * 5..round * 5 + 5).await;
        let received = async { while group_poll(&member, None, true).await.messages.is_empty() {} };
        timeout(PATIENCE, received).await.unwrap();
    }
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_member_is_disconnected_so_that_others_get_its_partitions() {
    let broker = start_with(|config| config.idle_member = Duration::from_millis(200)).await;
    let admin = broker.client().await;
    with_group(&admin, 1).await;
    // The low-level client never pings, the other one does every five seconds, which is too seldom here.
    let silent = broker.client().await;
    join(&silent).await;
    eventually(&admin, &[]).await;
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn added_and_removed_partitions_are_shared_anew() {
    let broker = start().await;
    let admin = broker.client().await;
    with_group(&admin, 1).await;
    let (first, second) = (broker.client().await, broker.client().await);
    join(&first).await;
    join(&second).await;
    eventually(&admin, &[&[0], &[]]).await;
    admin
        .create_partitions(&id("s"), &id("t"), 3)
        .await
        .unwrap();
    eventually(&admin, &[&[0, 2], &[1, 3]]).await;
    admin
        .delete_partitions(&id("s"), &id("t"), 2)
        .await
        .unwrap();
    eventually(&admin, &[&[0], &[1]]).await;
    broker.handle.shutdown().await;
}

/// Reads with the high-level consumer until all have read everything, or it has read enough itself.
async fn consume(client: &IggyClient, received: &Mutex<BTreeSet<String>>, enough: usize) -> usize {
    let mut consumer = client
        .consumer_group("g", "s", "t")
        .unwrap()
        .batch_length(20)
        .poll_interval("1ms".parse().unwrap())
        .polling_strategy(PollingStrategy::next())
        .auto_commit(AutoCommit::When(AutoCommitWhen::ConsumingEachMessage))
        .auto_join_consumer_group()
        .build();
    consumer.init().await.unwrap();
    let mut count = 0;
    while count < enough && received.lock().unwrap().len() < 600 {
        let Ok(message) = timeout(Duration::from_millis(100), consumer.next()).await else {
            continue;
        };
        let payload = message.unwrap().unwrap().message.payload;
        received
            .lock()
            .unwrap()
            .insert(String::from_utf8(payload.to_vec()).unwrap());
        count += 1;
    }
    consumer.shutdown().await.unwrap();
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_members_come_and_go() {
    let broker = start().await;
    let admin = broker.client().await;
    with_group(&admin, 3).await;
    for partition in 0..3 {
        let base = u64::from(partition) * 200;
        send(&admin, partition, base..base + 200).await;
    }
    let received = Mutex::new(BTreeSet::new());
    let (first, second, third) = (
        broker.client().await,
        broker.client().await,
        broker.client().await,
    );
    let later = async {
        while received.lock().unwrap().len() < 100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        consume(&third, &received, usize::MAX).await
    };
    let all = async {
        tokio::join!(
            consume(&first, &received, 150),
            consume(&second, &received, usize::MAX),
            later
        )
    };
    let counts = timeout(PATIENCE, all).await.unwrap();
    assert_eq!(*received.lock().unwrap(), (0..600).map(payload).collect());
    let total = counts.0 + counts.1 + counts.2;
    assert!(
        total < 700,
        "{counts:?}: a hand-over repeats what was not stored, not everything"
    );
    broker.handle.shutdown().await;
}
