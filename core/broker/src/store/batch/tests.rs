//! Admission by table, cutting against a plain list of messages.

use bytes::BytesMut;
use iggy_binary_protocol::{
    WireIdentifier, WirePartitioning,
    requests::messages::{RawMessage, SendMessagesEncoder},
    responses::messages::PollMessagesResponse,
};
use proptest::prelude::*;

use super::*;

/// The batch of a send request with these payloads, as a client encodes it.
pub(crate) fn encoded(payloads: &[Vec<u8>]) -> Vec<u8> {
    let message = |payload: &'static [u8], id| RawMessage {
        id,
        origin_timestamp: 1_000,
        headers: None,
        payload,
    };
    let payloads: Vec<&'static [u8]> = payloads
        .iter()
        .map(|payload| &*payload.clone().leak())
        .collect();
    let messages: Vec<_> = (1..)
        .zip(payloads)
        .map(|(id, payload)| message(payload, id))
        .collect();
    let (id, partitioning) = (WireIdentifier::numeric(0), WirePartitioning::PartitionId(0));
    let mut body = BytesMut::new();
    SendMessagesEncoder::encode(&mut body, &id, &id, &partitioning, &messages).unwrap();
    let metadata = u32::from_le_bytes(body[..4].try_into().unwrap()) as usize;
    body[4 + metadata..].to_vec()
}

fn stamped(payloads: &[Vec<u8>], base: u64, timestamp: u64) -> Vec<u8> {
    let mut bytes = encoded(payloads);
    admit(&mut bytes)
        .unwrap()
        .stamp(3, base, timestamp)
        .to_vec()
}

fn change(bytes: &mut [u8], position: usize, value: &[u8]) {
    bytes[position..position + value.len()].copy_from_slice(value);
}

/// Makes the checksums of a changed batch right again, as a client that means harm would.
fn reseal(bytes: &mut [u8]) {
    let mut header = BatchHeader::decode(bytes).unwrap();
    let (head, blob) = bytes.split_at_mut(BATCH_HEADER_SIZE);
    let mut position = 0;
    while position < blob.len() {
        let frame = BatchMessageHeader::decode(&blob[position..]).unwrap();
        let end = position + frame.total_size();
        let checksum = twox_hash::XxHash3_64::oneshot(&blob[position + 8..end]);
        blob[position..position + 8].copy_from_slice(&checksum.to_le_bytes());
        position = end;
    }
    header.batch_checksum = calculate_batch_checksum(&header, blob);
    header.encode_into(head);
}

#[test]
fn a_stamped_batch_verifies_and_has_its_place() {
    let bytes = stamped(&[b"a".to_vec(), b"bc".to_vec()], 40, 7_000);
    let batch = decode_batch_slice(&bytes).unwrap();
    assert_eq!(batch.header.partition_id, 3);
    assert_eq!(batch.header.base_offset, 40);
    assert_eq!(batch.header.base_timestamp, 7_000);
    assert_eq!(batch.header.origin_timestamp, 1_000);
    assert_eq!(batch.header.message_count, 2);
}

/// Makes a batch wrong at a position.
type Spoil = fn(&mut Vec<u8>, usize);

#[test]
fn a_batch_that_does_not_hold_is_refused() {
    let first_message = BATCH_HEADER_SIZE;
    let second_message = first_message + BATCH_MESSAGE_HEADER_SIZE + 3;
    let table: [(&str, Spoil, usize, IggyError); 8] = [
        (
            "payload",
            |bytes, at| bytes[at + 50] ^= 1,
            first_message,
            IggyError::InvalidMessageChecksum(0, 0, 0),
        ),
        (
            "id",
            |bytes, at| bytes[at + 9] ^= 1,
            first_message,
            IggyError::InvalidMessageChecksum(0, 0, 0),
        ),
        (
            "origin",
            |bytes, at| bytes[at] ^= 1,
            24,
            IggyError::InvalidBatchChecksum(0, 0, 0),
        ),
        (
            "reserved",
            |bytes, at| bytes[at] = 1,
            100,
            IggyError::InvalidCommand,
        ),
        (
            "cut",
            |bytes, _| bytes.truncate(bytes.len() - 1),
            0,
            IggyError::InvalidCommand,
        ),
        (
            "longer",
            |bytes, _| bytes.push(0),
            0,
            IggyError::InvalidCommand,
        ),
        (
            "offset",
            |bytes, at| {
                change(bytes, at + 24, &9u32.to_le_bytes());
                reseal(bytes);
            },
            second_message,
            IggyError::InvalidOffset(0),
        ),
        (
            "time",
            |bytes, at| {
                change(bytes, at, &u64::MAX.to_le_bytes());
                reseal(bytes);
            },
            24,
            IggyError::TimestampOutOfRange(0),
        ),
    ];
    for (what, spoil, position, expected) in table {
        let mut bytes = encoded(&[b"one".to_vec(), b"two".to_vec()]);
        spoil(&mut bytes, position);
        assert_eq!(admit(&mut bytes).unwrap_err(), expected, "{what}");
    }
}

#[test]
fn a_batch_without_messages_is_refused() {
    let mut header = BatchHeader::new(0, 0, BATCH_HEADER_SIZE as u64, 0);
    header.batch_checksum = calculate_batch_checksum(&header, &[]);
    let mut bytes = vec![0; BATCH_HEADER_SIZE];
    header.encode_into(&mut bytes);
    assert_eq!(
        admit(&mut bytes).unwrap_err(),
        IggyError::InvalidMessagesCount
    );
}

#[test]
fn the_first_batch_since_a_time_is_found() {
    let mut run = Vec::new();
    for (base, timestamp) in [(0, 10), (1, 20), (2, 20), (3, 30)] {
        run.extend(stamped(&[b"x".to_vec()], base, timestamp));
    }
    let table = [
        (0, Some(0)),
        (10, Some(0)),
        (11, Some(1)),
        (20, Some(1)),
        (30, Some(3)),
        (31, None),
    ];
    for (timestamp, expected) in table {
        assert_eq!(first_since(&run, timestamp), expected, "{timestamp}");
    }
    assert_eq!(
        first_since(&run[..run.len() - 1], 30),
        Some(3),
        "its header is there"
    );
}

proptest! {
    #[test]
    fn a_cut_holds_exactly_the_wanted_messages(
        lengths in prop::collection::vec(prop::collection::vec(0..40usize, 1..6), 1..6),
        base in 0..1000u64,
        start in 0..40u64,
        count in 1..40u64,
        torn in any::<bool>(),
    ) {
        let mut run = Vec::new();
        let mut expected = Vec::new();
        let mut next = base;
        for batch in &lengths {
            let payloads: Vec<_> = batch.iter().map(|length| {
                let payload = vec![next as u8; *length];
                expected.push((next, payload.clone()));
                next += 1;
                payload
            }).collect();
            run.extend(stamped(&payloads, next - batch.len() as u64, 1));
        }
        if torn {
            run.extend(&stamped(&[vec![1; 50]], next, 1)[..BATCH_HEADER_SIZE + 10]);
        }
        let wanted = base + start..base + start + count;
        expected.retain(|(offset, _)| wanted.contains(offset));
        let cut = cut(&mut run, wanted).unwrap();
        prop_assert_eq!(cut.messages as usize, expected.len());
        if let Some((last, _)) = expected.last() {
            prop_assert_eq!(cut.last, *last);
        }
        let mut body = vec![0; 16];
        body.extend_from_slice(&run[cut.start..cut.end]);
        let decoded = PollMessagesResponse::decode(&body).unwrap();
        let found: Vec<_> = decoded.messages.map(|message| {
            let message = message.unwrap();
            (message.offset, message.payload.to_vec())
        }).collect();
        prop_assert_eq!(found, expected);
        let mut position = cut.start;
        while position < cut.end {
            let batch = decode_batch_slice(&run[position..cut.end]).unwrap();
            position += batch.header.total_size();
        }
    }

    #[test]
    fn cutting_garbage_never_panics(mut run in prop::collection::vec(any::<u8>(), 0..2000), start in any::<u64>(), flip in any::<prop::sample::Index>()) {
        let _ = cut(&mut run, start..start.saturating_add(100));
        let mut sound = stamped(&[vec![1; 20], vec![2; 30]], 5, 1);
        let place = flip.index(sound.len());
        sound[place] ^= 0x40;
        let _ = cut(&mut sound, 6..7);
        let _ = admit(&mut sound);
    }
}
