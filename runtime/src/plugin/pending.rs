//! The calls that plugins have not completed yet, and [`complete`], through which they do.
//!
//! A completion's context is not an address but a number, looked up here: a plugin that completes twice, late or with the wrong
//! function finds nothing, or something else than it claims, and is told of in the log. The table is the one place that owns what
//! an open call lends. It is global because a completion brings nothing along that a plugin could not forge.

use std::{
    any::TypeId,
    collections::BTreeMap,
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{Mutex, PoisonError},
};

use iggy_connector_abi::{self as abi, Completion, Status};

use super::{log, outcome};

/// Open calls by their number, which is never used again.
static CALLS: Mutex<BTreeMap<usize, Box<dyn Open>>> = Mutex::new(BTreeMap::new());

const _: () = assert!(usize::BITS == 64, "a call's number must fit into a context");

/// What a call's completion carries when it went well.
pub(super) trait Value: Sized + Send + 'static {
    /// How it crosses the fence.
    type Wire: 'static;

    /// Copies or takes over what the plugin lends.
    ///
    /// # Errors
    ///
    /// How the plugin broke the contract.
    ///
    /// # Safety
    ///
    /// `wire` came with a completion whose status is ok, or is null or misaligned, and the completion has not returned.
    unsafe fn read(wire: *const Self::Wire) -> Result<Self, String>;
}

impl Value for () {
    type Wire = abi::Nothing;

    unsafe fn read(_: *const abi::Nothing) -> Result<Self, String> {
        Ok(())
    }
}

/// How a call ended.
pub(super) type Answer<V> = Result<(outcome::Outcome, Option<V>), Broken>;

/// How the plugin broke the contract when it ended a call.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) how: String,
    /// Whether the plugin had ended the call with the status ok all the same: what the call was to make exists.
    pub(super) was_ok: bool,
}

/// A call that a plugin has not completed yet.
pub(super) struct Call<V> {
    /// Records that were handed over.
    pub(super) records: usize,
    /// Kept alive until the completion.
    pub(super) lent: Option<Box<dyn Send>>,
    /// Takes the answer; must not block. Runs on whatever thread the plugin completes from.
    pub(super) deliver: Box<dyn FnOnce(Answer<V>) + Send>,
}

/// [`Call`] without its type.
trait Open: Send {
    /// Reads the outcome and ends the call.
    ///
    /// # Safety
    ///
    /// As for a completion: both pointers are as [`Completion`] says, with a value of the type `wire`.
    unsafe fn end(
        self: Box<Self>,
        wire: TypeId,
        outcome: *const abi::Outcome,
        value: *const c_void,
    );
}

impl<V: Value> Open for Call<V> {
    unsafe fn end(
        self: Box<Self>,
        wire: TypeId,
        outcome: *const abi::Outcome,
        value: *const c_void,
    ) {
        let Self {
            records,
            lent,
            deliver,
        } = *self;
        if wire != TypeId::of::<V::Wire>() {
            // The plugin has mixed up two calls and may still be reading what this one lent.
            std::mem::forget(lent);
            return deliver(Err(Broken {
                how: "it was completed through another call's function".to_owned(),
                was_ok: false,
            }));
        }
        // SAFETY: the value is of this type; the rest is the caller's promise.
        let answer = unsafe { answer(outcome, value.cast(), records) };
        let answer = answer.map_err(|how| Broken {
            how,
            // SAFETY: the caller's promise.
            was_ok: unsafe { outcome::says_ok(outcome) },
        });
        // The plugin no longer touches what the call lent: it completes last.
        drop(lent);
        // A batch that nobody waits for is given back in here, which the plugin is prepared for (`ProducedBatch`).
        deliver(answer);
    }
}

/// Reads outcome and value.
///
/// # Safety
///
/// As for a completion.
unsafe fn answer<V: Value>(
    outcome: *const abi::Outcome,
    value: *const V::Wire,
    records: usize,
) -> Result<(outcome::Outcome, Option<V>), String> {
    // SAFETY: the plugin lends its outcome for the completion and lists only records of the batch (`Completion`); what it
    // cannot be by its own numbers is refused.
    let outcome = unsafe { outcome::read(outcome, records) }?;
    if outcome.status != Status::OK {
        return Ok((outcome, None));
    }
    // SAFETY: the plugin lends a value of this type with the status ok (`Completion`).
    let value = unsafe { V::read(value) }?;
    Ok((outcome, Some(value)))
}

/// Writes a call down and returns the completion that ends it; `None` when an unended call already has that number.
pub(super) fn register<V: Value>(
    instance: u32,
    call: u64,
    pending: Call<V>,
) -> Option<Completion<V::Wire>> {
    let number = number(instance, call);
    let mut calls = lock();
    if calls.contains_key(&number) {
        return None;
    }
    calls.insert(number, Box::new(pending));
    Some(Completion {
        context: ptr::without_provenance_mut(number),
        complete: complete::<V>,
    })
}

/// An instance's number in the upper half, its call's in the lower, so that a completion without a call tells whose it is.
///
/// The lower half comes round after 2^32 calls of one instance. A call that is still open then keeps its number, and the new one is
/// refused ([`register`]). One that has ended is confused with the new one only if the plugin completes it a second time, 2^32 calls
/// later: a number that came round cannot do harm before the plugin has.
fn number(instance: u32, call: u64) -> usize {
    (instance as usize) << 32 | call as u32 as usize
}

/// Ends a call. This is the function that plugins are given.
///
/// # Safety
///
/// The plugin keeps the obligations of [`Completion`]; that it calls once, and for a call of this type, is checked.
unsafe extern "C" fn complete<V: Value>(
    context: *mut c_void,
    outcome: *const abi::Outcome,
    value: *const V::Wire,
) {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let number = context.addr();
        let Some(call) = take(number) else {
            log::stray_completion((number >> 32) as u32);
            return;
        };
        // SAFETY: the caller's obligations; the value's type is this function's.
        unsafe { call.end(TypeId::of::<V::Wire>(), outcome, value.cast()) };
    }));
    // A panic of ours must not unwind into the plugin. Its payload's drop could panic again, so it is leaked.
    if let Err(panic) = ended {
        std::mem::forget(panic);
    }
}

fn take(number: usize) -> Option<Box<dyn Open>> {
    lock().remove(&number)
}

fn lock() -> std::sync::MutexGuard<'static, BTreeMap<usize, Box<dyn Open>>> {
    // The map is whole whenever the lock is free: nothing that can panic runs between two of its changes.
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
