//! The traits of the stages between the wire and a connector: [`StreamDecoder`], [`Transform`], [`StreamEncoder`].

use crate::{DecodedMessage, Error, Payload, Schema, TopicMetadata};

/// Reads bytes as a payload.
pub trait StreamDecoder: Send + Sync {
    /// What it reads.
    fn schema(&self) -> Schema;

    /// Reads `payload`.
    ///
    /// # Errors
    ///
    /// An error of class [`crate::Class::Invalid`] when the bytes are not of this schema.
    fn decode(&self, payload: Vec<u8>) -> Result<Payload, Error>;
}

/// Writes a payload as bytes.
pub trait StreamEncoder: Send + Sync {
    /// What it writes.
    fn schema(&self) -> Schema;

    /// Writes `payload`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPayloadType`] when this kind of payload cannot be written in this schema.
    fn encode(&self, payload: Payload) -> Result<Vec<u8>, Error>;
}

/// The name under which a transform stands in a configuration, for example `add_fields`.
pub type TransformType = &'static str;

/// Changes, replaces or drops one message.
pub trait Transform: Send + Sync {
    /// Its name in a configuration.
    fn r#type(&self) -> TransformType;

    /// Returns the message as it is to go on, or `None` when it is filtered out.
    ///
    /// # Errors
    ///
    /// An error of class [`crate::Class::Invalid`] when this message cannot be transformed.
    fn transform(
        &self,
        metadata: &TopicMetadata,
        message: DecodedMessage,
    ) -> Result<Option<DecodedMessage>, Error>;
}
