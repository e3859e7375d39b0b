//! The decoded body of a message: [`Payload`].

use std::fmt;

use simd_json::OwnedValue;

use crate::Error;

/// The body of a message, decoded as its [`Schema`](crate::Schema) says.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// A JSON value.
    Json(OwnedValue),
    /// Bytes as they are.
    Raw(Vec<u8>),
    /// UTF-8 text.
    Text(String),
    /// A Protobuf message, in its text form.
    Proto(String),
    /// A FlatBuffers buffer.
    FlatBuffer(Vec<u8>),
    /// An Avro datum.
    Avro(Vec<u8>),
}

impl Payload {
    /// Returns the payload's bytes, giving up the payload: no copy is made but for JSON, which is written out.
    ///
    /// # Errors
    ///
    /// [`Error::Serialization`] when a JSON value cannot be written.
    pub fn try_into_vec(self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Json(value) => json_bytes(&value),
            Self::Text(text) | Self::Proto(text) => Ok(text.into_bytes()),
            Self::Raw(bytes) | Self::FlatBuffer(bytes) | Self::Avro(bytes) => Ok(bytes),
        }
    }

    /// Returns a copy of the payload's bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Serialization`] when a JSON value cannot be written.
    pub fn try_to_bytes(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Json(value) => json_bytes(value),
            Self::Text(text) | Self::Proto(text) => Ok(text.clone().into_bytes()),
            Self::Raw(bytes) | Self::FlatBuffer(bytes) | Self::Avro(bytes) => Ok(bytes.clone()),
        }
    }
}

/// JSON and text as they are; binary payloads by kind and length.
impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(value) => match json_bytes(value) {
                Ok(bytes) => f.write_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => f.write_str("unprintable JSON"),
            },
            Self::Text(text) | Self::Proto(text) => f.write_str(text),
            Self::Raw(bytes) => write!(f, "raw, {} bytes", bytes.len()),
            Self::FlatBuffer(bytes) => write!(f, "flat_buffer, {} bytes", bytes.len()),
            Self::Avro(bytes) => write!(f, "avro, {} bytes", bytes.len()),
        }
    }
}

fn json_bytes(value: &OwnedValue) -> Result<Vec<u8>, Error> {
    simd_json::to_vec(value).map_err(|error| Error::Serialization(error.to_string()))
}
