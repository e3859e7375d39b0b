//! A sink that gathers what it was given for larger writes: several batches of each partition are with it, none of them durable, when it
//! refuses a write, is killed, stopped or paused.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::{
    flow::{self, Flow, GROUP, LONG, SINK, Server, Setup},
    harness::{daemon::Daemon, ledger},
    kills::compare,
    oracle::{self, Verdict},
    run::Run,
    sinks::assert_offsets_behind,
};

const PARTITIONS: u32 = 4;
const UNSETTLED: u64 = 4;
const SOURCE_IN_FLIGHT: u64 = 3;

/// All partitions at once, and more batches of each than one write takes.
fn setup(plugin: &str) -> Setup {
    Setup {
        partitions: PARTITIONS,
        source_plugin: format!("keys = 13\nmax_in_flight = {SOURCE_IN_FLIGHT}"),
        sink: "max_in_flight = 4".to_owned(),
        sink_plugin: format!("unsettled = {UNSETTLED}\nbuffered = 50\n{plugin}"),
        ..Setup::default()
    }
}

/// How many messages one kill may make come again, in the topic and in the ledger.
fn most(flow: &Flow) -> (u64, u64) {
    let with_the_sink = u64::from(PARTITIONS) * UNSETTLED * flow.batch();
    (
        SOURCE_IN_FLIGHT * flow.batch(),
        with_the_sink + flow.unstored(),
    )
}

const REFUSALS: [&str; 4] = [
    "failures = 2",
    "failures = 2\nfailure = \"half\"",
    "failures = 1\nfailure = \"after\"",
    "failures = 1\nretry_after_ms = 30",
];

#[tokio::test]
async fn what_a_sink_gathers_and_refuses_arrives_in_order_and_before_its_offset() {
    let mut run = Run::new("buffer_refused");
    let mut total = Verdict::of::<u64>([], []);
    let server = Server::start().await;
    let end: u64 = run.scaled(400, 6_000);
    // One batch of a partition at a time, and writes that take their time, are in order as well.
    let single = Setup {
        sink_plugin: format!("unsettled = 1\nbuffered = 50\n{}", REFUSALS[1]),
        ..setup("")
    };
    let setups = REFUSALS.map(setup).into_iter();
    for setup in setups.chain([single, setup("delay_ms = 5")]) {
        total = total.and(gather(&server, setup, end).await);
        run.tried();
    }
    // What was written and not told, and what was taken back while it was being written.
    run.finish("", &total, REFUSALS.len() as u64 * end);
}

/// Lets so many messages through, and looks all along that no offset is ahead of what was written, and at the end that all was in order.
async fn gather(server: &Server, setup: Setup, end: u64) -> Verdict {
    let flow = Flow::new(server.address(), server.address(), setup).await;
    flow.end_at(end);
    let daemon = flow.home.start().await;
    let deadline = Instant::now() + LONG;
    while flow.acked() < end || flow.stored_messages().await < end {
        assert!(Instant::now() < deadline, "{}", daemon.stderr().text());
        assert_offsets_behind(&flow).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    flow.settled(&daemon, end).await;
    let verdict = flow.of_source(end).await.and(flow.of_sink().await);
    oracle::assert_ordered(&ledger::entries(&flow.ledger()));
    daemon.interrupt().await;
    verdict
}

#[tokio::test]
async fn a_kill_loses_nothing_of_what_a_sink_gathers() {
    let mut run = Run::new("buffer_kill");
    let server = Server::start().await;
    let flow = Flow::new(server.address(), server.address(), setup("delay_ms = 2")).await;
    let rounds = run.scaled(5, 100);
    for _ in 0..rounds {
        let daemon = flow.home.spawn();
        let lines = flow.taken().len() + run.draw(1..300) as usize;
        flow.written(lines).await;
        tokio::time::sleep(run.moment(Duration::from_millis(40))).await;
        daemon.kill().await;
        run.tried();
    }
    compare(&run, &flow, rounds, most(&flow)).await;
    oracle::assert_ordered(&ledger::entries(&flow.ledger()));
}

#[tokio::test]
async fn a_stop_loses_and_repeats_nothing_of_what_a_sink_gathers() {
    let mut run = Run::new("buffer_stop");
    let server = Server::start().await;
    let flow = Flow::new(
        server.address(),
        server.address(),
        setup("delay_ms = 2\nanswer_ms = 2"),
    )
    .await;
    for _ in 0..run.scaled(5, 50) {
        let mut daemon = flow.home.start().await;
        let lines = flow.taken().len() + run.draw(1..300) as usize;
        flow.written(lines).await;
        tokio::time::sleep(run.moment(Duration::from_millis(40))).await;
        daemon.signal(Signal::TERM);
        let status = daemon.ended().await;
        assert_eq!(status.code(), Some(0), "{}", daemon.stderr().text());
        run.tried();
    }
    compare(&run, &flow, 0, (0, 0)).await;
    oracle::assert_ordered(&ledger::entries(&flow.ledger()));
}

#[tokio::test]
async fn a_pause_has_everything_written_that_a_sink_gathers() {
    let mut run = Run::new("buffer_pause");
    let server = Server::start().await;
    let flow = Flow::new(
        server.address(),
        server.address(),
        setup("delay_ms = 2\nanswer_ms = 2"),
    )
    .await;
    let daemon = flow.home.start().await;
    for _ in 0..run.scaled(5, 50) {
        let lines = flow.taken().len() + run.draw(1..300) as usize;
        flow.written(lines).await;
        tokio::time::sleep(run.moment(Duration::from_millis(20))).await;
        ask(&daemon, "pause", "paused").await;
        let taken = flow.taken().len() as u64;
        assert_eq!(flow.stored_messages().await, taken, "paused");
        ask(&daemon, "resume", "running").await;
        run.tried();
    }
    let end = flow.end_after(300);
    flow.settled(&daemon, end).await;
    run.finish("", &flow.of_sink().await, 0);
    oracle::assert_ordered(&ledger::entries(&flow.ledger()));
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_a_sink_gathers_is_written_when_nothing_more_comes_or_at_a_pause() {
    let mut run = Run::new("buffer_rest");
    let server = Server::start().await;
    // A write needs more than there is, and only the timeout or the pause asks for one.
    for (timeout, is_paused) in [("300ms", false), ("1h", true)] {
        let setup = Setup {
            batch: 10,
            sink_plugin: format!("unsettled = {UNSETTLED}\nbuffered = 1000"),
            stream: format!("batch_timeout = \"{timeout}\""),
            has_source: false,
            ..Setup::default()
        };
        let flow = Flow::new(server.address(), server.address(), setup).await;
        let daemon = flow.home.start().await;
        flow.topic.send(0, (0..20).map(|id| id.to_string())).await;
        if is_paused {
            daemon
                .wait_for_stats(SINK, |stats| stats["messages_consumed"] == 20)
                .await;
            assert!(flow.taken().is_empty() && flow.topic.stored(GROUP, 0).await.is_none());
            ask(&daemon, "pause", "paused").await;
            assert_eq!(flow.stored_messages().await, 20);
            ask(&daemon, "resume", "running").await;
        }
        flow.drained(&daemon).await;
        run.tried();
        run.finish(&format!(", {timeout}"), &flow.of_sink().await, 0);
        daemon.interrupt().await;
    }
}

async fn ask(daemon: &Daemon, command: &str, status: &str) {
    flow::ask(daemon, &format!("/sinks/{SINK}"), command, status).await;
}
