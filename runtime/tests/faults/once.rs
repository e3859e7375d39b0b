//! Delivery at most once: whatever is killed, nothing comes twice, and what is lost is bounded.

use super::{
    flow::{SINK, SOURCE, Setup, at_rest},
    harness::gate::Request,
    havoc::Havoc,
    run::Run,
};

const IN_FLIGHT: u64 = 4;

#[tokio::test]
async fn a_source_at_most_once_repeats_nothing_whatever_is_killed() {
    let mut run = Run::new("source_once");
    let setup = Setup {
        partitions: 2,
        source: "delivery = \"at_most_once\"\nerrors = { on_exhausted = \"skip\" }",
        source_plugin: format!("keys = 5\nmax_in_flight = {IN_FLIGHT}"),
        has_sink: false,
        ..Setup::default()
    };
    let mut havoc = Havoc::new(setup, Request::Send).await;
    let rounds = run.scaled(5, 60);
    let daemon = havoc.rage(&mut run, rounds, 12).await;
    let flow = &havoc.flow;
    let end = flow.end_after(300);
    flow.acked_to(end).await;
    at_rest(&daemon, SOURCE).await;
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
    let mut havoc = Havoc::new(setup, Request::StoreOffset).await;
    let rounds = run.scaled(5, 60);
    let daemon = havoc.rage(&mut run, rounds, 300).await;
    let flow = &havoc.flow;
    let end = flow.end_after(300);
    flow.acked_to(end).await;
    at_rest(&daemon, SOURCE).await;
    flow.stored().await;
    at_rest(&daemon, SINK).await;
    let verdict = flow.of_sink().await;
    let line = run.finish_lossy("", &verdict, 0);
    // Half of what was refused was not written, and does not come again.
    assert!(
        !verdict.missing.is_empty(),
        "what was refused came again: {line}"
    );
    daemon.interrupt().await;
}
