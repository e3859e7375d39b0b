//! Turns one produced message into one of Iggy's, with what must be the same in every attempt: its id, its time and what its
//! partition is computed from. Pure.

use bytes::{BufMut, Bytes, BytesMut};
use iggy_binary_protocol::primitives::user_headers::{
    WireUserHeaderIterator, validate_user_headers,
};
use iggy_common::{
    IggyMessage, IggyMessageHeader, MAX_PAYLOAD_SIZE, MAX_USER_HEADERS_SIZE, calculate_32,
};
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
pub(super) struct Outgoing {
    pub(super) message: IggyMessage,
    /// Chooses the partition, if it has a key.
    pub(super) key: Option<u32>,
    /// How many bytes at the end of its headers are not its own.
    pub(super) added: u32,
}

impl Stamp {
    /// Each call uses up an id.
    pub(super) fn outgoing(&mut self, produced: Produced) -> Outgoing {
        // The client replaces 0 by a new id with every attempt.
        let own_id = self.next_id.max(1);
        self.next_id = self.next_id.wrapping_add(1);
        let key = produced.key.filter(|key| !key.is_empty());
        let own_len = produced.headers.len();
        let headers = match &key {
            Some(key) => with_key(produced.headers, key),
            None => produced.headers,
        };
        let added = (headers.len() - own_len) as u32;
        let header = IggyMessageHeader {
            id: produced.id.filter(|id| *id != 0).unwrap_or(own_id),
            origin_timestamp: produced.origin_timestamp.unwrap_or(self.now),
            user_headers_length: headers.len() as u32,
            payload_length: produced.payload.len() as u32,
            ..IggyMessageHeader::default()
        };
        let message = IggyMessage {
            header,
            payload: produced.payload,
            user_headers: (!headers.is_empty()).then_some(headers),
        };
        Outgoing {
            message,
            key: key.map(|key| hash(&key)),
            added,
        }
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

    fn headers_of(message: &IggyMessage) -> UserHeaders {
        headers::decode(message.user_headers.as_deref().unwrap_or_default()).unwrap()
    }

    fn key_header(message: &IggyMessage) -> Option<HeaderValue> {
        headers_of(message)
            .get(&HeaderKey::try_from("key").unwrap())
            .cloned()
    }

    #[test]
    fn what_a_message_brings_is_kept_and_the_rest_is_given() {
        let mut stamp = stamp();
        let first = stamp.outgoing(produced(b"abc"));
        assert_eq!((first.key, first.added), (None, 0));
        let first = first.message;
        assert_eq!((first.header.id, first.header.origin_timestamp), (7, 99));
        assert_eq!((first.header.payload_length, first.user_headers), (3, None));
        let brought = Produced {
            id: Some(1),
            origin_timestamp: Some(2),
            ..produced(b"abc")
        };
        let second = stamp.outgoing(brought).message;
        assert_eq!((second.header.id, second.header.origin_timestamp), (1, 2));
        assert_eq!(stamp.outgoing(produced(b"abc")).message.header.id, 9);
    }

    #[test]
    fn no_message_goes_out_without_an_id() {
        let mut stamp = Stamp { next_id: 0, now: 0 };
        assert_eq!(stamp.outgoing(produced(b"x")).message.header.id, 1);
        let zero = Produced {
            id: Some(0),
            ..produced(b"x")
        };
        assert_ne!(stamp.outgoing(zero).message.header.id, 0);
    }

    #[test]
    fn a_key_chooses_the_partition_as_the_client_does_and_stays_readable() {
        let Outgoing {
            message,
            key,
            added,
        } = stamp().outgoing(keyed(b"customer-1"));
        assert_eq!(key, Some(calculate_32(b"customer-1")));
        assert_eq!(
            key_header(&message),
            Some(HeaderValue::try_from("customer-1").unwrap())
        );
        let length = message.header.user_headers_length;
        assert_eq!(length as usize, message.user_headers.unwrap().len());
        assert_eq!(added, length);

        let message = stamp().outgoing(keyed(&[0xff, 0xfe])).message;
        assert_eq!(
            key_header(&message),
            Some(HeaderValue::try_from(vec![0xff, 0xfe]).unwrap())
        );
    }

    #[test]
    fn an_empty_key_is_none() {
        let Outgoing { message, key, .. } = stamp().outgoing(keyed(b""));
        assert_eq!((message.user_headers, key), (None, None));
    }

    #[test]
    fn a_long_key_is_shortened_and_no_header() {
        let Outgoing { message, key, .. } = stamp().outgoing(keyed(&[b'k'; 256]));
        assert_eq!(message.user_headers, None);
        assert_eq!(
            key,
            Some(calculate_32(&blake3::hash(&[b'k'; 256]).as_bytes()[..16]))
        );
        let other = stamp().outgoing(keyed(&[b'k'; 257])).key;
        assert_ne!(key, other);
    }

    #[test]
    fn headers_of_the_message_win_over_the_key() {
        let name = HeaderKey::try_from("key").unwrap();
        let own = UserHeaders::from([(name, HeaderValue::from(1u32))]);
        let Outgoing { message, added, .. } = stamp().outgoing(Produced {
            headers: headers::encode(&own).into(),
            ..keyed(b"k")
        });
        assert_eq!((headers_of(&message), added), (own, 0));

        let other =
            UserHeaders::from([(HeaderKey::try_from("a").unwrap(), HeaderValue::from(1u32))]);
        let Outgoing { message, added, .. } = stamp().outgoing(Produced {
            headers: headers::encode(&other).into(),
            ..keyed(b"k")
        });
        let own = message.header.user_headers_length - added;
        assert_eq!(own as usize, headers::encode(&other).len());
        assert_eq!(headers_of(&message).len(), 2);
        assert!(validate_user_headers(&message.user_headers.unwrap()).is_ok());
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
