//! One message on its way into Iggy with what [`ProducedMessage`] cannot say: [`SourceMessage`], [`Offset`].

use serde::Serialize;

use crate::{Error, HeaderKey, HeaderValue, ProducedMessage, Schema, UserHeaders};

use super::Number;

/// A [`ProducedMessage`] with a schema, a key, a route and an offset token.
///
/// ```
/// use iggy_connector_sdk::source::SourceMessage;
///
/// # fn main() -> Result<(), iggy_connector_sdk::Error> {
/// let message = SourceMessage::from_json(&("device-7", 21.5))?
///     .with_header("source".try_into()?, "mqtt".try_into()?)
///     .with_key("device-7")
///     .with_offset("wal:0/16B3748");
/// assert_eq!(message.message().payload, br#"["device-7",21.5]"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceMessage {
    pub(crate) message: ProducedMessage,
    pub(crate) schema: Schema,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) route: Option<String>,
    pub(crate) offset: Option<Offset>,
}

/// A source's own token for the place after a message, handed back in [`crate::Source::commit`] once it is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset(Vec<u8>);

impl SourceMessage {
    /// A message of these bytes, as [`Schema::Raw`].
    pub fn from_bytes(payload: impl Into<Vec<u8>>) -> Self {
        Self::of(Schema::Raw, payload)
    }

    /// A message of this text, as [`Schema::Text`].
    pub fn from_string(payload: impl Into<String>) -> Self {
        Self::of(Schema::Text, payload.into())
    }

    /// A message of this number, as [`Schema::Json`].
    pub fn from_number(number: impl Number) -> Self {
        Self::of(Schema::Json, number.text())
    }

    /// A message of this value, as [`Schema::Json`].
    ///
    /// # Errors
    ///
    /// [`Error::Serialization`] when the value cannot be written as JSON.
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        simd_json::to_vec(value)
            .map(|payload| Self::of(Schema::Json, payload))
            .map_err(|error| Error::Serialization(error.to_string()))
    }

    fn of(schema: Schema, payload: impl Into<Vec<u8>>) -> Self {
        let message = Self::from(ProducedMessage {
            payload: payload.into(),
            ..ProducedMessage::default()
        });
        message.with_schema(schema)
    }

    /// Sets how the payload is to be read, where the constructor did not say it: bytes that are JSON, for example.
    ///
    /// In a [`super::SourceBatch`] all messages are of one schema, and [`super::SourceBatch::new`] sets it.
    #[must_use]
    pub fn with_schema(mut self, schema: Schema) -> Self {
        self.schema = schema;
        self
    }

    /// Adds a user header.
    #[must_use]
    pub fn with_header(mut self, key: HeaderKey, value: HeaderValue) -> Self {
        let headers = self.message.headers.get_or_insert_default();
        headers.insert(key, value);
        self
    }

    /// Adds user headers.
    #[must_use]
    pub fn with_headers(mut self, headers: UserHeaders) -> Self {
        if !headers.is_empty() {
            let known = self.message.headers.get_or_insert_default();
            known.extend(headers);
        }
        self
    }

    /// Sets what the partition is chosen by: messages of one key keep their order.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets where the message goes: the name of one of the connector's routes, or `/stream/topic`. Without one it goes to
    /// the connector's first `[[streams]]` entry.
    #[must_use]
    pub fn with_route(mut self, route: impl Into<String>) -> Self {
        self.route = Some(route.into());
        self
    }

    /// Sets the token that [`crate::Source::commit`] gets once this message is settled.
    #[must_use]
    pub fn with_offset(mut self, offset: impl Into<Offset>) -> Self {
        self.offset = Some(offset.into());
        self
    }

    /// Sets the message's id.
    #[must_use]
    pub fn with_id(mut self, id: u128) -> Self {
        self.message.id = Some(id);
        self
    }

    /// Sets when the outside made the message, in µs since the epoch.
    #[must_use]
    pub fn with_origin_timestamp(mut self, micros: u64) -> Self {
        self.message.origin_timestamp = Some(micros);
        self
    }

    /// The message without schema, key, route and token.
    pub fn message(&self) -> &ProducedMessage {
        &self.message
    }

    /// How the payload is to be read.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// What the partition is chosen by.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// Where the message goes.
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// The source's token.
    pub fn offset(&self) -> Option<&Offset> {
        self.offset.as_ref()
    }
}

impl From<ProducedMessage> for SourceMessage {
    fn from(message: ProducedMessage) -> Self {
        Self {
            message,
            ..Self::default()
        }
    }
}

impl Offset {
    /// The token's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The token as text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<Vec<u8>> for Offset {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Offset {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<String> for Offset {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&str> for Offset {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_made_from_text_numbers_and_values() {
        let payload = |message: SourceMessage| String::from_utf8(message.message.payload).unwrap();
        assert_eq!(payload(SourceMessage::from_string("a")), "a");
        assert_eq!(
            payload(SourceMessage::from_number(u64::MAX)),
            "18446744073709551615"
        );
        assert_eq!(payload(SourceMessage::from_number(-0.5)), "-0.5");
        assert_eq!(payload(SourceMessage::from_number(f64::NAN)), "null");
        assert_eq!(payload(SourceMessage::from_json(&[1, 2]).unwrap()), "[1,2]");
    }

    #[test]
    fn a_second_header_of_a_name_replaces_the_first() {
        let key = || HeaderKey::try_from("source").unwrap();
        let message = SourceMessage::from_string("")
            .with_header(key(), "one".try_into().unwrap())
            .with_header(key(), "two".try_into().unwrap());
        let headers = message.message.headers.unwrap();
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[&key()].as_str(), Ok("two"));
    }

    #[test]
    fn headers_are_added_to_those_that_are_there() {
        let key = |name: &str| HeaderKey::try_from(name).unwrap();
        let more = UserHeaders::from([
            (key("1"), 1_u32.into()),
            (key("2"), "b".try_into().unwrap()),
        ]);
        let message = SourceMessage::from_string("")
            .with_header(key("1"), "a".try_into().unwrap())
            .with_headers(more);
        let headers = message.message.headers.unwrap();
        assert_eq!((&headers[&key("1")], headers.len()), (&1_u32.into(), 2));
        let bare = SourceMessage::from_string("").with_headers(UserHeaders::new());
        assert_eq!(bare.message.headers, None, "no headers are no headers");
    }

    #[test]
    fn a_constructor_says_how_the_payload_is_to_be_read() {
        assert_eq!(SourceMessage::from_bytes("{}").schema(), Schema::Raw);
        assert_eq!(SourceMessage::from_string("a").schema(), Schema::Text);
        assert_eq!(SourceMessage::from_number(1).schema(), Schema::Json);
        assert_eq!(
            SourceMessage::from_json("a").unwrap().schema(),
            Schema::Json
        );
        let told = SourceMessage::from_bytes("{}").with_schema(Schema::Json);
        assert_eq!(told.schema(), Schema::Json);
    }
}
