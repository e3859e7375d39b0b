//! Writes a payload's own bytes: [`RawStreamEncoder`].

use iggy_connector_message::{Error, Payload, Schema, StreamEncoder};

/// Writes the payload's own bytes, whatever it is: raw means that nobody looks into them.
///
/// A JSON value is written out without spaces; everything else passes without a copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawStreamEncoder;

impl StreamEncoder for RawStreamEncoder {
    fn schema(&self) -> Schema {
        Schema::Raw
    }

    fn encode(&self, payload: Payload) -> Result<Vec<u8>, Error> {
        payload.try_into_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payload_has_bytes() {
        let cases: [(Payload, &[u8]); 6] = [
            (Payload::Raw(vec![0, 255]), &[0, 255]),
            (Payload::Json(simd_json::json!([1])), b"[1]"),
            (Payload::Text("a".into()), b"a"),
            (Payload::Proto("a: 1".into()), b"a: 1"),
            (Payload::FlatBuffer(vec![1]), &[1]),
            (Payload::Avro(vec![2]), &[2]),
        ];
        for (payload, bytes) in cases {
            assert_eq!(RawStreamEncoder.encode(payload), Ok(bytes.to_vec()));
        }
    }
}
