//! Hands a call's end to the host: [`complete`], and what each call's value becomes ([`Value`]).

use iggy_connector_abi::{Completion, Failed, Nothing, Outcome, Slice, Status};

use super::{outcome, outcome::Ended};

/// What a call that went well gives to the host.
pub(super) trait Value: Send + 'static {
    /// Its form on the fence.
    type Wire;

    /// Calls `give` with the value's address, or with null for a call without a value. An error is told instead of the value.
    fn lend(self, give: impl FnOnce(*const Self::Wire)) -> Result<(), String>;
}

impl Value for () {
    type Wire = Nothing;

    fn lend(self, give: impl FnOnce(*const Nothing)) -> Result<(), String> {
        give(std::ptr::null());
        Ok(())
    }
}

/// Ends the call that `completion` came with.
///
/// # Safety
///
/// - The call has not been completed, and is not completed again.
/// - Nothing that the call lent is used after this.
pub(super) unsafe fn complete<V: Value>(completion: Completion<V::Wire>, mut ended: Ended<V>) {
    let value = ended.value.take();
    let failed = records(&ended.failed);
    let outcome = Outcome {
        retry_after_ms: ended.retry_after_ms,
        failed: failed.as_ptr(),
        failed_len: failed.len(),
        ..Outcome::new(ended.status, Slice::of(ended.message.as_bytes()))
    };
    let Some(value) = value else {
        // SAFETY: once, by the caller's promise; outcome and list live until the end of this function.
        return unsafe { call(completion, &outcome, std::ptr::null()) };
    };
    let lent = value.lend(|value| {
        // SAFETY: once, by the caller's promise: an error below means that this has not run (`Value::lend`).
        unsafe { call(completion, &outcome, value) }
    });
    if let Err(message) = lent {
        let outcome = Outcome::new(Status::CONTRACT, Slice::of(message.as_bytes()));
        // SAFETY: once, since `lend` has not called it; the message lives until the end of this block.
        unsafe { call(completion, &outcome, std::ptr::null()) }
    }
}

/// # Safety
///
/// As [`complete`]; `value` is null or alive.
unsafe fn call<T>(completion: Completion<T>, outcome: &Outcome, value: *const T) {
    // SAFETY: the host's function for the host's context; the rest is the caller's promise (`abi::Completion`).
    unsafe { (completion.complete)(completion.context, outcome, value) }
}

fn records(failed: &[outcome::Failed]) -> Vec<Failed> {
    failed
        .iter()
        .map(|record| Failed {
            index: record.index,
            status: record.status,
            message: Slice::of(record.message.as_bytes()),
        })
        .collect()
}
