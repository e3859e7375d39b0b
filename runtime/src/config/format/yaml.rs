//! YAML 1.2, as far as it says what JSON can: text keys, no tags.
//!
//! `serde_norway` is the fork of `serde_yaml` that also keeps the parser underneath it alive.

use serde_json::{Map, Number, Value};

use super::{Malformed, Tree, tree};
use crate::config::{
    path::{element, field},
    problem::Lines,
};

pub(super) fn parse(text: &str) -> Result<Tree, Malformed> {
    let mut root: serde_norway::Value = serde_norway::from_str(text).map_err(malformed)?;
    root.apply_merge().map_err(malformed)?;
    let root = convert(root).map_err(|reason| Malformed::new(None, reason))?;
    tree(root, lines(text))
}

/// A key or a list that the following lines may be inside of.
struct Frame {
    indent: usize,
    path: String,
    /// The entry of a list that was begun last.
    entry: Option<usize>,
}

/// The lines of keys and entries that begin a line. What stands inside of brackets has the line of the key in front of them.
fn lines(text: &str) -> Lines {
    let (mut lines, mut frames) = (Lines::new(), Vec::<Frame>::new());
    for (index, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        let mut indent = line.len() - rest.len();
        while let Some(inner) = rest
            .strip_prefix("- ")
            .or(rest.strip_prefix('-').filter(|rest| rest.is_empty()))
        {
            frames.retain(|frame| frame.indent <= indent);
            let path = next_entry(&mut frames, indent);
            lines.entry(path).or_insert(index + 1);
            let after = inner.trim_start();
            indent += rest.len() - after.len();
            rest = after;
        }
        let Some(key) = key(rest) else { continue };
        frames.retain(|frame| frame.indent < indent);
        let path = match frames.last() {
            None => key.to_owned(),
            Some(frame) => match frame.entry {
                Some(entry) => field(&element(&frame.path, entry), key),
                None => field(&frame.path, key),
            },
        };
        lines.entry(path.clone()).or_insert(index + 1);
        frames.push(Frame {
            indent,
            path,
            entry: None,
        });
    }
    lines
}

/// Goes on to the next entry of the list at this indent, and returns its path.
fn next_entry(frames: &mut Vec<Frame>, indent: usize) -> String {
    let goes_on = frames
        .last()
        .is_some_and(|frame| frame.indent == indent && frame.entry.is_some());
    if !goes_on {
        let path = match frames.last() {
            Some(Frame {
                path,
                entry: Some(entry),
                ..
            }) => element(path, *entry),
            Some(frame) => frame.path.clone(),
            None => String::new(),
        };
        frames.push(Frame {
            indent,
            path,
            entry: None,
        });
    }
    let Some(frame) = frames.last_mut() else {
        return String::new();
    };
    let entry = frame.entry.map_or(0, |entry| entry + 1);
    frame.entry = Some(entry);
    element(&frame.path, entry)
}

/// The key that a line begins with.
fn key(line: &str) -> Option<&str> {
    let (key, after) = match line.chars().next()? {
        quote @ ('"' | '\'') => line[1..].split_once(quote)?,
        '#' | '{' | '[' => return None,
        _ => line.split_at(line.find(':')?),
    };
    let after = after.strip_prefix(':')?;
    (after.is_empty() || after.starts_with([' ', '\t'])).then(|| key.trim_end())
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
    fn keys_and_entries_have_their_lines() {
        let text = "# c\na: 1\nb:\n  'c': {d: 1}\n  e:\n    - f: 1\n      g: 2\n    -\n      h: x\ni:\n- j\n- k: 1\n- - l\n  - m: 1\nn: |\n  a: 5\no: http://x\n";
        let lines = parse(text).unwrap().lines;
        for (path, line) in [
            ("a", 2),
            ("b", 3),
            ("b.c", 4),
            ("b.e", 5),
            ("b.e[0]", 6),
            ("b.e[0].f", 6),
            ("b.e[0].g", 7),
            ("b.e[1]", 8),
            ("b.e[1].h", 9),
            ("i", 10),
            ("i[0]", 11),
            ("i[1].k", 12),
            ("i[2][0]", 13),
            ("i[2][1].m", 14),
            ("n", 15),
            ("o", 17),
        ] {
            assert_eq!(lines.get(path), Some(&line), "{path}");
        }
    }

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
