//! How a call ends: an [`Outcome`], carried by a [`Completion`].

use std::ffi::c_void;

use crate::{Grows, Measured, Slice, Status};

/// How a call ended.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// `size_of::<Outcome>()` of the writer.
    pub size: u32,
    /// Of the whole call; see `failed` for the one exception.
    pub status: Status,
    /// Why, in UTF-8; empty when there is nothing to say.
    pub message: Slice,
    /// Milliseconds to wait before trying again, also before the transient records of a list are; 0 when the plugin does not know.
    pub retry_after_ms: u64,
    /// Only of a consume that ended with [`Status::OK`]: the records that failed, each with its own status and at most once, in any
    /// order; every other one is durable. Else the list is empty.
    pub failed: *const Failed,
    /// Number of failed records.
    pub failed_len: usize,
    /// Bytes from one failed record to the next.
    pub failed_stride: u32,
    /// Zero.
    pub reserved: u32,
}

/// One record of a batch that failed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// Position in the batch. One outside the batch breaks the contract.
    pub index: u32,
    /// [`Status::TRANSIENT`], [`Status::INVALID_DATA`], or [`Status::FATAL`], which stops the connector after the others are settled;
    /// others break the contract.
    pub status: Status,
    /// Why, in UTF-8.
    pub message: Slice,
}

// SAFETY: plain addresses; reading through them is the reader's obligation (`Slice`).
unsafe impl Send for Outcome {}
// SAFETY: as for `Send`.
unsafe impl Sync for Outcome {}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for Outcome {
    const V1_SIZE: usize = size_of::<Self>();
}
// SAFETY: `size` is the first member.
unsafe impl Measured for Outcome {}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for Failed {
    const V1_SIZE: usize = size_of::<Self>();
}

impl Outcome {
    /// An outcome that lists no failed record.
    pub const fn new(status: Status, message: Slice) -> Self {
        Self {
            size: size_of::<Self>() as u32,
            status,
            message,
            retry_after_ms: 0,
            failed: std::ptr::null(),
            failed_len: 0,
            failed_stride: size_of::<Failed>() as u32,
            reserved: 0,
        }
    }
}

/// Where the result of a call goes.
///
/// # Safety
///
/// The guest calls `complete(context, outcome, value)`
///
/// - exactly once for each call that it was given, from any thread, possibly before the call has returned;
/// - with an outcome that is not null and alive until `complete` returns;
/// - with a value of this call's type when the status is [`Status::OK`], else with null. A call without a value
///   ([`Nothing`]) passes null in this version, and a host ignores what it does not know;
/// - without holding a lock: the host may call `release` from inside;
/// - last: after it the guest no longer touches what the call lent.
///
/// The host's `complete` does not unwind, returns soon, and takes no lock that a call into the guest is made under.
#[repr(C)]
#[derive(Debug)]
pub struct Completion<T> {
    /// The host's; opaque to the guest.
    pub context: *mut c_void,
    /// The host's.
    pub complete:
        unsafe extern "C" fn(context: *mut c_void, outcome: *const Outcome, value: *const T),
}

impl<T> Clone for Completion<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Completion<T> {}

// SAFETY: the contract lets a completion be called from any thread; the host's context is made for that.
unsafe impl<T> Send for Completion<T> {}
// SAFETY: as for `Send`; it is an address and a function.
unsafe impl<T> Sync for Completion<T> {}

/// The value of a call that has none: null, and never read.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Nothing {
    /// Keeps the type from being empty in C.
    pub unused: u8,
}
