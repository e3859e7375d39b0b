//! A source's entry points and the batch that it produces.

use std::ffi::c_void;

use crate::{Completion, Grows, Measured, Nothing, Slice, Strided};

/// The symbol of a source's [`crate::instance::OpenFn`].
pub const OPEN: &str = "iggy_source_open_v1";
/// The symbol of [`Poll`].
pub const POLL: &str = "iggy_source_poll_v1";
/// The symbol of [`Settle`].
pub const SETTLE: &str = "iggy_source_settle_v1";
/// The symbol of a source's health check. A [`crate::instance::Plain`].
pub const HEALTH: &str = "iggy_source_health_v1";
/// The symbol of a source's [`crate::instance::Cancel`].
pub const CANCEL: &str = "iggy_source_cancel_v1";
/// The symbol of a source's close. A [`crate::instance::Plain`].
pub const CLOSE: &str = "iggy_source_close_v1";

/// Asks for the next batch. It may wait as long as it likes; the host cancels it.
///
/// # Safety
///
/// Host: `request` lives, unchanged, until the completion; the batch's `release` is called exactly once. Guest: completes once
/// ([`Completion`]); what it took from the outside but did not return is offered again, also after a cancel.
pub type Poll = unsafe extern "C" fn(
    instance: u32,
    call: u64,
    request: *const PollRequest,
    completion: Completion<ProducedBatch>,
);

/// What a poll is to return. All are wishes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PollRequest {
    /// `size_of::<PollRequest>()` of the host.
    pub size: u32,
    /// Most messages; 0 means as many as the guest likes.
    pub max_messages: u32,
    /// Longest wait for the first message; 0 means as long as the guest likes.
    pub max_wait_ms: u64,
    /// How long the first message may wait for others to make a fuller batch, in µs; 0 means as long as the guest likes.
    pub linger_us: u64,
    /// 1 when the source is to be drained, else 0. Only for one whose [`crate::instance::Traits::drains`] is 1: the connector is being
    /// stopped or paused, and asks on until a poll brings no message and no state, or until it has waited long enough.
    ///
    /// The guest takes nothing in from the outside and does not wait for messages: it returns what it holds, at last nothing. A later
    /// poll without this sign says that it goes on as before.
    pub draining: u32,
    /// Zero.
    pub reserved: u32,
}

/// Tells what became of a polled batch.
///
/// The host settles every poll that completed with [`crate::Status::OK`], also one that was cancelled and one that brought no message,
/// in the order of the polls, one at a time. Until a settle completes with ok it is repeated with the same settlement and
/// a new call number, or the connector is given up. After a nack every later batch that is not settled is nacked too. A close
/// without a settle counts as a nack.
///
/// The guest keeps what it needs for a repeat until a settle has completed with ok. A repeat of the last one that did is ok again.
///
/// # Safety
///
/// Host: `settlement` and all it points at live, unchanged, until the completion. Guest: completes once ([`Completion`]).
pub type Settle = unsafe extern "C" fn(
    instance: u32,
    call: u64,
    settlement: *const Settlement,
    completion: Completion<Nothing>,
);

/// What became of a polled batch.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Settlement {
    /// `size_of::<Settlement>()` of the host.
    pub size: u32,
    /// 1: confirmed by Iggy and its state saved. 0: given up; the source offers it again.
    pub ack: u32,
    /// The number of the poll call that returned the batch.
    pub poll: u64,
    /// Of a nack: one of [`nack`]. Of an ack: 0.
    pub reason: u32,
    /// Bytes from one undelivered message to the next.
    pub stride: u32,
    /// Of an ack: the messages that did not reach their stream, by rising position. They are settled all the same.
    pub undelivered: *const Undelivered,
    /// Number of such messages.
    pub undelivered_len: usize,
}

/// [`Settlement::reason`].
pub mod nack {
    /// The connector is being stopped.
    pub const STOP: u32 = 1;
    /// It was tried as often as the connector's policy allows.
    pub const RETRIES_EXHAUSTED: u32 = 2;
}

/// One message of an acknowledged batch that did not reach its stream.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Position in the batch.
    pub index: u32,
    /// One of [`undelivered`].
    pub reason: u32,
}

/// [`Undelivered::reason`].
pub mod undelivered {
    /// A transform took it out.
    pub const FILTERED: u32 = 1;
    /// It went to the dead letters.
    pub const DEAD_LETTERED: u32 = 2;
    /// The connector's policy was to go on without it.
    pub const SKIPPED: u32 = 3;
}

/// [`ProducedBatch::flags`]: the source has ended. This batch's messages count. No poll follows unless a batch is nacked; the host
/// closes after the last settle.
pub const ENDED: u32 = 1;

/// One polled batch.
///
/// The struct itself is lent for the completion. What it points at belongs to the guest until the host calls
/// `release(owner)`: exactly once, from any thread, maybe from inside the completion, maybe after close or shutdown. Neither side writes to
/// it between the completion and `release`. `release` touches neither the library's runtime nor
/// thread-locals, and does not unwind.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ProducedBatch {
    /// `size_of::<ProducedBatch>()` of the guest.
    pub size: u32,
    /// Bytes from one message to the next.
    pub stride: u32,
    /// The messages.
    pub messages: *const ProducedMessage,
    /// Number of messages, at most `u32::MAX`; 0 is a poll that found nothing.
    pub len: usize,
    /// How the payloads are to be read: one of [`crate::schema`].
    pub schema: u32,
    /// [`ENDED`], or 0.
    pub flags: u32,
    /// 1 when `state` is the source's state after this batch, 0 when the state has not changed.
    pub state_present: u32,
    /// Zero.
    pub reserved: u32,
    /// The source's state after this batch.
    pub state: Slice,
    /// What `release` is called with.
    pub owner: *mut c_void,
    /// Gives the batch back.
    pub release: Option<unsafe extern "C" fn(owner: *mut c_void)>,
}

/// [`ProducedMessage::present`]: `id_low` and `id_high` hold an id.
pub const HAS_ID: u32 = 1;
/// [`ProducedMessage::present`]: `checksum` is set.
pub const HAS_CHECKSUM: u32 = 2;
/// [`ProducedMessage::present`]: `timestamp` is set.
pub const HAS_TIMESTAMP: u32 = 4;
/// [`ProducedMessage::present`]: `origin_timestamp` is set.
pub const HAS_ORIGIN_TIMESTAMP: u32 = 8;
/// [`ProducedMessage::present`]: `key` is set.
pub const HAS_KEY: u32 = 16;
/// [`ProducedMessage::present`]: `route` is set.
pub const HAS_ROUTE: u32 = 32;
/// [`ProducedMessage::present`]: `offset` is set.
pub const HAS_OFFSET: u32 = 64;

/// One message on its way into Iggy.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ProducedMessage {
    /// Low half of the message's id, with [`HAS_ID`].
    pub id_low: u64,
    /// High half of the message's id, with [`HAS_ID`].
    pub id_high: u64,
    /// With [`HAS_CHECKSUM`].
    pub checksum: u64,
    /// In µs since the epoch, with [`HAS_TIMESTAMP`].
    pub timestamp: u64,
    /// When the outside made it, in µs since the epoch, with [`HAS_ORIGIN_TIMESTAMP`].
    pub origin_timestamp: u64,
    /// Which optional fields are set.
    pub present: u32,
    /// Zero.
    pub reserved: u32,
    /// The payload.
    pub payload: Slice,
    /// User headers in Iggy's own wire encoding, as in [`crate::sink::ConsumedMessage::headers`]; empty when there are none. The host
    /// looks at them before it sends: what is no headers is invalid data of this message.
    pub headers: Slice,
    /// What the partition is chosen by, with [`HAS_KEY`].
    pub key: Slice,
    /// Where it goes, in UTF-8, with [`HAS_ROUTE`]: a route's name, or `/stream/topic`.
    pub route: Slice,
    /// The source's own token for the place after this message, with [`HAS_OFFSET`].
    pub offset: Slice,
}

// SAFETY: plain addresses; reading through them is the reader's obligation (`Slice`).
unsafe impl Send for ProducedBatch {}
// SAFETY: as for `Send`.
unsafe impl Sync for ProducedBatch {}
// SAFETY: as above.
unsafe impl Send for Settlement {}
// SAFETY: as above.
unsafe impl Sync for Settlement {}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for ProducedBatch {
    const V1_SIZE: usize = size_of::<Self>();
}
// SAFETY: `size` is the first member.
unsafe impl Measured for ProducedBatch {}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for ProducedMessage {
    const V1_SIZE: usize = size_of::<Self>();
}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for PollRequest {
    const V1_SIZE: usize = std::mem::offset_of!(Self, linger_us);
}
// SAFETY: `size` is the first member.
unsafe impl Measured for PollRequest {}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for Settlement {
    const V1_SIZE: usize = size_of::<Self>();
}
// SAFETY: `size` is the first member.
unsafe impl Measured for Settlement {}
// SAFETY: `repr(C)`, two `u32`.
unsafe impl Grows for Undelivered {
    const V1_SIZE: usize = size_of::<Self>();
}

impl ProducedBatch {
    /// The messages, or `None` when they cannot be an array ([`Strided::new`]).
    ///
    /// # Safety
    ///
    /// The batch came with the completion of a poll and is not released during `'a`.
    pub unsafe fn messages<'a>(&self) -> Option<Strided<'a, ProducedMessage>> {
        // SAFETY: the guest keeps `len` messages of `stride` bytes until `release` (`ProducedBatch`).
        unsafe { Strided::new(self.messages, self.len, self.stride) }
    }
}

impl Settlement {
    /// The undelivered messages, or `None` when they cannot be an array ([`Strided::new`]).
    ///
    /// # Safety
    ///
    /// The settlement is lent by the host ([`Settle`]) for at least `'a`.
    pub unsafe fn undelivered<'a>(&self) -> Option<Strided<'a, Undelivered>> {
        // SAFETY: the host lends as many records of `stride` bytes until the completion (`Settle`).
        unsafe { Strided::new(self.undelivered, self.undelivered_len, self.stride) }
    }
}
