//! TOML, with the line of every key.

use serde_json::{Map, Number, Value};
use toml::{
    Spanned,
    de::{DeArray, DeFloat, DeInteger, DeTable, DeValue},
};

use super::{Breaks, Malformed, Tree};
use crate::config::{
    path::{element, field},
    problem::Lines,
};

pub(super) fn parse(text: &str) -> Result<Tree, Malformed> {
    let mut reader = Reader {
        breaks: Breaks::of(text),
        lines: Lines::new(),
    };
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| reader.line(span.start));
        Malformed::new(line, error.message())
    })?;
    let values = reader.table("", table.get_ref())?;
    Ok(Tree {
        values,
        lines: reader.lines,
    })
}

struct Reader {
    breaks: Breaks,
    lines: Lines,
}

impl Reader {
    fn table(&mut self, path: &str, table: &DeTable<'_>) -> Result<Map<String, Value>, Malformed> {
        let mut values = Map::new();
        for (key, value) in table {
            let line = self.line(key.span().start);
            let key = key.get_ref();
            let path = field(path, key);
            self.lines.insert(path.clone(), line);
            values.insert(key.to_string(), self.value(&path, value)?);
        }
        Ok(values)
    }

    fn value(&mut self, path: &str, value: &Spanned<DeValue<'_>>) -> Result<Value, Malformed> {
        let line = self.line(value.span().start);
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => Value::Number(integer(line, number)?),
            DeValue::Float(number) => Value::Number(float(line, number)?),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(time) => Value::String(time.to_string()),
            DeValue::Array(values) => Value::Array(self.array(path, values)?),
            DeValue::Table(table) => Value::Object(self.table(path, table)?),
        })
    }

    fn array(&mut self, path: &str, values: &DeArray<'_>) -> Result<Vec<Value>, Malformed> {
        let mut array = vec![];
        for (index, value) in values.iter().enumerate() {
            let path = element(path, index);
            self.lines
                .insert(path.clone(), self.line(value.span().start));
            array.push(self.value(&path, value)?);
        }
        Ok(array)
    }

    fn line(&self, place: usize) -> usize {
        self.breaks.line(place)
    }
}

fn integer(line: usize, number: &DeInteger<'_>) -> Result<Number, Malformed> {
    let (text, radix) = (number.as_str(), number.radix());
    i64::from_str_radix(text, radix)
        .map(Number::from)
        .or_else(|_| u64::from_str_radix(text, radix).map(Number::from))
        .map_err(|_| Malformed::new(Some(line), "a whole number of at most 64 bits is expected"))
}

fn float(line: usize, number: &DeFloat<'_>) -> Result<Number, Malformed> {
    number
        .as_str()
        .parse()
        .ok()
        .and_then(Number::from_f64)
        .ok_or_else(|| Malformed::new(Some(line), "a finite number is expected"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = r#"text = "a"
hex = 0xff
big = 18446744073709551615
float = 1_000.5
time = 2026-01-31T12:00:00Z

[table.inner]
dotted.key = [
    true,
    { x = 1 },
]
[[list]]
a = 1
[[list]]
a = 2
"#;

    #[test]
    fn every_type_of_value_is_read() {
        let tree = parse(TEXT).unwrap();
        let expected = json!({
            "text": "a",
            "hex": 255,
            "big": u64::MAX,
            "float": 1000.5,
            "time": "2026-01-31T12:00:00Z",
            "table": { "inner": { "dotted": { "key": [true, { "x": 1 }] } } },
            "list": [{ "a": 1 }, { "a": 2 }],
        });
        assert_eq!(Value::Object(tree.values), expected);
    }

    #[test]
    fn every_key_has_its_line() {
        let lines = parse(TEXT).unwrap().lines;
        let cases = [
            ("text", 1),
            ("time", 5),
            ("table", 7),
            ("table.inner", 7),
            ("table.inner.dotted.key", 8),
            ("table.inner.dotted.key[0]", 9),
            ("table.inner.dotted.key[1].x", 10),
            ("list[0]", 12),
            ("list[1].a", 15),
        ];
        for (key, line) in cases {
            assert_eq!(lines.get(key), Some(&line), "{key}");
        }
    }

    #[test]
    fn numbers_that_json_does_not_know_are_refused() {
        for (text, line) in [
            ("a = nan", 1),
            ("\na = inf", 2),
            ("a = 99999999999999999999", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, Some(line), "{text}: {}", error.reason);
        }
    }
}
