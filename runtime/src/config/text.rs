//! Values that come as text, from a variable or through a reference, read as what a key expects: [`read`], [`guess`].

use serde_json::Value;

use super::keys::Kind;

/// Reads a text as a value of a kind. The text may be a secret and is not repeated.
pub(super) fn read(text: &str, kind: Kind) -> Result<Value, &'static str> {
    match kind {
        Kind::Boolean => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("true or false is expected"),
        },
        Kind::Number => serde_json::from_str(text)
            .ok()
            .filter(Value::is_number)
            .ok_or("a number is expected"),
        Kind::List => list(text),
        Kind::Table => serde_json::from_str(text)
            .ok()
            .filter(Value::is_object)
            .ok_or("a JSON object is expected, for example {\"api-key\": \"…\"}"),
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Free => Ok(guess(text)),
    }
}

/// Reads a text of which nobody says what it is: a JSON list or table, true or false, a number, or else text.
pub(super) fn guess(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Array(_) | Value::Object(_) | Value::Bool(_) | Value::Number(_))) => {
            value
        }
        _ => Value::String(text.to_owned()),
    }
}

/// A list is written as JSON, or as words with commas in between.
fn list(text: &str) -> Result<Value, &'static str> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|_| "a JSON list is expected, as it begins with `[`");
    }
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    Ok(words.map(Value::from).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_types_is_guessed() {
        for (text, expected) in [
            ("5", json!(5)),
            ("1.5", json!(1.5)),
            ("true", json!(true)),
            ("[1, \"a\"]", json!([1, "a"])),
            ("{\"a\": 1}", json!({ "a": 1 })),
            ("null", json!("null")),
            ("\"quoted\"", json!("\"quoted\"")),
            ("a,b", json!("a,b")),
            ("[a", json!("[a")),
            ("007", json!("007")),
            ("", json!("")),
        ] {
            assert_eq!(guess(text), expected, "{text}");
        }
    }
}
