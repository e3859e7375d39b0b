//! A plugin's log lines, as the host gets them.
#![expect(unsafe_code, reason = "this is the host's side of the fence")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod host;

use std::sync::{Mutex, atomic::Ordering};

use host::{Call, ENABLED_CALLS, MAX_LEVEL, OPENING, lines, number, request};
use iggy_connector_sdk::{
    Error, ProducedMessages, Source, async_trait,
    export::abi::{
        Completion, Nothing, Status,
        instance::{Open, Traits},
        log::level,
    },
    get_runtime, source_connector,
};
use tracing::{Instrument, Span, debug, error, field, info, info_span, trace, warn};

source_connector!(Chatty);

/// Logs in its health check.
struct Chatty;

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("outer")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Chatty {
    fn new(_id: u32, _config: simd_json::OwnedValue) -> Self {
        info!("in the constructor");
        Self
    }
}

#[async_trait]
impl Source for Chatty {
    async fn open(&mut self) -> Result<(), Error> {
        info!("in open");
        Ok(())
    }

    async fn poll(&self) -> Result<ProducedMessages, Error> {
        Err(Error::transient("not asked for"))
    }

    async fn health_check(&self) -> Result<(), Error> {
        let error = Outer("x".parse::<u8>().unwrap_err());
        warn!(
            target: "some::target",
            count = 3_u64,
            low = -2_i64,
            ratio = 0.5,
            odd = f64::NAN,
            flag = true,
            text = "say \"hi\"\n",
            shown = %"plain",
            debug = ?Some(1),
            huge = u128::MAX,
            error = &error as &dyn std::error::Error,
            "all kinds of fields"
        );
        error!("an error");
        debug!("a debug line");
        trace!("a trace line");
        info!(target: "muted", "a muted line");

        let span = info_span!("request", path = "/a", late = field::Empty);
        span.record("late", 7);
        async { info!(path = "/b", "inside a span") }
            .instrument(span)
            .await;
        tokio::task::yield_now().await;
        info!("after a span");

        let spawned = get_runtime().spawn(async { info!("in a bare task") });
        let _ = spawned.await;
        let spawned =
            get_runtime().spawn(async { info!("in a task of its own") }.in_current_span());
        let _ = spawned.await;
        let thread = std::thread::spawn(|| info!("on a thread"));
        let _ = thread.join();
        let parentless = info_span!(parent: None, "parentless");
        parentless.in_scope(|| info!("without a parent"));
        let current = Span::current();
        current.in_scope(|| info!("in the current span twice"));
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        info!("in close");
        Ok(())
    }
}

impl Drop for Chatty {
    fn drop(&mut self) {
        info!("in the drop");
    }
}

unsafe extern "C" {
    fn iggy_source_open_v1(open: *const Open, call: u64, completion: Completion<Traits>);
    fn iggy_source_health_v1(instance: u32, call: u64, completion: Completion<Nothing>);
    fn iggy_source_close_v1(instance: u32, call: u64, completion: Completion<Nothing>);
}

/// The host's log is one for the process.
static ALONE: Mutex<()> = Mutex::new(());

/// Opens an instance, runs its health check, closes it. Returns its number.
fn run() -> u32 {
    let instance = number();
    let request = request(instance, "{}", None);
    // SAFETY: the request lives until the completion, which is waited for.
    let call: Call<Traits> = Call::make(|completion| unsafe {
        iggy_source_open_v1(&raw const request, OPENING, completion)
    });
    assert_eq!(call.wait().status, Status::OK);
    // SAFETY: nothing is lent.
    let call = Call::make(|completion| unsafe { iggy_source_health_v1(instance, 1, completion) });
    assert_eq!(call.wait().status, Status::OK);
    // SAFETY: nothing is lent.
    let call = Call::make(|completion| unsafe { iggy_source_close_v1(instance, 2, completion) });
    assert_eq!(call.wait().status, Status::OK);
    instance
}

fn count(message: &str, instance: u32) -> usize {
    lines(message)
        .iter()
        .filter(|line| line.instance == instance)
        .count()
}

#[test]
fn lines_carry_their_instance_level_and_fields() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    MAX_LEVEL.store(level::TRACE, Ordering::Relaxed);
    let instance = run();
    for message in [
        "in the constructor",
        "in open",
        "an error",
        "a debug line",
        "a trace line",
        "after a span",
        "in a task of its own",
        "in the current span twice",
        "in close",
        "in the drop",
    ] {
        assert_eq!(count(message, instance), 1, "{message}");
    }
    assert_eq!(lines("an error").last().unwrap().level, level::ERROR);

    let line = lines("all kinds of fields").pop().unwrap();
    assert_eq!((line.instance, line.level), (instance, level::WARN));
    assert_eq!(line.target, "some::target");
    let fields: simd_json::OwnedValue =
        simd_json::from_slice(&mut line.fields.into_bytes()).unwrap();
    let expected = simd_json::json!({
        "count": 3, "low": -2, "ratio": 0.5, "odd": "NaN", "flag": true, "text": "say \"hi\"\n", "shown": "plain",
        "debug": "Some(1)", "huge": u128::MAX.to_string(), "error": "outer: invalid digit found in string",
    });
    assert_eq!(fields, expected);
    assert_eq!(lines("after a span").pop().unwrap().fields, "");

    let line = lines("inside a span").pop().unwrap();
    assert_eq!(line.instance, instance);
    assert_eq!(line.fields, r#"{"path":"/a","late":7,"path":"/b"}"#);
}

#[test]
fn lines_from_nowhere_carry_no_instance() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    MAX_LEVEL.store(level::TRACE, Ordering::Relaxed);
    run();
    assert_ne!(count("in a bare task", 0), 0);
    assert_ne!(count("without a parent", 0), 0);
    assert_ne!(count("on a thread", 0), 0);
}

#[test]
fn a_level_that_is_off_costs_no_call_and_can_be_turned_on_later() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    MAX_LEVEL.store(level::OFF, Ordering::Relaxed);
    let before = ENABLED_CALLS.load(Ordering::Relaxed);
    let quiet = run();
    assert_eq!(ENABLED_CALLS.load(Ordering::Relaxed), before);
    assert_eq!(count("an error", quiet), 0);

    MAX_LEVEL.store(level::INFO, Ordering::Relaxed);
    let loud = run();
    assert_eq!(count("in open", loud), 1);
    assert_eq!(count("a debug line", loud), 0);
    assert_eq!(lines("a muted line").len(), 0, "the host was asked");
}
