//! A little host, in the same process: makes completions, waits for them, and checks that each comes once.
#![allow(dead_code, reason = "every test binary uses another part of it")]

use std::{
    any::Any,
    ffi::c_void,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use iggy_connector_sdk::export::abi::{
    Completion, Failed, Outcome, Slice, Status, Strided,
    instance::Open,
    log::{self, Host, Record},
};

/// Longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended<T> {
    pub(crate) status: Status,
    pub(crate) message: String,
    pub(crate) retry_after_ms: u64,
    pub(crate) failed: Vec<(u32, Status, String)>,
    pub(crate) value: Option<T>,
}

/// A call that was made.
pub(crate) struct Call<T>(Arc<Slot<T>>);

struct Slot<T> {
    ended: Mutex<Vec<Ended<T>>>,
    changed: Condvar,
    /// Runs inside of the completion.
    then: Box<dyn Fn() + Send + Sync>,
}

static KEPT: Mutex<Vec<Arc<dyn Any + Send + Sync>>> = Mutex::new(Vec::new());

impl<T: Copy + Send + 'static> Call<T> {
    /// Makes a call through `enter`.
    pub(crate) fn make(enter: impl FnOnce(Completion<T>)) -> Self {
        Self::make_then(enter, || {})
    }

    /// Makes a call whose completion runs `then`.
    pub(crate) fn make_then(
        enter: impl FnOnce(Completion<T>),
        then: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let slot = Arc::new(Slot {
            ended: Mutex::default(),
            changed: Condvar::new(),
            then: Box::new(then),
        });
        // Kept for ever, so that a completion that comes late or twice is seen and does not crash the test.
        KEPT.lock()
            .unwrap()
            .push(Arc::clone(&slot) as Arc<dyn Any + Send + Sync>);
        enter(Completion {
            context: Arc::as_ptr(&slot).cast_mut().cast(),
            complete: complete::<T>,
        });
        Self(slot)
    }

    /// Waits for the end.
    pub(crate) fn wait(&self) -> Ended<T> {
        let ended = self.0.ended.lock().unwrap();
        let (ended, timeout) = self
            .0
            .changed
            .wait_timeout_while(ended, PATIENCE, |ended| ended.is_empty())
            .unwrap();
        assert!(!timeout.timed_out(), "a call did not complete");
        ended[0].clone()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        !self.0.ended.lock().unwrap().is_empty()
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let ended = self.0.ended.lock().unwrap().len();
            assert_eq!(ended, 1, "a call completed {ended} times");
        }
    }
}

unsafe extern "C" fn complete<T: Copy>(
    context: *mut c_void,
    outcome: *const Outcome,
    value: *const T,
) {
    // SAFETY: kept alive by `make_then`.
    let slot = unsafe { &*context.cast_const().cast::<Slot<T>>() };
    (slot.then)();
    // SAFETY: not null and alive until this function returns (`Completion`).
    let outcome = unsafe { &*outcome };
    assert_eq!(outcome.size as usize, size_of::<Outcome>());
    let ended = Ended {
        status: outcome.status,
        message: text(outcome.message),
        retry_after_ms: outcome.retry_after_ms,
        failed: failed(outcome),
        // SAFETY: null, or of this call's type and alive.
        value: unsafe { value.as_ref() }.copied(),
    };
    slot.ended.lock().unwrap().push(ended);
    slot.changed.notify_all();
}

fn failed(outcome: &Outcome) -> Vec<(u32, Status, String)> {
    // SAFETY: alive until the completion returns.
    let failed: Option<Strided<'_, Failed>> =
        unsafe { Strided::new(outcome.failed, outcome.failed_len, outcome.failed_stride) };
    let failed = failed.expect("an array of failed records");
    failed
        .iter()
        .map(|record| (record.index, record.status, text(record.message)))
        .collect()
}

/// The text of a slice that is alive.
pub(crate) fn text(slice: Slice) -> String {
    String::from_utf8(bytes(slice)).expect("text")
}

/// The bytes of a slice that is alive.
pub(crate) fn bytes(slice: Slice) -> Vec<u8> {
    // SAFETY: alive, as every caller's contract says.
    unsafe { slice.bytes() }.expect("bytes").to_vec()
}

/// A number that no other instance or call of this process has.
pub(crate) fn number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// The number of the calls that open instances.
pub(crate) const OPENING: u64 = 900;

/// What to open an instance with.
pub(crate) fn request(instance: u32, config: &str, state: Option<&[u8]>) -> Open {
    Open {
        size: size_of::<Open>() as u32,
        minor: 0,
        instance,
        worker_threads: 2,
        state_present: u32::from(state.is_some()),
        reserved: 0,
        key: Slice::of(b"under-test"),
        config: Slice::of(config.as_bytes()),
        state: state.map_or(Slice::EMPTY, Slice::of),
        host: &raw const HOST,
    }
}

/// A line of the plugin's log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) instance: u32,
    pub(crate) level: u32,
    pub(crate) target: String,
    pub(crate) message: String,
    pub(crate) fields: String,
}

/// How the host's log is set, and what came.
pub(crate) static MAX_LEVEL: AtomicU32 = AtomicU32::new(log::level::TRACE);
pub(crate) static ENABLED_CALLS: AtomicU64 = AtomicU64::new(0);
static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

pub(crate) static HOST: Host = Host {
    size: size_of::<Host>() as u32,
    reserved: 0,
    max_level: &raw const MAX_LEVEL,
    enabled,
    log: log_line,
};

/// Every line whose text is `message`.
pub(crate) fn lines(message: &str) -> Vec<Line> {
    let lines = LINES.lock().unwrap();
    lines
        .iter()
        .filter(|line| line.message == message)
        .cloned()
        .collect()
}

unsafe extern "C" fn enabled(_level: u32, target: Slice) -> u32 {
    ENABLED_CALLS.fetch_add(1, Ordering::Relaxed);
    u32::from(text(target) != "muted")
}

unsafe extern "C" fn log_line(record: *const Record) {
    // SAFETY: alive until this function returns (`Host`).
    let record = unsafe { &*record };
    let line = Line {
        instance: record.instance,
        level: record.level,
        target: text(record.target),
        message: text(record.message),
        fields: text(record.fields),
    };
    LINES.lock().unwrap().push(line);
}
