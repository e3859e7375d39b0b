//! A batch as it lies in the runtime's memory: [`Batch`] and its [`Message`]s.

use crate::{
    ConsumedMessage, Error, MessagesMetadata, Payload, Schema, TopicMetadata, UserHeaders,
    export::{Record, Records},
    headers,
};

use super::{Materialised, scratch};

/// Messages of one partition, in order, borrowed from the buffer that the broker's reply arrived in.
///
/// ```
/// # use iggy_connector_sdk::{Error, sink::Batch};
/// fn ndjson(batch: &Batch<'_>) -> Vec<u8> {
///     let mut body = Vec::new();
///     for message in batch.messages() {
///         body.extend_from_slice(message.payload());
///         body.push(b'\n');
///     }
///     body
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    pub(crate) records: Records<'a>,
    pub(crate) stream: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition_id: u32,
    pub(crate) current_offset: u64,
    pub(crate) schema: Schema,
}

/// One message of a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    record: Record<'a>,
    schema: Schema,
}

/// The messages of a [`Batch`], in order.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    batch: Batch<'a>,
    next: usize,
}

impl<'a> Batch<'a> {
    /// The stream's name.
    pub fn stream(&self) -> &'a str {
        self.stream
    }

    /// The topic's name.
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// The partition, from 0.
    pub fn partition_id(&self) -> u32 {
        self.partition_id
    }

    /// The last offset of the partition when the batch was read.
    pub fn current_offset(&self) -> u64 {
        self.current_offset
    }

    /// How the payloads are to be read.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message at `index`, if there is one. Positions are what [`Error::failed`] names.
    pub fn get(&self, index: usize) -> Option<Message<'a>> {
        let record = self.records.get(index)?;
        Some(Message {
            record,
            schema: self.schema,
        })
    }

    /// The messages, in order.
    pub fn messages(&self) -> Messages<'a> {
        Messages {
            batch: *self,
            next: 0,
        }
    }

    /// Stream and topic as [`crate::Sink::consume`] gets them.
    pub fn topic_metadata(&self) -> TopicMetadata {
        TopicMetadata {
            stream: self.stream.to_owned(),
            topic: self.topic.to_owned(),
        }
    }

    /// Partition, offset and schema as [`crate::Sink::consume`] gets them.
    pub fn messages_metadata(&self) -> MessagesMetadata {
        MessagesMetadata {
            partition_id: self.partition_id,
            current_offset: self.current_offset,
            schema: self.schema,
        }
    }

    /// Copies and decodes every message; those that do not decode are set aside.
    pub fn materialise(&self) -> Materialised {
        Materialised::of(self)
    }
}

impl<'a> Message<'a> {
    /// The message's id.
    pub fn id(&self) -> u128 {
        self.record.id()
    }

    /// Offset in the partition.
    pub fn offset(&self) -> u64 {
        self.record.fields().offset
    }

    /// Iggy's checksum of the message.
    pub fn checksum(&self) -> u64 {
        self.record.fields().checksum
    }

    /// When the broker stored it, in µs since the epoch.
    pub fn timestamp(&self) -> u64 {
        self.record.fields().timestamp
    }

    /// When the producer made it, in µs since the epoch.
    pub fn origin_timestamp(&self) -> u64 {
        self.record.fields().origin_timestamp
    }

    /// The payload's bytes.
    pub fn payload(&self) -> &'a [u8] {
        self.record.payload()
    }

    /// The user headers in Iggy's wire encoding; empty when there are none.
    pub fn raw_headers(&self) -> &'a [u8] {
        self.record.headers()
    }

    /// The user headers, decoded; `None` when there are none.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecordValue`] when the bytes are no headers.
    pub fn headers(&self) -> Result<Option<UserHeaders>, Error> {
        if self.raw_headers().is_empty() {
            return Ok(None);
        }
        headers::decode(self.raw_headers()).map(Some)
    }

    /// The payload, decoded.
    ///
    /// # Errors
    ///
    /// An error of class invalid data when the bytes are not of the batch's schema.
    pub fn decode(&self) -> Result<Payload, Error> {
        match self.schema {
            Schema::Json => scratch::parse(self.payload()).map(Payload::Json),
            other => other.try_into_payload(self.payload().to_vec()),
        }
    }

    /// Copies and decodes the whole message.
    ///
    /// # Errors
    ///
    /// An error of class invalid data when payload or headers do not decode.
    pub fn materialise(&self) -> Result<ConsumedMessage, Error> {
        Ok(ConsumedMessage {
            id: self.id(),
            offset: self.offset(),
            checksum: self.checksum(),
            timestamp: self.timestamp(),
            origin_timestamp: self.origin_timestamp(),
            headers: self.headers()?,
            payload: self.decode()?,
        })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.batch.get(self.next)?;
        self.next += 1;
        Some(message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.len().saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Messages<'_> {}

impl<'a> IntoIterator for Batch<'a> {
    type Item = Message<'a>;
    type IntoIter = Messages<'a>;

    fn into_iter(self) -> Messages<'a> {
        self.messages()
    }
}
