//! Takes bytes as they are: [`RawStreamDecoder`].

use iggy_connector_message::{Error, Payload, Schema, StreamDecoder};

/// Takes bytes as they are. It never fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawStreamDecoder;

impl StreamDecoder for RawStreamDecoder {
    fn schema(&self) -> Schema {
        Schema::Raw
    }

    fn decode(&self, payload: Vec<u8>) -> Result<Payload, Error> {
        Ok(Payload::Raw(payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_taken() {
        for bytes in [vec![], vec![0, 255], b"{}".to_vec()] {
            let decoded = RawStreamDecoder.decode(bytes.clone());
            assert_eq!(decoded, Ok(Payload::Raw(bytes)));
        }
    }
}
