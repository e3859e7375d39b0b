//! What a streaming source was told to be settled is in Iggy, whatever is killed: a client that got its answer may forget. And what it
//! has only sent is there after a stop in order.

use std::time::Duration;

use rustix::process::Signal;

use super::{
    flow::{Flow, SOURCE, Server, Setup, ask, at_rest},
    harness::{gate::Request, ledger},
    havoc::Havoc,
    oracle::Verdict,
    run::Run,
};

/// The plugin waits for so many answers at once.
const WAITING: u64 = 4;

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there() {
    let mut run = Run::new("streaming");
    let setup = Setup {
        library: "libledger_stream",
        has_sink: false,
        ..Setup::default()
    };
    let mut havoc = Havoc::new(setup, Request::Send).await;
    let rounds = run.scaled(5, 60);
    let daemon = havoc.rage(&mut run, rounds, 40).await;
    let flow = &havoc.flow;
    flow.progress(500).await;
    // The requests that wait are still answered.
    ask(&daemon, &format!("/sources/{SOURCE}"), "pause", "paused").await;
    at_rest(&daemon, SOURCE).await;
    let acked = ledger::acks(&flow.acked_file());
    let verdict = Verdict::of(acked, flow.numbers().await);
    run.finish("", &verdict, rounds * WAITING);
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_was_sent_before_a_stop_is_there_once() {
    let mut run = Run::new("streaming_stop");
    let server = Server::start().await;
    let setup = Setup {
        library: "libledger_stream",
        source_plugin: "volatile = true".to_owned(),
        has_sink: false,
        ..Setup::default()
    };
    let flow = Flow::new(server.address(), server.address(), setup).await;
    for _ in 0..run.scaled(5, 50) {
        let mut daemon = flow.home.start().await;
        flow.progress(run.draw(1..5_000)).await;
        tokio::time::sleep(run.moment(Duration::from_millis(20))).await;
        daemon.signal(Signal::TERM);
        let status = daemon.ended().await;
        assert_eq!(status.code(), Some(0), "{}", daemon.stderr().text());
        run.tried();
    }
    let sent = ledger::acks(&flow.acked_file());
    run.finish("", &Verdict::of(sent, flow.numbers().await), 0);
}
