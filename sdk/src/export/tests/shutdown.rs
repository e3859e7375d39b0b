//! The end of a library's threads. A process can do this once, so this binary has one test.
#![expect(unsafe_code, reason = "this is the host's side of the fence")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod host;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use host::{Call, OPENING, request};
use iggy_connector_sdk::{
    Error, ProducedMessages, Source, async_trait,
    export::abi::{
        Completion, Nothing, Status,
        instance::{Open, Traits},
        source::{PollRequest, ProducedBatch},
    },
    get_runtime, source_connector,
};

source_connector!(Restless);

/// Leaves a task behind.
struct Restless;

static TICKS: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

struct Held;

impl Drop for Held {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

impl Restless {
    fn new(_id: u32, _config: std::collections::BTreeMap<String, String>) -> Self {
        Self
    }
}

#[async_trait]
impl Source for Restless {
    async fn open(&mut self) -> Result<(), Error> {
        get_runtime().spawn(async {
            let _held = Held;
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                TICKS.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(())
    }

    async fn poll(&self) -> Result<ProducedMessages, Error> {
        let _held = Held;
        std::future::pending().await
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

unsafe extern "C" {
    fn iggy_source_open_v1(open: *const Open, call: u64, completion: Completion<Traits>);
    fn iggy_source_poll_v1(
        instance: u32,
        call: u64,
        request: *const PollRequest,
        completion: Completion<ProducedBatch>,
    );
    fn iggy_source_close_v1(instance: u32, call: u64, completion: Completion<Nothing>);
    fn iggy_connector_shutdown_v1(timeout_ms: u64) -> u32;
}

/// Names of this process's threads that begin as the plugin's do.
#[cfg(target_os = "linux")]
fn plugin_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.trim() == "sdk")
        .count()
}

#[cfg(not(target_os = "linux"))]
fn plugin_threads() -> usize {
    0
}

fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{} threads", plugin_threads());
        std::thread::yield_now();
    }
}

#[test]
fn the_threads_end_and_what_they_ran_is_dropped() {
    let request = request(1, "{}", None);
    // SAFETY: the request lives until the completion, which is waited for.
    let call: Call<Traits> = Call::make(|completion| unsafe {
        iggy_source_open_v1(&raw const request, OPENING, completion)
    });
    assert_eq!(call.wait().status, Status::OK);
    let wishes = PollRequest {
        size: size_of::<PollRequest>() as u32,
        max_messages: 0,
        max_wait_ms: 0,
        linger_us: 0,
        draining: 0,
        reserved: 0,
    };
    // SAFETY: the request lives until the completion, which is waited for.
    let poll: Call<ProducedBatch> = Call::make(|completion| unsafe {
        iggy_source_poll_v1(1, 1, &raw const wishes, completion)
    });
    until(|| TICKS.load(Ordering::SeqCst) >= 3);
    // As many as the first open asked for. Each names itself once it runs.
    until(|| !cfg!(target_os = "linux") || plugin_threads() == 2);
    assert!(!poll.has_ended());

    // SAFETY: the poll stands for an abandoned instance; no call but those below follows, and they do not reach the runtime.
    assert_eq!(unsafe { iggy_connector_shutdown_v1(60_000) }, 1);
    let ended = poll.wait();
    assert_eq!(
        ended.status,
        Status::CONTRACT,
        "an abandoned call completes all the same"
    );
    assert_eq!(DROPPED.load(Ordering::SeqCst), 2);
    // The system forgets a thread a little after it was joined.
    until(|| plugin_threads() == 0);
    // SAFETY: a second time does nothing.
    assert_eq!(unsafe { iggy_connector_shutdown_v1(0) }, 1);
    // SAFETY: nothing is lent.
    let late: Call<Nothing> =
        Call::make(|completion| unsafe { iggy_source_close_v1(1, 2, completion) });
    assert_eq!(late.wait().status, Status::CONTRACT);
}
