//! A chunk as the bytes of one request. Pure. They are made once, ahead of their turn where there is time, and sent as often as it takes.

use bytes::{Bytes, BytesMut};
use iggy_binary_protocol::{
    error::WireError, primitives::partitioning::WirePartitioning,
    requests::messages::SendMessagesEncoder,
};
use iggy_common::{IggyError, wire_conversions::identifier_to_wire};

use super::{super::topics::Name, message::Outgoing};

/// The body of Iggy's `SendMessages`.
///
/// # Errors
///
/// The messages cannot be in one request.
pub(super) fn encode(
    topic: &Name,
    partition: u32,
    messages: &[Outgoing],
) -> Result<Bytes, IggyError> {
    let stream = identifier_to_wire(&topic.stream)?;
    let name = identifier_to_wire(&topic.topic)?;
    let partition = WirePartitioning::PartitionId(partition);
    let messages: Vec<_> = messages.iter().map(Outgoing::raw).collect();
    let size = SendMessagesEncoder::encoded_size(&stream, &name, &partition, &messages);
    let mut request = BytesMut::with_capacity(size);
    SendMessagesEncoder::encode(&mut request, &stream, &name, &partition, &messages).map_err(
        |error| match error {
            WireError::InvalidMessageTimestampDelta(distance) => {
                IggyError::InvalidMessageTimestampDelta(distance)
            }
            _ => IggyError::InvalidCommand,
        },
    )?;
    Ok(request.freeze())
}

#[cfg(test)]
mod tests {
    use iggy_binary_protocol::{
        WireIdentifier, batch::decode_batch_slice, codec::WireDecode as _,
        requests::messages::SendMessagesHeader,
    };

    use super::*;

    #[test]
    fn a_request_names_its_target_and_carries_the_messages_as_they_are() {
        let message = |id, headers, payload| Outgoing {
            id,
            origin_timestamp: 1_000 + id as u64,
            headers: Bytes::from_static(headers),
            payload: Bytes::from_static(payload),
            position: 0,
            key: None,
            added: 0,
        };
        let messages = [message(7, b"", b"first"), message(8, b"headers", b"second")];
        let topic = Name::new("orders", "12").unwrap();
        let request = encode(&topic, 3, &messages).unwrap();

        let length = u32::from_le_bytes(request[..4].try_into().unwrap()) as usize;
        let (header, _) = SendMessagesHeader::decode(&request[4..4 + length]).unwrap();
        assert_eq!(header.stream_id, WireIdentifier::named("orders").unwrap());
        assert_eq!(header.topic_id, WireIdentifier::named("12").unwrap());
        assert_eq!(header.partitioning, WirePartitioning::PartitionId(3));
        let batch = decode_batch_slice(&request[4 + length..]).unwrap();
        let seen: Vec<_> = batch
            .iter()
            .map(|view| (view.header.id, view.user_headers, view.payload))
            .collect();
        let expected: [(u128, &[u8], &[u8]); 2] = [(7, b"", b"first"), (8, b"headers", b"second")];
        assert_eq!(seen, expected);
        assert_eq!(batch.header.origin_timestamp, 1_007);
    }

    #[test]
    fn an_empty_request_is_refused() {
        let topic = Name::new("orders", "new").unwrap();
        assert!(encode(&topic, 0, &[]).is_err());
    }
}
