//! Structured fields as JSON: [`Fields`].

use std::{error::Error, fmt};

use tracing::field::{Field, Visit};

/// Collects a line's text and its other fields.
#[derive(Default)]
pub(super) struct Fields {
    message: String,
    /// Members of a JSON object, without its braces.
    members: String,
}

impl Fields {
    /// Adds fields that were collected before.
    pub(super) fn extend(&mut self, members: &str) {
        if members.is_empty() {
            return;
        }
        self.separate();
        self.members.push_str(members);
    }

    /// The fields as members of a JSON object, without braces.
    pub(super) fn into_members(self) -> String {
        self.members
    }

    /// The text, and the fields as a JSON object (empty without any).
    pub(super) fn into_parts(self) -> (String, String) {
        if self.members.is_empty() {
            return (self.message, String::new());
        }
        (self.message, format!("{{{}}}", self.members))
    }

    fn separate(&mut self) {
        if !self.members.is_empty() {
            self.members.push(',');
        }
    }

    fn name(&mut self, field: &Field) {
        self.separate();
        push_string(&mut self.members, field.name());
        self.members.push(':');
    }

    /// A value that is written in JSON as it is in Rust.
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        self.members.push_str(&value.to_string());
    }

    fn text(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
            return;
        }
        self.name(field);
        push_string(&mut self.members, value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, value);
        } else {
            self.text(field, &value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    /// With its causes.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.text(field, &text);
    }

    /// Also what implements only `Display` (`%field`), and integers of 128 bits, which are beyond JSON's readers.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
}

fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_json_wants_it() {
        for text in ["plain", "a \"b\" \\ c\n\t\u{1}", "é 🎉", ""] {
            let mut json = String::new();
            push_string(&mut json, text);
            let read: String = simd_json::from_slice(&mut json.into_bytes()).unwrap();
            assert_eq!(read, text);
        }
    }
}
