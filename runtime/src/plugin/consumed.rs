//! A batch as it crosses the fence to a sink: records that point into the bytes the broker's reply arrived in.

use std::sync::{Arc, Mutex, PoisonError};

use iggy_connector_abi::{self as abi, Slice};

use crate::pipeline::{Batch, Message, Rank};

/// Memory for records, kept from one batch to the next.
#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<abi::sink::ConsumedMessage>>);

impl Spare {
    fn take(&self) -> Vec<abi::sink::ConsumedMessage> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, mut records: Vec<abi::sink::ConsumedMessage>) {
        records.clear();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = records;
    }
}

/// What a consume lends: the batch's bytes, the records that point into them, and the header that points at the records.
pub(super) struct Lent {
    wire: abi::sink::ConsumedBatch,
    records: Vec<abi::sink::ConsumedMessage>,
    spare: Arc<Spare>,
    _batch: Arc<Batch>,
}

impl Lent {
    pub(super) fn new(batch: Arc<Batch>, rank: Rank, spare: &Arc<Spare>) -> Self {
        let mut records = spare.take();
        records.extend(batch.messages.iter().map(record));
        Self {
            wire: abi::sink::ConsumedBatch {
                size: size_of::<abi::sink::ConsumedBatch>() as u32,
                stride: size_of::<abi::sink::ConsumedMessage>() as u32,
                messages: records.as_ptr(),
                len: records.len(),
                schema: batch.schema.as_code(),
                partition_id: batch.partition_id,
                current_offset: batch.current_offset,
                stream: Slice::of(batch.topic.stream.as_bytes()),
                topic: Slice::of(batch.topic.topic.as_bytes()),
                rank: match rank {
                    Rank::First => abi::sink::rank::FIRST,
                    Rank::Behind => abi::sink::rank::BEHIND,
                },
                reserved: 0,
            },
            records,
            spare: spare.clone(),
            _batch: batch,
        }
    }

    pub(super) fn wire(&self) -> *const abi::sink::ConsumedBatch {
        &raw const self.wire
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.spare.put_back(std::mem::take(&mut self.records));
    }
}

fn record(message: &Message) -> abi::sink::ConsumedMessage {
    abi::sink::ConsumedMessage {
        id_low: message.id as u64,
        id_high: (message.id >> 64) as u64,
        offset: message.offset,
        checksum: message.checksum,
        timestamp: message.timestamp,
        origin_timestamp: message.origin_timestamp,
        headers: Slice::of(&message.headers),
        payload: Slice::of(&message.payload),
    }
}
