//! A source for the tests of the fence, written by hand: it breaks the contract where and how its configuration says.
//!
//! A poll returns three messages with fixed contents. `health` with `do = "report"` tells how many batches were made and given back.
#![expect(
    unsafe_code,
    reason = "a plugin written by hand exports symbols and lends memory to the host"
)]

use std::{
    ffi::c_void,
    sync::atomic::{AtomicUsize, Ordering},
};

use iggy_connector_abi::{
    Completion, Nothing, Outcome, Slice, Status, descriptor, instance,
    source::{self, PollRequest, ProducedBatch, ProducedMessage, Settlement},
};
use misbehaviour::Values;

static DESCRIPTOR: descriptor::Descriptor =
    misbehaviour::descriptor(descriptor::SOURCE, "misbehaving_source");

static MADE: AtomicUsize = AtomicUsize::new(0);
static RELEASED: AtomicUsize = AtomicUsize::new(0);

/// What the host is lent, and what it points at.
struct Owned {
    messages: Vec<ProducedMessage>,
    payloads: [Vec<u8>; 3],
}

#[unsafe(no_mangle)]
extern "C" fn iggy_connector_descriptor() -> *const descriptor::Descriptor {
    &raw const DESCRIPTOR
}

#[unsafe(no_mangle)]
extern "C" fn iggy_connector_shutdown_v1(_timeout_ms: u64) -> u32 {
    1
}

#[unsafe(no_mangle)]
unsafe extern "C" fn iggy_source_open_v1(
    open: *const instance::Open,
    call: u64,
    completion: Completion<instance::Traits>,
) {
    // SAFETY: the host's promise (`OpenFn`), passed on.
    unsafe { misbehaviour::open(open, call, completion) }
}

#[unsafe(no_mangle)]
extern "C" fn iggy_source_poll_v1(
    instance: u32,
    call: u64,
    _request: *const PollRequest,
    completion: Completion<ProducedBatch>,
) {
    let deed = misbehaviour::deed(instance, "poll").unwrap_or_default();
    if matches!(&*deed, "never" | "wait") {
        // No batch is made: nobody would give it back.
        return misbehaviour::act("poll", instance, call, completion, Values::NONE);
    }
    let good = spoiled(batch(), &deed);
    let short = ProducedBatch { size: 4, ..good };
    let keep = |batch| &raw const *Box::leak(Box::new(batch));
    let values = Values {
        good: keep(good),
        short: keep(short),
    };
    misbehaviour::act("poll", instance, call, completion, values);
}

fn batch() -> ProducedBatch {
    let payloads = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
    let messages = payloads.iter().map(|payload| message(payload)).collect();
    let owned = Box::new(Owned { messages, payloads });
    let batch = ProducedBatch {
        size: size_of::<ProducedBatch>() as u32,
        stride: size_of::<ProducedMessage>() as u32,
        messages: owned.messages.as_ptr(),
        len: owned.messages.len(),
        schema: misbehaviour::SCHEMA,
        flags: source::ENDED,
        state_present: 1,
        reserved: 0,
        state: Slice::of(b"after three"),
        owner: Box::into_raw(owned).cast(),
        release: Some(release),
    };
    MADE.fetch_add(1, Ordering::SeqCst);
    batch
}

fn message(payload: &[u8]) -> ProducedMessage {
    ProducedMessage {
        id_low: 7,
        id_high: 1,
        checksum: 0,
        timestamp: 0,
        origin_timestamp: 99,
        present: source::HAS_ID
            | source::HAS_ORIGIN_TIMESTAMP
            | source::HAS_KEY
            | source::HAS_ROUTE,
        reserved: 0,
        payload: Slice::of(payload),
        headers: Slice::EMPTY,
        key: Slice::of(b"key"),
        route: Slice::of(b"/stream/topic"),
        offset: Slice::EMPTY,
    }
}

/// The batch with the one mistake that `deed` names.
fn spoiled(batch: ProducedBatch, deed: &str) -> ProducedBatch {
    match deed {
        "unknown_schema" => ProducedBatch {
            schema: 42,
            ..batch
        },
        "null_messages" => ProducedBatch {
            messages: std::ptr::null(),
            ..batch
        },
        "batch_stride" => ProducedBatch { stride: 8, ..batch },
        "endless_batch" => ProducedBatch {
            len: usize::MAX,
            ..batch
        },
        "no_release" => ProducedBatch {
            release: None,
            ..batch
        },
        "null_state" => ProducedBatch {
            state: Slice {
                ptr: std::ptr::null(),
                len: 3,
            },
            ..batch
        },
        "null_payload" => {
            spoil_payload(&batch);
            batch
        }
        _ => batch,
    }
}

fn spoil_payload(batch: &ProducedBatch) {
    let owned: *mut Owned = batch.owner.cast();
    // SAFETY: the batch is still this function's caller's alone.
    let owned = unsafe { &mut *owned };
    owned.messages[1].payload = Slice {
        ptr: std::ptr::null(),
        len: owned.payloads[1].len(),
    };
}

unsafe extern "C" fn release(owner: *mut c_void) {
    RELEASED.fetch_add(1, Ordering::SeqCst);
    // SAFETY: the host's promise: once, with the owner of a batch (`ProducedBatch`).
    drop(unsafe { Box::<Owned>::from_raw(owner.cast()) });
}

#[unsafe(no_mangle)]
extern "C" fn iggy_source_settle_v1(
    instance: u32,
    call: u64,
    _settlement: *const Settlement,
    completion: Completion<Nothing>,
) {
    misbehaviour::act("settle", instance, call, completion, Values::NONE);
}

#[unsafe(no_mangle)]
extern "C" fn iggy_source_health_v1(instance: u32, call: u64, completion: Completion<Nothing>) {
    if misbehaviour::deed(instance, "health").as_deref() == Some("report") {
        let (made, released) = (MADE.load(Ordering::SeqCst), RELEASED.load(Ordering::SeqCst));
        let text = format!("made={made} released={released}");
        let outcome = Outcome::new(Status::TRANSIENT, Slice::of(text.as_bytes()));
        return misbehaviour::finish(completion, &outcome);
    }
    misbehaviour::act("health", instance, call, completion, Values::NONE);
}

#[unsafe(no_mangle)]
extern "C" fn iggy_source_cancel_v1(instance: u32, call: u64) {
    misbehaviour::cancel(instance, call);
}

#[unsafe(no_mangle)]
extern "C" fn iggy_source_close_v1(instance: u32, call: u64, completion: Completion<Nothing>) {
    misbehaviour::act("close", instance, call, completion, Values::NONE);
}

const _: () = {
    const _: instance::OpenFn = iggy_source_open_v1;
    const _: source::Poll = iggy_source_poll_v1;
    const _: source::Settle = iggy_source_settle_v1;
    const _: instance::Plain = iggy_source_health_v1;
    const _: instance::Plain = iggy_source_close_v1;
    const _: instance::Cancel = iggy_source_cancel_v1;
    const _: instance::Shutdown = iggy_connector_shutdown_v1;
    const _: descriptor::DescriptorFn = iggy_connector_descriptor;
};
