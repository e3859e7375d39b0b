//! Messages as authors see them: [`ConsumedMessage`], [`ProducedMessage`], and [`DecodedMessage`] between the stages.

use crate::{ConnectorState, Error, HeaderKey, HeaderValue, Payload, Schema, UserHeaders};

/// One message on its way out of Iggy. Times are in µs since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumedMessage {
    /// The message's id.
    pub id: u128,
    /// Offset in the partition.
    pub offset: u64,
    /// Iggy's checksum of the message.
    pub checksum: u64,
    /// When the broker stored it.
    pub timestamp: u64,
    /// When the producer made it.
    pub origin_timestamp: u64,
    /// User headers; `None` when there are none.
    pub headers: Option<UserHeaders>,
    /// The decoded body.
    pub payload: Payload,
}

impl ConsumedMessage {
    /// The payload as text, without a copy.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTextPayload`] when it is neither text nor UTF-8 bytes; a JSON value has to be written out first
    /// ([`Payload::try_to_bytes`]).
    pub fn payload_str(&self) -> Result<&str, Error> {
        match &self.payload {
            Payload::Text(text) | Payload::Proto(text) => Ok(text),
            Payload::Raw(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| Error::InvalidTextPayload)
            }
            Payload::Json(simd_json::OwnedValue::String(text)) => Ok(text),
            Payload::Json(_) | Payload::FlatBuffer(_) | Payload::Avro(_) => {
                Err(Error::InvalidTextPayload)
            }
        }
    }

    /// The payload as a JSON value, without a copy.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPayloadType`] when the connector's schema is not JSON.
    pub fn payload_json(&self) -> Result<&simd_json::OwnedValue, Error> {
        match &self.payload {
            Payload::Json(value) => Ok(value),
            _ => Err(Error::InvalidPayloadType),
        }
    }

    /// The payload as a type of the author's, read from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPayloadType`] when the payload is not JSON, [`Error::InvalidRecordValue`] when it does not fit the type.
    pub fn as_type<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        let value = self.payload_json()?;
        simd_json::serde::from_refowned_value(value)
            .map_err(|error| Error::InvalidRecordValue(error.to_string()))
    }

    /// The user headers, if there are any.
    pub fn headers(&self) -> Option<&UserHeaders> {
        self.headers.as_ref()
    }

    /// The value of the user header of this name.
    pub fn header(&self, name: &str) -> Option<&HeaderValue> {
        let name = HeaderKey::try_from(name).ok()?;
        self.headers.as_ref()?.get(&name)
    }

    /// When the producer made the message, in µs since the epoch.
    pub fn published_at(&self) -> u64 {
        self.origin_timestamp
    }
}

/// One message on its way into Iggy. What is `None` the runtime or the broker fills in.
///
/// Its fields are those that existing connectors list in struct literals. Route, key and offset token are added by
/// wrapping it (the SDK's `SourceMessage`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProducedMessage {
    /// The message's id; a random one when `None`.
    pub id: Option<u128>,
    /// Accepted for compatibility; Iggy computes its own.
    pub checksum: Option<u64>,
    /// Accepted for compatibility; the broker stamps its own.
    pub timestamp: Option<u64>,
    /// When the outside made it, in µs since the epoch; now when `None`.
    pub origin_timestamp: Option<u64>,
    /// User headers.
    pub headers: Option<UserHeaders>,
    /// The body, in the batch's schema.
    pub payload: Vec<u8>,
}

/// What one poll of a source returns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProducedMessages {
    /// How the payloads are to be read.
    pub schema: Schema,
    /// The messages, in order. None is a poll that found nothing.
    pub messages: Vec<ProducedMessage>,
    /// The source's state after these messages; `None` leaves the saved one as it is.
    pub state: Option<ConnectorState>,
}

/// A message between two stages, in either direction.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedMessage {
    /// The message's id, where it has one.
    pub id: Option<u128>,
    /// Offset in the partition (sinks).
    pub offset: Option<u64>,
    /// Checksum, where there is one.
    pub checksum: Option<u64>,
    /// When the broker stored it (sinks), in µs since the epoch.
    pub timestamp: Option<u64>,
    /// When it was made, in µs since the epoch.
    pub origin_timestamp: Option<u64>,
    /// User headers.
    pub headers: Option<UserHeaders>,
    /// The body.
    pub payload: Payload,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_by_its_name() {
        let key = HeaderKey::try_from("source").unwrap();
        let mut message = ConsumedMessage {
            id: 1,
            offset: 0,
            checksum: 0,
            timestamp: 5,
            origin_timestamp: 4,
            headers: Some(UserHeaders::from([(key, 7_u32.into())])),
            payload: Payload::Text("a".to_owned()),
        };
        assert_eq!(message.headers().map(UserHeaders::len), Some(1));
        assert_eq!(message.header("source"), Some(&7_u32.into()));
        assert_eq!(message.header("other"), None);
        assert_eq!(message.header(""), None, "no key is empty");
        message.headers = None;
        assert_eq!((message.headers(), message.header("source")), (None, None));
    }
}
