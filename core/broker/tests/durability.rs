//! What was acknowledged is still there: after a restart, after `kill -9`, after a torn tail.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod harness;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use harness::{
    create_topic, create_topic_with, id, offsets, payload, payloads, poll, send, start, start_in,
    start_with, try_send,
};
use iggy::prelude::*;
use iggy_connector_broker::{Broker, Config, Error, SyncPolicy};
use tokio::net::TcpSocket;

/// The broker in a process of its own.
struct Process {
    child: Child,
    address: String,
    /// Bound until it is started no more, so that the port is nobody else's between two processes.
    port: Option<TcpSocket>,
}

impl Process {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self::start_at(port, dir, arguments)
    }

    fn start_at(port: TcpSocket, dir: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_iggy-connectors-broker"))
            .args(["--listen", &port.local_addr().unwrap().to_string(), "--dir"])
            .arg(dir)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self {
            child,
            address,
            port: Some(port),
        }
    }

    /// Returns the port for another process.
    fn kill(mut self) -> TcpSocket {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.port.take().unwrap()
    }

    async fn client(&self) -> IggyClient {
        harness::client(&self.address).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends batches to one partition until the broker is gone, and returns how many messages were acknowledged.
async fn send_until_gone(client: IggyClient, partition: u32, stop: Arc<AtomicBool>) -> u64 {
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        let next = acknowledged + 1 + acknowledged % 50;
        match try_send(&client, partition, acknowledged..next).await {
            Ok(base) => {
                assert_eq!(base, acknowledged);
                acknowledged = next;
            }
            Err(_) => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_messages_survive_kill_9() {
    for policy in ["os", "every_batch", "20ms"] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Process::start(dir.path(), &["--sync", policy, "--segment-size", "200000"]);
        let client = broker.client().await;
        create_topic(&client, 2).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = Vec::new();
        for partition in 0..2 {
            let client = harness::impatient_client(&broker.address).await;
            senders.push(tokio::spawn(send_until_gone(
                client,
                partition,
                stop.clone(),
            )));
        }
        let consumer = Consumer::new(id("reader"));
        // Each batch waits for the disk where every one is forced to it.
        let least = if policy == "every_batch" { 300 } else { 2000 };
        let enough = async {
            while poll(&client, 1, PollingStrategy::offset(least), 1)
                .await
                .messages
                .is_empty()
            {}
            client
                .store_consumer_offset(&consumer, &id("s"), &id("t"), Some(1), 200)
                .await
                .unwrap();
        };
        tokio::time::timeout(harness::PATIENCE, enough)
            .await
            .unwrap();
        broker.kill();
        stop.store(true, Ordering::Relaxed);

        let broker = Process::start(dir.path(), &["--sync", policy, "--segment-size", "200000"]);
        let client = broker.client().await;
        for (partition, sender) in (0..).zip(senders) {
            let acknowledged = tokio::time::timeout(harness::PATIENCE, sender)
                .await
                .unwrap()
                .unwrap();
            let mut next = 0;
            loop {
                let polled = poll(&client, partition, PollingStrategy::offset(next), 1000).await;
                if polled.messages.is_empty() {
                    break;
                }
                let count = polled.messages.len() as u64;
                assert_eq!(
                    payloads(&polled),
                    (next..next + count).map(payload).collect::<Vec<_>>(),
                    "{policy}"
                );
                next += count;
            }
            assert!(
                next >= acknowledged,
                "{policy}: {next} of {acknowledged} acknowledged"
            );
        }
        let stored = client
            .get_consumer_offset(&consumer, &id("s"), &id("t"), Some(1))
            .await
            .unwrap();
        assert_eq!(stored.unwrap().stored_offset, 200);
        broker.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_after_the_broker_was_killed_and_came_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Process::start(dir.path(), &[]);
    let client = broker.client().await;
    create_topic(&client, 1).await;
    send(&client, 0, 0..10).await;
    let broker = Process::start_at(broker.kill(), dir.path(), &[]);
    let polled = poll(&client, 0, PollingStrategy::first(), 100).await;
    assert_eq!(offsets(&polled), (0..10).collect::<Vec<_>>());
    drop(broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_after_the_broker_was_killed_and_came_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Process::start(dir.path(), &[]);
    let admin = broker.client().await;
    create_topic(&admin, 2).await;
    for partition in 0..2 {
        send(&admin, partition, 0..300).await;
    }
    let client = broker.client().await;
    let mut consumer = client
        .consumer_group("g", "s", "t")
        .unwrap()
        .batch_length(50)
        .poll_interval("1ms".parse().unwrap())
        .polling_strategy(PollingStrategy::next())
        .auto_commit(AutoCommit::When(AutoCommitWhen::ConsumingEachMessage))
        .create_consumer_group_if_not_exists()
        .auto_join_consumer_group()
        // A commit that the kill interrupts is not repeated: without this, the consumer could skip for
        // ever what is served again.
        .allow_replay()
        .build();
    consumer.init().await.unwrap();
    let mut received = BTreeSet::new();
    let mut broker = Some(broker);
    let all = async {
        while received.len() < 1000 {
            if received.len() >= 200
                && let Some(old) = broker.take()
            {
                let new = Process::start_at(old.kill(), dir.path(), &[]);
                let admin = new.client().await;
                for partition in 0..2 {
                    send(&admin, partition, 300..500).await;
                }
                // Kept until the end of the test.
                broker = Some(new);
                break;
            }
            let message = consumer.next().await.unwrap().unwrap();
            received.insert((message.partition_id, message.message.header.offset));
        }
        while received.len() < 1000 {
            // What the kill interrupted may surface as an error once; the consumer goes on.
            if let Ok(message) = consumer.next().await.unwrap() {
                received.insert((message.partition_id, message.message.header.offset));
            }
        }
    };
    tokio::time::timeout(harness::PATIENCE, all).await.unwrap();
    let expected: BTreeSet<_> = (0..2)
        .flat_map(|partition| (0..500).map(move |offset| (partition, offset)))
        .collect();
    assert_eq!(received, expected);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_process_ends_in_order_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Process::start(dir.path(), &[]);
    let client = broker.client().await;
    create_topic(&client, 1).await;
    send(&client, 0, 0..10).await;
    let pid = broker.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let ended = tokio::task::spawn_blocking(move || broker.child.wait().unwrap());
    let status = tokio::time::timeout(harness::PATIENCE, ended)
        .await
        .unwrap()
        .unwrap();
    assert!(status.success(), "{status}");
}

fn logs(dir: &Path) -> Vec<PathBuf> {
    let mut logs: Vec<_> = fs::read_dir(dir.join("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    logs.sort();
    logs
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut segments: Vec<_> = fs::read_dir(&logs(dir)[0])
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    segments
}

/// What a crash does to the end of a file.
type Tear = fn(&mut Vec<u8>);

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_costs_the_torn_batch_only() {
    let table: [(&str, Tear, u64); 3] = [
        ("junk", |content| content.extend([7; 1000]), 30),
        ("cut", |content| content.truncate(content.len() - 1), 20),
        (
            "flipped",
            |content| {
                let last = content.len() - 1;
                content[last] ^= 1;
            },
            20,
        ),
    ];
    for (what, tear, kept) in table {
        let broker = start().await;
        let client = broker.client().await;
        create_topic(&client, 1).await;
        for batch in 0..3 {
            send(&client, 0, batch * 10..batch * 10 + 10).await;
        }
        drop(client);
        let dir = broker.dir;
        broker.handle.shutdown().await;
        let path = segments(dir.path()).pop().unwrap();
        let mut content = fs::read(&path).unwrap();
        tear(&mut content);
        fs::write(&path, content).unwrap();

        let handle = start_in(dir.path(), |_| ()).await;
        let client = harness::client(&handle.address().to_string()).await;
        let polled = poll(&client, 0, PollingStrategy::first(), 100).await;
        assert_eq!(
            payloads(&polled),
            (0..kept).map(payload).collect::<Vec<_>>(),
            "{what}"
        );
        assert_eq!(send(&client, 0, kept..kept + 1).await, kept, "{what}");
        handle.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_made_again() {
    let broker = start_with(|config| config.segment_size = 64 * 1024).await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    for batch in 0..80 {
        send(&client, 0, batch * 50..batch * 50 + 50).await;
    }
    drop(client);
    let dir = broker.dir;
    broker.handle.shutdown().await;
    let indexes: Vec<_> = segments(dir.path())
        .iter()
        .map(|path| path.with_extension("index"))
        .collect();
    let (last, sealed) = indexes.split_last().unwrap();
    assert!(!last.exists());
    assert!(
        sealed.len() > 2 && sealed.iter().all(|path| path.exists()),
        "{sealed:?}"
    );
    fs::remove_file(&sealed[0]).unwrap();
    fs::write(&sealed[1], b"not an index").unwrap();
    let handle = start_in(dir.path(), |_| ()).await;
    let client = harness::client(&handle.address().to_string()).await;
    let polled = poll(&client, 0, PollingStrategy::first(), 5000).await;
    assert_eq!(
        payloads(&polled),
        (0..4000).map(payload).collect::<Vec<_>>()
    );
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_metadata_keeps_the_broker_from_starting() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    drop(client);
    let dir = broker.dir;
    broker.handle.shutdown().await;
    let path = dir.path().join("metadata");
    let mut content = fs::read(&path).unwrap();
    content[20] ^= 1;
    fs::write(&path, content).unwrap();
    let config = Config {
        dir: dir.path().to_owned(),
        ..Config::default()
    };
    let error = Broker::start(config).await.unwrap_err();
    assert!(
        matches!(error, Error::Damaged { position: 0, .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_serves_one_broker_at_a_time() {
    let broker = start().await;
    let config = Config {
        dir: broker.dir.path().to_owned(),
        ..Config::default()
    };
    let error = Broker::start(config.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Locked { .. }));
    let text = error.to_string();
    assert!(
        text.contains("another broker") && text.contains(&std::process::id().to_string()),
        "{text}"
    );
    broker.handle.shutdown().await;
    Broker::start(config).await.unwrap().shutdown().await;
    drop(broker.dir);
}

#[test]
fn a_second_process_on_the_same_directory_says_why_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let first = Process::start(dir.path(), &[]);
    let second = Command::new(env!("CARGO_BIN_EXE_iggy-connectors-broker"))
        .args(["--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(second.stdout.is_empty());
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(
        text.contains(&format!("process {}", first.child.id())),
        "{text}"
    );
}

#[test]
fn it_serves_where_nobody_reads_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = Command::new(env!("CARGO_BIN_EXE_iggy-connectors-broker"))
        .args(["--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.path())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = log.any(|line| line.unwrap().contains("nobody can read the address"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("format"), "something else\n").unwrap();
    let config = Config {
        dir: dir.path().to_owned(),
        ..Config::default()
    };
    let error = Broker::start(config).await.unwrap_err();
    assert!(error.to_string().contains("something else"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_a_crash_are_removed_or_set_aside() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    send(&client, 0, 0..1).await;
    client.purge_topic(&id("s"), &id("t")).await.unwrap();
    drop(client);
    let dir = broker.dir;
    broker.handle.shutdown().await;
    let deleted = dir.path().join("logs").join("0000000000");
    let never_given = dir.path().join("logs").join("0000000007");
    for path in [&deleted, &never_given] {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("00000000000000000000.log"), b"old").unwrap();
    }
    let handle = start_in(dir.path(), |_| ()).await;
    assert!(!deleted.exists());
    assert!(!never_given.exists());
    let aside = logs(dir.path())
        .into_iter()
        .find(|path| path.to_string_lossy().contains("unknown"));
    assert!(aside.unwrap().join("00000000000000000000.log").exists());
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_stays_small_whatever_the_history() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    send(&client, 0, 0..10).await;
    for _ in 0..600 {
        let stream = client.create_stream("short-lived").await.unwrap();
        client
            .delete_stream(&Identifier::numeric(stream.id).unwrap())
            .await
            .unwrap();
    }
    let last = client.create_stream("last").await.unwrap();
    assert_eq!(last.id, 601, "numbers are not used twice");
    drop(client);
    let length = fs::metadata(broker.dir.path().join("metadata"))
        .unwrap()
        .len();
    assert!(length < 50_000, "{length}");
    let broker = broker.restart(|_| ()).await;
    let client = broker.client().await;
    assert_eq!(client.create_stream("next").await.unwrap().id, 602);
    assert_eq!(
        poll(&client, 0, PollingStrategy::first(), 100)
            .await
            .messages
            .len(),
        10
    );
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persisted_topic_works_under_any_policy() {
    for sync in [
        SyncPolicy::Os,
        SyncPolicy::EveryBatch,
        SyncPolicy::Interval(Duration::from_millis(5)),
    ] {
        let broker = start_with(|config| config.sync = sync).await;
        let client = broker.client().await;
        let options = TopicCreateOptions {
            durability: Durability::Persisted,
            consumer_offset_durability: Durability::Persisted,
            ..TopicCreateOptions::default()
        };
        create_topic_with(&client, 1, options).await;
        send(&client, 0, 0..10).await;
        let consumer = Consumer::new(id("reader"));
        client
            .store_consumer_offset(&consumer, &id("s"), &id("t"), Some(0), 9)
            .await
            .unwrap();
        let broker = broker.restart(|_| ()).await;
        let client = broker.client().await;
        assert_eq!(
            poll(&client, 0, PollingStrategy::first(), 100)
                .await
                .messages
                .len(),
            10
        );
        let topic = client.get_topic(&id("s"), &id("t")).await.unwrap().unwrap();
        let durability = topic
            .options
            .iter()
            .find(|(key, _)| key.as_str() == Ok("durability"))
            .unwrap();
        assert_eq!(durability.1.value.as_str(), Ok("persisted"));
        broker.handle.shutdown().await;
    }
}
