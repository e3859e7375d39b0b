//! Reads UTF-8 text: [`TextStreamDecoder`].

use iggy_connector_message::{Error, Payload, Schema, StreamDecoder};

/// Reads bytes as UTF-8 text, without a copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextStreamDecoder;

impl StreamDecoder for TextStreamDecoder {
    fn schema(&self) -> Schema {
        Schema::Text
    }

    fn decode(&self, payload: Vec<u8>) -> Result<Payload, Error> {
        Schema::Text.try_into_payload(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<&str, Error>) {
        let decoded = TextStreamDecoder.decode(bytes.to_vec());
        assert_eq!(decoded, expected.map(|text| Payload::Text(text.into())));
    }

    #[test]
    fn only_utf_8_is_text() {
        check(b"", Ok(""));
        check("héllo\0".as_bytes(), Ok("héllo\0"));
        check(b"\xff", Err(Error::InvalidTextPayload));
        check(b"cut \xc3", Err(Error::InvalidTextPayload));
    }
}
