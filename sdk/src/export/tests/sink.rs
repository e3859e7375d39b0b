//! A sink plugin, called as the runtime calls it.
#![expect(unsafe_code, reason = "this is the host's side of the fence")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod host;
mod sink_calls;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use host::{Call, HOST, OPENING, bytes, number, request, text};
use iggy_connector_sdk::{
    ConsumedMessage, Error, MessagesMetadata, Schema, Sink, TopicMetadata, async_trait,
    export::abi::{
        Nothing, Slice, Status,
        descriptor::{Descriptor, MAGIC, PANIC_UNWIND, SINK},
        instance::{Open, Traits},
        log,
        sink::{self, ConsumedBatch, FlushRequest},
    },
    headers, sink_connector,
};
use sink_calls::{
    EVERYTHING, batch, cancel, close, consume, flush, iggy_sink_close_v1, iggy_sink_consume_v1,
    iggy_sink_flush_v1, iggy_sink_health_v1, iggy_sink_open_v1, open, plain, record, start,
    start_consume, start_flush, wait_until,
};
use tokio::sync::oneshot;

sink_connector!(TestSink);

/// Does what its configuration says.
struct TestSink {
    id: u32,
    config: Config,
    /// Consumes that wait for a flush.
    buffered: Mutex<Vec<oneshot::Sender<()>>>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What to do at each step.
    #[serde(default)]
    steps: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    #[expect(dead_code, reason = "only read")]
    limit: u8,
}

/// What happened in which instance, in order.
static JOURNAL: Mutex<Vec<(u32, String)>> = Mutex::new(Vec::new());

fn note(instance: u32, what: impl Into<String>) {
    JOURNAL.lock().unwrap().push((instance, what.into()));
}

fn journal(instance: u32) -> Vec<String> {
    let journal = JOURNAL.lock().unwrap();
    let own = journal.iter().filter(|(of, _)| *of == instance);
    own.map(|(_, what)| what.clone()).collect()
}

/// Notes its end in the journal, and panics if told so.
struct Held(u32, bool);

impl Drop for Held {
    fn drop(&mut self) {
        note(self.0, "dropped");
        if self.1 {
            panic!("in a drop");
        }
    }
}

/// A panic's payload that panics when it is dropped, again and again.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        std::panic::panic_any(Grenade)
    }
}

impl TestSink {
    fn new(id: u32, config: Config) -> Self {
        let sink = Self {
            id,
            config,
            buffered: Mutex::default(),
        };
        if sink.what("new") == "panic" {
            panic!("in new");
        }
        sink
    }

    fn what(&self, step: &str) -> &str {
        self.config.steps.get(step).map_or("", String::as_str)
    }

    async fn act(&self, step: &str) -> Result<(), Error> {
        note(self.id, step);
        let _held = Held(self.id, self.what(step) == "panic in drop");
        match self.what(step) {
            "panic" => panic!("in {step}"),
            "grenade" => std::panic::panic_any(Grenade),
            "hang" | "panic in drop" => std::future::pending().await,
            "busy" => Err(Error::transient("busy").with_retry_after(Duration::from_millis(1500))),
            "broken" => Err(Error::fatal("broken")),
            "some fail" => Err(Error::failed([(1, Error::invalid("bad"))])),
            "until flush" => self.until_flush().await,
            "suffix fails" => Err(Error::failed_from(1, Error::transient("busy"))),
            _ => Ok(()),
        }
    }
}

impl TestSink {
    async fn until_flush(&self) -> Result<(), Error> {
        let (flushed, wait) = oneshot::channel();
        self.buffered.lock().unwrap().push(flushed);
        wait.await.map_err(|_| Error::fatal("never flushed"))
    }
}

#[async_trait]
impl Sink for TestSink {
    async fn open(&mut self) -> Result<(), Error> {
        self.act("open").await
    }

    async fn consume(
        &self,
        topic: &TopicMetadata,
        metadata: MessagesMetadata,
        messages: Vec<ConsumedMessage>,
    ) -> Result<(), Error> {
        if self.what("consume") == "in order" {
            // Steps of different length overtake each other where they can.
            (0..metadata.current_offset % 7 * 500).for_each(|_| std::hint::spin_loop());
            note(self.id, metadata.current_offset.to_string());
            tokio::task::yield_now().await;
            return Ok(());
        }
        note(self.id, format!("{topic:?} {metadata:?} {messages:?}"));
        self.act("consume").await
    }

    async fn flush(&self) -> Result<(), Error> {
        self.act("flush").await?;
        for consume in self.buffered.lock().unwrap().drain(..) {
            let _ = consume.send(());
        }
        Ok(())
    }

    async fn health_check(&self) -> Result<(), Error> {
        self.act("health").await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.act("close").await
    }

    fn max_unsettled(&self) -> u32 {
        3
    }

    fn exclusive(&self) -> bool {
        true
    }
}

impl Drop for TestSink {
    fn drop(&mut self) {
        note(self.id, "gone");
        if self.what("drop") == "panic" {
            panic!("in the sink's drop");
        }
    }
}

unsafe extern "C" {
    fn iggy_connector_descriptor() -> *const Descriptor;
}

/// Opens an instance that does `steps`, for example `"consume": "hang"`.
fn opened(steps: &str) -> u32 {
    let instance = number();
    let ended = open(instance, &format!(r#"{{"steps": {{{steps}}}}}"#));
    assert_eq!(ended.status, Status::OK, "{ended:?}");
    instance
}

#[test]
fn the_descriptor_tells_what_the_library_is() {
    // SAFETY: may be called at any time.
    let descriptor = unsafe { iggy_connector_descriptor() };
    // SAFETY: a static, or null.
    let descriptor = unsafe { descriptor.as_ref() }.unwrap();
    assert_eq!(descriptor.magic, MAGIC);
    assert_eq!(descriptor.abi_version, 1);
    assert_eq!(descriptor.size as usize, size_of::<Descriptor>());
    assert_eq!(descriptor.direction, SINK);
    assert_eq!(descriptor.panic, PANIC_UNWIND);
    assert_eq!(text(descriptor.name), "iggy_connector_sdk");
    assert_eq!(text(descriptor.version), env!("CARGO_PKG_VERSION"));
    assert!(text(descriptor.target).contains(std::env::consts::ARCH));
    let schema = text(descriptor.config_schema);
    assert!(schema.contains("What to do at each step."), "{schema}");
}

#[test]
fn an_instance_lives_from_open_to_close() {
    let instance = number();
    let traits = open(instance, "{}").value.unwrap();
    assert_eq!((traits.max_unsettled, traits.exclusive), (3, 1));
    assert_eq!(consume(instance, &["{}"]).status, Status::OK);
    assert_eq!(flush(instance).status, Status::OK);
    assert_eq!(plain(instance, iggy_sink_health_v1).status, Status::OK);
    assert_eq!(close(instance).status, Status::OK);
    let journal = journal(instance);
    let steps: Vec<_> = journal
        .iter()
        .filter(|what| !what.contains(' ') && *what != "dropped")
        .collect();
    assert_eq!(
        steps,
        ["open", "consume", "flush", "health", "close", "gone"]
    );
    assert_eq!(close(instance).status, Status::CONTRACT);
}

#[test]
fn a_batch_arrives_as_it_was_lent() {
    let instance = opened("");
    let headers = [("k".try_into().unwrap(), "v".try_into().unwrap())].into();
    let wire = headers::encode(&headers);
    let records = [sink::ConsumedMessage {
        headers: Slice::of(&wire),
        ..record(br#"{"a":[1]}"#)
    }];
    assert_eq!(
        start_consume(instance, 1, &batch(&records)).wait().status,
        Status::OK
    );
    let topic = TopicMetadata {
        stream: "orders".into(),
        topic: "new".into(),
    };
    let metadata = MessagesMetadata {
        partition_id: 7,
        current_offset: 99,
        schema: Schema::Json,
    };
    let messages = vec![ConsumedMessage {
        id: (2 << 64) | 1,
        offset: 3,
        checksum: 4,
        timestamp: 5,
        origin_timestamp: 6,
        headers: Some(headers),
        payload: Schema::Json
            .try_into_payload(br#"{"a":[1]}"#.to_vec())
            .unwrap(),
    }];
    let expected = format!("{topic:?} {metadata:?} {messages:?}");
    assert!(
        journal(instance).contains(&expected),
        "{:?}",
        journal(instance)
    );
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_message_that_does_not_decode_fails_alone() {
    for (step, expected) in [
        ("", vec![(1, Status::INVALID_DATA)]),
        // The author counts without the undecodable one: its second message is the third of the batch.
        (
            "some fail",
            vec![(1, Status::INVALID_DATA), (2, Status::INVALID_DATA)],
        ),
        (
            "suffix fails",
            vec![(1, Status::INVALID_DATA), (2, Status::TRANSIENT)],
        ),
    ] {
        let instance = opened(&format!(r#""consume": "{step}""#));
        let ended = consume(instance, &["{}", "{", "[]"]);
        assert_eq!(ended.status, Status::OK);
        let failed: Vec<_> = ended.failed.iter().map(|f| (f.0, f.1)).collect();
        assert_eq!(failed, expected, "{step}");
        assert!(journal(instance).contains(&"consume".to_owned()));
        assert_eq!(close(instance).status, Status::OK);
    }
    let instance = opened("");
    let ended = consume(instance, &["{", "}"]);
    assert_eq!(ended.failed.len(), 2);
    assert!(
        !journal(instance).contains(&"consume".to_owned()),
        "nothing was left to consume"
    );
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn an_error_keeps_its_class_and_delay() {
    let instance = opened(r#""consume": "busy", "flush": "broken""#);
    let ended = consume(instance, &["{}"]);
    assert_eq!(ended.status, Status::TRANSIENT);
    assert_eq!(
        (ended.message.as_str(), ended.retry_after_ms),
        ("busy", 1500)
    );
    let ended = flush(instance);
    assert_eq!(
        (ended.status, ended.message.as_str()),
        (Status::FATAL, "broken")
    );
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_configuration_that_does_not_fit_is_fatal_and_keeps_its_secrets() {
    for (config, expected) in [
        (
            r#"{"limit": "hunter2"}"#,
            "plugin_config.limit: invalid type: string, expected u8",
        ),
        (
            r#"{"steps": {"open": 5}}"#,
            "plugin_config.steps.open: invalid type: integer, expected a string",
        ),
        ("hunter2", "plugin_config is no JSON, at byte 0"),
        ("", "plugin_config is no JSON, at byte 0"),
    ] {
        let ended = open(number(), config);
        assert_eq!(ended.status, Status::FATAL);
        assert!(ended.message.ends_with(expected), "{}", ended.message);
        assert!(ended.value.is_none());
    }
}

#[test]
fn an_instance_that_did_not_open_does_not_exist() {
    for step in ["broken", "panic", "busy"] {
        let instance = number();
        let ended = open(instance, &format!(r#"{{"steps": {{"open": "{step}"}}}}"#));
        assert_ne!(ended.status, Status::OK);
        assert_eq!(journal(instance).last().unwrap(), "gone");
        assert_eq!(consume(instance, &["{}"]).status, Status::CONTRACT);
    }
}

#[test]
fn a_panic_is_an_outcome_wherever_it_happens() {
    let ended = open(number(), r#"{"steps": {"new": "panic"}}"#);
    assert_eq!(ended.status, Status::PANICKED);
    assert!(ended.message.contains("sink.rs:") && ended.message.ends_with("in new"));

    let instance =
        opened(r#""consume": "panic", "flush": "grenade", "health": "panic", "close": "panic""#);
    let ended = consume(instance, &["{}"]);
    assert_eq!(ended.status, Status::PANICKED);
    assert!(ended.message.ends_with("in consume"), "{}", ended.message);
    assert_eq!(flush(instance).status, Status::PANICKED);
    assert_eq!(
        plain(instance, iggy_sink_health_v1).status,
        Status::PANICKED
    );
    assert_eq!(close(instance).status, Status::PANICKED);
    assert_eq!(journal(instance).last().unwrap(), "gone");
    assert_eq!(consume(instance, &["{}"]).status, Status::CONTRACT);

    let instance = opened(r#""drop": "panic""#);
    assert_eq!(close(instance).status, Status::PANICKED);
}

#[test]
fn a_cancelled_call_drops_the_future_and_then_completes() {
    let instance = opened(r#""consume": "hang""#);
    let records = [record(b"{}")];
    let batch = batch(&records);
    let call = Call::make_then(
        // SAFETY: the batch lives until the completion, which is waited for.
        |completion| unsafe { iggy_sink_consume_v1(instance, 5, &raw const batch, completion) },
        move || note(instance, "completed"),
    );
    wait_until(|| journal(instance).contains(&"consume".to_owned()));
    assert!(!call.has_ended());
    cancel(instance, 4);
    cancel(instance + 1_000_000, 5);
    assert!(!call.has_ended());
    cancel(instance, 5);
    assert_eq!(call.wait().status, Status::CANCELLED);
    assert_eq!(
        journal(instance)[journal(instance).len() - 2..],
        ["dropped", "completed"]
    );
    cancel(instance, 5);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_future_that_panics_when_it_is_cancelled_has_panicked() {
    let instance = opened(r#""flush": "panic in drop""#);
    let call = start_flush(instance, 5, &EVERYTHING);
    wait_until(|| journal(instance).contains(&"flush".to_owned()));
    cancel(instance, 5);
    let ended = call.wait();
    assert_eq!(ended.status, Status::PANICKED);
    assert!(ended.message.ends_with("in a drop"), "{}", ended.message);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn an_open_that_hangs_can_be_cancelled() {
    let instance = number();
    let request = request(instance, r#"{"steps": {"open": "hang"}}"#, None);
    // SAFETY: the request lives until the completion, which is waited for.
    let call: Call<Traits> = Call::make(|completion| unsafe {
        iggy_sink_open_v1(&raw const request, OPENING, completion)
    });
    wait_until(|| journal(instance).contains(&"open".to_owned()));
    cancel(instance, 0);
    assert!(!call.has_ended(), "it is another call");
    cancel(instance, OPENING);
    cancel(instance, OPENING);
    assert_eq!(call.wait().status, Status::CANCELLED);
    assert_eq!(journal(instance).last().unwrap(), "gone");
    assert_eq!(close(instance).status, Status::CONTRACT);
}

#[test]
fn a_host_that_breaks_the_contract_is_told_so() {
    let instance = opened("");
    let records = [record(b"{}")];
    let good = batch(&records);
    let null = Slice {
        ptr: std::ptr::null(),
        len: 1,
    };
    let bad_records = [sink::ConsumedMessage {
        payload: null,
        ..records[0]
    }];
    for bad in [
        ConsumedBatch { size: 8, ..good },
        ConsumedBatch { stride: 8, ..good },
        ConsumedBatch {
            stride: 100,
            ..good
        },
        ConsumedBatch {
            messages: std::ptr::null(),
            ..good
        },
        ConsumedBatch { schema: 77, ..good },
        ConsumedBatch {
            stream: null,
            ..good
        },
        ConsumedBatch {
            topic: Slice::of(b"\xff"),
            ..good
        },
        batch(&bad_records),
    ] {
        let ended = start_consume(instance, 1, &bad).wait();
        assert_eq!(ended.status, Status::CONTRACT, "{bad:?}");
        assert!(!ended.message.is_empty());
    }
    // SAFETY: null is refused.
    let call = Call::make(|completion| unsafe {
        iggy_sink_consume_v1(instance, 1, std::ptr::null(), completion)
    });
    assert_eq!(call.wait().status, Status::CONTRACT);
    assert!(!journal(instance).contains(&"consume".to_owned()));

    assert_eq!(
        open(instance, "{}").status,
        Status::CONTRACT,
        "the number is taken"
    );
    assert_eq!(open(0, "{}").status, Status::CONTRACT);
    // SAFETY: null is refused.
    let call: Call<Traits> = Call::make(|completion| unsafe {
        iggy_sink_open_v1(std::ptr::null(), OPENING, completion)
    });
    assert_eq!(call.wait().status, Status::CONTRACT);
    assert_eq!(
        consume(instance, &["{}"]).status,
        Status::OK,
        "the instance goes on"
    );
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_calls_number_can_be_used_again_once_it_has_ended() {
    let instance = opened(r#""flush": "hang""#);
    let call = start_flush(instance, 5, &EVERYTHING);
    assert_eq!(
        start(instance, 5, iggy_sink_health_v1).wait().status,
        Status::CONTRACT
    );
    assert_eq!(
        start(instance, 6, iggy_sink_health_v1).wait().status,
        Status::OK
    );
    cancel(instance, 5);
    assert_eq!(call.wait().status, Status::CANCELLED);
    assert_eq!(
        start(instance, 5, iggy_sink_health_v1).wait().status,
        Status::OK
    );
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn closing_under_a_call_breaks_the_contract_and_the_call_still_ends() {
    let instance = opened(r#""flush": "hang""#);
    let call = start_flush(instance, 5, &EVERYTHING);
    assert_eq!(close(instance).status, Status::CONTRACT);
    cancel(instance, 5);
    assert_eq!(call.wait().status, Status::CANCELLED);
    assert_eq!(journal(instance).last().unwrap(), "gone");
}

#[test]
fn an_instance_can_be_closed_from_inside_a_completion() {
    static CLOSED: AtomicBool = AtomicBool::new(false);
    let instance = opened("");
    let call: Call<Nothing> = Call::make_then(
        // SAFETY: nothing is lent.
        |completion| unsafe { iggy_sink_flush_v1(instance, 1, &raw const EVERYTHING, completion) },
        move || {
            // Nothing of the call may be left that holds the instance: a close then says so at once.
            let call = start(instance, 1, iggy_sink_close_v1);
            assert!(!call.has_ended() || call.wait().status == Status::OK);
            std::thread::spawn(move || {
                CLOSED.store(call.wait().status == Status::OK, Ordering::SeqCst);
            });
        },
    );
    assert_eq!(call.wait().status, Status::OK);
    wait_until(|| CLOSED.load(Ordering::SeqCst));
}

#[test]
fn many_calls_at_once_each_complete_once() {
    let instance = opened("");
    let records: Vec<_> = (0..50).map(|_| record(b"{\"n\": 1}")).collect();
    let batch = batch(&records);
    let calls: Vec<_> = (0..200)
        .map(|call| start_consume(instance, call, &batch))
        .collect();
    for call in &calls {
        assert_eq!(call.wait().status, Status::OK);
    }
    assert_eq!(
        bytes(records[0].payload),
        b"{\"n\": 1}",
        "what was lent is as it was"
    );
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn batches_of_a_partition_begin_in_the_order_of_their_calls() {
    const BATCHES: u64 = 2000;
    let instance = opened(r#""consume": "in order""#);
    let records = [record(b"{}")];
    let batches: Vec<_> = (0..BATCHES)
        .map(|current_offset| ConsumedBatch {
            current_offset,
            ..batch(&records)
        })
        .collect();
    let calls: Vec<_> = (0..)
        .zip(&batches)
        .map(|(call, batch)| start_consume(instance, call, batch))
        .collect();
    for call in &calls {
        assert_eq!(call.wait().status, Status::OK);
    }
    let mut begun = journal(instance);
    begun.retain(|what| what.parse::<u64>().is_ok());
    let expected: Vec<_> = (0..BATCHES).map(|number| number.to_string()).collect();
    assert_eq!(begun, expected);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_flush_completes_after_what_was_handed_over_before_it() {
    for _ in 0..200 {
        let instance = opened(r#""consume": "until flush""#);
        let records = [record(b"{}")];
        let batch = batch(&records);
        let consume = |call| {
            Call::make_then(
                // SAFETY: the batch lives until the completion, which is waited for.
                |completion| unsafe {
                    iggy_sink_consume_v1(instance, call, &raw const batch, completion)
                },
                move || note(instance, "consumed"),
            )
        };
        let consumes = [consume(1), consume(2), consume(3)];
        let flush = Call::make_then(
            // SAFETY: the request lives for ever.
            |completion| unsafe {
                iggy_sink_flush_v1(instance, 4, &raw const EVERYTHING, completion)
            },
            move || note(instance, "flushed"),
        );
        assert_eq!(flush.wait().status, Status::OK);
        let mut ended = journal(instance);
        ended.retain(|what| what == "consumed" || what == "flushed");
        assert_eq!(ended, ["consumed", "consumed", "consumed", "flushed"]);
        for consume in consumes {
            assert_eq!(consume.wait().status, Status::OK);
        }
        assert_eq!(close(instance).status, Status::OK);
    }
}

#[test]
fn a_flush_of_one_partition_does_not_wait_for_another() {
    let instance = opened(r#""consume": "hang""#);
    let records = [record(b"{}")];
    let batch = batch(&records);
    let consume = start_consume(instance, 1, &batch);
    wait_until(|| journal(instance).contains(&"consume".to_owned()));
    let of = |partition_id| FlushRequest {
        partition_present: 1,
        partition_id,
        stream: batch.stream,
        topic: batch.topic,
        ..EVERYTHING
    };
    let other = of(batch.partition_id + 1);
    assert_eq!(start_flush(instance, 2, &other).wait().status, Status::OK);
    let same = of(batch.partition_id);
    let waiting = start_flush(instance, 3, &same);
    cancel(instance, 3);
    assert_eq!(waiting.wait().status, Status::CANCELLED);
    assert!(
        !consume.has_ended(),
        "a flush that did not end leaves it pending"
    );
    let waiting = start_flush(instance, 4, &same);
    cancel(instance, 1);
    assert_eq!(consume.wait().status, Status::CANCELLED);
    assert_eq!(waiting.wait().status, Status::OK);
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
    static NEWER_HOST: Newer<log::Host> = Newer {
        known: log::Host {
            size: size_of::<Newer<log::Host>>() as u32,
            ..HOST
        },
        appended: u64::MAX,
    };
    let instance = number();
    let open = Newer {
        known: Open {
            size: size_of::<Newer<Open>>() as u32,
            host: &raw const NEWER_HOST.known,
            ..request(instance, "{}", None)
        },
        appended: u64::MAX,
    };
    // SAFETY: the request lives until the completion, which is waited for.
    let call: Call<Traits> = Call::make(|completion| unsafe {
        iggy_sink_open_v1(&raw const open.known, OPENING, completion)
    });
    assert_eq!(call.wait().status, Status::OK);
    let records = [b"[1]", b"[2]"].map(|payload: &[u8; 3]| Newer {
        known: record(payload),
        appended: u64::MAX,
    });
    let batch = Newer {
        known: ConsumedBatch {
            size: size_of::<Newer<ConsumedBatch>>() as u32,
            stride: size_of::<Newer<sink::ConsumedMessage>>() as u32,
            len: records.len(),
            messages: records.as_ptr().cast(),
            ..batch(&[])
        },
        appended: u64::MAX,
    };
    let ended = start_consume(instance, 1, &batch.known).wait();
    assert_eq!(ended.status, Status::OK);
    let consumed = journal(instance).join(" ");
    assert_eq!(consumed.matches(" offset: 3").count(), 2, "{consumed}");
    let everything = Newer {
        known: FlushRequest {
            size: size_of::<Newer<FlushRequest>>() as u32,
            ..EVERYTHING
        },
        appended: u64::MAX,
    };
    let flushed = start_flush(instance, 2, &everything.known).wait();
    assert_eq!(flushed.status, Status::OK);
    let appended = [
        open.appended,
        batch.appended,
        everything.appended,
        records[1].appended,
    ];
    assert_eq!(appended, [u64::MAX; 4], "what was lent is as it was");
    assert_eq!(NEWER_HOST.appended, u64::MAX);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn structs_that_are_shorter_than_the_first_version_break_the_contract() {
    static SHORT_HOST: log::Host = log::Host { size: 16, ..HOST };
    let good = request(number(), "{}", None);
    for open in [
        Open {
            size: size_of::<Open>() as u32 - 8,
            ..good
        },
        Open {
            host: &raw const SHORT_HOST,
            ..good
        },
        Open {
            host: std::ptr::null(),
            ..good
        },
    ] {
        // SAFETY: longer than they say; nothing of them is read.
        let call: Call<Traits> = Call::make(|completion| unsafe {
            iggy_sink_open_v1(&raw const open, OPENING, completion)
        });
        assert_eq!(call.wait().status, Status::CONTRACT);
    }
    let instance = opened("");
    let short = FlushRequest {
        size: 8,
        ..EVERYTHING
    };
    assert_eq!(
        start_flush(instance, 1, &short).wait().status,
        Status::CONTRACT
    );
    let no_text = FlushRequest {
        partition_present: 1,
        stream: Slice::of(b"\xff"),
        ..EVERYTHING
    };
    assert_eq!(
        start_flush(instance, 2, &no_text).wait().status,
        Status::CONTRACT
    );
    // SAFETY: null is refused.
    let call = Call::make(|completion| unsafe {
        iggy_sink_flush_v1(instance, 3, std::ptr::null(), completion)
    });
    assert_eq!(call.wait().status, Status::CONTRACT);
    assert!(!journal(instance).contains(&"flush".to_owned()));
    assert_eq!(close(instance).status, Status::OK);
}
