//! How a message's bytes are to be read: [`Schema`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Payload};

/// How a message's bytes are to be read.
///
/// Written in snake case: `json`, `raw`, `text`, `proto`, `flat_buffer` (also `flatbuffer`), `avro`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schema {
    /// UTF-8 JSON text. The default.
    #[default]
    Json,
    /// Bytes as they are.
    Raw,
    /// UTF-8 text.
    Text,
    /// Protocol Buffers.
    Proto,
    /// FlatBuffers.
    #[serde(alias = "flatbuffer")]
    FlatBuffer,
    /// An Avro datum.
    Avro,
}

impl Schema {
    /// Reads `bytes` as this schema without further configuration.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJsonPayload`] and [`Error::InvalidTextPayload`] when the bytes are not what they should be. Protobuf is
    /// read as the text form; FlatBuffers and Avro stay bytes.
    pub fn try_into_payload(self, mut bytes: Vec<u8>) -> Result<Payload, Error> {
        match self {
            Self::Json => simd_json::to_owned_value(&mut bytes)
                .map(Payload::Json)
                .map_err(|_| Error::InvalidJsonPayload),
            Self::Raw => Ok(Payload::Raw(bytes)),
            Self::Text => text(bytes).map(Payload::Text),
            Self::Proto => text(bytes).map(Payload::Proto),
            Self::FlatBuffer => Ok(Payload::FlatBuffer(bytes)),
            Self::Avro => Ok(Payload::Avro(bytes)),
        }
    }

    /// The number that stands for the schema on the fence.
    pub const fn as_code(self) -> u32 {
        match self {
            Self::Json => 0,
            Self::Raw => 1,
            Self::Text => 2,
            Self::Proto => 3,
            Self::FlatBuffer => 4,
            Self::Avro => 5,
        }
    }

    /// The schema that a number on the fence stands for, or `None` when it is unknown.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Json,
            1 => Self::Raw,
            2 => Self::Text,
            3 => Self::Proto,
            4 => Self::FlatBuffer,
            5 => Self::Avro,
            _ => return None,
        })
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Raw => "raw",
            Self::Text => "text",
            Self::Proto => "proto",
            Self::FlatBuffer => "flat_buffer",
            Self::Avro => "avro",
        })
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| Error::InvalidTextPayload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_stand_for_the_same_schema() {
        for code in 0..6 {
            let schema = Schema::from_code(code).unwrap();
            assert_eq!(schema.as_code(), code);
            let name = format!("\"{schema}\"").into_bytes();
            assert_eq!(
                simd_json::from_slice::<Schema>(&mut name.clone()).unwrap(),
                schema
            );
        }
        assert_eq!(Schema::from_code(6), None);
    }

    #[test]
    fn bytes_that_do_not_fit_are_refused() {
        assert_eq!(
            Schema::Json.try_into_payload(b"{".to_vec()),
            Err(Error::InvalidJsonPayload)
        );
        assert_eq!(
            Schema::Text.try_into_payload(vec![0xff]),
            Err(Error::InvalidTextPayload)
        );
        assert_eq!(
            Schema::Raw.try_into_payload(vec![0xff]),
            Ok(Payload::Raw(vec![0xff]))
        );
    }
}
