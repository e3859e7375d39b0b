//! YAML 1.2, as far as it says what JSON can: text keys, no tags.
//!
//! `serde_norway` is the fork of `serde_yaml` that also keeps the parser underneath it alive.

use serde_json::{Map, Number, Value};

use super::{Malformed, Tree, tree};

pub(super) fn parse(text: &str) -> Result<Tree, Malformed> {
    let mut root: serde_norway::Value = serde_norway::from_str(text).map_err(malformed)?;
    root.apply_merge().map_err(malformed)?;
    tree(convert(root).map_err(|reason| Malformed::new(None, reason))?)
}

fn malformed(error: serde_norway::Error) -> Malformed {
    // The message names the line itself where it knows a better one.
    Malformed::new(
        error.location().map(|place| place.line()),
        error.to_string(),
    )
}

fn convert(value: serde_norway::Value) -> Result<Value, String> {
    Ok(match value {
        serde_norway::Value::Null => Value::Null,
        serde_norway::Value::Bool(value) => Value::Bool(value),
        serde_norway::Value::Number(number) => Value::Number(convert_number(&number)?),
        serde_norway::Value::String(text) => Value::String(text),
        serde_norway::Value::Sequence(values) => {
            Value::Array(values.into_iter().map(convert).collect::<Result<_, _>>()?)
        }
        serde_norway::Value::Mapping(entries) => {
            let mut table = Map::new();
            for (key, value) in entries {
                let serde_norway::Value::String(key) = key else {
                    return Err("a key is not text; put it in quotes".into());
                };
                table.insert(key, convert(value)?);
            }
            Value::Object(table)
        }
        serde_norway::Value::Tagged(tagged) => {
            return Err(format!(
                "the tag `{}` is not known; leave it out",
                tagged.tag
            ));
        }
    })
}

fn convert_number(number: &serde_norway::Number) -> Result<Number, String> {
    number
        .as_i64()
        .map(Number::from)
        .or_else(|| number.as_u64().map(Number::from))
        .or_else(|| number.as_f64().and_then(Number::from_f64))
        .ok_or_else(|| "a finite number is expected".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_of_value_is_read() {
        let text = "base: &base {x: 1, y: [~, true, 1.5]}\nmore: {<<: *base, z: no}\nbig: 18446744073709551615";
        let expected = json!({
            "base": { "x": 1, "y": [null, true, 1.5] },
            "more": { "z": "no", "x": 1, "y": [null, true, 1.5] },
            "big": u64::MAX,
        });
        assert_eq!(Value::Object(parse(text).unwrap().values), expected);
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let cases = [
            ("a: {1: 2}", "a key is not text; put it in quotes"),
            (
                "a: !secret x",
                "the tag `!secret` is not known; leave it out",
            ),
            ("a: .nan", "a finite number is expected"),
        ];
        for (text, reason) in cases {
            assert_eq!(parse(text).unwrap_err().reason, reason);
        }
    }
}
