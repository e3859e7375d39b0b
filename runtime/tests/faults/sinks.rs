//! A destination that has bad days: it refuses for a while, takes half of a batch, loses its answers, asks to wait, or is slow.

use std::{collections::BTreeMap, time::Duration};

use super::{
    flow::{Flow, GROUP, SINK, SOURCE, Server, Setup, counted},
    harness::{daemon::Daemon, gate::Gate, ledger},
    oracle::{self, Verdict},
    run::Run,
};

const PARTITIONS: u32 = 2;

/// One way to fail for the moment: what the sink is told, and how often it makes a message come again.
struct Failing {
    plugin: &'static str,
    repeats: u64,
}

const WAYS: [Failing; 5] = [
    Failing {
        plugin: "failures = 3",
        repeats: 0,
    },
    Failing {
        plugin: "failures = 2\nfailure = \"half\"",
        repeats: 0,
    },
    Failing {
        plugin: "failures = 2\nfailure = \"after\"",
        repeats: 2,
    },
    Failing {
        plugin: "failures = 1\nretry_after_ms = 60",
        repeats: 0,
    },
    Failing {
        plugin: "delay_ms = 20",
        repeats: 0,
    },
];

#[tokio::test]
async fn what_fails_for_the_moment_arrives_in_order_and_before_its_offset() {
    let mut run = Run::new("transient");
    let server = Server::start().await;
    let (mut total, mut most) = (Verdict::of::<u64>([], []), 0);
    for Failing { plugin, repeats } in WAYS {
        let setup = Setup {
            partitions: PARTITIONS,
            source_plugin: "keys = 5".to_owned(),
            sink_plugin: plugin.to_owned(),
            ..Setup::default()
        };
        let flow = Flow::new(server.address(), server.address(), setup).await;
        let end = run.scaled(200, 3_000);
        flow.end_at(end);
        let daemon = flow.home.start().await;
        flow.acked_to(end).await;
        while flow.taken().len() < end as usize {
            assert_offsets_behind(&flow).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        flow.settled(&daemon, end).await;
        // However often it was handed over.
        counted(&daemon, SOURCE, end).await;
        counted(&daemon, SINK, end).await;
        oracle::assert_ordered(&ledger::entries(&flow.ledger()));
        run.tried();
        total = total
            .and(flow.of_source(end).await)
            .and(flow.of_sink().await);
        most += repeats * end;
        daemon.interrupt().await;
    }
    run.finish("", &total, most);
}

/// What is stored was read before what is delivered, so that a store in between cannot be taken for a delivery.
pub async fn assert_offsets_behind(flow: &Flow) {
    let mut stored = BTreeMap::new();
    for partition in 0..flow.partitions {
        stored.insert(partition, flow.topic.stored(GROUP, partition).await);
    }
    let delivered = oracle::delivered(&ledger::entries(&flow.ledger()));
    for (partition, stored) in stored {
        let next = stored.map_or(0, |offset| offset + 1);
        let delivered = delivered.get(&partition).copied().unwrap_or(0);
        assert!(
            next <= delivered,
            "partition {partition}: {next} messages are stored as settled, {delivered} are delivered"
        );
    }
}

/// How much a daemon may grow while a sink or the broker is slow. More than this waits for it.
const GROWTH: u64 = 16 << 20;

#[tokio::test]
async fn a_slow_sink_bounds_memory() {
    let mut run = Run::new("slow_sink");
    let server = Server::start().await;
    let delay = run.scaled(10, 100);
    let setup = Setup {
        batch: 100,
        sink_plugin: format!("delay_ms = {delay}"),
        has_source: false,
        ..Setup::default()
    };
    let flow = Flow::new(server.address(), server.address(), setup).await;
    // Each batch is 200 kB.
    let batches: u64 = run.scaled(120, 1_500);
    let filling = "x".repeat(2_000);
    let texts = (0..batches * 100).map(|number| format!("{number} {filling}"));
    flow.topic.send(0, texts).await;
    let daemon = flow.home.start().await;
    flow.written(500).await;
    let before = resident(&daemon);
    let mut most = before;
    let processed = async || daemon.stats(SINK).await["messages_processed"].as_u64();
    while processed().await < Some(batches * 100) {
        most = most.max(resident(&daemon));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    flow.drained(&daemon).await;
    counted(&daemon, SINK, batches * 100).await;
    run.tried();
    let what = format!(
        ", {} MB waiting, resident {} KiB, at most {} KiB",
        batches / 5,
        before >> 10,
        most >> 10
    );
    run.finish(&what, &flow.of_sink().await, 0);
    assert!(most < before + GROWTH, "the daemon grew{what}");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_slow_broker_holds_a_source_back() {
    let mut run = Run::new("slow_broker");
    let server = Server::start().await;
    let gate = Gate::start(server.address()).await;
    let setup = Setup {
        batch: 100,
        source_plugin: "max_in_flight = 4\nsize = 10000".to_owned(),
        has_sink: false,
        ..Setup::default()
    };
    let flow = Flow::new(server.address(), &gate.address(), setup).await;
    gate.delay(Duration::from_millis(20));
    let daemon = flow.home.start().await;
    flow.acked_to(1_000).await;
    let before = resident(&daemon);
    let mut most = before;
    let end = run.scaled(3_000, 40_000);
    flow.end_at(end);
    while flow.acked() < end {
        let stats = daemon.stats(SOURCE).await;
        let count = |key: &str| stats[key].as_u64().unwrap();
        let ahead = count("messages_produced") - count("messages_sent");
        assert!(
            ahead <= 4 * flow.batch(),
            "polled ahead of the broker: {stats}"
        );
        most = most.max(resident(&daemon));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    counted(&daemon, SOURCE, end).await;
    run.tried();
    let what = format!(
        ", resident {} KiB, at most {} KiB",
        before >> 10,
        most >> 10
    );
    run.finish(&what, &flow.of_source(end).await, 0);
    assert!(most < before + GROWTH, "the daemon grew{what}");
    daemon.interrupt().await;
}

/// Bytes that a daemon has in memory.
fn resident(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap() << 10
}

#[tokio::test]
async fn an_error_for_the_moment_is_told_until_it_is_over() {
    let mut run = Run::new("refusing_sink");
    let server = Server::start().await;
    let flow = Flow::new(server.address(), server.address(), Setup::default()).await;
    let daemon = flow.home.start().await;
    flow.written(1).await;
    for deed in ["suffix", "fatal", "panic"] {
        flow.tell(SINK, deed);
        let errors = daemon.stats(SINK).await["errors"].as_u64().unwrap();
        daemon
            .wait_for_stats(SINK, |stats| {
                let status = stats["status"].as_str().unwrap();
                stats["errors"].as_u64() > Some(errors + 2)
                    && ["retrying", "error"].contains(&status)
            })
            .await;
        let sink = daemon.get("/sinks/ledger").await;
        assert!(sink["last_error"]["message"].is_string(), "{sink}");
        flow.forgive(SINK);
        let lines = flow.taken().len() + 20;
        flow.written(lines).await;
        run.tried();
    }
    let end = flow.end_after(200);
    flow.settled(&daemon, end).await;
    run.finish(", source", &flow.of_source(end).await, 0);
    // A panic and a fatal error close the instance: what it had not settled comes again.
    run.finish_each(", sink", &flow.of_sink().await, 2, flow.unstored());
    daemon.interrupt().await;
}
