//! Decode, transform, encode: from the bytes of one side to the bytes of the other, for both directions.
//!
//! With no transform and an equal schema the bytes pass through untouched.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use bytes::Bytes;
use iggy_connector_codec::{decoders, encoders};
use iggy_connector_message::{
    DecodedMessage, Error, Payload, Schema, StreamDecoder, StreamEncoder, TopicMetadata, headers,
};
use iggy_connector_transform::Chain;

use super::{Message, Produced, Rejected};

/// The stages of one `[[streams]]` entry.
pub struct Stages {
    transforms: Chain,
    /// What the stream holds.
    schema: Schema,
    /// Writes what a source's plugin gave in another schema; sinks have none.
    encoder: Option<Box<dyn StreamEncoder>>,
}

/// What the stages made of a batch.
pub struct Prepared<T> {
    /// What goes on, each with its position in the batch.
    pub messages: Vec<(usize, T)>,
    /// What the payloads are now.
    pub schema: Schema,
    /// How many were filtered out.
    pub filtered: usize,
    pub rejected: Vec<Rejected>,
    /// How much of the time was spent on decoding.
    pub decoding: Duration,
}

impl Stages {
    /// The stages of a sink, which hands over what the transforms leave.
    ///
    /// # Errors
    ///
    /// The schema needs a codec that is not there.
    pub fn of_sink(schema: Schema, transforms: Chain) -> Result<Self, Error> {
        if !transforms.is_empty() {
            decoders::for_schema(schema)?;
        }
        Ok(Self {
            transforms,
            schema,
            encoder: None,
        })
    }

    /// The stages of a source, which writes `schema` into the stream.
    ///
    /// # Errors
    ///
    /// The schema needs a codec that is not there.
    pub fn of_source(schema: Schema, transforms: Chain) -> Result<Self, Error> {
        Ok(Self {
            transforms,
            schema,
            encoder: encoders::for_schema(schema).ok(),
        })
    }

    /// Whether a sink's messages reach its plugin as they are.
    pub fn passes_through(&self) -> bool {
        self.transforms.is_empty()
    }

    /// Whether a source's messages of this schema reach the stream as they are.
    pub fn leaves_untouched(&self, from: Schema) -> bool {
        self.passes_through() && from == self.schema
    }

    /// What the stream holds.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// Takes a sink's messages from the stream's bytes to the plugin's.
    pub fn consumed(&self, topic: &TopicMetadata, messages: &[Message]) -> Prepared<Message> {
        let decoder = Decoder::new(self.schema);
        let mut prepared = Prepared::new(messages.len(), self.schema);
        for (index, message) in messages.iter().enumerate() {
            prepared.add(index, self.consumed_one(topic, &decoder, message));
        }
        prepared.decoding = decoder.spent.get();
        prepared
    }

    /// Takes a source's messages from the plugin's bytes, in schema `from`, to the stream's.
    pub fn produced(
        &self,
        topic: &TopicMetadata,
        from: Schema,
        messages: Vec<(usize, Produced)>,
    ) -> Prepared<Produced> {
        if self.leaves_untouched(from) {
            return Prepared {
                messages,
                schema: from,
                filtered: 0,
                rejected: Vec::new(),
                decoding: Duration::ZERO,
            };
        }
        let decoder = Decoder::new(from);
        let mut prepared = Prepared::new(messages.len(), self.schema);
        for (index, message) in messages {
            prepared.add(index, self.produced_one(topic, &decoder, message));
        }
        prepared.decoding = decoder.spent.get();
        prepared
    }

    fn consumed_one(
        &self,
        topic: &TopicMetadata,
        decoder: &Decoder,
        message: &Message,
    ) -> Staged<Message> {
        let decoded = DecodedMessage {
            id: Some(message.id),
            offset: Some(message.offset),
            checksum: Some(message.checksum),
            timestamp: Some(message.timestamp),
            origin_timestamp: Some(message.origin_timestamp),
            headers: user_headers(&message.headers)?,
            payload: decoder.decode(&message.payload)?,
        };
        let Some(transformed) = self.transform(topic, decoded)? else {
            return Ok(None);
        };
        if schema_of(&transformed.payload) != self.schema {
            let found = schema_of(&transformed.payload);
            return Err((
                "transform",
                format!("the transforms turned {} into {found}", self.schema),
            ));
        }
        Ok(Some(Message {
            headers: header_bytes(&transformed),
            payload: transformed
                .payload
                .try_into_vec()
                .map_err(at("encode"))?
                .into(),
            ..*message
        }))
    }

    fn produced_one(
        &self,
        topic: &TopicMetadata,
        decoder: &Decoder,
        message: Produced,
    ) -> Staged<Produced> {
        let decoded = DecodedMessage {
            id: message.id,
            offset: None,
            checksum: None,
            timestamp: None,
            origin_timestamp: message.origin_timestamp,
            headers: user_headers(&message.headers)?,
            payload: decoder.decode(&message.payload)?,
        };
        let Some(transformed) = self.transform(topic, decoded)? else {
            return Ok(None);
        };
        let Some(encoder) = &self.encoder else {
            return Err(("encode", format!("schema {} has no encoder", self.schema)));
        };
        Ok(Some(Produced {
            id: transformed.id,
            origin_timestamp: transformed.origin_timestamp,
            headers: header_bytes(&transformed),
            payload: encoder
                .encode(transformed.payload)
                .map_err(at("encode"))?
                .into(),
            ..message
        }))
    }

    fn transform(&self, topic: &TopicMetadata, message: DecodedMessage) -> Staged<DecodedMessage> {
        self.transforms
            .apply(topic, message)
            .map_err(at("transform"))
    }
}

/// A message that goes on, `None` for one that is filtered out, or the stage and the reason that it failed for.
type Staged<T> = Result<Option<T>, (&'static str, String)>;

/// A batch's decoder, and the time it has taken.
struct Decoder {
    inner: Result<Box<dyn StreamDecoder>, Error>,
    spent: Cell<Duration>,
}

impl Decoder {
    fn new(schema: Schema) -> Self {
        Self {
            inner: decoders::for_schema(schema),
            spent: Cell::default(),
        }
    }

    fn decode(&self, payload: &Bytes) -> Result<Payload, (&'static str, String)> {
        let started = Instant::now();
        let decoded = match &self.inner {
            // A parser that writes into its input cannot work on memory that others share, hence the copy.
            Ok(decoder) => decoder.decode(payload.to_vec()).map_err(at("decode")),
            Err(error) => Err(("decode", error.to_string())),
        };
        self.spent.set(self.spent.get() + started.elapsed());
        decoded
    }
}

impl<T> Prepared<T> {
    fn new(capacity: usize, schema: Schema) -> Self {
        Self {
            messages: Vec::with_capacity(capacity),
            schema,
            filtered: 0,
            rejected: Vec::new(),
            decoding: Duration::ZERO,
        }
    }

    fn add(&mut self, index: usize, staged: Staged<T>) {
        match staged {
            Ok(Some(message)) => self.messages.push((index, message)),
            Ok(None) => self.filtered += 1,
            Err((stage, message)) => self.rejected.push(Rejected {
                index,
                stage,
                message,
            }),
        }
    }
}

fn at(stage: &'static str) -> impl Fn(Error) -> (&'static str, String) {
    move |error| (stage, error.to_string())
}

fn user_headers(bytes: &Bytes) -> Result<Option<headers::UserHeaders>, (&'static str, String)> {
    if bytes.is_empty() {
        return Ok(None);
    }
    headers::decode(bytes).map(Some).map_err(at("decode"))
}

fn header_bytes(message: &DecodedMessage) -> Bytes {
    message
        .headers
        .as_ref()
        .map_or_else(Bytes::new, |headers| headers::encode(headers).into())
}

fn schema_of(payload: &Payload) -> Schema {
    match payload {
        Payload::Json(_) => Schema::Json,
        Payload::Raw(_) => Schema::Raw,
        Payload::Text(_) => Schema::Text,
        Payload::Proto(_) => Schema::Proto,
        Payload::FlatBuffer(_) => Schema::FlatBuffer,
        Payload::Avro(_) => Schema::Avro,
    }
}
