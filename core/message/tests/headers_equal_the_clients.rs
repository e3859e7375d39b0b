//! Holds the promise that headers are byte for byte those of Iggy's own client, in both directions and for every kind.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap fails the test, which is its purpose"
)]

use iggy_binary_protocol::WireUserHeaders;
use iggy_common::wire_conversions::{user_headers_from_wire, user_headers_to_wire};
use iggy_connector_message::{
    HeaderField, HeaderKey, HeaderKind, HeaderValue, UserHeaders, headers,
};
use proptest::prelude::*;

fn to_client<T, U>(field: &HeaderField<T>) -> iggy_common::HeaderField<U> {
    let kind = iggy_common::HeaderKind::from_code(field.kind().as_code()).unwrap();
    iggy_common::HeaderField::from_raw(kind, field.as_bytes()).unwrap()
}

fn client_bytes(ours: &UserHeaders) -> Vec<u8> {
    let theirs = ours
        .iter()
        .map(|(key, value)| (to_client(key), to_client(value)))
        .collect();
    user_headers_to_wire(&theirs).as_bytes().to_vec()
}

/// What the client makes of these bytes, written down again; `None` when it refuses them.
fn client_reading(bytes: &[u8]) -> Option<Vec<u8>> {
    let wire = WireUserHeaders::from_slice(bytes).ok()?;
    let headers = user_headers_from_wire(&wire).ok()?;
    Some(user_headers_to_wire(&headers).as_bytes().to_vec())
}

fn field<T: std::fmt::Debug>() -> impl Strategy<Value = HeaderField<T>> {
    let text = "\\PC{1,60}".prop_map(|text| HeaderField::try_from(text).unwrap());
    let raw = prop::collection::vec(any::<u8>(), 1..=255)
        .prop_map(|bytes| HeaderField::try_from(bytes).unwrap());
    let number = (3..=15u8, any::<[u8; 16]>()).prop_map(|(code, bytes)| {
        let kind = HeaderKind::from_code(code).unwrap();
        [1, 2, 4, 8, 16]
            .into_iter()
            .find_map(|size| HeaderField::from_raw(kind, &bytes[..size]).ok())
            .unwrap()
    });
    prop_oneof![text, raw, number]
}

fn user_headers() -> impl Strategy<Value = UserHeaders> {
    prop::collection::btree_map(field(), field(), 0..12)
}

#[test]
fn constructors_name_the_clients_kinds() {
    macro_rules! check {
        ($($value:expr),*) => {$(
            let ours = HeaderValue::try_from($value).unwrap();
            let theirs = iggy_common::HeaderValue::try_from($value).unwrap();
            assert_eq!(to_client(&ours), theirs);
            assert_eq!(ours.kind().to_string(), theirs.kind().to_string());
        )*};
    }
    check!(
        "text",
        b"raw".as_slice(),
        true,
        1i8,
        -2i16,
        3i32,
        -4i64,
        5i128,
        6u8,
        7u16,
        8u32,
        9u64,
        10u128
    );
    check!(1.5f32, f64::NEG_INFINITY);
}

#[test]
fn every_kind_is_encoded_as_the_client_does() {
    let mut ours = UserHeaders::new();
    for code in 1..=15 {
        let kind = HeaderKind::from_code(code).unwrap();
        for size in [1, 2, 4, 8, 16] {
            let Ok(value) = HeaderValue::from_raw(kind, &[1; 16][..size]) else {
                continue;
            };
            let key = HeaderKey::from_raw(kind, value.as_bytes()).unwrap();
            ours.insert(key, value);
        }
    }
    let kinds: std::collections::BTreeSet<_> = ours.keys().map(HeaderKey::kind).collect();
    assert_eq!(kinds.len(), 15);
    assert_eq!(headers::encode(&ours), client_bytes(&ours));
    assert_eq!(headers::decode(&client_bytes(&ours)), Ok(ours));
}

proptest! {
    #[test]
    fn headers_come_back_as_they_went_out(ours in user_headers()) {
        let bytes = headers::encode(&ours);
        prop_assert_eq!(bytes.len(), headers::encoded_len(&ours));
        prop_assert_eq!(&bytes, &client_bytes(&ours));
        prop_assert_eq!(headers::decode(&bytes), Ok(ours));
    }

    #[test]
    fn any_bytes_are_judged_as_the_client_judges_them(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let ours = headers::decode(&bytes).ok().map(|headers| headers::encode(&headers));
        prop_assert_eq!(ours, client_reading(&bytes));
    }

    /// Random bytes hardly ever get past the first field; a damaged encoding does.
    #[test]
    fn damaged_headers_are_judged_as_the_client_judges_them(
        ours in user_headers(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = headers::encode(&ours);
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let ours = headers::decode(&bytes).ok().map(|headers| headers::encode(&headers));
        prop_assert_eq!(ours, client_reading(&bytes));
    }
}
