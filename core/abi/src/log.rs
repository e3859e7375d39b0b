//! What the host offers a guest: its log ([`Host`]).

use std::sync::atomic::AtomicU32;

use crate::{Grows, Measured, Slice};

/// Levels, in rising verbosity. 0 means off and appears only in [`Host::max_level`].
pub mod level {
    /// Nothing is logged.
    pub const OFF: u32 = 0;
    /// Something was lost or needs an operator.
    pub const ERROR: u32 = 1;
    /// Something went wrong and was recovered.
    pub const WARN: u32 = 2;
    /// Life cycle.
    pub const INFO: u32 = 3;
    /// Flow.
    pub const DEBUG: u32 = 4;
    /// Everything.
    pub const TRACE: u32 = 5;
}

/// The host's functions. Static: alive and unchanged from the first `open` to the end of the process, callable from any
/// thread, also after close.
///
/// # Safety
///
/// - The guest checks `size` before it touches another field, and copies the table ([`crate::read`]). It passes slices and records
///   that live until the function returns, and holds no lock meanwhile.
/// - The host's functions do not unwind and do not call back into the guest.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// `size_of::<Host>()` of the host.
    pub size: u32,
    /// Zero.
    pub reserved: u32,
    /// The most verbose level that any target is logged at, to be read (relaxed) before a call is made;
    /// null when there is none, and every level is to be offered.
    pub max_level: *const AtomicU32,
    /// Whether a line of this level and target would be logged: 1 or 0.
    pub enabled: unsafe extern "C" fn(level: u32, target: Slice) -> u32,
    /// Logs one line.
    pub log: unsafe extern "C" fn(record: *const Record),
}

// SAFETY: a table of functions that may be called from any thread, and an atomic.
unsafe impl Send for Host {}
// SAFETY: as for `Send`.
unsafe impl Sync for Host {}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding. A function that is appended will be an `Option`.
unsafe impl Grows for Host {
    const V1_SIZE: usize = size_of::<Self>();
}
// SAFETY: `size` is the first member.
unsafe impl Measured for Host {}

/// One line of a plugin's log.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// `size_of::<Record>()` of the guest.
    pub size: u32,
    /// The instance it came from; 0 when the guest cannot tell.
    pub instance: u32,
    /// One of [`level`].
    pub level: u32,
    /// Line in `file`, 0 when unknown.
    pub line: u32,
    /// Where it came from, in UTF-8: usually a module path.
    pub target: Slice,
    /// The text, in UTF-8.
    pub message: Slice,
    /// Structured fields as the text of one JSON object; empty when there are none.
    pub fields: Slice,
    /// Source file, in UTF-8; empty when unknown.
    pub file: Slice,
}

// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for Record {
    const V1_SIZE: usize = size_of::<Self>();
}
// SAFETY: `size` is the first member.
unsafe impl Measured for Record {}
