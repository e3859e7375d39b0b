//! Iggy's wire encoding of user headers: per key and per value a kind (1 byte), a length (4 bytes, little-endian), the bytes.

use super::{HeaderField, HeaderKind, UserHeaders};
use crate::Error;

/// The most bytes that Iggy takes as the headers of one message.
pub const MAX_ENCODED_LEN: usize = 100_000;

/// Kind and length before each key and each value.
const PREFIX_LEN: usize = 5;

/// Reads headers in Iggy's wire encoding. No bytes are no headers.
///
/// # Errors
///
/// [`Error::InvalidRecordValue`] when the bytes are cut or more than [`MAX_ENCODED_LEN`], a kind is unknown, or a value does
/// not fit its kind.
pub fn decode(bytes: &[u8]) -> Result<UserHeaders, Error> {
    if bytes.len() > MAX_ENCODED_LEN {
        return Err(invalid(format!(
            "headers of {} bytes; {MAX_ENCODED_LEN} fit",
            bytes.len()
        )));
    }
    let mut headers = UserHeaders::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let key = read_field(&mut rest)?;
        let value = read_field(&mut rest)?;
        headers.insert(key, value);
    }
    Ok(headers)
}

/// Writes headers in Iggy's wire encoding, ordered by key.
///
/// Any number of headers is written; a message with more than [`MAX_ENCODED_LEN`] bytes of them is refused by [`decode`] and
/// by Iggy, so that a sender checks [`encoded_len`] first.
pub fn encode(headers: &UserHeaders) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(encoded_len(headers));
    for (key, value) in headers {
        write_field(&mut bytes, key);
        write_field(&mut bytes, value);
    }
    bytes
}

/// How many bytes [`encode`] writes.
pub fn encoded_len(headers: &UserHeaders) -> usize {
    headers
        .iter()
        .map(|(key, value)| 2 * PREFIX_LEN + key.as_bytes().len() + value.as_bytes().len())
        .sum()
}

fn read_field<T>(rest: &mut &[u8]) -> Result<HeaderField<T>, Error> {
    let Some((prefix, tail)) = rest.split_first_chunk::<PREFIX_LEN>() else {
        return Err(cut());
    };
    let [kind, len @ ..] = *prefix;
    let kind = HeaderKind::from_code(kind)?;
    // A length that does not fit into memory's addresses is certainly longer than what is there.
    let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
    let Some((value, tail)) = tail.split_at_checked(len) else {
        return Err(cut());
    };
    *rest = tail;
    HeaderField::from_raw(kind, value)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a field has at most 255 bytes"
)]
fn write_field<T>(bytes: &mut Vec<u8>, field: &HeaderField<T>) {
    let value = field.as_bytes();
    bytes.push(field.kind().as_code());
    bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
    bytes.extend_from_slice(value);
}

fn cut() -> Error {
    invalid("headers end in the middle of a key or value".to_owned())
}

fn invalid(reason: String) -> Error {
    Error::InvalidRecordValue(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeaderKey, HeaderValue};

    fn one_header() -> UserHeaders {
        UserHeaders::from([(HeaderKey::try_from("k").unwrap(), HeaderValue::from(1u16))])
    }

    #[test]
    fn the_encoding_is_kind_length_bytes() {
        let bytes = [2, 1, 0, 0, 0, b'k', 10, 2, 0, 0, 0, 1, 0];
        assert_eq!(encode(&one_header()), bytes);
        assert_eq!(encoded_len(&one_header()), bytes.len());
        assert_eq!(decode(&bytes), Ok(one_header()));
        assert_eq!(decode(&[]), Ok(UserHeaders::new()));
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = encode(&one_header());
        for len in 1..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn bytes_that_are_no_headers_are_refused() {
        let cases: [(&str, &[u8]); 5] = [
            ("kind 0", &[0, 1, 0, 0, 0, 1]),
            ("unknown kind", &[16, 1, 0, 0, 0, 1]),
            ("no bytes", &[1, 0, 0, 0, 0]),
            ("a length beyond the end", &[1, 255, 255, 255, 255, 1]),
            ("an int32 of one byte", &[6, 1, 0, 0, 0, 1]),
        ];
        for (name, bytes) in cases {
            assert!(decode(bytes).is_err(), "{name}");
        }
    }

    #[test]
    fn more_bytes_than_iggy_takes_are_refused() {
        let value = HeaderValue::try_from(vec![7; 255]).unwrap();
        let headers: UserHeaders = (0..400u32)
            .map(|number| (HeaderKey::from(number), value.clone()))
            .collect();
        assert!(encoded_len(&headers) > MAX_ENCODED_LEN);
        let error = decode(&encode(&headers)).unwrap_err();
        assert!(error.to_string().contains("100000 fit"), "{error}");
    }
}
