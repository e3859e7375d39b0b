//! What sources and sinks have in common: [`Open`], cancel, health, close, shutdown.
//!
//! An instance is one connector's state inside a library. The host chooses its number, unique in the process and never
//! used again. Every asynchronous call carries a number too (`call`), unique within the instance, by which it can be cancelled.
//! Opening is call 0.

use crate::{Completion, Nothing, Slice, log};

/// The symbol of [`Shutdown`].
pub const SHUTDOWN: &str = "iggy_connector_shutdown_v1";

/// What an instance is opened with. Lent until the completion.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// `size_of::<Open>()` of the host.
    pub size: u32,
    /// The new instance's number, above 0.
    pub instance: u32,
    /// Threads for the library's own runtime. Only the first `open` of a library decides; 0 means 1.
    pub worker_threads: u32,
    /// 1 when `state` holds a saved state (sources), else 0.
    pub state_present: u32,
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
}

/// Creates and opens an instance: [`crate::sink::OPEN`], [`crate::source::OPEN`].
///
/// # Safety
///
/// Host: `open` and all it points at live until the completion; `host` lives for ever; the instance's number is new.
/// Guest: completes once ([`Completion`]); when the status is not ok the instance does not exist.
pub type OpenFn = unsafe extern "C" fn(open: *const Open, completion: Completion<Traits>);

/// Asks a waiting call to end ([`crate::sink::CANCEL`], [`crate::source::CANCEL`]).
///
/// The guest drops the author's future at its next await and completes the call with [`crate::Status::CANCELLED`], unless it has
/// completed already. An unknown instance or call is no error: it has ended meanwhile.
///
/// # Safety
///
/// Guest: returns at once, does not unwind.
pub type Cancel = unsafe extern "C" fn(instance: u32, call: u64);

/// A call without arguments and without a value: flush, health, close.
///
/// # Safety
///
/// Host: for close, every other call of the instance has completed. Guest: completes once ([`Completion`]).
pub type Plain = unsafe extern "C" fn(instance: u32, call: u64, completion: Completion<Nothing>);

/// Stops the library's threads before the process ends. Blocks for at most `timeout_ms`.
/// Returns 1 when every thread has stopped, else 0. No call may follow it.
///
/// # Safety
///
/// Host: every instance is closed or abandoned. Guest: does not unwind.
pub type Shutdown = unsafe extern "C" fn(timeout_ms: u64) -> u32;
