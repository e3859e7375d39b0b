//! A sink for the tests of the fence, written by hand: it breaks the contract where and how its configuration says.
#![expect(
    unsafe_code,
    reason = "a plugin written by hand exports symbols and reads what the host lends"
)]

use std::thread;

use iggy_connector_abi::{
    Completion, Nothing, Outcome, Slice, Status, descriptor, instance,
    sink::{ConsumedBatch, FlushRequest},
};
use misbehaviour::Values;

static DESCRIPTOR: descriptor::Descriptor =
    misbehaviour::descriptor(descriptor::SINK, "misbehaving_sink");

#[unsafe(no_mangle)]
extern "C" fn iggy_connector_descriptor() -> *const descriptor::Descriptor {
    &raw const DESCRIPTOR
}

#[unsafe(no_mangle)]
extern "C" fn iggy_connector_shutdown_v1(_timeout_ms: u64) -> u32 {
    1
}

#[unsafe(no_mangle)]
unsafe extern "C" fn iggy_sink_open_v1(
    open: *const instance::Open,
    call: u64,
    completion: Completion<instance::Traits>,
) {
    // SAFETY: the host's promise (`OpenFn`), passed on.
    unsafe { misbehaviour::open(open, call, completion) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn iggy_sink_consume_v1(
    instance: u32,
    call: u64,
    batch: *const ConsumedBatch,
    completion: Completion<Nothing>,
) {
    if misbehaviour::deed(instance, "consume").as_deref() == Some("read_after_signal") {
        return read_late(instance, batch.addr(), completion);
    }
    misbehaviour::act("consume", instance, call, completion, Values::NONE);
}

/// Reads the batch when the test says so, long after the host has stopped waiting: what was lent must still be there.
fn read_late(instance: u32, batch: usize, completion: Completion<Nothing>) {
    let signal = misbehaviour::signal(instance);
    thread::spawn(move || {
        misbehaviour::await_signal(&signal);
        let batch: *const ConsumedBatch = std::ptr::with_exposed_provenance(batch);
        // SAFETY: lent until the completion, which comes below (`Consume`).
        let batch = unsafe { iggy_connector_abi::read(batch) }.expect("a batch");
        // SAFETY: as above.
        let messages = unsafe { batch.messages() };
        let text = messages.into_iter().flat_map(|messages| messages.iter());
        let text: Vec<u8> = text
            .flat_map(|message| {
                // SAFETY: as above.
                unsafe { message.payload.bytes() }.unwrap_or_default()
            })
            .copied()
            .collect();
        let outcome = Outcome::new(Status::OK, Slice::EMPTY);
        misbehaviour::finish(completion, &outcome);
        misbehaviour::answer_signal(&signal, &String::from_utf8_lossy(&text));
    });
}

#[unsafe(no_mangle)]
extern "C" fn iggy_sink_flush_v1(
    instance: u32,
    call: u64,
    _request: *const FlushRequest,
    completion: Completion<Nothing>,
) {
    misbehaviour::act("flush", instance, call, completion, Values::NONE);
}

#[unsafe(no_mangle)]
extern "C" fn iggy_sink_health_v1(instance: u32, call: u64, completion: Completion<Nothing>) {
    if misbehaviour::deed(instance, "health").as_deref() == Some("report") {
        let text = format!("cancels={}", misbehaviour::cancels());
        let outcome = Outcome::new(Status::TRANSIENT, Slice::of(text.as_bytes()));
        return misbehaviour::finish(completion, &outcome);
    }
    if misbehaviour::deed(instance, "health").as_deref() == Some("report_closes") {
        let text = format!("closes={}", misbehaviour::closes());
        let outcome = Outcome::new(Status::TRANSIENT, Slice::of(text.as_bytes()));
        return misbehaviour::finish(completion, &outcome);
    }
    misbehaviour::act("health", instance, call, completion, Values::NONE);
}

#[unsafe(no_mangle)]
extern "C" fn iggy_sink_cancel_v1(instance: u32, call: u64) {
    misbehaviour::cancel(instance, call);
}

#[unsafe(no_mangle)]
extern "C" fn iggy_sink_close_v1(instance: u32, call: u64, completion: Completion<Nothing>) {
    misbehaviour::closed();
    misbehaviour::act("close", instance, call, completion, Values::NONE);
}

const _: () = {
    use iggy_connector_abi::sink;
    const _: instance::OpenFn = iggy_sink_open_v1;
    const _: sink::Consume = iggy_sink_consume_v1;
    const _: sink::Flush = iggy_sink_flush_v1;
    const _: instance::Plain = iggy_sink_health_v1;
    const _: instance::Plain = iggy_sink_close_v1;
    const _: instance::Cancel = iggy_sink_cancel_v1;
    const _: instance::Shutdown = iggy_connector_shutdown_v1;
    const _: descriptor::DescriptorFn = iggy_connector_descriptor;
};
