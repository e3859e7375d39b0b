//! Writes JSON: [`JsonStreamEncoder`].

use iggy_connector_message::{Error, Payload, Schema, StreamEncoder};

/// Writes a payload as JSON.
///
/// A JSON value is written out without spaces, text becomes a JSON string, and raw bytes pass as they are when they are JSON
/// already. NaN and infinities, which JSON does not know, become `null`.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonStreamEncoder;

impl StreamEncoder for JsonStreamEncoder {
    fn schema(&self) -> Schema {
        Schema::Json
    }

    fn encode(&self, payload: Payload) -> Result<Vec<u8>, Error> {
        match payload {
            Payload::Json(_) => payload.try_into_vec(),
            Payload::Text(text) => {
                simd_json::to_vec(&text).map_err(|error| Error::Serialization(error.to_string()))
            }
            Payload::Raw(bytes) => checked(bytes),
            Payload::Proto(_) | Payload::FlatBuffer(_) | Payload::Avro(_) => {
                Err(Error::InvalidPayloadType)
            }
        }
    }
}

/// Lets JSON through. The parser writes into what it reads, so it gets a copy.
fn checked(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    match simd_json::to_tape(&mut bytes.clone()) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Error::InvalidJsonPayload),
    }
}

#[cfg(test)]
mod tests {
    use simd_json::{OwnedValue, json};

    use super::*;

    fn check(payload: Payload, expected: Result<&str, Error>) {
        let shown = format!("{payload:?}");
        let encoded = JsonStreamEncoder.encode(payload);
        assert_eq!(
            encoded,
            expected.map(|text| text.as_bytes().to_vec()),
            "{shown}"
        );
    }

    #[test]
    fn values_text_and_json_bytes_are_written() {
        check(
            Payload::Json(json!({"a": [1, 2.5, null]})),
            Ok(r#"{"a":[1,2.5,null]}"#),
        );
        check(Payload::Json(json!("a")), Ok(r#""a""#));
        check(Payload::Json(OwnedValue::from(f64::NAN)), Ok("null"));
        check(
            Payload::Text("say \"hi\"\n".into()),
            Ok(r#""say \"hi\"\n""#),
        );
        check(
            Payload::Raw(br#"{ "kept": "as it is" }"#.to_vec()),
            Ok(r#"{ "kept": "as it is" }"#),
        );
        check(Payload::Raw(br#""\u00e9""#.to_vec()), Ok(r#""\u00e9""#));
    }

    #[test]
    fn what_cannot_be_json_is_refused() {
        check(
            Payload::Raw(b"plain".to_vec()),
            Err(Error::InvalidJsonPayload),
        );
        check(Payload::Raw(vec![]), Err(Error::InvalidJsonPayload));
        check(
            Payload::Proto("a: 1".into()),
            Err(Error::InvalidPayloadType),
        );
        check(Payload::FlatBuffer(vec![1]), Err(Error::InvalidPayloadType));
        check(Payload::Avro(vec![1]), Err(Error::InvalidPayloadType));
    }
}
