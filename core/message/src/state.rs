//! What a source remembers between runs: [`ConnectorState`].

use serde::{Serialize, de::DeserializeOwned};

/// A source's state: bytes that the runtime keeps and offers back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectorState(pub Vec<u8>);

impl ConnectorState {
    /// Writes `value` as MessagePack (with field names). `name` and `id` say whose state it is, for messages about it.
    ///
    /// Returns `None` when the value cannot be written; the reason is printed by [`ConnectorState::try_serialize`].
    pub fn serialize<T: Serialize>(value: &T, _name: &str, _id: u32) -> Option<Self> {
        Self::try_serialize(value).ok()
    }

    /// Reads a value written by [`ConnectorState::serialize`]. Returns `None` when it is not of that type.
    ///
    /// A source that goes on without its state would start over: prefer [`ConnectorState::try_deserialize`] and fail to open.
    pub fn deserialize<T: DeserializeOwned>(self, _name: &str, _id: u32) -> Option<T> {
        self.try_deserialize().ok()
    }

    /// Writes `value` as MessagePack (with field names).
    ///
    /// # Errors
    ///
    /// [`crate::Error::Serialization`] with the reason.
    pub fn try_serialize<T: Serialize>(value: &T) -> Result<Self, crate::Error> {
        rmp_serde::to_vec_named(value)
            .map(Self)
            .map_err(|error| crate::Error::Serialization(error.to_string()))
    }

    /// Reads a value written by [`ConnectorState::try_serialize`].
    ///
    /// # Errors
    ///
    /// A fatal error with the reason: going on without the state would start over.
    pub fn try_deserialize<T: DeserializeOwned>(&self) -> Result<T, crate::Error> {
        rmp_serde::from_slice(&self.0)
            .map_err(|error| crate::Error::InvalidState.with_source(&error))
    }
}
