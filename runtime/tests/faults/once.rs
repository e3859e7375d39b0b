//! Delivery at most once: whatever is killed, nothing comes twice, and what is lost is bounded.

use std::time::Duration;

use super::{
    flow::{Flow, Setup},
    harness::{
        broker_process::BrokerProcess,
        gate::{Gate, Request},
    },
    havoc::Havoc,
    run::Run,
};

const IN_FLIGHT: u64 = 4;

#[tokio::test]
async fn a_source_at_most_once_repeats_nothing_whatever_is_killed() {
    let mut run = Run::new("at_most_once");
    let broker = BrokerProcess::start().await;
    let gate = Gate::start(broker.address()).await;
    let setup = Setup {
        partitions: 2,
        source: "delivery = \"at_most_once\"\nerrors = { on_exhausted = \"skip\" }",
        source_plugin: format!("keys = 5\nmax_in_flight = {IN_FLIGHT}"),
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
        flow.acked_to(flow.acked() + run.draw(1..400)).await;
        tokio::time::sleep(run.moment(Duration::from_millis(20))).await;
        daemon = havoc.strike(round, daemon, &mut run).await;
    }
    let end = flow.acked() + 300;
    flow.end_at(end);
    flow.acked_to(end).await;
    let verdict = flow.of_source(end).await;
    let line = run.finish_lossy("", &verdict, 0);
    // One attempt each: what was on its way, or came while the broker was away.
    assert!(
        !verdict.missing.is_empty(),
        "the answers that were lost tell of a second attempt: {line}"
    );
    daemon.interrupt().await;
}

const PARTITIONS: u32 = 4;

#[tokio::test]
async fn a_sink_at_most_once_repeats_nothing_whatever_is_killed() {
    let mut run = Run::new("sink_once");
    let broker = BrokerProcess::start().await;
    let gate = Gate::start(broker.address()).await;
    let setup = Setup {
        partitions: PARTITIONS,
        source_plugin: format!("keys = 13\nmax_in_flight = {IN_FLIGHT}"),
        sink:
            "delivery = \"at_most_once\"\nmax_in_flight = 4\nerrors = { on_exhausted = \"skip\" }"
                .to_owned(),
        // Of every second write only the first half is taken.
        sink_plugin: "unsettled = 4\nbuffered = 100\nfailures = 1\nfailure = \"half\"".to_owned(),
        ..Setup::default()
    };
    let flow = Flow::new(broker.address(), &gate.address(), setup).await;
    let mut daemon = flow.home.start().await;
    let mut havoc = Havoc {
        broker,
        gate,
        flow: &flow,
        request: Request::StoreOffset,
    };
    let rounds = run.scaled(5, 60);
    for round in 0..rounds {
        flow.written(flow.taken().len() + run.draw(1..300) as usize)
            .await;
        tokio::time::sleep(run.moment(Duration::from_millis(20))).await;
        daemon = havoc.strike(round, daemon, &mut run).await;
    }
    let end = flow.acked() + 300;
    flow.end_at(end);
    flow.acked_to(end).await;
    flow.stored(&daemon).await;
    let verdict = flow.of_sink().await;
    let line = run.finish_lossy("", &verdict, 0);
    // Half of what was refused was not written, and does not come again.
    assert!(
        !verdict.missing.is_empty(),
        "what was refused came again: {line}"
    );
    daemon.interrupt().await;
}
