//! Calls a sink plugin of the same binary as the runtime does. Every test binary that has this in it has one plugin.
#![allow(dead_code, reason = "every test binary uses another part of it")]

use std::time::Duration;

use iggy_connector_sdk::export::abi::{
    Completion, Nothing, Slice,
    instance::{Open, Traits},
    schema,
    sink::{self, ConsumedBatch, FlushRequest},
};

use super::host::{Call, Ended, OPENING, number, request};

unsafe extern "C" {
    pub(crate) fn iggy_sink_open_v1(open: *const Open, call: u64, completion: Completion<Traits>);
    pub(crate) fn iggy_sink_consume_v1(
        instance: u32,
        call: u64,
        batch: *const ConsumedBatch,
        completion: Completion<Nothing>,
    );
    pub(crate) fn iggy_sink_flush_v1(
        instance: u32,
        call: u64,
        request: *const FlushRequest,
        completion: Completion<Nothing>,
    );
    pub(crate) fn iggy_sink_health_v1(instance: u32, call: u64, completion: Completion<Nothing>);
    pub(crate) fn iggy_sink_close_v1(instance: u32, call: u64, completion: Completion<Nothing>);
    pub(crate) fn iggy_sink_cancel_v1(instance: u32, call: u64);
}

pub(crate) type Plain = unsafe extern "C" fn(u32, u64, Completion<Nothing>);

pub(crate) fn open(instance: u32, config: &str) -> Ended<Traits> {
    let request = request(instance, config, None);
    // SAFETY: the request lives until the completion, which is waited for.
    Call::make(|completion| unsafe { iggy_sink_open_v1(&raw const request, OPENING, completion) })
        .wait()
}

pub(crate) fn start(instance: u32, call: u64, entry: Plain) -> Call<Nothing> {
    // SAFETY: a plain call lends nothing.
    Call::make(|completion| unsafe { entry(instance, call, completion) })
}

pub(crate) fn plain(instance: u32, entry: Plain) -> Ended<Nothing> {
    start(instance, u64::from(number()), entry).wait()
}

pub(crate) static EVERYTHING: FlushRequest = FlushRequest {
    size: size_of::<FlushRequest>() as u32,
    reason: sink::reason::STOP,
    partition_present: 0,
    partition_id: 0,
    stream: Slice::EMPTY,
    topic: Slice::EMPTY,
};

pub(crate) fn start_flush(instance: u32, call: u64, request: &FlushRequest) -> Call<Nothing> {
    // SAFETY: the request lives until the completion, which every caller waits for.
    Call::make(|completion| unsafe { iggy_sink_flush_v1(instance, call, request, completion) })
}

pub(crate) fn flush(instance: u32) -> Ended<Nothing> {
    start_flush(instance, u64::from(number()), &EVERYTHING).wait()
}

pub(crate) fn close(instance: u32) -> Ended<Nothing> {
    plain(instance, iggy_sink_close_v1)
}

pub(crate) fn record(payload: &[u8]) -> sink::ConsumedMessage {
    sink::ConsumedMessage {
        id_low: 1,
        id_high: 2,
        offset: 3,
        checksum: 4,
        timestamp: 5,
        origin_timestamp: 6,
        headers: Slice::EMPTY,
        payload: Slice::of(payload),
    }
}

pub(crate) fn batch(records: &[sink::ConsumedMessage]) -> ConsumedBatch {
    ConsumedBatch {
        size: size_of::<ConsumedBatch>() as u32,
        stride: size_of::<sink::ConsumedMessage>() as u32,
        messages: records.as_ptr(),
        len: records.len(),
        schema: schema::JSON,
        partition_id: 7,
        current_offset: 99,
        stream: Slice::of(b"orders"),
        topic: Slice::of(b"new"),
        rank: 0,
        reserved: 0,
    }
}

pub(crate) fn start_consume(instance: u32, call: u64, batch: &ConsumedBatch) -> Call<Nothing> {
    // SAFETY: the batch lives until the completion, which every caller waits for.
    Call::make(|completion| unsafe { iggy_sink_consume_v1(instance, call, batch, completion) })
}

pub(crate) fn consume(instance: u32, payloads: &[&str]) -> Ended<Nothing> {
    let records: Vec<_> = payloads
        .iter()
        .map(|text| record(text.as_bytes()))
        .collect();
    start_consume(instance, u64::from(number()), &batch(&records)).wait()
}

pub(crate) fn cancel(instance: u32, call: u64) {
    // SAFETY: may be called at any time.
    unsafe { iggy_sink_cancel_v1(instance, call) }
}

pub(crate) fn wait_until(fact: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !fact() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it did not come about"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}
