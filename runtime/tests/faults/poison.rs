//! Messages that a sink will never take, one or all of them, and dead letters that cannot be written.

use std::collections::BTreeSet;

use super::{
    flow::{Flow, GROUP, SINK, Server, Setup, assert_balanced, at_rest},
    harness::{
        broker::{Topic, client, eventually, text},
        daemon::Daemon,
        gate::{Gate, Request},
        ledger,
    },
    oracle::Verdict,
    run::Run,
};
use iggy::prelude::{
    HeaderKey, HeaderValue, IggyMessage, MessageClient as _, Partitioning, TopicClient as _,
};

const DLQ: &str = "dead_letters";
/// What Iggy answers to a user without the permission.
const UNAUTHORIZED: u32 = 41;

fn setup(server_unique: &str, poison: &str, sink: &str) -> Setup {
    Setup {
        batch: 50,
        has_source: false,
        sink: format!("dlq = {{ stream = \"{DLQ}\", topic = \"{server_unique}\" }}\n{sink}"),
        sink_plugin: format!("poison = \"{poison}\""),
        ..Setup::default()
    }
}

/// A flow whose dead letters stand in a topic of its own.
async fn flow(server: &str, address: &str, poison: &str, sink: &str) -> (Flow, Topic) {
    let topic = super::flow::new_topic(server).await;
    topic.create(1).await;
    let letters = Topic {
        client: client(server).await,
        stream: DLQ.to_owned(),
        name: topic.stream.clone(),
    };
    let flow = Flow::of(topic, address, setup(&letters.name, poison, sink));
    (flow, letters)
}

/// Sends numbered messages with a header each; those that `is_poison` names are poison.
async fn send(topic: &Topic, count: u64, is_poison: impl Fn(u64) -> bool) {
    let mut messages: Vec<_> = (0..count)
        .map(|number| {
            let name = if is_poison(number) { "poison" } else { "good" };
            let headers = [("number", number)]
                .map(|(key, value)| (HeaderKey::try_from(key).unwrap(), HeaderValue::from(value)));
            IggyMessage::builder()
                .payload(format!("{name}-{number}").into())
                .user_headers(headers.into())
                .build()
                .unwrap()
        })
        .collect();
    for chunk in messages.chunks_mut(500) {
        topic
            .client
            .send_messages(
                &topic.stream_id(),
                &topic.id(),
                &Partitioning::partition_id(0),
                chunk,
            )
            .await
            .unwrap();
    }
}

/// The payloads in the topic, and those that were delivered or stand in a dead letter.
async fn verdict(flow: &Flow, letters: &Topic) -> Verdict {
    let mut came: Vec<_> = ledger::entries(&flow.ledger())
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    came.extend(read(letters).await.iter().map(text));
    Verdict::of(flow.topic.texts(0).await, came)
}

/// All dead letters; none as long as there is no topic.
async fn read(letters: &Topic) -> Vec<IggyMessage> {
    let (stream, topic) = (letters.stream_id(), letters.id());
    match letters.client.get_topic(&stream, &topic).await.unwrap() {
        Some(_) => letters.read(0).await,
        None => Vec::new(),
    }
}

#[tokio::test]
async fn one_poison_message_among_a_thousand_becomes_the_only_dead_letter() {
    let mut run = Run::new("poison_one");
    let server = Server::start().await;
    let mut total = Verdict::of::<u64>([], []);
    let rounds = run.scaled(1, 10);
    for poison in ["named", "spoils"].into_iter().cycle().take(2 * rounds) {
        let (flow, letters) = flow(server.address(), server.address(), poison, "").await;
        let bad = run.draw(0..1_000);
        send(&flow.topic, 1_000, |number| number == bad).await;
        let daemon = flow.home.start().await;
        let stats = daemon
            .wait_for_stats(SINK, |stats| {
                stats["messages_processed"] == 999 && stats["messages_failed"] == 1
            })
            .await;
        assert_balanced(&stats);
        let found = read(&letters).await;
        let [letter] = &found[..] else {
            panic!("{} dead letters", found.len())
        };
        let original = &flow.topic.read(0).await[bad as usize];
        assert_eq!(letter.payload, original.payload);
        let kept = letter.user_headers.as_ref().unwrap();
        assert!(kept.starts_with(original.user_headers.as_ref().unwrap()));
        let ids: BTreeSet<_> = ledger::entries(&flow.ledger())
            .into_iter()
            .map(|entry| entry.id)
            .collect();
        assert_eq!(ids.len(), 999);
        total = total.and(verdict(&flow, &letters).await);
        run.tried();
        daemon.interrupt().await;
    }
    run.finish("", &total, 0);
}

/// Waits until the sink has stopped for good, and checks that what it has stored is settled.
async fn stopped(flow: &Flow, letters: &Topic, daemon: &Daemon) {
    let stats = daemon
        .wait_for_stats(SINK, |stats| stats["status"] == "error")
        .await;
    assert_balanced(&stats);
    let stored = flow.topic.stored(GROUP, 0).await;
    let settled = stored.map_or(0, |offset| offset as usize + 1);
    let mut came: BTreeSet<_> = ledger::entries(&flow.ledger())
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    came.extend(read(letters).await.iter().map(text));
    let texts = flow.topic.texts(0).await;
    let missing: Vec<_> = texts[..settled]
        .iter()
        .filter(|text| !came.contains(*text))
        .collect();
    assert!(
        missing.is_empty(),
        "stored as settled at {stored:?}: {missing:?}"
    );
}

#[tokio::test]
async fn a_sink_that_refuses_everything_stops_where_it_is_and_goes_on_when_it_is_mended() {
    let mut run = Run::new("poison_all");
    let server = Server::start().await;
    let mut total = Verdict::of::<u64>([], []);
    // All of a batch, and more than are tolerated.
    let tolerance = "errors = { tolerance = { failures = 30, of_last = 100 } }";
    for (poison, share) in [("named", 1), ("spoils", 1), ("named", 3), ("spoils", 3)] {
        let (flow, letters) = flow(server.address(), server.address(), poison, tolerance).await;
        send(&flow.topic, 500, |number| {
            number >= 120 && number % share == 0
        })
        .await;
        let daemon = flow.home.start().await;
        stopped(&flow, &letters, &daemon).await;
        daemon.interrupt().await;
        flow.mend(&setup(&letters.name, "taken", ""));
        let mended = flow.home.start().await;
        eventually(0, async || verdict(&flow, &letters).await.missing.len()).await;
        at_rest(&mended, SINK).await;
        total = total.and(verdict(&flow, &letters).await);
        run.tried();
        mended.interrupt().await;
    }
    // A batch that is given up half-way comes again.
    run.finish("", &total, 4 * 50);
}

#[tokio::test]
async fn nothing_is_dropped_when_dead_letters_cannot_be_written() {
    let mut run = Run::new("dlq_away");
    let server = Server::start().await;
    let gate = Gate::start(server.address()).await;
    let mut total = Verdict::of::<u64>([], []);
    let soon = "retry = { initial_backoff = \"20ms\", max_backoff = \"50ms\" }";
    let few = "retry = { initial_backoff = \"20ms\", max_backoff = \"50ms\", max_retries = 3 }";
    // Out of reach is waited for; what is refused so often as is allowed stops the sink.
    for (retry, code, status) in [
        (soon, None, "retrying"),
        (few, None, "retrying"),
        (soon, Some(UNAUTHORIZED), "retrying"),
        (few, Some(UNAUTHORIZED), "error"),
    ] {
        let (flow, letters) = flow(server.address(), &gate.address(), "named", retry).await;
        send(&flow.topic, 500, |number| number == 260).await;
        // A sink sends nothing but dead letters.
        match code {
            Some(code) => gate.refuse_with(Request::Send, code),
            None => gate.refuse(Some(Request::Send)),
        }
        let daemon = flow.home.start().await;
        let stats = daemon
            .wait_for_stats(SINK, |stats| {
                stats["status"] == status && stats["errors"].as_u64() > Some(2)
            })
            .await;
        assert_eq!(stats["messages_failed"], 0, "{stats}");
        let stored = flow.topic.stored(GROUP, 0).await;
        assert!(
            stored < Some(260),
            "the poison is stored as settled: {stored:?}"
        );
        assert!(read(&letters).await.is_empty());
        gate.refuse(None);
        let daemon = match status {
            "error" => {
                daemon.interrupt().await;
                flow.home.start().await
            }
            _ => daemon,
        };
        eventually(0, async || verdict(&flow, &letters).await.missing.len()).await;
        at_rest(&daemon, SINK).await;
        total = total.and(verdict(&flow, &letters).await);
        run.tried();
        daemon.interrupt().await;
    }
    run.finish("", &total, 4 * 50);
}
