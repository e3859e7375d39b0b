//! What a streaming source was told to be settled is in Iggy, whatever is killed: a client that got its answer may forget.

use std::time::Duration;

use super::{
    flow::{Flow, Setup},
    harness::{
        broker_process::BrokerProcess,
        gate::{Gate, Request},
    },
    havoc::Havoc,
    oracle::{self, Verdict},
    run::Run,
};

/// A line with a number, roughly.
const LINE: u64 = 13;
/// The plugin waits for so many answers at once.
const WAITING: u64 = 4;

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there() {
    let mut run = Run::new("streaming");
    let broker = BrokerProcess::start().await;
    let gate = Gate::start(broker.address()).await;
    let setup = Setup {
        library: "libledger_stream",
        has_sink: false,
        ..Setup::default()
    };
    let flow = Flow::new(broker.address(), &gate.address(), setup).await;
    let mut daemon = flow.home.start().await;
    let mut havoc = Havoc {
        broker,
        gate,
        flow: &flow,
        request: Request::Send,
    };
    let rounds = run.scaled(5, 60);
    for round in 0..rounds {
        flow.progress(run.draw(1..40) * LINE).await;
        tokio::time::sleep(run.moment(Duration::from_millis(20))).await;
        daemon = havoc.strike(round, daemon, &mut run).await;
    }
    flow.progress(40 * LINE).await;
    daemon.interrupt().await;
    let acked = oracle::acks(&flow.acked_file());
    let verdict = Verdict::of(acked, flow.numbers().await);
    run.finish("", &verdict, rounds * WAITING);
}
