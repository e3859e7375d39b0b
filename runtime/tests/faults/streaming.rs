//! What a streaming source was told to be settled is in Iggy, whatever is killed: a client that got its answer may forget.

use super::{
    flow::{SOURCE, Setup, ask, at_rest},
    harness::gate::Request,
    havoc::Havoc,
    oracle::{self, Verdict},
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
    let acked = oracle::acks(&flow.acked_file());
    let verdict = Verdict::of(acked, flow.numbers().await);
    run.finish("", &verdict, rounds * WAITING);
    daemon.interrupt().await;
}
