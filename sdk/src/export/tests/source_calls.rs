//! Calls a source plugin of the same binary as the runtime does. Every test binary that has this in it has one plugin.
#![allow(dead_code, reason = "every test binary uses another part of it")]

use std::time::Duration;

use iggy_connector_sdk::export::abi::{
    Completion, Nothing, Status,
    instance::{Open, Traits},
    source::{PollRequest, ProducedBatch, ProducedMessage, Settlement, Undelivered, nack},
};

use super::host::{Call, Ended, OPENING, number, request, text};

unsafe extern "C" {
    pub(crate) fn iggy_source_open_v1(open: *const Open, call: u64, completion: Completion<Traits>);
    pub(crate) fn iggy_source_poll_v1(
        instance: u32,
        call: u64,
        request: *const PollRequest,
        completion: Completion<ProducedBatch>,
    );
    pub(crate) fn iggy_source_settle_v1(
        instance: u32,
        call: u64,
        settlement: *const Settlement,
        completion: Completion<Nothing>,
    );
    pub(crate) fn iggy_source_health_v1(instance: u32, call: u64, completion: Completion<Nothing>);
    pub(crate) fn iggy_source_close_v1(instance: u32, call: u64, completion: Completion<Nothing>);
    pub(crate) fn iggy_source_cancel_v1(instance: u32, call: u64);
}

pub(crate) fn open(config: &str, state: Option<&[u8]>) -> (u32, Traits) {
    let instance = number();
    let request = request(instance, config, state);
    // SAFETY: the request lives until the completion, which is waited for.
    let call = Call::make(|completion| unsafe {
        iggy_source_open_v1(&raw const request, OPENING, completion)
    });
    let ended = call.wait();
    assert_eq!(ended.status, Status::OK, "{ended:?}");
    (instance, ended.value.unwrap())
}

pub(crate) fn opened(config: &str) -> u32 {
    open(config, None).0
}

pub(crate) static WISHES: PollRequest = PollRequest {
    size: size_of::<PollRequest>() as u32,
    max_messages: 0,
    max_wait_ms: 0,
    linger_us: 0,
    draining: 0,
    reserved: 0,
};

pub(crate) fn start_poll(instance: u32, poll: u64) -> Call<ProducedBatch> {
    start_poll_for(instance, poll, &WISHES)
}

pub(crate) fn start_poll_for(
    instance: u32,
    poll: u64,
    wishes: &PollRequest,
) -> Call<ProducedBatch> {
    // SAFETY: the request is read before the entry point returns, and every caller keeps it longer.
    Call::make(|completion| unsafe { iggy_source_poll_v1(instance, poll, wishes, completion) })
}

/// Asks a call that has been made to end.
pub(crate) fn cancel(instance: u32, call: u64) {
    // SAFETY: may be called at any time once the call's entry point has returned.
    unsafe { iggy_source_cancel_v1(instance, call) }
}

/// A poll that returned a batch, which the caller releases.
pub(crate) fn polled(instance: u32, poll: u64) -> ProducedBatch {
    let ended = start_poll(instance, poll).wait();
    assert_eq!(ended.status, Status::OK, "{ended:?}");
    ended.value.unwrap()
}

pub(crate) fn settlement(poll: u64, ack: bool, undelivered: &[Undelivered]) -> Settlement {
    Settlement {
        size: size_of::<Settlement>() as u32,
        ack: u32::from(ack),
        poll,
        reason: if ack { 0 } else { nack::STOP },
        stride: size_of::<Undelivered>() as u32,
        undelivered: undelivered.as_ptr(),
        undelivered_len: undelivered.len(),
    }
}

/// Settles a poll, without a message that did not reach its stream.
pub(crate) fn settle(instance: u32, poll: u64, ack: bool) -> Ended<Nothing> {
    start_settle(instance, &settlement(poll, ack, &[])).wait()
}

pub(crate) fn start_settle(instance: u32, settlement: &Settlement) -> Call<Nothing> {
    let call = u64::from(number()) + 1_000_000;
    settle_as(instance, call, settlement)
}

pub(crate) fn settle_as(instance: u32, call: u64, settlement: &Settlement) -> Call<Nothing> {
    // SAFETY: every caller keeps the settlement until the completion, which it waits for.
    Call::make(|completion| unsafe {
        iggy_source_settle_v1(instance, call, settlement, completion)
    })
}

pub(crate) fn close(instance: u32) -> Ended<Nothing> {
    // SAFETY: nothing is lent.
    Call::make(|completion| unsafe { iggy_source_close_v1(instance, 9, completion) }).wait()
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

pub(crate) fn messages(batch: &ProducedBatch) -> Vec<ProducedMessage> {
    // SAFETY: the batch is not released yet.
    let messages = unsafe { batch.messages() };
    messages.expect("an array").iter().collect()
}

pub(crate) fn release(batch: ProducedBatch) {
    let release = batch.release.expect("a way back");
    // SAFETY: every test releases a batch once.
    unsafe { release(batch.owner) }
}

/// The texts of a batch's messages; gives it back.
pub(crate) fn texts(batch: ProducedBatch) -> Vec<String> {
    let texts = messages(&batch).iter().map(|it| text(it.payload)).collect();
    release(batch);
    texts
}
