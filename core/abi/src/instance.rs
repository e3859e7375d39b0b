//! What sources and sinks have in common: [`Open`], cancel, health, close, shutdown.
//!
//! An instance is one connector's state inside a library. The host chooses its number, unique in the process and never
//! used again. Every asynchronous call carries a number too (`call`), unique within the instance, by which it can be cancelled.
//! All symbols of a direction are mandatory.

use crate::{Completion, Grows, Measured, Nothing, Slice, log};

/// The symbol of [`Shutdown`].
pub const SHUTDOWN: &str = "iggy_connector_shutdown_v1";

/// What an instance is opened with. Lent until the completion.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// `size_of::<Open>()` of the host.
    pub size: u32,
    /// [`crate::ABI_MINOR`] of the host.
    pub minor: u32,
    /// The new instance's number, above 0.
    pub instance: u32,
    /// Threads for the library's own runtime. Only the first `open` of a library decides; 0 means 1.
    pub worker_threads: u32,
    /// 1 when `state` holds a saved state (sources), else 0.
    pub state_present: u32,
    /// Zero.
    pub reserved: u32,
    /// The connector's key, for names of threads and spans.
    pub key: Slice,
    /// `plugin_config` as the text of one JSON value; `{}` when the connector has none.
    pub config: Slice,
    /// The state that was saved last (sources).
    pub state: Slice,
    /// The host's functions.
    pub host: *const log::Host,
}

// SAFETY: plain addresses; reading through them is the reader's obligation (`Slice`).
unsafe impl Send for Open {}
// SAFETY: as for `Send`.
unsafe impl Sync for Open {}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for Open {
    const V1_SIZE: usize = size_of::<Self>();
}
// SAFETY: `size` is the first member.
unsafe impl Measured for Open {}

/// What an instance tells about itself when it has opened.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// `size_of::<Traits>()` of the guest.
    pub size: u32,
    /// 1 when no second instance may run beside this one on the same target, else 0.
    pub exclusive: u32,
    /// Sinks: batches of one partition that may be handed over before the first is settled. 0 means 1.
    pub max_unsettled: u32,
    /// Sources: batches that may be polled before the first is settled. 0 means 1.
    pub max_in_flight: u32,
    /// The streams that the instance proposes, as the text of one JSON array of `[[streams]]` entries; empty when it proposes none. Used
    /// where the connector's configuration has no entry.
    pub streams: Slice,
    /// Sources: 1 when it holds messages that it has taken from the outside for good, and hands them out when it is polled with
    /// [`crate::source::PollRequest::draining`]. 0: it is not polled once the connector is being stopped or paused.
    pub drains: u32,
    /// Zero.
    pub reserved: u32,
}

// SAFETY: plain addresses; reading through them is the reader's obligation (`Slice`).
unsafe impl Send for Traits {}
// SAFETY: as for `Send`.
unsafe impl Sync for Traits {}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for Traits {
    const V1_SIZE: usize = std::mem::offset_of!(Self, drains);
}
// SAFETY: `size` is the first member.
unsafe impl Measured for Traits {}

/// Creates and opens an instance: [`crate::sink::OPEN`], [`crate::source::OPEN`].
///
/// The instance exists exactly when the status was ok. The host closes each that exists, also when the completion came late
/// (the open was cancelled, or given up) or its traits could not be read.
///
/// # Safety
///
/// Host: `open` and all it points at live until the completion; `host` lives for ever; the instance's number is new; `call` is the
/// first of the instance's calls. Guest: completes once ([`Completion`]).
pub type OpenFn =
    unsafe extern "C" fn(open: *const Open, call: u64, completion: Completion<Traits>);

/// Asks a call to end ([`crate::sink::CANCEL`], [`crate::source::CANCEL`]): any call, an open too.
///
/// The guest drops the author's future at its next await and completes the call with [`crate::Status::CANCELLED`], unless it has
/// completed already. A cancelled call may still complete with any status, ok included, and the host honours it. An unknown
/// instance or call is no error: it has ended meanwhile.
///
/// # Safety
///
/// Host: only after the entry point of that call has returned. It may be repeated. Guest: returns at once, does not unwind.
pub type Cancel = unsafe extern "C" fn(instance: u32, call: u64);

/// A call without arguments and without a value: health, close.
///
/// Close ends the instance whatever its status, and is never repeated.
///
/// # Safety
///
/// Host: for close, every other call of the instance has completed and its entry point has returned. Guest: completes once
/// ([`Completion`]).
pub type Plain = unsafe extern "C" fn(instance: u32, call: u64, completion: Completion<Nothing>);

/// Stops the library's threads before the process ends. Blocks for at most `timeout_ms`.
/// Returns 1 when every thread has stopped, else 0.
///
/// # Safety
///
/// Host: every instance is closed or abandoned, and no entry point is called from now on; `release` of a batch may be, until the
/// process ends. Guest: does not unwind. Its threads may complete calls and log while it runs.
pub type Shutdown = unsafe extern "C" fn(timeout_ms: u64) -> u32;
