//! A request to flush as it crosses the fence to a sink.

use iggy_connector_abi::{self as abi, Slice, sink::reason};

use crate::pipeline::{FlushReason, FlushRequest};

/// What a flush lends: the request, and the names that it points at.
pub(super) struct Lent {
    wire: abi::sink::FlushRequest,
    _request: FlushRequest,
}

impl Lent {
    pub(super) fn new(request: FlushRequest) -> Self {
        let (stream, topic) = match &request.partition {
            Some(partition) => (
                Slice::of(partition.topic.stream.as_bytes()),
                Slice::of(partition.topic.topic.as_bytes()),
            ),
            None => (Slice::EMPTY, Slice::EMPTY),
        };
        Self {
            wire: abi::sink::FlushRequest {
                size: size_of::<abi::sink::FlushRequest>() as u32,
                reason: code(request.reason),
                partition_present: u32::from(request.partition.is_some()),
                partition_id: request
                    .partition
                    .as_ref()
                    .map_or(0, |partition| partition.id),
                stream,
                topic,
            },
            // The names are behind an `Arc` and stay where they are when this moves.
            _request: request,
        }
    }

    pub(super) fn wire(&self) -> *const abi::sink::FlushRequest {
        &raw const self.wire
    }
}

fn code(reason: FlushReason) -> u32 {
    match reason {
        FlushReason::None => reason::NONE,
        FlushReason::Timeout => reason::TIMEOUT,
        FlushReason::Pause => reason::PAUSE,
        FlushReason::Stop => reason::STOP,
        FlushReason::PartitionLost => reason::PARTITION_LOST,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iggy_connector_message::TopicMetadata;

    use super::*;
    use crate::pipeline::Partition;

    fn lent(reason: FlushReason, partition: Option<Partition>) -> Lent {
        Lent::new(FlushRequest { reason, partition })
    }

    #[test]
    fn every_reason_crosses_as_its_number() {
        for (reason, expected) in [
            (FlushReason::None, reason::NONE),
            (FlushReason::Timeout, reason::TIMEOUT),
            (FlushReason::Pause, reason::PAUSE),
            (FlushReason::Stop, reason::STOP),
            (FlushReason::PartitionLost, reason::PARTITION_LOST),
        ] {
            let wire = lent(reason, None).wire;
            assert_eq!((wire.reason, wire.partition_present), (expected, 0));
        }
    }

    #[test]
    fn a_partition_crosses_with_its_topic() {
        let topic = Arc::new(TopicMetadata {
            stream: "events".to_owned(),
            topic: "clicks".to_owned(),
        });
        let lent = lent(FlushReason::PartitionLost, Some(Partition { topic, id: 7 }));
        let wire = lent.wire;
        assert_eq!((wire.partition_present, wire.partition_id), (1, 7));
        // SAFETY: `lent` keeps the name.
        let stream = unsafe { wire.stream.bytes() };
        // SAFETY: as above.
        let topic = unsafe { wire.topic.bytes() };
        assert_eq!(
            (stream, topic),
            (Some(&b"events"[..]), Some(&b"clicks"[..]))
        );
    }
}
