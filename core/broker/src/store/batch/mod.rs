//! Batches of messages as they are on the wire and on disk: admission, stamping in place, and cutting a run
//! of them to a range of offsets. Pure.

use iggy_binary_protocol::{
    WireError,
    batch::{
        BATCH_HEADER_SIZE, BATCH_MESSAGE_HEADER_SIZE, BatchHeader, BatchMessageHeader,
        calculate_batch_checksum, decode_batch_slice,
    },
};
use iggy_common::IggyError;

use crate::error::wire_error;

/// A batch from a client, verified, still without a place in a partition.
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    header: BatchHeader,
    bytes: &'a mut [u8],
}

/// Verifies a batch that fills `bytes`.
pub(crate) fn admit(bytes: &mut [u8]) -> Result<Admitted<'_>, IggyError> {
    let batch = decode_batch_slice(bytes).map_err(|error| wire_error(&error))?;
    if batch.header.total_size() != bytes.len() {
        return Err(IggyError::InvalidCommand);
    }
    if batch.header.message_count == 0 {
        return Err(IggyError::InvalidMessagesCount);
    }
    // The checksums do not cover this: without it a client would choose offsets, also those of others.
    let counts_up = |(delta, message): (u32, BatchMessageHeader)| message.offset_delta == delta;
    if !(0..)
        .zip(batch.iter().map(|message| message.header))
        .all(counts_up)
    {
        return Err(IggyError::InvalidOffset(batch.header.base_offset));
    }
    // Readers add the messages' deltas to it.
    if batch.header.origin_timestamp > u64::MAX - u64::from(u32::MAX) {
        return Err(IggyError::TimestampOutOfRange(
            batch.header.origin_timestamp,
        ));
    }
    let header = batch.header;
    Ok(Admitted { header, bytes })
}

impl Admitted<'_> {
    pub(crate) fn messages(&self) -> u32 {
        self.header.message_count
    }

    pub(crate) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Gives the batch its place, in the buffer it arrived in, and returns the bytes to write.
    pub(crate) fn stamp(&mut self, partition: u32, base_offset: u64, timestamp: u64) -> &[u8] {
        self.header.partition_id = u64::from(partition);
        self.header.base_offset = base_offset;
        self.header.base_timestamp = timestamp;
        let (header, blob) = self.bytes.split_at_mut(BATCH_HEADER_SIZE);
        self.header.batch_checksum = calculate_batch_checksum(&self.header, blob);
        self.header.encode_into(header);
        self.bytes
    }
}

/// Part of a buffer of batches that holds exactly the wanted messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) messages: u32,
    /// The offset of the last message.
    pub(crate) last: u64,
}

/// Cuts `run`, whole batches back to back of which the last may be incomplete, to the messages of `wanted`.
/// Only the first and the last batch are looked into, and only when they are not wanted whole; no message
/// is moved.
pub(crate) fn cut(run: &mut [u8], wanted: std::ops::Range<u64>) -> Result<Cut, WireError> {
    let mut cut = Cut {
        start: 0,
        end: 0,
        messages: 0,
        last: 0,
    };
    let mut position = 0;
    while position + BATCH_HEADER_SIZE <= run.len() {
        let header = BatchHeader::decode(&run[position..])?;
        if header.message_count == 0 {
            return Err(WireError::Validation("batch without messages".into()));
        }
        let end = position.saturating_add(header.total_size());
        if header.base_offset >= wanted.end || end > run.len() {
            break;
        }
        let batch = header.base_offset
            ..header
                .base_offset
                .saturating_add(u64::from(header.message_count));
        if batch.end > wanted.start {
            let kept = cut_batch(&mut run[position..end], header, batch, &wanted)?;
            if cut.messages == 0 {
                cut.start = position + kept.start;
            }
            cut.end = position + kept.end;
            cut.messages += kept.messages;
            cut.last = kept.last;
        }
        position = end;
    }
    Ok(cut)
}

/// Cuts one batch. Its new header overwrites messages that are not wanted: there are always 256 bytes in
/// front of the first wanted one, if only those of the old header.
fn cut_batch(
    bytes: &mut [u8],
    mut header: BatchHeader,
    batch: std::ops::Range<u64>,
    wanted: &std::ops::Range<u64>,
) -> Result<Cut, WireError> {
    if batch.start >= wanted.start && batch.end <= wanted.end {
        return Ok(Cut {
            start: 0,
            end: bytes.len(),
            messages: header.message_count,
            last: batch.end - 1,
        });
    }
    let skipped = wanted.start.saturating_sub(batch.start);
    let messages = batch.end.min(wanted.end) - batch.start.max(wanted.start);
    let first = skip_messages(bytes, BATCH_HEADER_SIZE, skipped)?;
    let end = skip_messages(bytes, first, messages)?;
    let start = first - BATCH_HEADER_SIZE;
    header.batch_length = (end - start) as u64;
    // Fewer messages than the u32 it replaces.
    header.message_count = u32::try_from(messages).unwrap_or(header.message_count);
    header.batch_checksum = calculate_batch_checksum(&header, &bytes[first..end]);
    header.encode_into(&mut bytes[start..first]);
    Ok(Cut {
        start,
        end,
        messages: header.message_count,
        last: batch.end.min(wanted.end) - 1,
    })
}

fn skip_messages(bytes: &[u8], mut position: usize, messages: u64) -> Result<usize, WireError> {
    for _ in 0..messages {
        let header = BatchMessageHeader::decode(&bytes[position..])?;
        let end = position + header.total_size();
        if end > bytes.len() {
            return Err(WireError::UnexpectedEof {
                offset: position,
                need: BATCH_MESSAGE_HEADER_SIZE,
                have: bytes.len() - position,
            });
        }
        position = end;
    }
    Ok(position)
}

/// The offset of the first batch in `run` that is not older than `timestamp`. The last batch may be incomplete.
pub(crate) fn first_since(run: &[u8], timestamp: u64) -> Option<u64> {
    let mut position = 0;
    while position + BATCH_HEADER_SIZE <= run.len() {
        let header = BatchHeader::decode(&run[position..]).ok()?;
        if header.base_timestamp >= timestamp {
            return Some(header.base_offset);
        }
        position = position.saturating_add(header.total_size());
    }
    None
}

#[cfg(test)]
pub(crate) mod tests;
