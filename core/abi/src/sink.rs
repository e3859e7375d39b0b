//! A sink's entry points and the batch that it consumes.

use crate::{Completion, Nothing, Slice, Strided};

/// The symbol of a sink's [`crate::instance::OpenFn`].
pub const OPEN: &str = "iggy_sink_open_v1";
/// The symbol of [`Consume`].
pub const CONSUME: &str = "iggy_sink_consume_v1";
/// The symbol of a sink's flush: makes everything handed over durable. A [`crate::instance::Plain`].
pub const FLUSH: &str = "iggy_sink_flush_v1";
/// The symbol of a sink's health check. A [`crate::instance::Plain`].
pub const HEALTH: &str = "iggy_sink_health_v1";
/// The symbol of a sink's [`crate::instance::Cancel`].
pub const CANCEL: &str = "iggy_sink_cancel_v1";
/// The symbol of a sink's close. A [`crate::instance::Plain`].
pub const CLOSE: &str = "iggy_sink_close_v1";

/// Hands over one batch of one partition.
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

/// One batch: messages of one partition, in order.
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
    /// User headers in Iggy's own wire encoding; empty when there are none.
    pub headers: Slice,
    /// The payload.
    pub payload: Slice,
}

// SAFETY: plain addresses; reading through them is the reader's obligation (`Slice`).
unsafe impl Send for ConsumedBatch {}
// SAFETY: as for `Send`.
unsafe impl Sync for ConsumedBatch {}

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
