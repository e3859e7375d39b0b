//! What a decoder read, its encoder writes again; and no bytes bring a decoder down.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap fails the test, which is its purpose"
)]

use iggy_connector_codec::{decoders, encoders};
use iggy_connector_message::{Class, Payload, Schema};
use proptest::prelude::*;
use simd_json::OwnedValue;

const SCHEMAS: [Schema; 3] = [Schema::Json, Schema::Raw, Schema::Text];

fn json() -> impl Strategy<Value = OwnedValue> {
    let leaf = prop_oneof![
        Just(OwnedValue::from(())),
        any::<bool>().prop_map(OwnedValue::from),
        any::<i64>().prop_map(OwnedValue::from),
        any::<u64>().prop_map(OwnedValue::from),
        prop::num::f64::NORMAL.prop_map(OwnedValue::from),
        ".{0,20}".prop_map(OwnedValue::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(OwnedValue::from),
            prop::collection::hash_map(".{0,8}", inner, 0..8)
                .prop_map(|map| map.into_iter().collect::<OwnedValue>()),
        ]
    })
}

fn there_and_back(schema: Schema, payload: Payload) -> Payload {
    let bytes = encoders::for_schema(schema)
        .unwrap()
        .encode(payload)
        .unwrap();
    decoders::for_schema(schema).unwrap().decode(bytes).unwrap()
}

proptest! {
    #[test]
    fn json_comes_back(value in json()) {
        let payload = Payload::Json(value);
        prop_assert_eq!(there_and_back(Schema::Json, payload.clone()), payload);
    }

    #[test]
    fn text_comes_back(text in any::<String>()) {
        let payload = Payload::Text(text);
        prop_assert_eq!(there_and_back(Schema::Text, payload.clone()), payload);
    }

    #[test]
    fn bytes_come_back(bytes in any::<Vec<u8>>()) {
        let payload = Payload::Raw(bytes);
        prop_assert_eq!(there_and_back(Schema::Raw, payload.clone()), payload);
    }

    /// Raw bytes are what a source that does not care about its format hands over.
    #[test]
    fn raw_bytes_pass_exactly_where_they_would_be_read(bytes in any::<Vec<u8>>(), value in json()) {
        let json = Payload::Json(value).try_into_vec().unwrap();
        for schema in SCHEMAS {
            for bytes in [&bytes, &json] {
                let encoded = encoders::for_schema(schema).unwrap().encode(Payload::Raw(bytes.clone()));
                match decoders::for_schema(schema).unwrap().decode(bytes.clone()) {
                    Ok(_) => prop_assert_eq!(&encoded.unwrap(), bytes),
                    Err(error) => {
                        prop_assert_eq!(error.class(), Class::Invalid);
                        prop_assert_eq!(encoded.unwrap_err(), error);
                    }
                }
            }
        }
    }
}
