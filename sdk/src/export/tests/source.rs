//! A source plugin, called as the runtime calls it.
#![expect(unsafe_code, reason = "this is the host's side of the fence")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod host;
mod source_calls;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use host::{Call, OPENING, bytes, number, request, text};
use iggy_connector_sdk::{
    ConnectorState, Error, Schema, Source, async_trait,
    export::abi::{
        Nothing, Status,
        instance::{Open, Traits},
        schema,
        source::{
            ENDED, HAS_ID, HAS_KEY, HAS_OFFSET, HAS_ORIGIN_TIMESTAMP, HAS_ROUTE, PollRequest,
            Settlement, Undelivered, undelivered,
        },
    },
    headers,
    source::{Offset, SourceBatch, SourceBatchResult, SourceMessage},
    source_connector,
};
use source_calls::*;

source_connector!(TestSource);

/// Does what its configuration says, and counts its polls.
struct TestSource {
    id: u32,
    config: Config,
    polls: AtomicU64,
    /// How often `on_batch_result` and `commit` still fail.
    failures: (AtomicU64, AtomicU64),
    /// How often `commit` still hangs.
    hangs: AtomicU64,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Config {
    poll: String,
    failing_results: u64,
    failing_commits: u64,
    hanging_commits: u64,
}

static JOURNAL: Mutex<Vec<(u32, String)>> = Mutex::new(Vec::new());

/// Where the payloads of each instance lay when they were polled.
static ADDRESSES: Mutex<Vec<(u32, usize)>> = Mutex::new(Vec::new());

fn note(instance: u32, what: impl Into<String>) {
    JOURNAL.lock().unwrap().push((instance, what.into()));
}

fn journal(instance: u32) -> Vec<String> {
    let journal = JOURNAL.lock().unwrap();
    let own = journal.iter().filter(|(of, _)| *of == instance);
    own.map(|(_, what)| what.clone()).collect()
}

impl TestSource {
    fn new(id: u32, config: Config, state: Option<ConnectorState>) -> Self {
        note(id, format!("{state:?}"));
        let failures = (config.failing_results.into(), config.failing_commits.into());
        let hangs = config.hanging_commits.into();
        Self {
            id,
            config,
            polls: AtomicU64::new(0),
            failures,
            hangs,
        }
    }
}

fn fail(left: &AtomicU64) -> Result<(), Error> {
    let failed = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(1)
    });
    match failed {
        Ok(_) => Err(Error::transient("not now")),
        Err(_) => Ok(()),
    }
}

#[async_trait]
impl Source for TestSource {
    async fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn poll_batch(&self) -> Result<SourceBatch, Error> {
        match self.config.poll.as_str() {
            "hang" => std::future::pending().await,
            "panic" => panic!("in poll"),
            "busy" => return Err(Error::transient("busy")),
            "empty" => return Ok(SourceBatch::default().and_end()),
            _ => {}
        }
        let poll = self.polls.fetch_add(1, Ordering::SeqCst) + 1;
        let full = SourceMessage::from_string(format!("full {poll}"))
            .with_id((2 << 64) | 1)
            .with_origin_timestamp(5)
            .with_header("k".try_into()?, "v".try_into()?)
            .with_key("key")
            .with_route("/stream/topic")
            .with_offset(format!("{poll}/0"));
        let bare = SourceMessage::from_string("");
        let last = SourceMessage::from_string("last").with_offset(format!("{poll}/2"));
        ADDRESSES
            .lock()
            .unwrap()
            .push((self.id, full.message().payload.as_ptr() as usize));
        Ok(SourceBatch::new(Schema::Text, vec![full, bare, last])
            .with_state(ConnectorState(vec![poll as u8])))
    }

    async fn on_batch_result(&self, result: SourceBatchResult) -> Result<(), Error> {
        note(self.id, format!("{result:?}"));
        fail(&self.failures.0)
    }

    async fn commit(&self, offsets: &[Offset]) -> Result<(), Error> {
        let offsets: Vec<_> = offsets.iter().filter_map(Offset::as_str).collect();
        note(self.id, format!("commit {}", offsets.join(" ")));
        if fail(&self.hangs).is_err() {
            std::future::pending::<()>().await;
        }
        fail(&self.failures.1)
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn max_in_flight(&self) -> u32 {
        4
    }
}

#[test]
fn a_polled_message_crosses_whole_and_without_a_copy() {
    let (instance, traits) = open("{}", None);
    assert_eq!((traits.max_in_flight, traits.exclusive), (4, 0));
    let batch = polled(instance, 1);
    assert_eq!((batch.schema, batch.flags, batch.len), (schema::TEXT, 0, 3));
    assert_eq!((batch.state_present, bytes(batch.state)), (1, vec![1]));

    let [full, bare, last] = messages(&batch)[..] else {
        panic!("three messages")
    };
    assert_eq!(
        full.present,
        HAS_ID | HAS_ORIGIN_TIMESTAMP | HAS_KEY | HAS_ROUTE | HAS_OFFSET
    );
    assert_eq!(
        (full.id_low, full.id_high, full.origin_timestamp),
        (1, 2, 5)
    );
    assert_eq!(text(full.payload), "full 1");
    assert_eq!(
        (text(full.key), text(full.route)),
        ("key".into(), "/stream/topic".into())
    );
    assert_eq!(text(full.offset), "1/0");
    let decoded = headers::decode(&bytes(full.headers)).unwrap();
    assert_eq!(decoded[&"k".try_into().unwrap()].as_str(), Ok("v"));
    assert_eq!(
        (bare.present, bare.payload.len, bare.headers.len),
        (0, 0, 0)
    );
    assert_eq!(last.present, HAS_OFFSET);

    let address = full.payload.ptr as usize;
    assert!(
        ADDRESSES.lock().unwrap().contains(&(instance, address)),
        "it was copied"
    );
    release(batch);
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_batch_can_be_given_back_after_close_and_from_any_thread() {
    let instance = opened("{}");
    let batches = [polled(instance, 1), polled(instance, 2)];
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(settle(instance, 2, false).status, Status::OK);
    assert_eq!(close(instance).status, Status::OK);
    for batch in batches {
        assert_eq!(text(messages(&batch)[2].payload), "last");
        std::thread::spawn(move || release(batch)).join().unwrap();
    }
}

#[test]
fn an_ack_is_told_before_the_offsets_in_order() {
    let instance = opened("{}");
    release(polled(instance, 1));
    release(polled(instance, 2));
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(settle(instance, 2, true).status, Status::OK);
    let told = ["None", "Ack", "commit 1/0 1/2", "Ack", "commit 2/0 2/2"];
    assert_eq!(journal(instance), told);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn offsets_of_undelivered_messages_are_committed_whatever_the_reason() {
    for reason in [
        undelivered::FILTERED,
        undelivered::DEAD_LETTERED,
        undelivered::SKIPPED,
        77,
    ] {
        let instance = opened("{}");
        release(polled(instance, 1));
        let listed = [0, 1, 2].map(|index| Undelivered { index, reason });
        let settlement = settlement(1, true, &listed);
        assert_eq!(
            start_settle(instance, &settlement).wait().status,
            Status::OK
        );
        assert_eq!(journal(instance), ["None", "Ack", "commit 1/0 1/2"]);
        assert_eq!(close(instance).status, Status::OK);
    }
}

#[test]
fn a_nack_commits_nothing() {
    let instance = opened("{}");
    release(polled(instance, 1));
    assert_eq!(settle(instance, 1, false).status, Status::OK);
    assert_eq!(journal(instance), ["None", "Nack"]);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_result_that_failed_is_told_again_and_one_that_succeeded_is_not() {
    let instance = opened(r#"{"failing_results": 1, "failing_commits": 2}"#);
    release(polled(instance, 1));
    for expected in [
        Status::TRANSIENT,
        Status::TRANSIENT,
        Status::TRANSIENT,
        Status::OK,
    ] {
        assert_eq!(settle(instance, 1, true).status, expected);
    }
    let told = [
        "None",
        "Ack",
        "Ack",
        "commit 1/0 1/2",
        "commit 1/0 1/2",
        "commit 1/0 1/2",
    ];
    assert_eq!(journal(instance), told);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn the_last_settlement_that_went_well_may_come_again_and_is_not_told_again() {
    let instance = opened("{}");
    release(polled(instance, 1));
    release(polled(instance, 2));
    for _ in 0..3 {
        assert_eq!(settle(instance, 1, true).status, Status::OK);
    }
    assert_eq!(journal(instance), ["None", "Ack", "commit 1/0 1/2"]);
    assert_eq!(
        settle(instance, 1, false).status,
        Status::CONTRACT,
        "another result is no repeat"
    );
    assert_eq!(settle(instance, 2, false).status, Status::OK);
    assert_eq!(settle(instance, 2, false).status, Status::OK);
    assert_eq!(
        settle(instance, 1, true).status,
        Status::CONTRACT,
        "only the last one is remembered"
    );
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_settle_that_was_cancelled_is_repeated_under_another_number() {
    let instance = opened(r#"{"hanging_commits": 1}"#);
    release(polled(instance, 1));
    let settlement = settlement(1, true, &[]);
    let first = settle_as(instance, 50, &settlement);
    wait_until(|| journal(instance).contains(&"commit 1/0 1/2".to_owned()));
    // SAFETY: the call's entry point has returned.
    unsafe { iggy_source_cancel_v1(instance, 50) };
    assert_eq!(first.wait().status, Status::CANCELLED);
    let second = settle_as(instance, 51, &settlement);
    assert_eq!(second.wait().status, Status::OK);
    let told = ["None", "Ack", "commit 1/0 1/2", "commit 1/0 1/2"];
    assert_eq!(journal(instance), told);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn the_saved_state_is_offered_to_the_constructor() {
    for (state, expected) in [
        (None, "None"),
        (Some(&b""[..]), "Some(ConnectorState([]))"),
        (Some(&b"\x07"[..]), "Some(ConnectorState([7]))"),
    ] {
        let (instance, _) = open("{}", state);
        assert_eq!(journal(instance), [expected]);
        assert_eq!(close(instance).status, Status::OK);
    }
}

#[test]
fn a_poll_that_fails_returns_no_batch() {
    for (poll, status) in [("busy", Status::TRANSIENT), ("panic", Status::PANICKED)] {
        let instance = opened(&format!(r#"{{"poll": "{poll}"}}"#));
        let ended = start_poll(instance, 1).wait();
        assert_eq!(ended.status, status);
        assert!(ended.value.is_none());
        assert_eq!(settle(instance, 1, true).status, Status::CONTRACT);
        assert_eq!(close(instance).status, Status::OK);
    }
}

#[test]
fn a_waiting_poll_can_be_cancelled_while_the_source_is_healthy() {
    let instance = opened(r#"{"poll": "hang"}"#);
    let poll = start_poll(instance, 1);
    // SAFETY: nothing is lent.
    let health = Call::make(|completion| unsafe { iggy_source_health_v1(instance, 2, completion) });
    assert_eq!(health.wait().status, Status::OK);
    assert!(!poll.has_ended());
    // SAFETY: may be called at any time.
    unsafe { iggy_source_cancel_v1(instance, 1) };
    assert_eq!(poll.wait().status, Status::CANCELLED);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_source_that_has_ended_says_so() {
    let instance = opened(r#"{"poll": "empty"}"#);
    let batch = polled(instance, 1);
    assert_eq!((batch.len, batch.flags, batch.state_present), (0, ENDED, 0));
    release(batch);
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_settlement_that_is_none_breaks_the_contract() {
    let instance = opened("{}");
    release(polled(instance, 1));
    // SAFETY: null is refused.
    let call: Call<Nothing> = Call::make(|completion| unsafe {
        iggy_source_settle_v1(instance, 2, std::ptr::null(), completion)
    });
    assert_eq!(call.wait().status, Status::CONTRACT);
    assert_eq!(settle(instance, 7, true).status, Status::CONTRACT);
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(close(instance).status, Status::OK);
}

/// A struct of a host whose version has more.
#[repr(C)]
struct Newer<T> {
    known: T,
    appended: u64,
}

#[test]
fn a_newer_hosts_structs_are_understood() {
    let instance = number();
    let open = Newer {
        known: Open {
            size: size_of::<Newer<Open>>() as u32,
            minor: 99,
            ..request(instance, "{}", Some(b"\x07"))
        },
        appended: u64::MAX,
    };
    // SAFETY: the request lives until the completion, which is waited for.
    let call: Call<Traits> = Call::make(|completion| unsafe {
        iggy_source_open_v1(&raw const open.known, OPENING, completion)
    });
    assert_eq!(call.wait().status, Status::OK);
    let wishes = Newer {
        known: PollRequest {
            size: size_of::<Newer<PollRequest>>() as u32,
            max_messages: 1,
            max_wait_ms: 5,
            linger_us: 0,
            draining: 0,
            reserved: 0,
        },
        appended: u64::MAX,
    };
    // SAFETY: the request lives until the completion, which is waited for.
    let call = Call::make(|completion| unsafe {
        iggy_source_poll_v1(instance, 1, &raw const wishes.known, completion)
    });
    release(call.wait().value.unwrap());
    let told = Newer {
        known: Settlement {
            size: size_of::<Newer<Settlement>>() as u32,
            ..settlement(1, true, &[])
        },
        appended: u64::MAX,
    };
    assert_eq!(
        start_settle(instance, &told.known).wait().status,
        Status::OK
    );
    let told = ["Some(ConnectorState([7]))", "Ack", "commit 1/0 1/2"];
    assert_eq!(journal(instance), told);
    assert_eq!(
        (open.appended, wishes.appended),
        (u64::MAX, u64::MAX),
        "what the host lent is as it was"
    );
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn structs_that_are_shorter_than_the_first_version_break_the_contract() {
    let short = request(number(), "{}", None);
    for size in [0, 4, size_of::<Open>() as u32 - 8] {
        let short = Open { size, ..short };
        // SAFETY: longer than it says; nothing of it is read.
        let call: Call<Traits> = Call::make(|completion| unsafe {
            iggy_source_open_v1(&raw const short, OPENING, completion)
        });
        assert_eq!(call.wait().status, Status::CONTRACT);
    }
    let instance = opened("{}");
    let wishes = PollRequest { size: 8, ..WISHES };
    for wishes in [std::ptr::null(), &raw const wishes] {
        // SAFETY: null, or longer than it says.
        let call = Call::make(|completion| unsafe {
            iggy_source_poll_v1(instance, 1, wishes, completion)
        });
        assert_eq!(call.wait().status, Status::CONTRACT);
    }
    release(polled(instance, 1));
    let told = Settlement {
        size: 16,
        ..settlement(1, true, &[])
    };
    assert_eq!(
        start_settle(instance, &told).wait().status,
        Status::CONTRACT
    );
    assert_eq!(settle(instance, 1, true).status, Status::OK);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn ten_thousand_polls_and_settlements_hold_together() {
    let instance = opened("{}");
    let begun = std::time::Instant::now();
    for poll in 1..=10_000 {
        release(polled(instance, poll));
        assert_eq!(settle(instance, poll, poll % 2 == 0).status, Status::OK);
        if begun.elapsed() > Duration::from_secs(20) {
            break;
        }
    }
    assert_eq!(close(instance).status, Status::OK);
}
