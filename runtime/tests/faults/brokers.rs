//! A broker that is away, comes back without its data, refuses the credentials, or loses a topic.

use std::{collections::BTreeSet, time::Duration};

use iggy::prelude::TopicClient as _;
use serde_json::Value;

use super::{
    flow::{Flow, SINK, SOURCE, Server, Setup, at_rest},
    harness::{
        broker::{client, eventually},
        broker_process::BrokerProcess,
        daemon::Daemon,
        ledger,
    },
    oracle::Verdict,
    run::Run,
};

/// Waits until source and sink say that they try again, and why.
async fn told(daemon: &Daemon, why: &str) {
    for (key, route) in [(SOURCE, "sources"), (SINK, "sinks")] {
        let says_why = |connector: &Value| {
            let said = connector["last_error"]["message"].as_str();
            connector["status"] == "retrying" && said.is_some_and(|said| said.contains(why))
        };
        daemon.wait_for(&format!("/{route}/{key}"), says_why).await;
    }
}

/// Waits until neither says any more that it tries again.
async fn well(daemon: &Daemon) {
    for key in [SOURCE, SINK] {
        daemon
            .wait_for_stats(key, |stats| stats["status"] == "running")
            .await;
    }
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for() {
    let mut run = Run::new("broker_away");
    let mut broker = BrokerProcess::start().await;
    let flow = Flow::new(broker.address(), broker.address(), Setup::default()).await;
    let daemon = flow.home.start().await;
    flow.progress(500).await;
    broker.kill().await;
    told(&daemon, broker.address()).await;
    // The fault itself is this long.
    tokio::time::sleep(run.scaled(Duration::from_secs(1), Duration::from_secs(90))).await;
    broker.again().await;
    flow.progress(500).await;
    run.tried();
    let end = flow.end_after(200);
    flow.settled(&daemon, end).await;
    well(&daemon).await;
    run.finish_each(", source", &flow.of_source(end).await, 1, flow.batch());
    run.finish_each(", sink", &flow.of_sink().await, 1, flow.unstored());
    daemon.interrupt().await;
}

#[tokio::test]
async fn credentials_that_are_refused_for_a_while_cost_nothing() {
    let mut run = Run::new("credentials");
    let mut broker = BrokerProcess::start().await;
    let mut flow = Flow::new(broker.address(), broker.address(), Setup::default()).await;
    let daemon = flow.home.start().await;
    let rounds = run.scaled(1, 10);
    for _ in 0..rounds {
        flow.progress(500).await;
        broker.kill().await;
        broker.set_password("another");
        broker.again().await;
        told(&daemon, "check `[iggy] username`").await;
        broker.kill().await;
        broker.set_password("iggy");
        broker.again().await;
        flow.progress(500).await;
        run.tried();
    }
    // The test's own client was refused, too.
    flow.topic.client = client(broker.address()).await;
    let end = flow.end_after(200);
    flow.settled(&daemon, end).await;
    well(&daemon).await;
    let (of_source, of_sink) = (flow.of_source(end).await, flow.of_sink().await);
    run.finish_each(", source", &of_source, rounds, flow.batch());
    run.finish_each(", sink", &of_sink, rounds, flow.unstored());
    daemon.interrupt().await;
}

/// What the ledger holds beyond so many lines.
fn ids(flow: &Flow, skipped: usize) -> Vec<u64> {
    let entries = ledger::entries(&flow.ledger()).into_iter().skip(skipped);
    entries.map(|entry| entry.id.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_broker_that_comes_back_empty_gets_what_the_source_can_still_offer() {
    let mut run = Run::new("broker_empty");
    let mut broker = BrokerProcess::start().await;
    let flow = Flow::new(broker.address(), broker.address(), Setup::default()).await;
    let daemon = flow.home.start().await;
    let mut total = Verdict::of::<u64>([], []);
    let rounds = run.scaled(1, 10);
    for _ in 0..rounds {
        flow.progress(500).await;
        broker.kill().await;
        // What was confirmed before it died may be acknowledged a little later.
        told(&daemon, broker.address()).await;
        let (acked, lines) = (flow.acked(), flow.taken().len());
        broker.wipe();
        broker.again().await;
        let far = acked + 500;
        flow.acked_to(far).await;
        let numbers = flow.numbers().await;
        total = total.and(Verdict::of(acked..far, numbers.iter().copied()));
        let unique: BTreeSet<_> = numbers.into_iter().collect();
        eventually(0, async || {
            let expected = unique.iter().copied();
            Verdict::of(expected, ids(&flow, lines)).missing.len()
        })
        .await;
        run.tried();
    }
    let end = flow.end_after(200);
    flow.settled(&daemon, end).await;
    run.finish("", &total, rounds * flow.batch());
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_topic_that_is_purged_or_made_again_goes_on() {
    let mut run = Run::new("topic_purged");
    let server = Server::start().await;
    let flow = Flow::new(server.address(), server.address(), Setup::default()).await;
    let daemon = flow.home.start().await;
    let (stream, name) = (flow.topic.stream_id(), flow.topic.id());
    let rounds = run.scaled(4, 20);
    let mut total = Verdict::of::<u64>([], []);
    for round in 0..rounds {
        // Farther than what is sent while a sink that is held up has not looked: see what `docs/reliability.md` does not promise.
        flow.acked_to(flow.acked() + 2_000 + run.draw(0..1_000))
            .await;
        if round % 4 < 2 {
            // At rest: no offset that is refused tells the sink.
            let end = flow.end_after(100);
            flow.acked_to(end).await;
            flow.stored().await;
        }
        if round % 2 == 0 {
            flow.topic.client.purge_topic(&stream, &name).await.unwrap();
        } else {
            flow.topic
                .client
                .delete_topic(&stream, &name)
                .await
                .unwrap();
            // A daemon may be quicker in making it again.
            let _ = flow
                .topic
                .client
                .create_topic(&stream, &flow.topic.name, &Default::default())
                .await;
        }
        // The batch that was on its way may have gone with the topic; what follows was sent after it.
        let since = flow.acked() + flow.batch();
        flow.goes_on();
        let far = since + 200;
        flow.acked_to(far).await;
        total = total.and(Verdict::of(since..far, flow.numbers().await));
        // The next purge takes what was not delivered by then.
        let delivered = || Verdict::of(since..far, ids(&flow, 0));
        eventually(0, async || delivered().missing.len()).await;
        run.tried();
    }
    let end = flow.end_after(200);
    flow.acked_to(end).await;
    at_rest(&daemon, SOURCE).await;
    let held: BTreeSet<_> = flow.numbers().await.into_iter().collect();
    assert!(
        held.contains(&(end - 1)),
        "the last message is not in the topic"
    );
    let verdict = || Verdict::of(held.iter().copied(), ids(&flow, 0));
    eventually(0, async || verdict().missing.len()).await;
    at_rest(&daemon, SINK).await;
    run.finish(", source", &total, 0);
    run.finish(", sink", &verdict(), rounds * flow.unstored());
    daemon.interrupt().await;
}
