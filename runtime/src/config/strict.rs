//! Reads a tree as a type that refuses unknown keys, without stopping at the first that is wrong: [`read`].

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use super::{
    path::{Step, field, walk},
    problem::{Code, Report},
    suggest::suggest,
};

/// Reads `values` as `T`. What cannot be read is reported and left at its default.
pub(super) fn read<T>(values: Map<String, Value>, report: &mut Report<'_>) -> T
where
    T: DeserializeOwned + Serialize + Default,
{
    let mut tree = Value::Object(values);
    if let Ok(defaults) = serde_json::to_value(T::default()) {
        expect_tables(&defaults, &mut tree, "", report);
    }
    loop {
        let error = match serde_path_to_error::deserialize(&tree) {
            Ok(read) => return read,
            Err(error) => error,
        };
        let mut steps = steps(&error);
        let (code, reason, remedy) = explain(error.inner().to_string(), &mut steps);
        report.add(&walk("", &steps), code, reason, remedy.as_deref());
        if !take_out(&mut tree, &steps) {
            return T::default();
        }
    }
}

/// Takes out what is no table where a table belongs: serde would read a list as one, by position.
fn expect_tables(defaults: &Value, tree: &mut Value, path: &str, report: &mut Report<'_>) {
    let (Value::Object(defaults), Value::Object(tree)) = (defaults, tree) else {
        return;
    };
    for (key, default) in defaults.iter().filter(|(_, default)| default.is_object()) {
        let path = field(path, key);
        match tree.get_mut(key) {
            Some(table @ Value::Object(_)) => expect_tables(default, table, &path, report),
            Some(other) => {
                let reason = format!("a table is expected, not {}", kind(other));
                report.add(&path, Code::Invalid, reason, None);
                tree.shift_remove(key);
            }
            None => {}
        }
    }
}

/// What a value is, without saying which.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn steps(error: &serde_path_to_error::Error<serde_json::Error>) -> Vec<Step> {
    error
        .path()
        .iter()
        .map_while(|segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// Says in our words what serde found, never repeating a value that may be a secret.
fn explain(message: String, steps: &mut Vec<Step>) -> (Code, String, Option<String>) {
    let quoted: Vec<_> = message.split('`').skip(1).step_by(2).collect();
    let (word, known) = match quoted.split_first() {
        Some((word, known)) => (*word, known),
        None => ("", [].as_slice()),
    };
    if message.starts_with("unknown field") {
        return (Code::UnknownKey, "unknown key".into(), suggest(word, known));
    }
    if message.starts_with("unknown variant") {
        let reason = format!("unknown value `{word}`");
        return (Code::Invalid, reason, suggest(word, known));
    }
    if message.starts_with("duplicate field") {
        // Both the key and its older name are there; serde names the table around them.
        steps.push(Step::Key(word.into()));
        let reason = "given twice, under this name and an older one";
        return (
            Code::Conflict,
            reason.into(),
            Some("keep one of them".into()),
        );
    }
    if let Some((found, expected)) = message.split_once(", expected ") {
        return (Code::Invalid, mismatch(found, expected), None);
    }
    (Code::Invalid, message, None)
}

fn mismatch(found: &str, expected: &str) -> String {
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        "string or map" => "a string",
        other => other,
    };
    let found = found.split(": ").nth(1).unwrap_or_default();
    let found = match found.split([' ', '`']).next().unwrap_or_default() {
        "string" => "a string",
        "integer" if expected == "a whole number" => "one below zero or too large",
        "floating" if expected == "a whole number" => "a fraction",
        "integer" | "floating" => "a number",
        "boolean" => "true or false",
        "sequence" => "a list",
        "map" => "a table",
        "null" | "unit" => "nothing",
        _ => return format!("{expected} is expected"),
    };
    format!("{expected} is expected, not {found}")
}

/// Removes what cannot be read, so that its default takes its place. In a list it becomes an empty text or table: the places
/// of the others stay.
fn take_out(tree: &mut Value, steps: &[Step]) -> bool {
    let Some((last, parents)) = steps.split_last() else {
        return false;
    };
    let parent = parents.iter().try_fold(tree, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    });
    match (parent, last) {
        (Some(Value::Object(table)), Step::Key(key)) => table.shift_remove(key).is_some(),
        (Some(Value::Array(list)), Step::Index(index)) => list.get_mut(*index).is_some_and(blank),
        _ => false,
    }
}

fn blank(value: &mut Value) -> bool {
    let blank = match value {
        Value::String(text) if text.is_empty() => Value::Object(Map::new()),
        Value::Object(table) if table.is_empty() => return false,
        _ => Value::String(String::new()),
    };
    *value = blank;
    true
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::config::problem::Source;

    #[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields, expecting = "a table")]
    struct Outer {
        #[serde(alias = "old_count")]
        count: u32,
        inner: Inner,
        list: Vec<Inner>,
        words: Vec<String>,
        mode: Mode,
    }

    #[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields, expecting = "a table")]
    struct Inner {
        share: f64,
        on: bool,
    }

    #[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Fast,
        Slow,
    }

    fn check(tree: Value, expected: &[&str]) -> Outer {
        let Value::Object(values) = tree else {
            panic!("{tree}");
        };
        let source = Source {
            file: "c".into(),
            ..Source::default()
        };
        let mut report = Report::new(&source);
        let read = read(values, &mut report);
        let problems: Vec<_> = report
            .into_problems()
            .iter()
            .map(|problem| problem.to_string()["c: ".len()..].to_owned())
            .collect();
        assert_eq!(problems, expected);
        read
    }

    #[test]
    fn what_is_right_is_read() {
        let read = check(
            json!({ "old_count": 3, "inner": { "share": 1 }, "mode": "slow" }),
            &[],
        );
        assert_eq!((read.count, read.inner.share), (3, 1.0));
        assert_eq!(read.mode, Mode::Slow);
    }

    #[test]
    fn everything_wrong_is_told_at_once_and_the_rest_is_read() {
        let tree = json!({
            "coutn": 1,
            "count": "many",
            "inner": { "share": true, "off": 1, "on": "hunter2" },
            "list": [{ "on": 1 }, 5, { "on": true }, { "no": 1 }],
            "words": ["a", 1, "b", false],
            "mode": "slwo",
        });
        let read = check(
            tree,
            &[
                "`coutn`: unknown key; did you mean `count`?",
                "`count`: a whole number is expected, not a string",
                "`inner.share`: a number is expected, not true or false",
                "`inner.off`: unknown key; known are `share`, `on`",
                "`inner.on`: true or false is expected, not a string",
                "`list[0].on`: true or false is expected, not a number",
                "`list[1]`: a table is expected, not a number",
                "`list[3].no`: unknown key; did you mean `on`?",
                "`words[1]`: a string is expected, not a number",
                "`words[3]`: a string is expected, not true or false",
                "`mode`: unknown value `slwo`; did you mean `slow`?",
            ],
        );
        assert_eq!(read.words, ["a", "", "b", ""]);
        assert!(read.list[2].on);
    }

    #[test]
    fn a_list_is_no_table() {
        check(
            json!({ "inner": [] }),
            &["`inner`: a table is expected, not a list"],
        );
        check(
            json!({ "inner": "hunter2" }),
            &["`inner`: a table is expected, not a string"],
        );
    }

    #[test]
    fn a_key_and_its_older_name_exclude_each_other() {
        let read = check(
            json!({ "count": 1, "old_count": 2 }),
            &["`count`: given twice, under this name and an older one; keep one of them"],
        );
        assert_eq!(read.count, 2);
    }

    #[test]
    fn numbers_out_of_range_are_told_so() {
        let reason = "`count`: a whole number is expected, not one below zero or too large";
        check(json!({ "count": -1 }), &[reason]);
        check(json!({ "count": 1_u64 << 40 }), &[reason]);
        check(
            json!({ "count": 1.5 }),
            &["`count`: a whole number is expected, not a fraction"],
        );
        check(
            json!({ "count": null }),
            &["`count`: a whole number is expected, not nothing"],
        );
    }
}
