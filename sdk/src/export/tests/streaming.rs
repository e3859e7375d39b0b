//! A source plugin that streams, called as the runtime calls it.
#![expect(unsafe_code, reason = "this is the host's side of the fence")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod host;
mod source_calls;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use host::{Call, Ended, bytes, lines, text};
use iggy_connector_sdk::{
    ConnectorState, Error, Schema, Source, async_trait,
    export::abi::{
        Nothing, Status, schema,
        source::{ENDED, PollRequest, ProducedBatch, Undelivered, undelivered},
    },
    get_runtime,
    source::{
        Ack, AckError, Closed, Offset, Receipt, SourceBatchResult, SourceMessage, SourceSender,
        TrySendError,
    },
    source_connector,
};
use source_calls::{
    WISHES, cancel, iggy_source_health_v1, messages, open, opened, polled, release, settle,
    settlement, start_poll, start_poll_for, start_settle, texts, wait_until,
};
use tokio::sync::oneshot;

source_connector!(TestSource);

/// Gives the sender of each `start` to the test, and ends as the test says.
struct TestSource {
    id: u32,
    config: Config,
    failing_commits: AtomicU64,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Config {
    /// What the first step of `start` does.
    start: String,
    max_in_flight: u32,
    failing_commits: u64,
    panics_when_dropped: bool,
}

/// A run of `start` that waits for what the test says.
struct Started {
    instance: u32,
    sender: SourceSender,
    end: oneshot::Sender<End>,
}

enum End {
    Return,
    Fail(Error),
    Panic,
}

static STARTED: Mutex<Vec<Started>> = Mutex::new(Vec::new());
/// What ends the runs that tests have seen, by instance.
static ENDS: Mutex<BTreeMap<u32, oneshot::Sender<End>>> = Mutex::new(BTreeMap::new());
static JOURNAL: Mutex<Vec<(u32, String)>> = Mutex::new(Vec::new());

fn note(instance: u32, what: impl Into<String>) {
    JOURNAL.lock().unwrap().push((instance, what.into()));
}

fn journal(instance: u32) -> Vec<String> {
    let journal = JOURNAL.lock().unwrap();
    let own = journal.iter().filter(|(of, _)| *of == instance);
    own.map(|(_, what)| what.clone()).collect()
}

impl TestSource {
    fn new(id: u32, config: Config) -> Self {
        let failing_commits = config.failing_commits.into();
        Self {
            id,
            config,
            failing_commits,
        }
    }
}

/// Panics when it is dropped, if it is armed.
struct Mine(bool);

impl Drop for Mine {
    fn drop(&mut self) {
        if self.0 && !std::thread::panicking() {
            panic!("in a drop");
        }
    }
}

#[async_trait]
impl Source for TestSource {
    async fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn start(&self, sender: SourceSender) -> Result<(), Error> {
        let _mine = Mine(self.config.panics_when_dropped);
        match self.config.start.as_str() {
            "return" => return Ok(()),
            "fail" => return Err(Error::fatal("no such topic")),
            "panic" => panic!("at once"),
            "close" => {
                sender.closed().await;
                note(self.id, "closed");
                return Ok(());
            }
            "hang" => {
                let _sender = sender;
                return std::future::pending().await;
            }
            _ => {}
        }
        let (end, ended) = oneshot::channel();
        STARTED.lock().unwrap().push(Started {
            instance: self.id,
            sender,
            end,
        });
        let end = ended.await.unwrap_or(End::Return);
        tracing::info!("start of {} ends", self.id);
        match end {
            End::Return => Ok(()),
            End::Fail(error) => Err(error),
            End::Panic => panic!("in start"),
        }
    }

    async fn on_batch_result(&self, result: SourceBatchResult) -> Result<(), Error> {
        note(self.id, format!("{result:?}"));
        Ok(())
    }

    async fn commit(&self, offsets: &[Offset]) -> Result<(), Error> {
        let offsets: Vec<_> = offsets.iter().filter_map(Offset::as_str).collect();
        note(self.id, format!("commit {}", offsets.join(" ")));
        let failing = &self.failing_commits;
        let failed = failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        failed.map_or(Ok(()), |_| Err(Error::transient("not now")))
    }

    async fn close(&mut self) -> Result<(), Error> {
        note(self.id, "close");
        Ok(())
    }

    fn max_in_flight(&self) -> u32 {
        self.config.max_in_flight
    }
}

/// The sender of the run of `start` that is under way.
fn started(instance: u32) -> SourceSender {
    let find = || {
        let mut started = STARTED.lock().unwrap();
        let position = started.iter().position(|it| it.instance == instance);
        position.map(|at| started.remove(at))
    };
    let found = Mutex::new(None);
    wait_until(|| {
        let mut found = found.lock().unwrap();
        *found = find();
        found.is_some()
    });
    let started = found.into_inner().unwrap().unwrap();
    ENDS.lock().unwrap().insert(instance, started.end);
    started.sender
}

/// An instance whose `start` is under way.
fn streaming() -> (u32, SourceSender) {
    let instance = opened("{}");
    (instance, started(instance))
}

/// Ends the `start` that is under way.
fn finish(instance: u32, end: End) {
    let start = ENDS.lock().unwrap().remove(&instance);
    assert!(start.unwrap().send(end).is_ok(), "`start` goes on");
}

fn close(instance: u32) -> Ended<Nothing> {
    // A `start` that waits for the test returns.
    ENDS.lock().unwrap().remove(&instance);
    source_calls::close(instance)
}

fn block<T>(future: impl Future<Output = T>) -> T {
    get_runtime().block_on(async {
        let patience = Duration::from_secs(60);
        let ended = tokio::time::timeout(patience, future).await;
        ended.expect("it ends")
    })
}

fn message(text: impl ToString) -> SourceMessage {
    SourceMessage::from_string(text.to_string())
}

fn send(sender: &SourceSender, texts: impl IntoIterator<Item = impl ToString>) {
    for text in texts {
        block(sender.send(message(text))).unwrap();
    }
}

fn track(sender: &SourceSender, text: &str) -> Ack {
    block(sender.send_tracked(message(text))).unwrap()
}

/// The texts of the next batch.
fn poll(instance: u32, number: u64) -> Vec<String> {
    texts(polled(instance, number))
}

/// The texts of batches until the source has ended, each settled well. The next number of a poll.
fn drain(instance: u32, mut number: u64) -> (Vec<String>, u64) {
    let mut all = Vec::new();
    loop {
        let batch = polled(instance, number);
        let has_ended = batch.flags == ENDED;
        all.extend(texts(batch));
        assert_eq!(settle(instance, number, true).status, Status::OK);
        number += 1;
        if has_ended {
            return (all, number);
        }
    }
}

fn state(batch: &ProducedBatch) -> Option<Vec<u8>> {
    (batch.state_present == 1).then(|| bytes(batch.state))
}

fn ended(instance: u32, number: u64) {
    let batch = polled(instance, number);
    assert_eq!((batch.len, batch.flags, batch.state_present), (0, ENDED, 0));
    release(batch);
}

#[test]
fn what_is_sent_is_polled_in_order() {
    let (instance, sender) = streaming();
    send(&sender, 0..10);
    assert_eq!(
        poll(instance, 1),
        (0..10).map(|it| it.to_string()).collect::<Vec<_>>()
    );
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(journal(instance), [""; 0], "there is nothing to tell");
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn four_batches_are_in_flight_unless_the_source_says_another_number() {
    let (instance, traits) = open("{}", None);
    assert_eq!(traits.max_in_flight, 4);
    assert_eq!(close(instance).status, Status::OK);
    let (instance, traits) = open(r#"{"max_in_flight": 9}"#, None);
    assert_eq!(traits.max_in_flight, 9);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_poll_returns_as_many_messages_as_it_wants_and_does_not_wait_longer_than_it_says() {
    let (instance, sender) = streaming();
    let wishes = PollRequest {
        max_messages: 4,
        max_wait_ms: 30,
        ..WISHES
    };
    let poll = |number| start_poll_for(instance, number, &wishes).wait();
    send(&sender, 0..10);
    let sizes = [1, 2, 3].map(|number| texts(poll(number).value.unwrap()).len());
    assert_eq!(sizes, [4, 4, 2]);
    let nothing = poll(4);
    assert_eq!(nothing.status, Status::OK);
    let batch = nothing.value.unwrap();
    assert_eq!((batch.len, batch.flags, batch.state_present), (0, 0, 0));
    release(batch);
    for number in 1..=4 {
        assert_eq!(settle(instance, number, true).status, Status::OK);
    }
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_lone_message_waits_for_others_as_long_as_the_host_wishes() {
    let (instance, sender) = streaming();
    let hours = PollRequest {
        max_messages: 2,
        linger_us: 3_600_000_000,
        ..WISHES
    };
    send(&sender, [1]);
    let waiting = start_poll_for(instance, 1, &hours);
    send(&sender, [2]);
    assert_eq!(texts(waiting.wait().value.unwrap()), ["1", "2"]);
    let moment = PollRequest {
        linger_us: 1,
        ..hours
    };
    send(&sender, [3]);
    let polled = start_poll_for(instance, 2, &moment).wait();
    assert_eq!(texts(polled.value.unwrap()), ["3"]);
    for number in 1..=2 {
        assert_eq!(settle(instance, number, true).status, Status::OK);
    }
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn while_batches_are_on_their_way_messages_are_gathered() {
    let (instance, sender) = streaming();
    send(&sender, [1]);
    assert_eq!(poll(instance, 1), ["1"], "a lone message goes at once");
    let waiting = start_poll(instance, 2);
    send(&sender, [2]);
    send(&sender, [3]);
    let batch = waiting.wait().value.unwrap();
    let mut come = texts(batch);
    let mut number = 3;
    while come.len() < 2 {
        // The machine was slower than the gathering.
        come.extend(poll(instance, number));
        number += 1;
    }
    assert_eq!(come, ["2", "3"]);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_batch_has_one_schema_and_order_is_kept() {
    let (instance, sender) = streaming();
    let all = vec![
        SourceMessage::from_json(&1).unwrap(),
        SourceMessage::from_number(2),
        SourceMessage::from_string("3"),
        SourceMessage::from_bytes("4"),
        SourceMessage::from_bytes("5").with_schema(Schema::Avro),
        SourceMessage::from_json(&6).unwrap(),
    ];
    block(sender.send_batch(all, Some(ConnectorState(vec![6])))).unwrap();
    let expected = [
        (schema::JSON, "1 2", None),
        (schema::TEXT, "3", None),
        (schema::RAW, "4", None),
        (schema::AVRO, "5", None),
        (schema::JSON, "6", Some(vec![6])),
    ];
    for (number, (schema, come, after)) in (1..).zip(expected) {
        let batch = polled(instance, number);
        assert_eq!((batch.schema, state(&batch)), (schema, after));
        assert_eq!(texts(batch).join(" "), come);
    }
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn the_state_travels_with_its_messages_and_the_last_one_counts() {
    let (instance, sender) = streaming();
    let batch = |texts: &[&str], state: Option<u8>| {
        let messages = texts.iter().map(message).collect();
        block(sender.send_batch(messages, state.map(|it| ConnectorState(vec![it])))).unwrap();
    };
    batch(&["a", "b"], Some(1));
    batch(&["c"], None);
    batch(&["d"], Some(2));
    batch(&[], None);
    let first = polled(instance, 1);
    assert_eq!(state(&first), Some(vec![2]));
    assert_eq!(texts(first), ["a", "b", "c", "d"]);
    batch(&["e"], None);
    let second = polled(instance, 2);
    assert_eq!(state(&second), None);
    assert_eq!(texts(second), ["e"]);
    batch(&[], Some(3));
    let third = polled(instance, 3);
    assert_eq!(
        (third.len, state(&third)),
        (0, Some(vec![3])),
        "a state alone"
    );
    release(third);
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(settle(instance, 2, false).status, Status::OK);
    assert_eq!(settle(instance, 3, false).status, Status::OK);
    assert_eq!(poll(instance, 4), ["e"]);
    let again = polled(instance, 5);
    assert_eq!(state(&again), Some(vec![3]), "it comes again after a nack");
    release(again);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn what_was_sent_together_is_not_split() {
    let (instance, sender) = streaming();
    let large = (0..5000).map(message).collect();
    block(sender.send_batch(large, None)).unwrap();
    let batch = polled(instance, 1);
    assert_eq!(texts(batch).len(), 5000);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_nacked_batch_comes_again_with_all_later_ones_before_anything_new() {
    let (instance, sender) = streaming();
    for number in 1..=4 {
        send(&sender, [number]);
        assert_eq!(poll(instance, number), [number.to_string()]);
    }
    send(&sender, ["new"]);
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(settle(instance, 2, false).status, Status::OK);
    // The nacks of the later ones are on their way: nothing may overtake what they bring back.
    let waiting = start_poll(instance, 5);
    assert_eq!(settle(instance, 3, false).status, Status::OK);
    assert!(!waiting.has_ended(), "the fourth is not nacked yet");
    assert_eq!(settle(instance, 4, false).status, Status::OK);
    assert_eq!(texts(waiting.wait().value.unwrap()), ["2"]);
    assert_eq!(poll(instance, 6), ["3"]);
    // And once more, from the middle.
    assert_eq!(settle(instance, 5, true).status, Status::OK);
    assert_eq!(settle(instance, 6, false).status, Status::OK);
    assert_eq!(poll(instance, 7), ["3"]);
    assert_eq!(poll(instance, 8), ["4"]);
    assert_eq!(poll(instance, 9), ["new"]);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_nacked_batch_comes_again_although_the_host_still_holds_it() {
    let (instance, sender) = streaming();
    send(&sender, ["a"]);
    let first = polled(instance, 1);
    assert_eq!(settle(instance, 1, false).status, Status::OK);
    let second = polled(instance, 2);
    let addresses = [&first, &second].map(|batch| messages(batch)[0].payload.ptr);
    assert_eq!(addresses[0], addresses[1], "there is one copy");
    release(first);
    assert_eq!(settle(instance, 2, true).status, Status::OK);
    assert_eq!(close(instance).status, Status::OK);
    assert_eq!(texts(second), ["a"], "it lives until it is given back");
}

#[test]
fn a_tracked_message_is_told_when_it_is_acknowledged_and_what_became_of_it() {
    let (instance, sender) = streaming();
    let acks = ["a", "b", "c", "d", "e"].map(|text| track(&sender, text));
    release(polled(instance, 1));
    let listed = [
        (1, undelivered::FILTERED),
        (2, undelivered::DEAD_LETTERED),
        (3, undelivered::SKIPPED),
        (4, 77),
    ]
    .map(|(index, reason)| Undelivered { index, reason });
    let mut waiting = Box::pin(async move {
        let mut told = Vec::new();
        for ack in acks {
            told.push(ack.await);
        }
        told
    });
    let early = block(async { futures_now(&mut waiting).await });
    assert!(early.is_none(), "Iggy has confirmed nothing yet");
    let acked = start_settle(instance, &settlement(1, true, &listed)).wait();
    assert_eq!(acked.status, Status::OK);
    let told = block(waiting);
    let expected = [
        Receipt::Delivered,
        Receipt::Filtered,
        Receipt::DeadLettered,
        Receipt::Skipped,
        Receipt::Undelivered,
    ];
    assert_eq!(told, expected.map(Ok));
    assert_eq!(close(instance).status, Status::OK);
}

/// What a future brings at once.
async fn futures_now<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    std::future::poll_fn(|context| {
        let step = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(match step {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn send_acked_waits_for_the_ack_and_dropping_it_withdraws_nothing() {
    let (instance, sender) = streaming();
    let acked = {
        let sender = sender.clone();
        get_runtime().spawn(async move { sender.send_acked(message("kept")).await })
    };
    assert_eq!(poll(instance, 1), ["kept"]);
    assert!(!acked.is_finished());
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(block(acked).unwrap(), Ok(Receipt::Delivered));

    let mut dropped = Box::pin(sender.send_acked(message("dropped")));
    assert!(block(futures_now(&mut dropped)).is_none());
    drop(dropped);
    assert_eq!(poll(instance, 2), ["dropped"]);
    assert_eq!(settle(instance, 2, true).status, Status::OK);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_nack_and_a_close_are_told_as_what_they_are() {
    let (instance, sender) = streaming();
    let nacked = track(&sender, "a");
    release(polled(instance, 1));
    assert_eq!(settle(instance, 1, false).status, Status::OK);
    assert_eq!(block(nacked), Err(AckError::Nacked));
    assert_eq!(poll(instance, 2), ["a"], "it comes again all the same");

    let offered = track(&sender, "b");
    release(polled(instance, 3));
    let sent = track(&sender, "c");
    assert_eq!(close(instance).status, Status::OK);
    assert_eq!(block(offered), Err(AckError::Closed));
    assert_eq!(block(sent), Err(AckError::Closed));
    assert_eq!(
        block(sender.send_acked(message("d"))),
        Err(AckError::Closed)
    );
}

#[test]
fn an_ack_whose_commit_fails_is_told_once_and_the_commit_again() {
    let instance = opened(r#"{"failing_commits": 2}"#);
    let sender = started(instance);
    let with_offset = message("a").with_offset("1");
    let ack = block(sender.send_tracked(with_offset)).unwrap();
    release(polled(instance, 1));
    assert_eq!(settle(instance, 1, true).status, Status::TRANSIENT);
    assert_eq!(
        block(ack),
        Ok(Receipt::Delivered),
        "it is durable whatever the source makes of it"
    );
    assert_eq!(settle(instance, 1, true).status, Status::TRANSIENT);
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(journal(instance), ["commit 1"; 3]);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn offsets_are_committed_in_order_and_only_once_a_batch_is_acknowledged() {
    let (instance, sender) = streaming();
    for number in 1..=3_u64 {
        let pair = [0, 1].map(|it| message(it).with_offset(format!("{number}/{it}")));
        block(sender.send_batch(pair.into(), None)).unwrap();
        release(polled(instance, number));
    }
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(settle(instance, 2, false).status, Status::OK);
    assert_eq!(settle(instance, 3, false).status, Status::OK);
    assert_eq!(journal(instance), ["commit 1/0 1/1"]);
    for number in 4..=5 {
        release(polled(instance, number));
        assert_eq!(settle(instance, number, true).status, Status::OK);
    }
    let told = ["commit 1/0 1/1", "commit 2/0 2/1", "commit 3/0 3/1"];
    assert_eq!(journal(instance), told);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_full_channel_makes_senders_wait_and_holds_no_more() {
    let (instance, sender) = streaming();
    let mut taken = 0;
    let given_back = loop {
        match sender.try_send(message(taken)) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(
        given_back,
        TrySendError::Full(Box::new(message(taken))),
        "the message is given back"
    );
    assert_eq!(taken, 1024);
    let blocked = {
        let sender = sender.clone();
        get_runtime().spawn(async move { sender.send(message("last")).await })
    };
    let mut never_sent = Box::pin(sender.send(message("never")));
    assert!(block(futures_now(&mut never_sent)).is_none());
    assert!(!blocked.is_finished());
    drop(never_sent);
    let mut come = poll(instance, 1);
    assert_eq!(block(blocked).unwrap(), Ok(()));
    let mut number = 2;
    while come.len() < 1025 {
        come.extend(poll(instance, number));
        number += 1;
    }
    assert_eq!((come.len(), come.last().unwrap().as_str()), (1025, "last"));
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn large_messages_take_more_room() {
    let (instance, sender) = streaming();
    let large = || SourceMessage::from_bytes(vec![b'x'; 4 * 1024 * 1024]);
    let taken = (0..100)
        .take_while(|_| sender.try_send(large()).is_ok())
        .count();
    assert_eq!(taken, 3, "about 16 MiB");
    release(polled(instance, 1));
    // One that is larger than the whole channel is taken when nothing else is there.
    let huge = SourceMessage::from_bytes(vec![b'x'; 64 * 1024 * 1024]);
    block(sender.send(huge)).unwrap();
    assert!(matches!(
        sender.try_send(message("small")),
        Err(TrySendError::Full(_))
    ));
    assert_eq!(poll(instance, 2)[0].len(), 64 * 1024 * 1024);
    sender.try_send(message("small")).unwrap();
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_source_that_drops_its_sender_and_returns_is_drained_and_has_ended() {
    let (instance, sender) = streaming();
    send(&sender, 0..1020);
    drop(sender);
    finish(instance, End::Return);
    let (come, number) = drain(instance, 1);
    assert_eq!(come, (0..1020).map(|it| it.to_string()).collect::<Vec<_>>());
    ended(instance, number);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn what_is_nacked_at_the_end_comes_again_and_then_the_end() {
    let (instance, sender) = streaming();
    send(&sender, ["a"]);
    drop(sender);
    finish(instance, End::Return);
    assert_eq!(poll(instance, 1), ["a"]);
    ended(instance, 2);
    assert_eq!(settle(instance, 1, false).status, Status::OK);
    assert_eq!(settle(instance, 2, false).status, Status::OK);
    assert_eq!(poll(instance, 3), ["a"]);
    ended(instance, 4);
    assert_eq!(settle(instance, 3, true).status, Status::OK);
    assert_eq!(settle(instance, 4, true).status, Status::OK);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn the_source_goes_on_while_a_sender_is_left_or_start_runs() {
    let (instance, sender) = streaming();
    let waiting = start_poll(instance, 1);
    finish(instance, End::Return);
    let text = format!("start of {instance} ends");
    wait_until(|| lines(&text).iter().any(|line| line.instance == instance));
    assert!(!waiting.has_ended());
    send(&sender, ["later"]);
    assert_eq!(texts(waiting.wait().value.unwrap()), ["later"]);
    drop(sender);
    ended(instance, 2);
    assert_eq!(close(instance).status, Status::OK);

    let (instance, sender) = streaming();
    drop(sender);
    let waiting = start_poll(instance, 1);
    // `start` may still fail, which must not be taken for an end.
    finish(instance, End::Fail(Error::transient("lost")));
    assert_eq!(waiting.wait().status, Status::TRANSIENT);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_start_that_returns_at_once_has_ended() {
    let instance = opened(r#"{"start": "return"}"#);
    ended(instance, 1);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_start_that_fails_is_told_to_a_poll_after_what_was_sent_and_begins_again() {
    let (instance, sender) = streaming();
    send(&sender, ["a", "b"]);
    let lost = Error::transient("lost").with_retry_after(Duration::from_secs(3));
    finish(instance, End::Fail(lost));
    block(sender.closed());
    assert_eq!(block(sender.send(message("late"))), Err(Closed));
    assert_eq!(
        sender.try_send(message("late")),
        Err(TrySendError::Closed(Box::new(message("late"))))
    );
    assert_eq!(poll(instance, 1), ["a", "b"]);
    let failed = start_poll(instance, 2).wait();
    assert_eq!(failed.status, Status::TRANSIENT);
    assert_eq!(
        (failed.message.as_str(), failed.retry_after_ms),
        ("lost", 3000)
    );
    assert!(
        STARTED
            .lock()
            .unwrap()
            .iter()
            .all(|it| it.instance != instance)
    );

    let waiting = start_poll(instance, 3);
    let second = started(instance);
    assert!(sender.is_closed() && !second.is_closed());
    send(&second, ["c"]);
    assert_eq!(texts(waiting.wait().value.unwrap()), ["c"]);
    drop(sender);
    let waiting = start_poll(instance, 4);
    assert_eq!(settle(instance, 1, false).status, Status::OK);
    assert_eq!(settle(instance, 3, false).status, Status::OK);
    assert_eq!(texts(waiting.wait().value.unwrap()), ["a", "b"]);
    assert_eq!(poll(instance, 5), ["c"]);
    finish(instance, End::Fail(Error::fatal("gone")));
    assert_eq!(start_poll(instance, 6).wait().status, Status::FATAL);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_start_that_fails_or_panics_in_its_first_step_fails_the_poll_and_not_the_open() {
    for (start, status, message) in [
        ("fail", Status::FATAL, "no such topic"),
        ("panic", Status::PANICKED, "at once"),
    ] {
        let instance = opened(&format!(r#"{{"start": "{start}"}}"#));
        let failed = start_poll(instance, 1).wait();
        assert_eq!(failed.status, status);
        assert!(failed.message.ends_with(message), "{failed:?}");
        assert_eq!(close(instance).status, Status::OK);
    }
}

#[test]
fn a_panic_in_start_is_told_to_a_poll_after_what_was_sent() {
    let (instance, sender) = streaming();
    let ack = track(&sender, "a");
    finish(instance, End::Panic);
    block(sender.closed());
    release(polled(instance, 1));
    let failed = start_poll(instance, 2).wait();
    assert_eq!(failed.status, Status::PANICKED);
    assert!(failed.message.ends_with(": in start"), "{failed:?}");
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(block(ack), Ok(Receipt::Delivered));
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_start_that_panics_when_it_is_dropped_has_panicked() {
    let instance = opened(r#"{"panics_when_dropped": true}"#);
    let _sender = started(instance);
    finish(instance, End::Return);
    let failed = start_poll(instance, 1).wait();
    assert_eq!(failed.status, Status::PANICKED);
    assert!(failed.message.ends_with("in a drop"), "{failed:?}");
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_cancelled_poll_loses_nothing() {
    let (instance, sender) = streaming();
    let waiting = start_poll(instance, 1);
    cancel(instance, 1);
    assert_eq!(waiting.wait().status, Status::CANCELLED);
    send(&sender, ["a"]);
    assert_eq!(poll(instance, 2), ["a"]);
    // One that waits for more messages, or for the nack of a later batch.
    let mut number = 3;
    let mut come = Vec::new();
    for text in ["b", "c", "d"] {
        let waiting = start_poll(instance, number);
        send(&sender, [text]);
        cancel(instance, number);
        let ended = waiting.wait();
        if let Some(batch) = ended.value {
            come.extend(texts(batch));
        } else {
            assert_eq!(ended.status, Status::CANCELLED);
        }
        number += 1;
    }
    while come.len() < 3 {
        come.extend(poll(instance, number));
        number += 1;
    }
    assert_eq!(come, ["b", "c", "d"]);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn closing_tells_the_senders_and_lets_start_end_by_itself() {
    let instance = opened(r#"{"start": "close"}"#);
    assert_eq!(close(instance).status, Status::OK);
    assert_eq!(journal(instance), ["closed", "close"]);

    let (instance, sender) = streaming();
    let full = (0..1024).map(message).collect();
    block(sender.send_batch(full, None)).unwrap();
    let waiting = {
        let sender = sender.clone();
        get_runtime().spawn(async move { sender.send(message("more")).await })
    };
    // It waits for room, or will.
    let closed = {
        let sender = sender.clone();
        get_runtime().spawn(async move { sender.closed().await })
    };
    assert_eq!(close(instance).status, Status::OK);
    assert_eq!(block(waiting).unwrap(), Err(Closed));
    block(closed).unwrap();
    assert!(sender.is_closed());
}

#[test]
fn a_start_that_does_not_end_is_dropped_some_seconds_after_the_close() {
    let instance = opened(r#"{"start": "hang"}"#);
    assert_eq!(close(instance).status, Status::OK);
    assert_eq!(journal(instance), ["close"]);
}

#[test]
fn health_is_checked_and_batches_are_settled_while_a_poll_waits() {
    let (instance, sender) = streaming();
    send(&sender, ["a"]);
    assert_eq!(poll(instance, 1), ["a"]);
    let waiting = start_poll(instance, 2);
    // SAFETY: nothing is lent.
    let health: Call<Nothing> =
        Call::make(|completion| unsafe { iggy_source_health_v1(instance, 3, completion) });
    assert_eq!(health.wait().status, Status::OK);
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert!(!waiting.has_ended());
    cancel(instance, 2);
    assert_eq!(waiting.wait().status, Status::CANCELLED);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_poll_that_was_not_made_is_not_settled() {
    let (instance, _sender) = streaming();
    assert_eq!(settle(instance, 7, true).status, Status::CONTRACT);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn many_senders_nacks_and_cancels_lose_nothing_and_keep_each_senders_order() {
    const SENDERS: usize = 8;
    const EACH: usize = 500;
    let (instance, sender) = streaming();
    let acked = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    for name in 0..SENDERS {
        let (sender, acked) = (sender.clone(), Arc::clone(&acked));
        get_runtime().spawn(async move {
            for count in 0..EACH {
                let text = message(format!("{name} {count}"));
                match count % 3 {
                    0 => sender.send(text).await.unwrap(),
                    1 => sender.send_batch(vec![text], None).await.unwrap(),
                    _ => {
                        let ack = sender.send_tracked(text).await.unwrap();
                        let acked = Arc::clone(&acked);
                        tokio::spawn(async move {
                            if ack.await.is_ok() {
                                acked.fetch_add(1, Ordering::SeqCst);
                            }
                        });
                    }
                }
            }
        });
    }
    drop(sender);
    finish(instance, End::Return);
    let mut come: Vec<String> = Vec::new();
    let mut in_flight: Vec<(u64, Vec<String>)> = Vec::new();
    let mut number = 0;
    while !is_over.load(Ordering::SeqCst) {
        number += 1;
        let waiting = start_poll(instance, number);
        if number % 5 == 0 {
            cancel(instance, number);
        }
        let ended = waiting.wait();
        let Some(batch) = ended.value else {
            assert_eq!(ended.status, Status::CANCELLED);
            continue;
        };
        let has_ended = batch.flags == ENDED;
        in_flight.push((number, texts(batch)));
        if in_flight.len() < 3 && !has_ended {
            continue;
        }
        let is_nacked = number % 7 == 0;
        let mut settled = in_flight.drain(..);
        let first = settled.next().unwrap();
        assert_eq!(settle(instance, first.0, true).status, Status::OK);
        come.extend(first.1);
        for (poll, texts) in settled {
            assert_eq!(settle(instance, poll, !is_nacked).status, Status::OK);
            if !is_nacked {
                come.extend(texts);
            }
        }
        is_over.store(has_ended && !is_nacked, Ordering::SeqCst);
    }
    assert_eq!(come.len(), SENDERS * EACH);
    assert_eq!(come.iter().collect::<BTreeSet<_>>().len(), SENDERS * EACH);
    for name in 0..SENDERS {
        let prefix = format!("{name} ");
        let own: Vec<usize> = come
            .iter()
            .filter_map(|text| text.strip_prefix(&prefix)?.parse().ok())
            .collect();
        assert_eq!(own, (0..EACH).collect::<Vec<_>>());
    }
    assert!(acked.load(Ordering::SeqCst) > 0);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn keys_routes_and_headers_cross_as_those_of_a_polled_source_do() {
    let (instance, sender) = streaming();
    let full = message("full")
        .with_key("key")
        .with_route("/stream/topic")
        .with_header("k".try_into().unwrap(), "v".try_into().unwrap())
        .with_offset("1");
    block(sender.send(full)).unwrap();
    let batch = polled(instance, 1);
    let [full] = messages(&batch)[..] else {
        panic!("one message")
    };
    assert_eq!(
        [full.payload, full.key, full.route, full.offset].map(text),
        ["full", "key", "/stream/topic", "1"]
    );
    assert!(full.headers.len > 0);
    release(batch);
    assert_eq!(close(instance).status, Status::OK);
}

/// Asks for what the source holds; the texts, or nothing.
fn drained(instance: u32, number: u64) -> ProducedBatch {
    let sign = PollRequest {
        draining: 1,
        ..WISHES
    };
    let ended = start_poll_for(instance, number, &sign).wait();
    assert_eq!(ended.status, Status::OK, "{ended:?}");
    ended.value.unwrap()
}

fn is_empty(batch: ProducedBatch) -> bool {
    let is_empty = (batch.len, batch.flags, batch.state_present) == (0, 0, 0);
    release(batch);
    is_empty
}

#[test]
fn a_source_that_streams_says_that_it_can_be_drained() {
    let (instance, traits) = open("{}", None);
    assert_eq!(traits.drains, 1);
    drop(started(instance));
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn what_the_channel_holds_is_drained_with_its_state_and_then_nothing_comes() {
    let (instance, sender) = streaming();
    let offered = track(&sender, "offered");
    assert_eq!(poll(instance, 1), ["offered"]);
    send(&sender, [1, 2]);
    let last = track(&sender, "3");
    let mark = Some(ConnectorState(vec![9]));
    block(sender.send_batch(vec![message(4)], mark)).unwrap();
    // It would wait for others for hours.
    let sign = PollRequest {
        draining: 1,
        linger_us: 3_600_000_000,
        ..WISHES
    };
    let batch = start_poll_for(instance, 2, &sign).wait().value.unwrap();
    assert_eq!(state(&batch), Some(vec![9]));
    assert_eq!(texts(batch), ["1", "2", "3", "4"]);
    assert!(is_empty(drained(instance, 3)));
    for number in 1..=3 {
        assert_eq!(settle(instance, number, true).status, Status::OK);
    }
    for ack in [offered, last] {
        assert_eq!(block(ack), Ok(Receipt::Delivered));
    }
    assert!(is_empty(drained(instance, 4)), "it may be asked again");
    assert_eq!(close(instance).status, Status::OK);
    assert_eq!(block(sender.send(message("late"))), Err(Closed));
}

#[test]
fn while_a_source_is_drained_senders_wait_and_learn_of_the_close() {
    let (instance, sender) = streaming();
    assert!(is_empty(drained(instance, 1)));
    let full = sender.try_send(message("at once"));
    assert!(matches!(full, Err(TrySendError::Full(_))), "{full:?}");
    let sends = [
        get_runtime().spawn({
            let sender = sender.clone();
            async move { sender.send(message("waits")).await }
        }),
        get_runtime().spawn({
            let sender = sender.clone();
            async move { sender.send_batch(vec![message("waits")], None).await }
        }),
    ];
    for number in 2..20 {
        assert!(is_empty(drained(instance, number)), "nothing more is taken");
    }
    assert!(!sender.is_closed());
    let closed = get_runtime().spawn(async move { sender.closed().await });
    assert_eq!(close(instance).status, Status::OK);
    for send in sends {
        assert_eq!(block(send).unwrap(), Err(Closed));
    }
    block(closed).unwrap();
}

#[test]
fn after_a_drain_senders_go_on_with_the_next_poll() {
    let (instance, sender) = streaming();
    send(&sender, [1]);
    assert_eq!(texts(drained(instance, 1)), ["1"]);
    assert!(is_empty(drained(instance, 2)));
    let waiting = get_runtime().spawn({
        let sender = sender.clone();
        async move { sender.send_acked(message(2)).await }
    });
    for number in 1..=2 {
        assert_eq!(settle(instance, number, true).status, Status::OK);
    }
    assert_eq!(poll(instance, 3), ["2"]);
    assert_eq!(settle(instance, 3, true).status, Status::OK);
    assert_eq!(block(waiting).unwrap(), Ok(Receipt::Delivered));
    send(&sender, [3]);
    assert_eq!(poll(instance, 4), ["3"]);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_nacked_batch_is_drained_before_what_was_sent_after_it() {
    let (instance, sender) = streaming();
    send(&sender, [1]);
    assert_eq!(poll(instance, 1), ["1"]);
    send(&sender, [2]);
    assert_eq!(settle(instance, 1, false).status, Status::OK);
    assert_eq!(texts(drained(instance, 2)), ["1"]);
    assert_eq!(texts(drained(instance, 3)), ["2"]);
    assert!(is_empty(drained(instance, 4)));
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_start_that_fails_while_it_is_drained_is_told_and_begun_anew_afterwards() {
    let (instance, sender) = streaming();
    send(&sender, [1]);
    finish(instance, End::Fail(Error::transient("gone")));
    wait_until(|| sender.is_closed());
    assert_eq!(texts(drained(instance, 1)), ["1"]);
    assert!(is_empty(drained(instance, 2)));
    let failed = start_poll(instance, 3).wait();
    assert_eq!(failed.status, Status::TRANSIENT, "{failed:?}");
    assert!(is_empty(drained(instance, 4)), "it is not begun anew");
    let waiting = start_poll(instance, 5);
    send(&started(instance), [2]);
    assert_eq!(texts(waiting.wait().value.unwrap()), ["2"]);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_source_that_has_sent_everything_ends_when_it_is_drained() {
    let (instance, sender) = streaming();
    send(&sender, [1]);
    drop(sender);
    finish(instance, End::Return);
    assert_eq!(texts(drained(instance, 1)), ["1"]);
    wait_until(|| {
        let batch = drained(instance, 2);
        let has_ended = batch.flags == ENDED;
        release(batch);
        has_ended
    });
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn senders_lose_nothing_to_a_drain_whenever_it_comes() {
    for _ in 0..20 {
        let (instance, sender) = streaming();
        let sending: Vec<_> = (0..4)
            .map(|task| {
                let sender = sender.clone();
                get_runtime().spawn(async move {
                    let mut taken = 0;
                    while sender
                        .send(message(format!("{task} {taken}")))
                        .await
                        .is_ok()
                    {
                        taken += 1;
                    }
                    (task, taken)
                })
            })
            .collect();
        let mut come = poll(instance, 1);
        let mut number = 2;
        loop {
            let batch = drained(instance, number);
            number += 1;
            if batch.len == 0 {
                release(batch);
                break;
            }
            come.extend(texts(batch));
        }
        assert_eq!(close(instance).status, Status::OK);
        let mut sent = BTreeSet::new();
        for sending in sending {
            let (task, taken) = block(sending).unwrap();
            sent.extend((0..taken).map(|number| format!("{task} {number}")));
        }
        assert_eq!(come.len(), sent.len(), "nothing twice");
        assert_eq!(come.into_iter().collect::<BTreeSet<_>>(), sent);
    }
}
