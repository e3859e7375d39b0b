//! JSON, with repeated keys refused: `serde_json` alone would take the last one without a word.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, value::RawValue};

use super::{Breaks, Malformed, Tree, tree};
use crate::config::{
    path::{element, field},
    problem::Lines,
};

pub(super) fn parse(text: &str) -> Result<Tree, Malformed> {
    let root = value(text)?;
    let mut lines = Lines::new();
    if let Ok(raw) = serde_json::from_str(text) {
        note(raw, "", (text, &Breaks::of(text)), &mut lines);
    }
    tree(root, lines)
}

/// Notes the line in which each value begins; a raw value is a part of the text.
fn note(raw: &RawValue, path: &str, whole: (&str, &Breaks), lines: &mut Lines) {
    let (text, breaks) = whole;
    let place = raw.get().as_ptr().addr() - text.as_ptr().addr();
    if !path.is_empty() {
        lines.insert(path.to_owned(), breaks.line(place));
    }
    if let Ok(table) = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get()) {
        for (key, value) in table {
            note(value, &field(path, &key), whole, lines);
        }
    } else if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
        for (index, value) in list.into_iter().enumerate() {
            note(value, &element(path, index), whole, lines);
        }
    }
}

/// Reads any value, not only a table.
pub(super) fn value(text: &str) -> Result<Value, Malformed> {
    let Strict(value) = serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        // The line stands in front of it already.
        let reason = reason.split(" at line ").next().unwrap_or_default();
        Malformed::new(Some(error.line()), reason)
    })?;
    Ok(value)
}

struct Strict(Value);

struct StrictVisitor;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a finite number is expected"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let mut array = vec![];
        while let Some(Strict(value)) = values.next_element()? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if table.contains_key(&key) {
                return Err(de::Error::custom(format!("duplicate key `{key}`")));
            }
            let Strict(value) = entries.next_value()?;
            table.insert(key, value);
        }
        Ok(Value::Object(table))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_has_its_line() {
        let text = "{\n\"a\": 1,\n\"b\": {\"c\":\n[true,\n{\"d\": 2}]}}";
        let lines = parse(text).unwrap().lines;
        for (path, line) in [
            ("a", 2),
            ("b", 3),
            ("b.c", 4),
            ("b.c[0]", 4),
            ("b.c[1].d", 5),
        ] {
            assert_eq!(lines.get(path), Some(&line), "{path}");
        }
    }

    #[test]
    fn every_type_of_value_is_read() {
        let text = r#"{"a": [null, true, -1, 18446744073709551615, 1.5, "x"], "b": {"c": {}}}"#;
        let expected = json!({
            "a": [null, true, -1, u64::MAX, 1.5, "x"],
            "b": { "c": {} },
        });
        assert_eq!(Value::Object(parse(text).unwrap().values), expected);
    }
}
