//! Reads the broker's answer to a poll. Payloads and headers stay where they arrived; nothing is copied. Pure.

use bytes::Bytes;
use iggy_binary_protocol::{
    batch::{BATCH_HEADER_SIZE, BATCH_MESSAGE_HEADER_SIZE, BatchHeader, BatchMessageHeader},
    codec::WireDecode,
    responses::messages::PollMessagesResponseHeader,
};
use iggy_common::{IggyError, RESYNC_REQUIRED_PARTITION_SENTINEL};

use crate::pipeline::Message;

const PREFIX_LEN: usize = 16;

/// What a poll came back with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The partition is not this member's, or its assignment is old.
    Fenced,
    Polled {
        /// The partition's last offset, 0 when it has none.
        head: u64,
        messages: Vec<Message>,
    },
}

/// Reads a whole answer.
pub(super) fn decode(bytes: &Bytes) -> Result<Reply, IggyError> {
    let (prefix, _) = PollMessagesResponseHeader::decode(bytes).map_err(malformed)?;
    let mut messages = Vec::with_capacity(room(prefix.messages_count, bytes.len()));
    let mut at = PREFIX_LEN;
    while at < bytes.len() {
        at = decode_batch(bytes, at, &mut messages)?;
    }
    if messages.is_empty() && prefix.partition_id == RESYNC_REQUIRED_PARTITION_SENTINEL {
        return Ok(Reply::Fenced);
    }
    Ok(Reply::Polled {
        head: prefix.current_offset,
        messages,
    })
}

/// The announced count, unless that many messages cannot be there.
fn room(announced: u32, len: usize) -> usize {
    (announced as usize).min(len / BATCH_MESSAGE_HEADER_SIZE)
}

/// Adds the messages of the batch at `at` and returns where it ends.
fn decode_batch(bytes: &Bytes, at: usize, messages: &mut Vec<Message>) -> Result<usize, IggyError> {
    let batch = BatchHeader::decode(&bytes[at..]).map_err(malformed)?;
    let end = usize::try_from(batch.batch_length)
        .ok()
        .and_then(|len| at.checked_add(len))
        .filter(|end| *end <= bytes.len())
        .ok_or_else(|| malformed("a batch is cut"))?;
    let mut at = at + BATCH_HEADER_SIZE;
    while at < end {
        let frame = BatchMessageHeader::decode(&bytes[at..end]).map_err(malformed)?;
        let payload = at + BATCH_MESSAGE_HEADER_SIZE;
        let headers = payload.saturating_add(frame.payload_length as usize);
        let next = headers.saturating_add(frame.user_headers_length as usize);
        if next > end {
            return Err(malformed("a message is cut"));
        }
        messages.push(Message {
            id: frame.id,
            offset: batch.base_offset.saturating_add(frame.offset_delta.into()),
            checksum: frame.checksum,
            timestamp: batch.base_timestamp,
            origin_timestamp: batch
                .origin_timestamp
                .saturating_add(frame.timestamp_delta.into()),
            headers: slice(bytes, headers, next),
            payload: slice(bytes, payload, headers),
        });
        at = next;
    }
    Ok(end)
}

/// An empty slice would count as one more owner of the answer for nothing.
fn slice(bytes: &Bytes, from: usize, to: usize) -> Bytes {
    if from == to {
        return Bytes::new();
    }
    bytes.slice(from..to)
}

fn malformed(how: impl std::fmt::Display) -> IggyError {
    IggyError::IoError(format!("malformed answer to a poll: {how}"))
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use iggy_binary_protocol::{
        WireIdentifier, WirePartitioning,
        codec::WireEncode,
        requests::messages::{RawMessage, SendMessagesEncoder},
    };
    use iggy_common::PolledMessages;

    use super::*;

    /// A batch as a producer sends it, with a base offset as a broker stamps it.
    fn batch(base_offset: u64, payloads: &[(&[u8], &[u8])]) -> Vec<u8> {
        let messages: Vec<_> = payloads
            .iter()
            .enumerate()
            .map(|(at, (payload, headers))| RawMessage {
                id: 100 + at as u128,
                origin_timestamp: 1_000 + at as u64,
                headers: (!headers.is_empty()).then_some(*headers),
                payload,
            })
            .collect();
        let id = WireIdentifier::numeric(1);
        let mut request = BytesMut::new();
        SendMessagesEncoder::encode(
            &mut request,
            &id,
            &id,
            &WirePartitioning::PartitionId(0),
            &messages,
        )
        .unwrap();
        let metadata = u32::from_le_bytes(request[..4].try_into().unwrap()) as usize;
        let mut batch = request[4 + metadata..].to_vec();
        batch[8..16].copy_from_slice(&base_offset.to_le_bytes());
        batch[16..24].copy_from_slice(&777u64.to_le_bytes());
        batch
    }

    fn answer(partition_id: u32, head: u64, batches: &[Vec<u8>]) -> Bytes {
        let mut bytes = BytesMut::new();
        let prefix = PollMessagesResponseHeader {
            partition_id,
            current_offset: head,
            messages_count: 1_000_000,
        };
        bytes.put_slice(&prefix.to_bytes());
        batches.iter().for_each(|batch| bytes.put_slice(batch));
        bytes.freeze()
    }

    fn two_batches() -> Bytes {
        let first = batch(40, &[(b"a", b""), (b"", b"headers"), (b"ccc", b"h")]);
        answer(2, 43, &[first, batch(43, &[(b"d", b"")])])
    }

    #[test]
    fn messages_are_as_the_client_reads_them_without_a_copy() {
        let bytes = two_batches();
        let Reply::Polled { head, messages } = decode(&bytes).unwrap() else {
            panic!("fenced");
        };
        assert_eq!(head, 43);
        let expected = PolledMessages::from_bytes(bytes.clone()).unwrap().messages;
        assert_eq!(messages.len(), expected.len());
        for (message, expected) in messages.iter().zip(&expected) {
            assert_eq!(
                (message.id, message.offset),
                (expected.header.id, expected.header.offset)
            );
            assert_eq!(message.checksum, expected.header.checksum);
            assert_eq!(message.timestamp, expected.header.timestamp);
            assert_eq!(message.origin_timestamp, expected.header.origin_timestamp);
            assert_eq!(message.payload, expected.payload);
            assert_eq!(
                message.headers,
                expected.user_headers.clone().unwrap_or_default()
            );
        }
        let range = bytes.as_ptr_range();
        assert!(
            range.contains(&messages[2].payload.as_ptr())
                && range.contains(&messages[2].headers.as_ptr())
        );
    }

    #[test]
    fn an_empty_answer_is_told_from_a_fence() {
        let empty = Reply::Polled {
            head: 9,
            messages: Vec::new(),
        };
        assert_eq!(decode(&answer(0, 9, &[])).unwrap(), empty);
        assert_eq!(decode(&answer(u32::MAX, 0, &[])).unwrap(), Reply::Fenced);
    }

    #[test]
    fn cut_and_damaged_answers_are_errors_and_no_panic() {
        let bytes = two_batches();
        let batch_end = 16 + batch(40, &[(b"a", b""), (b"", b"headers"), (b"ccc", b"h")]).len();
        for len in 0..bytes.len() {
            let is_whole = len == 16 || len == batch_end;
            assert_eq!(decode(&bytes.slice(..len)).is_ok(), is_whole, "{len}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] = 0xff;
            let _ = decode(&damaged.into());
        }
    }
}
