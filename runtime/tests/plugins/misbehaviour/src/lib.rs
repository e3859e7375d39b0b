//! What the misbehaving test plugins can do wrong, at every entry point alike. An instance's configuration chooses:
//! `{"at": "consume", "do": "twice", "signal": "/path"}`; everywhere else it behaves.
//!
//! Used by `misbehaving_sink` and `misbehaving_source` alone.
#![expect(
    unsafe_code,
    reason = "a plugin written by hand calls the host's completion"
)]

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use iggy_connector_abi::{
    Completion, Failed, Nothing, Outcome, Slice, Status, descriptor, instance, schema,
};
use serde_json::Value;

/// What an instance was told to do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    at: String,
    deed: String,
    signal: PathBuf,
}

/// The value of a call that goes well, and one that is too short. Null for calls without one.
pub struct Values<T: 'static> {
    pub good: *const T,
    pub short: *const T,
}

// SAFETY: both point at constants or at leaked memory that nobody writes to.
unsafe impl<T> Send for Values<T> {}

impl<T> Clone for Values<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Values<T> {}

impl<T> Values<T> {
    /// For a call without a value.
    pub const NONE: Self = Self {
        good: std::ptr::null(),
        short: std::ptr::null(),
    };
}

static PLANS: Mutex<Option<HashMap<u32, Plan>>> = Mutex::new(None);
type Ends = HashMap<(u32, u64), Box<dyn FnOnce() + Send>>;
static WAITING: Mutex<Option<Ends>> = Mutex::new(None);
static CANCELS: Mutex<Vec<u64>> = Mutex::new(Vec::new());
static CLOSES: AtomicUsize = AtomicUsize::new(0);

/// What every instance tells about itself.
pub static TRAITS: instance::Traits = instance::Traits {
    size: size_of::<instance::Traits>() as u32,
    exclusive: 1,
    max_unsettled: 3,
    max_in_flight: 4,
    streams: Slice::EMPTY,
    drains: 0,
    reserved: 0,
};

static SHORT_TRAITS: instance::Traits = instance::Traits { size: 4, ..TRAITS };

/// A descriptor that is accepted.
pub const fn descriptor(direction: u32, name: &'static str) -> descriptor::Descriptor {
    descriptor::Descriptor {
        magic: descriptor::MAGIC,
        abi_version: iggy_connector_abi::ABI_VERSION,
        size: size_of::<descriptor::Descriptor>() as u32,
        minor: iggy_connector_abi::ABI_MINOR,
        flags: 0,
        direction,
        panic: descriptor::PANIC_UNWIND,
        name: Slice::of(name.as_bytes()),
        version: Slice::of(b"0.0.1"),
        sdk_version: Slice::EMPTY,
        target: Slice::EMPTY,
        config_schema: Slice::EMPTY,
    }
}

/// A schema that the host knows.
pub const SCHEMA: u32 = schema::RAW;

/// Reads an instance's plan and opens it, or does what the plan says instead.
///
/// # Safety
///
/// `open` is alive; see [`instance::OpenFn`].
pub unsafe fn open(
    open: *const instance::Open,
    call: u64,
    completion: Completion<instance::Traits>,
) {
    // SAFETY: alive by the caller's promise.
    let open = unsafe { iggy_connector_abi::read(open) }.expect("a host opens with something");
    // SAFETY: alive by the caller's promise.
    let config = unsafe { open.config.bytes() }.unwrap_or_default();
    let plan = Plan::read(config);
    lock(&PLANS)
        .get_or_insert_default()
        .insert(open.instance, plan);
    let values = Values {
        good: traits(config),
        short: &raw const SHORT_TRAITS,
    };
    act("open", open.instance, call, completion, values);
}

/// What an instance tells about itself: `proposes` in its plan, in JSON, is a text, or bytes, or a number of spaces, or below zero a number
/// of bytes at no address.
fn traits(config: &[u8]) -> *const instance::Traits {
    let config: Value = serde_json::from_slice(config).unwrap_or_default();
    let proposes = config["proposes"].as_str().unwrap_or_default();
    let bytes = match serde_json::from_str(proposes).unwrap_or_default() {
        Value::String(text) => text.into_bytes(),
        Value::Array(bytes) => {
            let bytes = bytes.iter().filter_map(Value::as_u64);
            bytes.map(|byte| byte as u8).collect()
        }
        Value::Number(count) => match count.as_i64().unwrap_or_default() {
            count @ 0.. => vec![b' '; count as usize],
            count => {
                let streams = Slice {
                    ptr: std::ptr::null(),
                    len: count.unsigned_abs() as usize,
                };
                return Box::leak(Box::new(instance::Traits { streams, ..TRAITS }));
            }
        },
        _ => return &raw const TRAITS,
    };
    let streams = Slice::of(bytes.leak());
    Box::leak(Box::new(instance::Traits { streams, ..TRAITS }))
}

/// Ends a call as the instance's plan says.
pub fn act<T>(entry: &str, instance: u32, call: u64, completion: Completion<T>, values: Values<T>) {
    let plan = plan(instance);
    let deed = if plan.at == entry {
        &*plan.deed
    } else {
        "well"
    };
    match deed {
        "before_return" => end(
            completion,
            &Outcome::new(Status::OK, Slice::EMPTY),
            values.good,
        ),
        "never" => {}
        "wait" => {
            let end = move || end(completion, &badly(Status::CANCELLED, b""), std::ptr::null());
            lock(&WAITING)
                .get_or_insert_default()
                .insert((instance, call), Box::new(end));
        }
        deed => {
            let (deed, signal) = (deed.to_owned(), plan.signal);
            thread::spawn(move || elsewhere(&deed, &signal, completion, values));
        }
    }
}

/// The instance's plan for `entry`, when it has one.
pub fn deed(instance: u32, entry: &str) -> Option<String> {
    let plan = plan(instance);
    (plan.at == entry).then_some(plan.deed)
}

/// The file through which the test and the instance's threads tell each other something.
pub fn signal(instance: u32) -> PathBuf {
    plan(instance).signal
}

/// Waits until the test has made the file.
pub fn await_signal(signal: &Path) {
    while !signal.exists() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Tells the test that it is done, with a text.
pub fn answer_signal(signal: &Path, text: &str) {
    let part = signal.with_extension("part");
    let written = std::fs::write(&part, text);
    // A text that cannot be written is one that the test waits for in vain.
    let _ = written.and_then(|()| std::fs::rename(part, signal.with_extension("done")));
}

/// Ends a waiting call as cancelled, once.
pub fn cancel(instance: u32, call: u64) {
    lock(&CANCELS).push(call);
    let end = lock(&WAITING)
        .get_or_insert_default()
        .remove(&(instance, call));
    if let Some(end) = end {
        end();
    }
}

/// How often anything was cancelled.
pub fn cancels() -> usize {
    lock(&CANCELS).len()
}

/// Counts a close.
pub fn closed() {
    CLOSES.fetch_add(1, Ordering::SeqCst);
}

/// How many instances were closed.
pub fn closes() -> usize {
    CLOSES.load(Ordering::SeqCst)
}

/// Completes a call that has no value.
pub fn finish(completion: Completion<Nothing>, outcome: &Outcome) {
    end(completion, outcome, std::ptr::null());
}

fn end<T>(completion: Completion<T>, outcome: *const Outcome, value: *const T) {
    // SAFETY: the host's function for the host's context; breaking the rest of its contract is what this plugin is for, as far as the
    // host promises to survive it.
    unsafe { (completion.complete)(completion.context, outcome, value) }
}

/// Ends a call from a thread of its own.
fn elsewhere<T>(deed: &str, signal: &Path, completion: Completion<T>, values: Values<T>) {
    let ok = Outcome::new(Status::OK, Slice::EMPTY);
    let list = [
        failed(0, Status::TRANSIENT),
        failed(0, Status::TRANSIENT),
        failed(1000, Status::INVALID_DATA),
    ];
    let listing = |from: usize, len| Outcome {
        failed: list[from..].as_ptr(),
        failed_len: len,
        ..ok
    };
    let long = vec![0xff; 1 << 20];
    let outcome = match deed {
        "twice" => {
            end(completion, &ok, values.good);
            end(completion, &ok, values.good);
            ok
        }
        "after_signal" => {
            await_signal(signal);
            end(completion, &ok, values.good);
            return answer_signal(signal, "late");
        }
        "null_outcome" => return end(completion, std::ptr::null(), values.good),
        "null_value" => return end(completion, &ok, std::ptr::null()),
        "short_value" => return end(completion, &ok, values.short),
        "short_outcome" => Outcome { size: 8, ..ok },
        "bad_status" => Outcome {
            status: Status(99),
            ..ok
        },
        "one_failed" => listing(1, 1),
        "index_twice" => listing(0, 2),
        "index_outside" => listing(2, 1),
        "endless_list" => listing(0, usize::MAX),
        "null_list" => Outcome {
            failed: std::ptr::null(),
            ..listing(0, 1)
        },
        "bad_stride" => Outcome {
            failed_stride: 3,
            ..listing(0, 1)
        },
        "list_with_error" => Outcome {
            status: Status::FATAL,
            ..listing(0, 1)
        },
        "not_text" => badly(Status::FATAL, &long),
        "cancelled" => badly(Status::CANCELLED, b""),
        "panicked" => badly(Status::PANICKED, b"boom"),
        "transient" => Outcome {
            retry_after_ms: 1500,
            ..badly(Status::TRANSIENT, b"busy")
        },
        "invalid" => badly(Status::INVALID_DATA, b"bad data"),
        "fatal" => badly(Status::FATAL, b"no table"),
        _ => ok,
    };
    let value = if outcome.status == Status::OK {
        values.good
    } else {
        std::ptr::null()
    };
    end(completion, &outcome, value);
}

fn badly(status: Status, message: &[u8]) -> Outcome {
    Outcome::new(status, Slice::of(message))
}

fn failed(index: u32, status: Status) -> Failed {
    Failed {
        index,
        status,
        message: Slice::of(b"as planned"),
    }
}

impl Plan {
    fn read(config: &[u8]) -> Self {
        let config: Value = serde_json::from_slice(config).unwrap_or_default();
        let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
        Self {
            at: text("at"),
            deed: text("do"),
            signal: text("signal").into(),
        }
    }
}

fn plan(instance: u32) -> Plan {
    let plans = lock(&PLANS);
    let plan = plans.as_ref().and_then(|plans| plans.get(&instance));
    plan.cloned().unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
