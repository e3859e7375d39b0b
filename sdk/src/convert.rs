//! Between the JSON values of this SDK and those of `serde_json`, which many clients take.

use serde_json::{Map, Number, Value};
use simd_json::{OwnedValue, StaticNode};

/// Copies a JSON value. Numbers that JSON does not know (not a number, infinite) become null.
///
/// ```
/// use iggy_connector_sdk::{Schema, Payload, convert::owned_value_to_serde_json};
///
/// # fn main() -> Result<(), iggy_connector_sdk::Error> {
/// let Payload::Json(value) = Schema::Json.try_into_payload(br#"{"a": [1, null]}"#.to_vec())? else { panic!() };
/// assert_eq!(owned_value_to_serde_json(&value).to_string(), r#"{"a":[1,null]}"#);
/// # Ok(())
/// # }
/// ```
pub fn owned_value_to_serde_json(value: &OwnedValue) -> Value {
    match value {
        OwnedValue::Static(StaticNode::Null) => Value::Null,
        OwnedValue::Static(StaticNode::Bool(value)) => Value::Bool(*value),
        OwnedValue::Static(StaticNode::I64(value)) => Value::from(*value),
        OwnedValue::Static(StaticNode::U64(value)) => Value::from(*value),
        OwnedValue::Static(StaticNode::F64(value)) => {
            Number::from_f64(*value).map_or(Value::Null, Value::Number)
        }
        OwnedValue::String(text) => Value::String(text.clone()),
        OwnedValue::Array(values) => values.iter().map(owned_value_to_serde_json).collect(),
        OwnedValue::Object(fields) => {
            let fields = fields.iter();
            let copied =
                fields.map(|(name, value)| (name.clone(), owned_value_to_serde_json(value)));
            Value::Object(copied.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_does_not_know_become_null() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(
                owned_value_to_serde_json(&OwnedValue::from(number)),
                Value::Null
            );
        }
        let value = simd_json::json!({"min": i64::MIN, "max": u64::MAX, "half": 0.5, "yes": true, "text": "é"});
        let expected = serde_json::json!({"min": i64::MIN, "max": u64::MAX, "half": 0.5, "yes": true, "text": "é"});
        assert_eq!(owned_value_to_serde_json(&value), expected);
    }
}
