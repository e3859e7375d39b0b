//! Turns one produced message into one of Iggy's, with what must be the same in every attempt: its id, its time and what its
//! partition is computed from. Pure.

use bytes::{BufMut, Bytes, BytesMut};
use iggy_binary_protocol::{
    batch::BATCH_MESSAGE_HEADER_SIZE,
    primitives::user_headers::{WireUserHeaderIterator, validate_user_headers},
    requests::messages::RawMessage,
};
use iggy_common::{MAX_PAYLOAD_SIZE, MAX_USER_HEADERS_SIZE, calculate_32};
use iggy_connector_message::HeaderKind;

use crate::pipeline::Produced;

/// The most bytes that Iggy takes as one message's payload.
const MAX_PAYLOAD_LEN: usize = MAX_PAYLOAD_SIZE as usize;
/// The most bytes that Iggy takes as one message's headers.
const MAX_HEADERS_LEN: usize = MAX_USER_HEADERS_SIZE as usize;

/// The longest key that Iggy takes as it is.
const MAX_KEY_LEN: usize = 255;
const KEY_HEADER: &[u8] = b"key";

/// What is given to messages that do not bring it.
pub(super) struct Stamp {
    pub(super) next_id: u128,
    /// Microseconds since 1970.
    pub(super) now: u64,
}

/// A message as Iggy takes it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: u128,
    /// Microseconds since 1970.
    pub(super) origin_timestamp: u64,
    pub(super) headers: Bytes,
    pub(super) payload: Bytes,
    /// In what was prepared.
    pub(super) position: u32,
    /// Chooses the partition, if it has a key.
    pub(super) key: Option<u32>,
    /// How many bytes at the end of its headers are not its own.
    pub(super) added: u32,
}

impl Stamp {
    /// Each call uses up an id.
    pub(super) fn outgoing(&mut self, position: u32, produced: Produced) -> Outgoing {
        // Iggy's client would replace 0 by a new id with every attempt.
        let own_id = self.next_id.max(1);
        self.next_id = self.next_id.wrapping_add(1);
        let key = produced.key.filter(|key| !key.is_empty());
        let own_len = produced.headers.len();
        let headers = match &key {
            Some(key) => with_key(produced.headers, key),
            None => produced.headers,
        };
        Outgoing {
            id: produced.id.filter(|id| *id != 0).unwrap_or(own_id),
            origin_timestamp: produced.origin_timestamp.unwrap_or(self.now),
            added: (headers.len() - own_len) as u32,
            headers,
            payload: produced.payload,
            position,
            key: key.map(|key| hash(&key)),
        }
    }
}

impl Outgoing {
    /// As it is encoded.
    pub(super) fn raw(&self) -> RawMessage<'_> {
        RawMessage {
            id: self.id,
            origin_timestamp: self.origin_timestamp,
            headers: (!self.headers.is_empty()).then_some(&self.headers),
            payload: &self.payload,
        }
    }

    /// How many bytes of a request it takes.
    pub(super) fn size(&self) -> usize {
        BATCH_MESSAGE_HEADER_SIZE + self.payload.len() + self.headers.len()
    }

    /// The message as it was prepared, and its position.
    pub(super) fn give_back(self) -> (usize, Produced) {
        let own = self.headers.len() - self.added as usize;
        let produced = Produced {
            headers: self.headers.slice(..own),
            payload: self.payload,
            ..Produced::default()
        };
        (self.position as usize, produced)
    }
}

/// Whether Iggy takes the message, or why it never will.
pub(super) fn check(produced: &Produced) -> Result<(), String> {
    let (payload, headers) = (produced.payload.len(), produced.headers.len());
    if payload > MAX_PAYLOAD_LEN {
        return Err(format!(
            "its payload has {payload} bytes; Iggy takes {MAX_PAYLOAD_LEN}"
        ));
    }
    if headers > MAX_HEADERS_LEN {
        return Err(format!(
            "its headers have {headers} bytes; Iggy takes {MAX_HEADERS_LEN}"
        ));
    }
    match validate_user_headers(&produced.headers) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("its headers are not in Iggy's encoding: {error}")),
    }
}

/// The number whose remainder is the partition, as Iggy's client computes it. Keys that are too long for Iggy are shortened to
/// 128 bits first.
fn hash(key: &[u8]) -> u32 {
    if key.len() <= MAX_KEY_LEN {
        return calculate_32(key);
    }
    calculate_32(&blake3::hash(key).as_bytes()[..16])
}

/// Adds the key as a header, unless it does not fit or there is such a header.
fn with_key(headers: Bytes, key: &[u8]) -> Bytes {
    let added = 2 * 5 + KEY_HEADER.len() + key.len();
    let fits = key.len() <= MAX_KEY_LEN && headers.len() + added <= MAX_HEADERS_LEN;
    let string = HeaderKind::String.as_code();
    let is_there = || {
        WireUserHeaderIterator::new(&headers)
            .any(|entry| entry.key_kind.0 == string && entry.key == KEY_HEADER)
    };
    if !fits || is_there() {
        return headers;
    }
    let kind = match std::str::from_utf8(key) {
        Ok(_) => HeaderKind::String,
        Err(_) => HeaderKind::Raw,
    };
    let mut bytes = BytesMut::with_capacity(headers.len() + added);
    bytes.put_slice(&headers);
    put_field(&mut bytes, string, KEY_HEADER);
    put_field(&mut bytes, kind.as_code(), key);
    bytes.freeze()
}

fn put_field(bytes: &mut BytesMut, kind: u8, value: &[u8]) {
    bytes.put_u8(kind);
    bytes.put_u32_le(value.len() as u32);
    bytes.put_slice(value);
}

#[cfg(test)]
mod tests {
    use iggy_connector_message::{HeaderKey, HeaderValue, UserHeaders, headers};

    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            next_id: 7,
            now: 99,
        }
    }

    fn produced(payload: &'static [u8]) -> Produced {
        Produced {
            payload: Bytes::from_static(payload),
            ..Produced::default()
        }
    }

    fn keyed(key: &[u8]) -> Produced {
        Produced {
            key: Some(Bytes::copy_from_slice(key)),
            ..produced(b"x")
        }
    }

    fn headers_of(message: &Outgoing) -> UserHeaders {
        headers::decode(&message.headers).unwrap()
    }

    fn key_header(message: &Outgoing) -> Option<HeaderValue> {
        headers_of(message)
            .get(&HeaderKey::try_from("key").unwrap())
            .cloned()
    }

    #[test]
    fn what_a_message_brings_is_kept_and_the_rest_is_given() {
        let mut stamp = stamp();
        let first = stamp.outgoing(3, produced(b"abc"));
        assert_eq!((first.key, first.added, first.position), (None, 0, 3));
        assert_eq!((first.id, first.origin_timestamp), (7, 99));
        assert_eq!(first.raw().headers, None);
        let brought = Produced {
            id: Some(1),
            origin_timestamp: Some(2),
            ..produced(b"abc")
        };
        let second = stamp.outgoing(0, brought);
        assert_eq!((second.id, second.origin_timestamp), (1, 2));
        assert_eq!(stamp.outgoing(0, produced(b"abc")).id, 9);
    }

    #[test]
    fn no_message_goes_out_without_an_id() {
        let mut stamp = Stamp { next_id: 0, now: 0 };
        assert_eq!(stamp.outgoing(0, produced(b"x")).id, 1);
        let zero = Produced {
            id: Some(0),
            ..produced(b"x")
        };
        assert_ne!(stamp.outgoing(0, zero).id, 0);
    }

    #[test]
    fn a_key_chooses_the_partition_as_the_client_does_and_stays_readable() {
        let message = stamp().outgoing(0, keyed(b"customer-1"));
        assert_eq!(message.key, Some(calculate_32(b"customer-1")));
        assert_eq!(
            key_header(&message),
            Some(HeaderValue::try_from("customer-1").unwrap())
        );
        assert_eq!(message.added as usize, message.headers.len());

        let message = stamp().outgoing(0, keyed(&[0xff, 0xfe]));
        assert_eq!(
            key_header(&message),
            Some(HeaderValue::try_from(vec![0xff, 0xfe]).unwrap())
        );
    }

    #[test]
    fn an_empty_key_is_none() {
        let message = stamp().outgoing(0, keyed(b""));
        assert_eq!((&*message.headers, message.key), (&b""[..], None));
    }

    #[test]
    fn a_long_key_is_shortened_and_no_header() {
        let message = stamp().outgoing(0, keyed(&[b'k'; 256]));
        assert!(message.headers.is_empty());
        assert_eq!(
            message.key,
            Some(calculate_32(&blake3::hash(&[b'k'; 256]).as_bytes()[..16]))
        );
        let other = stamp().outgoing(0, keyed(&[b'k'; 257])).key;
        assert_ne!(message.key, other);
    }

    #[test]
    fn headers_of_the_message_win_over_the_key() {
        let name = HeaderKey::try_from("key").unwrap();
        let own = UserHeaders::from([(name, HeaderValue::from(1u32))]);
        let message = stamp().outgoing(
            0,
            Produced {
                headers: headers::encode(&own).into(),
                ..keyed(b"k")
            },
        );
        assert_eq!((headers_of(&message), message.added), (own, 0));

        let other =
            UserHeaders::from([(HeaderKey::try_from("a").unwrap(), HeaderValue::from(1u32))]);
        let own = Bytes::from(headers::encode(&other));
        let message = stamp().outgoing(
            0,
            Produced {
                headers: own.clone(),
                ..keyed(b"k")
            },
        );
        assert_eq!(headers_of(&message).len(), 2);
        assert!(validate_user_headers(&message.headers).is_ok());
        let (position, given_back) = message.give_back();
        assert_eq!((position, given_back.headers), (0, own));
    }

    #[test]
    fn a_key_that_does_not_fit_into_the_headers_is_left_out() {
        let headers = Bytes::from(vec![0; MAX_HEADERS_LEN - 13]);
        assert!(with_key(headers.clone(), b"k") == headers);
    }

    #[test]
    fn messages_that_iggy_does_not_take_are_invalid() {
        let cases = [
            (
                "64000001 bytes",
                Produced {
                    payload: vec![0; MAX_PAYLOAD_LEN + 1].into(),
                    ..Produced::default()
                },
            ),
            (
                "100001 bytes",
                Produced {
                    headers: vec![0; MAX_HEADERS_LEN + 1].into(),
                    ..produced(b"x")
                },
            ),
            (
                "not in Iggy's encoding",
                Produced {
                    headers: Bytes::from_static(&[1, 2, 3]),
                    ..produced(b"x")
                },
            ),
        ];
        for (text, message) in cases {
            let reason = check(&message).unwrap_err();
            assert!(reason.contains(text), "{reason}");
        }
        check(&Produced {
            payload: vec![0; MAX_PAYLOAD_LEN].into(),
            ..Produced::default()
        })
        .unwrap();
    }
}
