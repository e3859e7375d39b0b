//! Writes UTF-8 text: [`TextStreamEncoder`].

use iggy_connector_message::{Error, Payload, Schema, StreamEncoder};

/// Writes a payload as UTF-8 text.
///
/// Text passes as it is, a JSON value becomes its JSON text (a string keeps its quotes, so that the text is JSON whatever the
/// value is), and raw bytes pass as they are when they are UTF-8.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextStreamEncoder;

impl StreamEncoder for TextStreamEncoder {
    fn schema(&self) -> Schema {
        Schema::Text
    }

    fn encode(&self, payload: Payload) -> Result<Vec<u8>, Error> {
        match payload {
            Payload::Text(_) | Payload::Json(_) => payload.try_into_vec(),
            Payload::Raw(bytes) => checked(bytes),
            Payload::Proto(_) | Payload::FlatBuffer(_) | Payload::Avro(_) => {
                Err(Error::InvalidPayloadType)
            }
        }
    }
}

fn checked(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    match std::str::from_utf8(&bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Error::InvalidTextPayload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: Payload, expected: Result<&str, Error>) {
        let shown = format!("{payload:?}");
        let encoded = TextStreamEncoder.encode(payload);
        assert_eq!(
            encoded,
            expected.map(|text| text.as_bytes().to_vec()),
            "{shown}"
        );
    }

    #[test]
    fn text_values_and_utf_8_bytes_are_written() {
        check(Payload::Text("héllo".into()), Ok("héllo"));
        check(Payload::Json(simd_json::json!({"a": 1})), Ok(r#"{"a":1}"#));
        check(Payload::Json(simd_json::json!("a")), Ok(r#""a""#));
        check(Payload::Raw("héllo".into()), Ok("héllo"));
    }

    #[test]
    fn what_cannot_be_text_is_refused() {
        check(Payload::Raw(vec![0xff]), Err(Error::InvalidTextPayload));
        check(
            Payload::Proto("a: 1".into()),
            Err(Error::InvalidPayloadType),
        );
        check(Payload::FlatBuffer(vec![1]), Err(Error::InvalidPayloadType));
        check(Payload::Avro(vec![1]), Err(Error::InvalidPayloadType));
    }
}
