//! Reads JSON: [`JsonStreamDecoder`].

use iggy_connector_message::{Error, Payload, Schema, StreamDecoder};

/// Reads bytes as one JSON value of any type, nested at most 1024 levels deep.
///
/// Whole numbers must fit 64 bits: a larger one is refused, since reading it as a float would change it.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonStreamDecoder;

impl StreamDecoder for JsonStreamDecoder {
    fn schema(&self) -> Schema {
        Schema::Json
    }

    fn decode(&self, payload: Vec<u8>) -> Result<Payload, Error> {
        Schema::Json.try_into_payload(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: impl Into<Vec<u8>>, expected: Result<&str, Error>) {
        let bytes = bytes.into();
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let decoded = JsonStreamDecoder.decode(bytes).map(|payload| {
            assert!(matches!(payload, Payload::Json(_)), "{shown}");
            payload.to_string()
        });
        assert_eq!(decoded, expected.map(str::to_owned), "{shown}");
    }

    #[test]
    fn every_json_value_is_read() {
        check(
            r#" {"b": [1, null], "a": true} "#,
            Ok(r#"{"b":[1,null],"a":true}"#),
        );
        check("[]", Ok("[]"));
        check("18446744073709551615", Ok("18446744073709551615"));
        check("-9223372036854775808", Ok("-9223372036854775808"));
        check("1.5e3", Ok("1500.0"));
        check(r#""\u00e9""#, Ok("\"é\""));
        check("null", Ok("null"));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let cases: [&[u8]; 9] = [
            b"",
            b" ",
            b"{",
            b"{}x",
            b"nul",
            b"{'a':1}",
            b"[1,]",
            b"\"\xff\"",
            b"18446744073709551616",
        ];
        for bytes in cases {
            check(bytes, Err(Error::InvalidJsonPayload));
        }
    }

    #[test]
    fn nesting_without_end_does_not_end_the_process() {
        for depth in [1_025, 100_000, 2_000_000] {
            let opened = "[".repeat(depth);
            let refused = JsonStreamDecoder.decode(opened.clone().into_bytes());
            assert_eq!(refused, Err(Error::InvalidJsonPayload), "{depth}");
            let closed = opened + &"]".repeat(depth);
            let refused = JsonStreamDecoder.decode(closed.into_bytes());
            assert_eq!(refused, Err(Error::InvalidJsonPayload), "{depth}");
        }
    }
}
