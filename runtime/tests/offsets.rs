//! Offsets over the API of real daemons: where connectors stand, and how they go on elsewhere. What a reset replays is counted where it
//! arrives.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod broker_process;
    pub mod daemon;
    pub mod ledger;
    pub mod port;
    pub mod proxy;
    pub mod reader;
}

use std::{fs, time::Duration};

use harness::{
    broker::{Broker, Topic, client, eventually, iggy_at},
    broker_process::BrokerProcess,
    daemon::{Daemon, Home},
    ledger,
    proxy::Proxy,
    reader::Reader,
};
use iggy::prelude::{IggyByteSize, MaxTopicSize};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

const GROUP: &str = "iggy-connect-sink-lines";
const SINK: &str = "/sinks/lines";
const OFFSETS: &str = "/sinks/lines/offsets";
const DRY_RUN: &str = "/sinks/lines/offsets?dry_run=true";
const SOURCE: &str = "/sources/numbers";

/// A folder for daemons whose sink writes down what comes from the topic. `keys` and `stream` are more lines of the sink and of its
/// stream.
fn home(topic: &Topic, address: &str, keys: &str, stream: &str) -> Home {
    let config = format!(
        "[sinks.lines]\npath = \"libledger_sink\"\nrestart.initial_backoff = \"50ms\"\n{keys}\n[[sinks.lines.streams]]\n\
         stream = \"{}\"\ntopics = [\"{}\"]\nschema = \"raw\"\nbatch_length = 7\n{stream}\n[sinks.lines.plugin_config]\n\
         ledger = \"ledger\"\n",
        topic.stream, topic.name
    );
    let mut home = Home::new(&config);
    home.set("IGGY_CONNECTORS_IGGY_ADDRESS", address);
    home
}

/// Partition and offset of every line of the ledger, in the order in which they were written.
fn written(home: &Home) -> Vec<(u32, u64)> {
    ledger::places(&home.path().join("ledger"))
}

/// What was written behind the first `count` lines, by partition and offset.
fn written_since(home: &Home, count: usize) -> Vec<(u32, u64)> {
    let mut since = written(home).split_off(count);
    since.sort_unstable();
    since
}

/// What a partition holds from an offset on.
fn held(partition: u32, offsets: std::ops::Range<u64>) -> Vec<(u32, u64)> {
    offsets.map(|offset| (partition, offset)).collect()
}

async fn put(daemon: &Daemon, path: &str, body: &Value) -> (u16, Value) {
    daemon.send(Method::PUT, path, Some(body)).await
}

/// Resets after a dry run, which says the same and changes nothing. Returns what was done.
async fn reset(daemon: &Daemon, method: &Method, body: Option<&Value>) -> Value {
    let before = daemon.get(OFFSETS).await;
    let (status, mut said) = daemon.send(method.clone(), DRY_RUN, body).await;
    assert_eq!(status, 200, "{body:?}: {said}");
    assert_eq!(daemon.get(OFFSETS).await, before, "{body:?}");
    let (status, done) = daemon.send(method.clone(), OFFSETS, body).await;
    assert_eq!(status, 200, "{body:?}: {done}");
    said["dry_run"] = false.into();
    assert_eq!(said, done, "{body:?}");
    done
}

/// Waits until everything that is there is settled and stored.
async fn caught_up(daemon: &Daemon) -> Value {
    let is_done = |offsets: &Value| {
        let is_stored = |one: &Value| one["committed"] == one["head"];
        // There is no list as long as the broker does not answer.
        let partitions = offsets["partitions"].as_array();
        offsets["lag"] == 0 && partitions.is_some_and(|all| all.iter().all(is_stored))
    };
    daemon.wait_for(OFFSETS, is_done).await
}

/// Three partitions: two batches in the first with a moment between them, one in the second, nothing in the third. Returns the topic
/// and the time of the first partition's second batch.
async fn filled(broker: &Broker) -> (Topic, String) {
    let topic = broker.topic(3).await;
    let texts = |count: u64| (0..count).map(|number| format!("m{number}"));
    topic.send(0, texts(12)).await;
    topic.send(1, texts(9)).await;
    let first = topic.read(1).await[0].header.timestamp;
    let is_later = async || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_micros() > u128::from(first) + 10_000
    };
    eventually(true, is_later).await;
    topic.send(0, texts(8)).await;
    let second = topic.read(0).await[12].header.timestamp;
    assert!(second > first);
    let time = std::time::UNIX_EPOCH + Duration::from_micros(second);
    (topic, humantime::format_rfc3339_micros(time).to_string())
}

#[tokio::test]
async fn a_reset_replays_exactly_what_its_dry_run_said_whatever_the_place() {
    let broker = Broker::start().await;
    let (topic, time) = filled(&broker).await;
    let home = home(&topic, broker.address(), "", "");
    let daemon = home.start().await;
    caught_up(&daemon).await;
    assert_eq!(written(&home).len(), 29);
    // Of the partitions the first and the second one's part that comes again.
    for (to, first, second) in [
        ("first".to_owned(), 0, 0),
        ("last".to_owned(), 19, 8),
        ("next".to_owned(), 20, 9),
        ("offset:4".to_owned(), 4, 4),
        ("offset:0".to_owned(), 0, 0),
        ("offset:11".to_owned(), 11, 9),
        ("offset:18446744073709551615".to_owned(), 20, 9),
        (format!("timestamp:{time}"), 12, 9),
        ("timestamp:1970-01-01T00:00:00Z".to_owned(), 0, 0),
        ("timestamp:2999-01-01T00:00:00Z".to_owned(), 20, 9),
    ] {
        daemon.ask(SINK, "pause", "paused").await;
        let before = written(&home).len();
        let done = reset(&daemon, &Method::PUT, Some(&json!({ "to": to }))).await;
        let again = [held(0, first..20), held(1, second..9)].concat();
        assert_eq!(done["replayed"], again.len(), "{to}: {done}");
        assert_eq!(done["skipped"], 0, "{to}: {done}");
        let lag = daemon.get(OFFSETS).await;
        assert_eq!(lag["lag"], again.len(), "{to}: {lag}");
        assert_eq!(written(&home).len(), before, "{to}: nothing moves");
        daemon.ask(SINK, "resume", "running").await;
        caught_up(&daemon).await;
        assert_eq!(written_since(&home, before), again, "{to}");
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_a_reset_skips_does_not_come_and_what_follows_does() {
    let broker = Broker::start().await;
    let (topic, _) = filled(&broker).await;
    let home = home(&topic, broker.address(), "", "");
    let daemon = home.start().await;
    caught_up(&daemon).await;
    daemon.ask(SINK, "stop", "stopped").await;
    let before = written(&home).len();
    topic
        .send(1, (0..30).map(|number| number.to_string()))
        .await;
    topic.send(2, (0..5).map(|number| number.to_string())).await;
    let lag = daemon.get(OFFSETS).await;
    assert_eq!(lag["lag"], 35, "{lag}");
    let done = reset(&daemon, &Method::PUT, Some(&json!({ "to": "last" }))).await;
    // The last message of the first partition, which was delivered before, comes again.
    assert_eq!(
        (&done["replayed"], &done["skipped"]),
        (&1.into(), &33.into()),
        "{done}"
    );
    daemon.ask(SINK, "start", "running").await;
    caught_up(&daemon).await;
    assert_eq!(written_since(&home, before), [(0, 19), (1, 38), (2, 4)]);
    topic.send(2, ["more".to_owned()]).await;
    daemon
        .wait_for(OFFSETS, |offsets| {
            offsets["partitions"][2]["committed"] == 5
        })
        .await;
    assert_eq!(written_since(&home, before + 3), [(2, 5)]);
    daemon.interrupt().await;
}

#[tokio::test]
async fn one_partition_moves_alone_also_after_a_restart_of_the_daemon() {
    let broker = Broker::start().await;
    let (topic, _) = filled(&broker).await;
    let home = home(&topic, broker.address(), "", "");
    let daemon = home.start().await;
    caught_up(&daemon).await;
    daemon.ask(SINK, "stop", "stopped").await;
    daemon.interrupt().await;
    let daemon = home.start().await;
    let before = written(&home).len();
    for (selected, replayed) in [
        (json!({ "to": "offset:5", "partition": 1 }), 4),
        (
            json!({ "to": "offset:5", "partition": 1, "stream": topic.stream }),
            0,
        ),
        (
            json!({ "to": "offset:6", "partition": 1, "topic": topic.name }),
            0,
        ),
    ] {
        let done = reset(&daemon, &Method::PUT, Some(&selected)).await;
        assert_eq!(done["replayed"], replayed, "{done}");
        let moved = done["partitions"].as_array().unwrap();
        assert_eq!(moved.len(), 1, "{done}");
        assert_eq!(moved[0]["partition"], 1, "{done}");
    }
    assert_eq!(topic.stored(GROUP, 0).await, Some(19));
    assert_eq!(topic.stored(GROUP, 1).await, Some(5));
    for absent in [
        json!({ "to": "first", "partition": 3 }),
        json!({ "to": "first", "topic": "nowhere" }),
        json!({ "to": "first", "stream": "nowhere" }),
    ] {
        let (status, answer) = put(&daemon, OFFSETS, &absent).await;
        assert_eq!(status, 422, "{answer}");
        assert!(
            answer["errors"][0]["reason"]
                .as_str()
                .unwrap()
                .contains(&topic.name),
            "{answer}"
        );
    }
    daemon.ask(SINK, "start", "running").await;
    caught_up(&daemon).await;
    assert_eq!(written_since(&home, before), held(1, 6..9));
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_sink_whose_offsets_are_forgotten_begins_as_if_it_had_never_run() {
    let broker = Broker::start().await;
    let (topic, _) = filled(&broker).await;
    let home = home(&topic, broker.address(), "", "start_from = \"offset:10\"");
    let mut daemon = home.start().await;
    caught_up_from(&daemon, 10).await;
    assert_eq!(written_since(&home, 0), held(0, 10..20));
    for round in 1..=2 {
        topic.send(1, ["more".to_owned()]).await;
        daemon
            .wait_for(OFFSETS, |offsets| offsets["lag"] == 0)
            .await;
        daemon.ask(SINK, "stop", "stopped").await;
        let before = written(&home).len();
        let done = reset(&daemon, &Method::DELETE, None).await;
        let second = 9 + round;
        let again = [held(0, 10..20), held(1, 10..second)].concat();
        assert_eq!(done["replayed"], again.len(), "{done}");
        for partition in 0..3 {
            assert_eq!(topic.stored(GROUP, partition).await, None);
        }
        assert!(!home.path().join("local_state/sink_lines.state").exists());
        if round == 2 {
            daemon.interrupt().await;
            daemon = home.start().await;
        }
        daemon.ask(SINK, "start", "running").await;
        daemon
            .wait_for(OFFSETS, |offsets| offsets["lag"] == 0)
            .await;
        assert_eq!(written_since(&home, before), again, "round {round}");
    }
    daemon.interrupt().await;
}

async fn caught_up_from(daemon: &Daemon, lines: u64) {
    daemon
        .wait_for_stats("lines", |stats| stats["messages_processed"] == lines)
        .await;
    daemon
        .wait_for(OFFSETS, |offsets| offsets["lag"] == 0)
        .await;
}

#[tokio::test]
async fn a_sink_that_has_never_run_begins_where_it_was_told_and_elsewhere_by_start_from() {
    let broker = Broker::start().await;
    let (topic, _) = filled(&broker).await;
    let home = home(
        &topic,
        broker.address(),
        "enabled = false",
        "start_from = \"last\"",
    );
    let daemon = home.start().await;
    let offsets = daemon.get(OFFSETS).await;
    assert_eq!(offsets["lag"], 2, "{offsets}");
    assert_eq!(
        offsets["partitions"][0]["committed"],
        Value::Null,
        "{offsets}"
    );
    let to_first = json!({ "to": "first", "partition": 0 });
    let done = reset(&daemon, &Method::PUT, Some(&to_first)).await;
    assert_eq!(done["replayed"], 19, "{done}");
    daemon.ask(SINK, "start", "running").await;
    daemon
        .wait_for(OFFSETS, |offsets| offsets["lag"] == 0)
        .await;
    assert_eq!(
        written_since(&home, 0),
        [held(0, 0..20), held(1, 8..9)].concat()
    );
    daemon.interrupt().await;
}

#[tokio::test]
async fn resets_among_commands_replay_what_they_said_and_nothing_else() {
    let broker = Broker::start().await;
    let (topic, _) = filled(&broker).await;
    let home = home(&topic, broker.address(), "", "");
    let daemon = home.start().await;
    caught_up(&daemon).await;
    let (mut replayed, mut done, mut refused) = (0, 0, 0);
    for round in 0..24 {
        let command = ["pause", "stop", "pause", "restart"][round % 4];
        daemon.post(&format!("{SINK}/{command}")).await;
        if round % 3 > 0 {
            let is_ready = |sink: &Value| {
                sink["status"] == "paused" || sink["status"] == "stopped" || command == "restart"
            };
            daemon.wait_for(SINK, is_ready).await;
        }
        let to = json!({ "to": "offset:3" });
        // Whichever comes first: the resets, or what has it go on.
        let (first, (), second) = tokio::join!(
            put(&daemon, OFFSETS, &to),
            async { drop(daemon.post("/sinks/lines/start").await) },
            put(&daemon, OFFSETS, &to),
        );
        for (status, answer) in [first, second] {
            match status {
                200 => {
                    replayed += answer["replayed"].as_u64().unwrap();
                    done += 1;
                }
                409 => refused += 1,
                _ => panic!("{status}: {answer}"),
            }
        }
    }
    daemon
        .wait_for(SINK, |sink| sink["status"] == "running")
        .await;
    caught_up(&daemon).await;
    assert!(
        done > 0 && refused > 0 && replayed > 0,
        "{done} done, {refused} refused"
    );
    assert_eq!(written(&home).len() as u64, 29 + replayed);
    daemon.interrupt().await;
}

#[tokio::test]
async fn nothing_is_reset_while_it_runs() {
    let broker = Broker::start().await;
    let (topic, _) = filled(&broker).await;
    let home = home(&topic, broker.address(), "", "");
    let daemon = home.start().await;
    let before = caught_up(&daemon).await;
    for path in [OFFSETS, DRY_RUN] {
        for method in [Method::PUT, Method::DELETE] {
            let body = (method == Method::PUT).then(|| json!({ "to": "first" }));
            let (status, answer) = daemon.send(method, path, body.as_ref()).await;
            assert_eq!(status, 409, "{answer}");
            let reason = answer["reason"].as_str().unwrap();
            assert!(
                reason.contains("running") && reason.contains("pause or stop"),
                "{answer}"
            );
        }
    }
    assert_eq!(daemon.get(OFFSETS).await, before);
    assert_eq!(daemon.get(SINK).await["status"], "running");
    assert_eq!(written(&home).len(), 29);
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_group_in_which_somebody_else_reads_is_not_moved() {
    let broker = Broker::start().await;
    let (topic, _) = filled(&broker).await;
    let home = home(&topic, broker.address(), "", "");
    let daemon = home.start().await;
    caught_up(&daemon).await;
    daemon.ask(SINK, "pause", "paused").await;
    let other = Reader::start(&iggy_at(broker.address()), &[topic.input(GROUP)]).await;
    eventually(1, async || topic.members(GROUP).await).await;
    for path in [OFFSETS, DRY_RUN] {
        let (status, answer) = put(&daemon, path, &json!({ "to": "first" })).await;
        assert_eq!(status, 409, "{answer}");
        assert!(
            answer["reason"]
                .as_str()
                .unwrap()
                .contains("1 other member"),
            "{answer}"
        );
    }
    assert_eq!(topic.stored(GROUP, 0).await, Some(19));
    other.close().await.unwrap();
    eventually(0, async || topic.members(GROUP).await).await;
    reset(&daemon, &Method::PUT, Some(&json!({ "to": "first" }))).await;
    assert_eq!(topic.members(GROUP).await, 0, "nobody stays in the group");
    daemon.interrupt().await;
}

#[tokio::test]
async fn lag_is_true_while_a_sink_is_paused_and_while_it_is_stopped() {
    let broker = Broker::start().await;
    let (topic, _) = filled(&broker).await;
    let home = home(&topic, broker.address(), "", "");
    let daemon = home.start().await;
    caught_up(&daemon).await;
    for (command, then, sent) in [("pause", "paused", 3), ("stop", "stopped", 7)] {
        daemon.ask(SINK, command, then).await;
        topic.send(1, (0..4).map(|number| number.to_string())).await;
        topic
            .send(2, (4..sent).map(|number| number.to_string()))
            .await;
        let offsets = daemon.get(OFFSETS).await;
        let lags: Vec<_> = offsets["partitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["lag"].as_u64().unwrap())
            .collect();
        let expected = match command {
            "pause" => [0, 4, 0],
            _ => [0, 8, 3],
        };
        assert_eq!(lags, expected, "{offsets}");
        assert_eq!(offsets["lag"], expected.iter().sum::<u64>(), "{offsets}");
        assert_eq!(offsets["partitions"][0]["head"], 19, "{offsets}");
        assert_eq!(
            offsets["partitions"][0]["consumer_group"], GROUP,
            "{offsets}"
        );
        assert_eq!(
            offsets["partitions"][0]["stream"], topic.stream,
            "{offsets}"
        );
    }
    assert_eq!(
        daemon.get(OFFSETS).await["partitions"][2]["committed"],
        Value::Null
    );
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_broker_that_is_down_or_frozen_is_told_and_holds_nobody_up() {
    let mut broker = BrokerProcess::start().await;
    let topic = Topic {
        client: client(broker.address()).await,
        stream: "s".to_owned(),
        name: "t".to_owned(),
    };
    topic.create(1).await;
    topic.send(0, (0..5).map(|number| number.to_string())).await;
    let home = home(&topic, broker.address(), "", "");
    let daemon = home.start().await;
    caught_up(&daemon).await;
    daemon.ask(SINK, "pause", "paused").await;

    broker.signal(Signal::STOP);
    let to_first = json!({ "to": "first" });
    let reset_of = put(&daemon, OFFSETS, &to_first);
    let others = async {
        // The reset is under way: commands are taken all the same, and other connectors and routes know nothing of it.
        let (status, answer) = daemon.post("/sinks/lines/resume").await;
        assert_eq!(status, 202, "{answer}");
        assert!(daemon.get("/health").await["connectors"].is_object());
        let (status, answer) = daemon.post("/sinks/lines/pause").await;
        assert_eq!(status, 202, "{answer}");
    };
    let ((status, answer), ()) = tokio::join!(reset_of, others);
    assert!(matches!(status, 409 | 503), "{answer}");
    let (status, answer) = daemon.send(Method::GET, OFFSETS, None).await;
    assert_eq!(status, 503, "{answer}");
    assert!(
        answer["reason"]
            .as_str()
            .unwrap()
            .contains(broker.address()),
        "{answer}"
    );
    broker.signal(Signal::CONT);
    daemon
        .wait_for(SINK, |sink| sink["status"] == "paused")
        .await;

    broker.kill().await;
    for (method, path) in [
        (Method::GET, OFFSETS),
        (Method::DELETE, DRY_RUN),
        (Method::DELETE, OFFSETS),
    ] {
        let (status, answer) = daemon.send(method, path, None).await;
        assert_eq!(status, 503, "{answer}");
        assert!(
            answer["reason"]
                .as_str()
                .unwrap()
                .contains("cannot reach Iggy"),
            "{answer}"
        );
    }
    broker.again().await;
    daemon
        .wait_for(OFFSETS, |offsets| {
            offsets["partitions"][0]["committed"] == 4
        })
        .await;
    let done = reset(&daemon, &Method::PUT, Some(&to_first)).await;
    assert_eq!(done["replayed"], 5, "{done}");
    daemon.interrupt().await;
}

/// How many bytes of requests a reset to the first message takes. All is where it was then.
async fn size_of_a_reset(daemon: &Daemon, proxy: &Proxy) -> u64 {
    let before = daemon.get(OFFSETS).await;
    let start = proxy.passed();
    let to_first = json!({ "to": "first" });
    assert_eq!(put(daemon, OFFSETS, &to_first).await.0, 200);
    let size = proxy.passed() - start;
    assert_ne!(daemon.get(OFFSETS).await, before);
    let to_next = json!({ "to": "next" });
    assert_eq!(put(daemon, OFFSETS, &to_next).await.0, 200);
    size
}

#[tokio::test]
async fn a_reset_that_breaks_off_leaves_every_partition_where_it_was() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(broker.address()).await;
    let (topic, _) = filled(&broker).await;
    let home = home(&topic, &proxy.address(), "", "");
    let daemon = home.start().await;
    let before = caught_up(&daemon).await;
    daemon.ask(SINK, "stop", "stopped").await;
    let (to_first, to_next) = (json!({ "to": "first" }), json!({ "to": "next" }));
    let whole = i64::try_from(size_of_a_reset(&daemon, &proxy).await).unwrap();
    let mut put_back = 0;
    // Wherever in its requests the connection breaks: offsets are stored at the end.
    for at in (whole / 2..whole).step_by(61) {
        proxy.cut_after(at);
        let (status, answer) = put(&daemon, OFFSETS, &to_first).await;
        proxy.cut_after(-1);
        match status {
            // All that was left was to say goodbye.
            200 => assert_eq!(put(&daemon, OFFSETS, &to_next).await.0, 200),
            _ => {
                let reason = answer["reason"].as_str().unwrap();
                assert_eq!(status, 503, "{at} of {whole}: {answer}");
                put_back += u32::from(reason.contains("every partition is where it was"));
            }
        }
        assert_eq!(
            daemon.get(OFFSETS).await,
            before,
            "{at} of {whole}: {answer}"
        );
    }
    assert!(put_back > 0, "some were moved already");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_reset_that_hangs_tells_whether_it_could_be_undone() {
    let broker = Broker::start().await;
    let (topic, _) = filled(&broker).await;
    // The request that hangs fails by itself, or is given up together with the reset.
    for request_timeout in ["3s", "30s"] {
        let proxy = Proxy::start(broker.address()).await;
        let mut home = home(&topic, &proxy.address(), "", "");
        home.set("IGGY_CONNECTORS_IGGY_REQUEST_TIMEOUT", request_timeout);
        let daemon = home.start().await;
        let before = caught_up(&daemon).await;
        daemon.ask(SINK, "stop", "stopped").await;
        let (to_first, to_next) = (json!({ "to": "first" }), json!({ "to": "next" }));
        // Offsets are stored at the end. The broker goes on to see a member in the group.
        proxy.take_only(size_of_a_reset(&daemon, &proxy).await * 3 / 4);
        let (status, answer) = put(&daemon, OFFSETS, &to_first).await;
        assert_eq!(status, 503, "{answer}");
        let reason = answer["reason"].as_str().unwrap();
        assert!(reason.contains("could not be put back"), "{reason}");
        assert!(reason.contains("this reset's own connection"), "{reason}");
        proxy.cut();
        proxy.take_only(u64::MAX);
        let done = async || put(&daemon, OFFSETS, &to_next).await.0 == 200;
        eventually(true, done).await;
        assert_eq!(daemon.get(OFFSETS).await, before);
        daemon.interrupt().await;
    }
}

#[tokio::test]
async fn a_place_that_has_expired_is_drawn_to_the_first_message_that_is_there() {
    let (broker, topic) = Broker::trimming(|topic| {
        topic.max_topic_size = Some(MaxTopicSize::Custom(IggyByteSize::from(128 * 1024)));
    })
    .await;
    let filling = "x".repeat(1_000);
    for batch in 0..20 {
        let numbers = batch * 50..(batch + 1) * 50;
        topic
            .send(0, numbers.map(|number| format!("{number} {filling}")))
            .await;
    }
    // Until the broker has removed what it is going to.
    let (mut first, mut looks) = (0, 0);
    let is_settled = async || {
        let now = topic.read(0).await[0].header.offset;
        looks = if std::mem::replace(&mut first, now) == now {
            looks + 1
        } else {
            0
        };
        now > 200 && looks > 40
    };
    eventually(true, is_settled).await;
    let home = home(
        &topic,
        broker.address(),
        "enabled = false",
        "start_from = \"next\"",
    );
    let daemon = home.start().await;
    let (status, answer) = put(&daemon, DRY_RUN, &json!({ "to": "offset:0" })).await;
    assert_eq!(status, 200, "{answer}");
    let first = answer["partitions"][0]["to"].as_u64().unwrap();
    assert!(first > 0 && answer["replayed"] == 1_000 - first, "{answer}");
    let to_first = reset(&daemon, &Method::PUT, Some(&json!({ "to": "first" }))).await;
    assert_eq!(to_first["replayed"], 1_000 - first, "{to_first}");
    daemon.ask(SINK, "start", "running").await;
    caught_up(&daemon).await;
    assert_eq!(written_since(&home, 0), held(0, first..1_000));
    assert_eq!(daemon.stats("lines").await["messages_expired"], 0);
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_has_no_partitions_and_is_not_made() {
    let broker = Broker::start().await;
    let topic = broker.missing_topic().await;
    let home = home(&topic, broker.address(), "enabled = false", "");
    let daemon = home.start().await;
    let nothing = json!({ "lag": 0, "partitions": [] });
    assert_eq!(daemon.get(OFFSETS).await, nothing);
    let done = reset(&daemon, &Method::PUT, Some(&json!({ "to": "first" }))).await;
    assert_eq!(done["partitions"], json!([]), "{done}");
    reset(&daemon, &Method::DELETE, None).await;
    let (status, answer) = put(&daemon, OFFSETS, &json!({ "to": "first", "partition": 0 })).await;
    assert_eq!(status, 422, "{answer}");
    assert_eq!(daemon.get(OFFSETS).await, nothing);
    daemon.interrupt().await;
}

const NUMBERS: &str = r#"
[iggy.embedded]
enabled = true

[sources.numbers]
path = "libledger_source"
restart.policy = "never"
[[sources.numbers.streams]]
stream = "s"
topic = "t"
schema = "raw"
[sources.numbers.plugin_config]
until = "until"
acked = "acked"

[sinks.lines]
path = "libledger_sink"
[[sinks.lines.streams]]
stream = "s"
topics = ["t"]
schema = "raw"
[sinks.lines.plugin_config]
ledger = "ledger"
"#;

/// The numbers that have arrived.
fn numbers(home: &Home) -> Vec<u64> {
    ledger::numbers(&home.path().join("ledger"))
}

#[tokio::test]
async fn a_source_that_is_reset_starts_from_its_beginning() {
    let home = Home::new(NUMBERS);
    fs::write(home.path().join("until"), "60").unwrap();
    let mut daemon = home.start().await;
    let mut expected: Vec<u64> = (0..60).collect();
    let path = format!("{SOURCE}/offsets");
    for (round, command, then, back) in [
        (1, "pause", "paused", "resume"),
        (2, "stop", "stopped", "start"),
        (3, "stop", "stopped", "start"),
    ] {
        eventually(expected.clone(), async || numbers(&home)).await;
        let saved = daemon
            .wait_for(&path, |saved| saved["version"].as_u64() >= Some(3))
            .await;
        assert!(saved["size"].as_u64() > Some(0), "{saved}");
        assert!(
            saved["saved_at"].as_u64() > Some(1_600_000_000_000_000),
            "{saved}"
        );
        let (status, answer) = daemon.send(Method::DELETE, &path, None).await;
        assert_eq!(status, 409, "{answer}");
        assert!(
            answer["reason"].as_str().unwrap().contains("pause or stop"),
            "{answer}"
        );
        daemon.ask(SOURCE, command, then).await;
        let (status, answer) = daemon.send(Method::DELETE, &path, None).await;
        assert_eq!(status, 204, "{answer}");
        let nothing = json!({ "version": null, "size": null, "saved_at": null });
        assert_eq!(daemon.get(&path).await, nothing);
        daemon
            .wait_for(SOURCE, |source| source["status"] == then)
            .await;
        if round == 3 {
            daemon.interrupt().await;
            daemon = home.start().await;
            assert_eq!(daemon.get(SOURCE).await["status"], "stopped");
        }
        daemon.ask(SOURCE, back, "running").await;
        expected.extend(0..60);
    }
    eventually(expected, async || numbers(&home)).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_state_that_vanished_is_told_until_the_source_is_reset() {
    let home = Home::new(NUMBERS);
    fs::write(home.path().join("until"), "60").unwrap();
    let daemon = home.start().await;
    let path = format!("{SOURCE}/offsets");
    daemon
        .wait_for(&path, |saved| saved["version"].as_u64() >= Some(3))
        .await;
    daemon.ask(SOURCE, "stop", "stopped").await;
    fs::remove_file(home.path().join("local_state/source_numbers.state")).unwrap();
    let (status, answer) = daemon.send(Method::GET, &path, None).await;
    assert_eq!(status, 500, "{answer}");
    let reason = answer["reason"].as_str().unwrap();
    assert!(
        reason.contains("is missing") && reason.contains("DELETE /sources/"),
        "{answer}"
    );
    daemon.ask(SOURCE, "start", "error").await;
    daemon.ask(SOURCE, "stop", "stopped").await;
    let (status, answer) = daemon.send(Method::DELETE, &path, None).await;
    assert_eq!(status, 204, "{answer}");
    daemon.ask(SOURCE, "start", "running").await;
    let expected: Vec<u64> = (0..60).chain(0..60).collect();
    eventually(expected, async || numbers(&home)).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn unknown_keys_wrong_methods_and_bodies_that_say_nothing_are_refused() {
    let home = Home::new(NUMBERS);
    let daemon = home.start().await;
    daemon.ask(SINK, "stop", "stopped").await;
    let to_first = json!({ "to": "first" });
    for (method, path, body, expected) in [
        (Method::GET, "/sinks/nobody/offsets", None, 404),
        (Method::GET, "/sources/lines/offsets", None, 404),
        (Method::PUT, "/sinks/nobody/offsets", Some(&to_first), 404),
        (Method::DELETE, "/sinks/nobody/offsets", None, 404),
        (Method::DELETE, "/sources/nobody/offsets", None, 404),
        (
            Method::PUT,
            "/sources/numbers/offsets",
            Some(&to_first),
            405,
        ),
        (
            Method::PUT,
            "/sinks/lines/offsets?dry_run=maybe",
            Some(&to_first),
            400,
        ),
        (
            Method::PUT,
            "/sinks/lines/offsets?dry=true",
            Some(&to_first),
            400,
        ),
        (Method::DELETE, "/sinks/lines/offsets?dry_run", None, 400),
        (
            Method::DELETE,
            "/sources/numbers/offsets?dry_run=true",
            None,
            400,
        ),
        (Method::PUT, OFFSETS, None, 415),
    ] {
        let (status, answer) = daemon.send(method.clone(), path, body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
        assert!(answer["reason"].is_string(), "{method} {path}: {answer}");
    }
    for (body, expected) in [
        (json!({}), 400),
        (json!([]), 400),
        (json!({ "to": 5 }), 400),
        (json!({ "to": null }), 400),
        (json!({ "to": "first", "partition": -1 }), 400),
        (json!({ "to": "first", "partition": 1.5 }), 400),
        (
            json!({ "to": "first", "partition": 4_294_967_296_u64 }),
            400,
        ),
        (json!({ "to": "first", "partition": "0" }), 400),
        (json!({ "to": "first", "topic": 7 }), 400),
        (json!({ "to": "first", "partitions": 1 }), 400),
        (json!({ "to": "" }), 422),
        (json!({ "to": "latest" }), 422),
        (json!({ "to": "offset:-1" }), 422),
        (json!({ "to": "offset:18446744073709551616" }), 422),
        (json!({ "to": "timestamp:yesterday" }), 422),
        (json!({ "to": "timestamp:2026-01-31" }), 422),
    ] {
        let (status, answer) = put(&daemon, OFFSETS, &body).await;
        assert_eq!(status, expected, "{body}: {answer}");
        assert!(answer["reason"].is_string(), "{body}: {answer}");
    }
    let nulls = json!({ "to": "first", "stream": null, "topic": null, "partition": null });
    let (status, answer) = put(&daemon, DRY_RUN, &nulls).await;
    assert_eq!(status, 200, "{answer}");
    daemon.interrupt().await;
}
