//! A sink's entry points and the batch that it consumes.

use crate::{Completion, Grows, Measured, Nothing, Slice, Strided};

/// The symbol of a sink's [`crate::instance::OpenFn`].
pub const OPEN: &str = "iggy_sink_open_v1";
/// The symbol of [`Consume`].
pub const CONSUME: &str = "iggy_sink_consume_v1";
/// The symbol of [`Flush`].
pub const FLUSH: &str = "iggy_sink_flush_v1";
/// The symbol of a sink's health check. A [`crate::instance::Plain`].
pub const HEALTH: &str = "iggy_sink_health_v1";
/// The symbol of a sink's [`crate::instance::Cancel`].
pub const CANCEL: &str = "iggy_sink_cancel_v1";
/// The symbol of a sink's close. A [`crate::instance::Plain`].
pub const CLOSE: &str = "iggy_sink_close_v1";

/// Hands over one batch of one partition. The next batch of that partition is handed over after this has returned.
///
/// Positions are in the order of offsets, which may have gaps. A batch may repeat messages of an earlier one.
///
/// # Safety
///
/// Host: `batch` and all it points at live, unchanged, until the completion. Guest: completes once ([`Completion`]).
pub type Consume = unsafe extern "C" fn(
    instance: u32,
    call: u64,
    batch: *const ConsumedBatch,
    completion: Completion<Nothing>,
);

/// Makes everything handed over durable, or what was handed over of one partition.
///
/// Before it completes with [`crate::Status::OK`] the guest has completed every consume that was handed over before it (of that
/// partition, if one is named). When it fails, those consumes stay pending, or complete with a status of their own. The host never
/// waits for a pending consume without a flush or a cancel.
///
/// # Safety
///
/// Host: `request` and all it points at live, unchanged, until the completion. Guest: completes once ([`Completion`]).
pub type Flush = unsafe extern "C" fn(
    instance: u32,
    call: u64,
    request: *const FlushRequest,
    completion: Completion<Nothing>,
);

/// [`FlushRequest::reason`].
pub mod reason {
    /// None in particular.
    pub const NONE: u32 = 0;
    /// A batch has waited long enough.
    pub const TIMEOUT: u32 = 1;
    /// The connector is being paused.
    pub const PAUSE: u32 = 2;
    /// The connector is being stopped: a close follows.
    pub const STOP: u32 = 3;
    /// The partition goes to another consumer.
    pub const PARTITION_LOST: u32 = 4;
}

/// [`ConsumedBatch::rank`].
pub mod rank {
    /// Nothing that was handed over of the partition before comes again: the host knows how all of it has ended, or tries nothing twice.
    pub const FIRST: u32 = 1;
    /// Something that was handed over of the partition before may come again: the host does not know yet how it has ended.
    pub const BEHIND: u32 = 2;
}

/// What is to be flushed, and why.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FlushRequest {
    /// `size_of::<FlushRequest>()` of the host.
    pub size: u32,
    /// One of [`reason`].
    pub reason: u32,
    /// 1 when only what was handed over of one partition is meant, else 0.
    pub partition_present: u32,
    /// That partition.
    pub partition_id: u32,
    /// That partition's stream.
    pub stream: Slice,
    /// That partition's topic.
    pub topic: Slice,
}

/// One batch: messages of one partition, in order, at most `u32::MAX`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ConsumedBatch {
    /// `size_of::<ConsumedBatch>()` of the host.
    pub size: u32,
    /// Bytes from one message to the next.
    pub stride: u32,
    /// The messages.
    pub messages: *const ConsumedMessage,
    /// Number of messages.
    pub len: usize,
    /// How the payloads are to be read: one of [`crate::schema`].
    pub schema: u32,
    /// The partition they came from.
    pub partition_id: u32,
    /// The last offset of the partition when the batch was read.
    pub current_offset: u64,
    /// The stream's name.
    pub stream: Slice,
    /// The topic's name.
    pub topic: Slice,
    /// One of [`rank`]; 0, or a number that the guest does not know, when the host does not say.
    ///
    /// It keeps a partition's order where an instance takes several batches of it at once: when one has failed so that it comes again, the
    /// host may hand over the next before it learns of that. A guest that minds the order then refuses what is [`rank::BEHIND`], with
    /// [`crate::Status::TRANSIENT`] and without any effect, until a batch of the partition is [`rank::FIRST`]. The host hands all of it over
    /// again, in order, and counts no attempt for what was refused behind a failure.
    ///
    /// What comes again: everything that did not end with [`crate::Status::OK`], but for a single message that ended with
    /// [`crate::Status::INVALID_DATA`]; and what ended with ok and lists a record that is not invalid data.
    pub rank: u32,
    /// Zero.
    pub reserved: u32,
}

/// One message on its way out of Iggy.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ConsumedMessage {
    /// Low half of the message's id.
    pub id_low: u64,
    /// High half of the message's id.
    pub id_high: u64,
    /// Offset in the partition.
    pub offset: u64,
    /// Iggy's checksum of the message.
    pub checksum: u64,
    /// When the broker stored it, in µs since the epoch.
    pub timestamp: u64,
    /// When the producer made it, in µs since the epoch.
    pub origin_timestamp: u64,
    /// User headers in Iggy's own wire encoding; empty when there are none. At most 100,000 bytes: each header is its key, then its
    /// value, and each of these two a kind (u8, 1 to 15), a length (u32, little-endian) and as many bytes.
    pub headers: Slice,
    /// The payload.
    pub payload: Slice,
}

// SAFETY: plain addresses; reading through them is the reader's obligation (`Slice`).
unsafe impl Send for ConsumedBatch {}
// SAFETY: as for `Send`.
unsafe impl Sync for ConsumedBatch {}
// SAFETY: plain addresses, as above.
unsafe impl Send for FlushRequest {}
// SAFETY: as for `Send`.
unsafe impl Sync for FlushRequest {}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding; zero is a value of the two numbers that were appended.
unsafe impl Grows for ConsumedBatch {
    const V1_SIZE: usize = std::mem::offset_of!(Self, rank);
}
// SAFETY: `size` is the first member.
unsafe impl Measured for ConsumedBatch {}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for ConsumedMessage {
    const V1_SIZE: usize = size_of::<Self>();
}
// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for FlushRequest {
    const V1_SIZE: usize = size_of::<Self>();
}
// SAFETY: `size` is the first member.
unsafe impl Measured for FlushRequest {}

impl ConsumedBatch {
    /// The messages, or `None` when they cannot be an array ([`Strided::new`]).
    ///
    /// # Safety
    ///
    /// The batch is lent by the host ([`Consume`]) for at least `'a`.
    pub unsafe fn messages<'a>(&self) -> Option<Strided<'a, ConsumedMessage>> {
        // SAFETY: the host lends `len` messages of `stride` bytes until the completion (`Consume`).
        unsafe { Strided::new(self.messages, self.len, self.stride) }
    }
}
