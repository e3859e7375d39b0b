//! A connector as it was written, value by value: what the history of a connector consists of, and what is stored of a new version.

use std::fmt;

use serde_json::{Map, Value};

use super::{format, spec::Direction};

/// Said about a version by whoever lists it; no part of the version itself.
const ACTIVE: &str = "active";

/// Tables in which nothing (`null`) is a value like any other, and not a key that is left out.
const VERBATIM: [&str; 3] = ["plugin_config", "config", "transforms"];

/// A connector's keys and values in the order in which they were written. It may hold secrets: `Debug` says only that there is one.
#[derive(Clone, Default, PartialEq)]
pub struct Document(Map<String, Value>);

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document(***)")
    }
}

impl Document {
    /// A document as a file holds it.
    pub fn new(values: Map<String, Value>) -> Self {
        Self(values)
    }

    /// A document as an API or a configuration service sends it: keys that are `null` are not set, and `active` is not its own.
    pub fn of_json(mut values: Map<String, Value>) -> Self {
        values.shift_remove(ACTIVE);
        values.retain(|_, value| !value.is_null());
        for (_, value) in values
            .iter_mut()
            .filter(|(key, _)| !VERBATIM.contains(&key.as_str()))
        {
            unset_nulls(value);
        }
        Self(values)
    }

    /// The same document as `version` of a connector.
    #[must_use]
    pub fn with_identity(self, direction: Direction, key: &str, version: u32) -> Self {
        let identity = [
            ("type", Value::from(direction.name())),
            ("key", Value::from(key)),
            ("version", Value::from(version)),
        ];
        let mut values: Map<_, _> = identity
            .map(|(key, value)| (key.to_owned(), value))
            .into_iter()
            .collect();
        for (key, value) in self.0 {
            values.entry(key).or_insert(value);
        }
        Self(values)
    }

    /// The same document without what tells one version from another.
    #[must_use]
    pub fn without_identity(mut self) -> Self {
        for key in ["type", "key", "version"] {
            self.0.shift_remove(key);
        }
        self
    }

    /// The document as a file, and the extension that tells its format: TOML, or JSON where TOML cannot say the same, as with
    /// `null` in a plugin's configuration.
    pub fn to_file(&self) -> (&'static str, String) {
        match toml::to_string_pretty(&self.0) {
            Ok(text) if format::parses_to(&text, &self.0) => ("toml", text),
            _ => ("json", format!("{:#}\n", Value::Object(self.0.clone()))),
        }
    }

    pub fn values(&self) -> &Map<String, Value> {
        &self.0
    }

    pub fn into_values(self) -> Map<String, Value> {
        self.0
    }
}

fn unset_nulls(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.retain(|_, value| !value.is_null());
            table.values_mut().for_each(unset_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(unset_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(value: Value) -> Map<String, Value> {
        let Value::Object(table) = value else {
            panic!("{value}");
        };
        table
    }

    #[test]
    fn what_is_null_is_not_set_but_where_the_plugin_reads_it() {
        let sent = json!({
            "active": true,
            "verbose": null,
            "streams": [{ "stream": "s", "schema": null }],
            "plugin_config": { "limit": null },
            "transforms": { "add_fields": { "fields": [{ "key": "a", "value": { "static": null } }] } },
        });
        let document = Document::of_json(table(sent));
        let expected = json!({
            "streams": [{ "stream": "s" }],
            "plugin_config": { "limit": null },
            "transforms": { "add_fields": { "fields": [{ "key": "a", "value": { "static": null } }] } },
        });
        assert_eq!(Value::Object(document.into_values()), expected);
    }

    #[test]
    fn an_identity_comes_first_and_replaces_what_was_there() {
        let written = json!({ "path": "p", "key": "old", "version": 7, "type": "source" });
        let document = Document::new(table(written)).with_identity(Direction::Sink, "new", 8);
        let text = Value::Object(document.clone().into_values()).to_string();
        assert_eq!(
            text,
            r#"{"type":"sink","key":"new","version":8,"path":"p"}"#
        );
        assert_eq!(
            Value::Object(document.without_identity().into_values()),
            json!({ "path": "p" })
        );
    }

    #[test]
    fn a_file_says_the_same_as_the_document() {
        let check = |written: Value, extension: &str| {
            let document = Document::new(table(written));
            let (written_as, text) = document.to_file();
            assert_eq!(written_as, extension, "{text}");
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("k").with_extension(extension);
            std::fs::write(&path, text).unwrap();
            assert_eq!(Document::new(format::read(&path).unwrap().values), document);
        };
        check(json!({}), "toml");
        check(
            json!({
                "table": { "z": 1.5, "a": [1, "x", { "b": true }] },
                "text": "line\nline\u{1}\"'\\",
                "streams": [{ "stream": "s", "topics": [] }],
            }),
            "toml",
        );
        check(json!({ "plugin_config": { "limit": null } }), "json");
        check(json!({ "plugin_config": [1, null] }), "json");
        check(json!({ "plugin_config": { "id": u64::MAX } }), "toml");
    }

    #[test]
    fn transforms_keep_their_order_in_a_file() {
        let written =
            json!({ "transforms": { "z": { "a": 1 }, "b": { "c": [{ "d": 1 }] }, "a": {} } });
        let document = Document::new(table(written));
        let (_, text) = document.to_file();
        let read: Map<String, Value> = toml::from_str(&text).unwrap();
        let names: Vec<_> = read["transforms"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["z", "b", "a"]);
    }

    #[test]
    fn a_document_is_never_shown() {
        let document = Document::new(table(json!({ "plugin_config": "hunter2" })));
        assert_eq!(format!("{document:?}"), "Document(***)");
    }
}
