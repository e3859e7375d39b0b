//! A batch for a sink under test: [`Batch`].

use crate::{Schema, UserHeaders, export::Lending, headers, sink};

/// A batch of one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The stream's name.
    pub stream: String,
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition_id: u32,
    /// How the payloads are to be read.
    pub schema: Schema,
    /// The messages, in order.
    pub messages: Vec<Message>,
}

/// One message of a [`Batch`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The message's id.
    pub id: u128,
    /// Offset in the partition.
    pub offset: u64,
    /// Iggy's checksum.
    pub checksum: u64,
    /// When the broker stored it, in µs since the epoch.
    pub timestamp: u64,
    /// When the producer made it, in µs since the epoch.
    pub origin_timestamp: u64,
    /// User headers in wire encoding.
    pub headers: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Batch {
    /// Messages with these payloads, with offsets and ids from 0 and 1, of stream `stream`, topic `topic`, partition 0.
    pub fn of<P: Into<Vec<u8>>>(schema: Schema, payloads: impl IntoIterator<Item = P>) -> Self {
        let messages = (0..).zip(payloads).map(|(offset, payload)| Message {
            id: u128::from(offset) + 1,
            offset,
            payload: payload.into(),
            ..Message::default()
        });
        Self {
            stream: "stream".to_owned(),
            topic: "topic".to_owned(),
            partition_id: 0,
            schema,
            messages: messages.collect(),
        }
    }

    /// Calls `look` with the batch as a sink sees it.
    pub fn lend<T>(&self, look: impl FnOnce(sink::Batch<'_>) -> T) -> T {
        look(self.lent(&self.lending()))
    }

    pub(super) fn lending(&self) -> Lending<'_> {
        Lending::of(&self.messages)
    }

    pub(super) fn lent<'a>(&'a self, lending: &'a Lending<'_>) -> sink::Batch<'a> {
        sink::Batch {
            records: lending.records(),
            stream: &self.stream,
            topic: &self.topic,
            partition_id: self.partition_id,
            current_offset: self.messages.last().map_or(0, |message| message.offset),
            schema: self.schema,
        }
    }
}

impl Message {
    /// Sets the user headers.
    #[must_use]
    pub fn with_headers(mut self, headers: &UserHeaders) -> Self {
        self.headers = headers::encode(headers);
        self
    }
}
