//! One message on its way into Iggy with what [`ProducedMessage`] cannot say: [`SourceMessage`], [`Offset`].

use serde::Serialize;

use crate::{Error, HeaderKey, HeaderValue, ProducedMessage};

use super::Number;

/// A [`ProducedMessage`] with a key, a route and an offset token.
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
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) route: Option<String>,
    pub(crate) offset: Option<Offset>,
}

/// A source's own token for the place after a message, handed back in [`crate::Source::commit`] once it is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset(Vec<u8>);

impl SourceMessage {
    /// A message of these bytes.
    pub fn from_bytes(payload: impl Into<Vec<u8>>) -> Self {
        Self::from(ProducedMessage {
            payload: payload.into(),
            ..ProducedMessage::default()
        })
    }

    /// A message of this text.
    pub fn from_string(payload: impl Into<String>) -> Self {
        Self::from_bytes(payload.into())
    }

    /// A message of this number, as text.
    pub fn from_number(number: impl Number) -> Self {
        Self::from_bytes(number.text())
    }

    /// A message of this value, as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Serialization`] when the value cannot be written as JSON.
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        simd_json::to_vec(value)
            .map(Self::from_bytes)
            .map_err(|error| Error::Serialization(error.to_string()))
    }

    /// Adds a user header.
    #[must_use]
    pub fn with_header(mut self, key: HeaderKey, value: HeaderValue) -> Self {
        let headers = self.message.headers.get_or_insert_default();
        headers.insert(key, value);
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

    /// The message without key, route and token.
    pub fn message(&self) -> &ProducedMessage {
        &self.message
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
}
