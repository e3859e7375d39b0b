//! A version of a connector as the API shows it and takes it: a document with every secret replaced by `***`, which in a document
//! that comes back means the value that the active version has there.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::Api;
use crate::{
    config::{Code, Guarded, Problem, Version, spec::Direction},
    provider::Entry,
};

/// What stands for a value that is not shown.
const HIDDEN: &str = "***";

const PLUGIN_CONFIG: &str = "plugin_config";

/// Its older name.
const ALIAS: &str = "config";

/// Keys that clients rely on, in this order, `null` when they are not set; others follow as they are written.
const ALWAYS: [&str; 16] = [
    "type",
    "key",
    "enabled",
    "version",
    "name",
    "path",
    "transforms",
    "streams",
    "plugin_config_format",
    PLUGIN_CONFIG,
    "verbose",
    "benchmark",
    "retry",
    "errors",
    "dlq",
    "restart",
];

/// What [`shown`] makes, for the API's description. What a connector has beside that stands there as it is written.
pub(super) struct Shape;

impl JsonSchema for Shape {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ConfigDocument".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let required: Vec<_> = ALWAYS.into_iter().chain(["health", "active"]).collect();
        json_schema!({
            "description": "A version of a connector, with `***` in place of each value that is not shown. Less `key`, `version` and \
                            `active` it can be sent back. `iggy-connectors config schema` prints the shape of what is written.",
            "type": "object",
            "properties": {
                "type": { "enum": [Direction::Sink.name(), Direction::Source.name()] },
                "key": { "type": "string" },
                "version": { "type": "integer", "minimum": 0 },
                "active": { "type": "boolean" },
                "plugin_config_format": { "type": ["string", "null"] },
            },
            "required": required,
            "additionalProperties": true,
        })
    }
}

/// A version as the API shows it.
pub(super) async fn shown(api: &Api, entry: &Entry) -> Value {
    let mut values = visible(api, &entry.version).await;
    let spec = &entry.version.spec;
    let told = [
        ("type", Value::from(spec.direction.name())),
        ("key", Value::from(spec.key.clone())),
        ("version", Value::from(spec.version)),
    ];
    // What is always meant, whether it is written or not.
    let meant = [
        ("enabled", Value::from(spec.enabled)),
        ("name", Value::from(spec.key.clone())),
        ("path", Value::from("")),
        ("streams", Value::Array(vec![])),
        ("verbose", Value::from(spec.verbose)),
        ("benchmark", Value::from(spec.benchmark)),
    ];
    for (key, value) in told {
        values.insert(key.to_owned(), value);
    }
    for (key, value) in meant {
        values.entry(key).or_insert(value);
    }
    let mut shown = Map::new();
    for key in ALWAYS.into_iter().chain(["health"]) {
        let value = values.shift_remove(key).unwrap_or_default();
        shown.insert(key.to_owned(), value);
    }
    shown.extend(values);
    shown.insert("active".to_owned(), Value::from(entry.active));
    Value::Object(shown)
}

/// The plugin's part of a version as the API shows it; `None` when there is none.
pub(super) async fn plugin_config(api: &Api, version: &Version) -> Option<Value> {
    visible(api, version).await.shift_remove(PLUGIN_CONFIG)
}

/// A version's keys and values as written, without its secrets.
async fn visible(api: &Api, version: &Version) -> Map<String, Value> {
    let marked = match version.document.values().get(written_name(version)) {
        Some(_) => api.connectors.marked(&version.spec).await,
        None => None,
    };
    let mut values = Value::Object(version.document.values().clone());
    version.spec.written.hide_in(&mut values);
    let Value::Object(mut values) = values else {
        return Map::new();
    };
    if let Some(mut config) = values.shift_remove(written_name(version)) {
        hide(&mut config, marked.as_ref());
        values.insert(PLUGIN_CONFIG.to_owned(), config);
    }
    values
}

fn written_name(version: &Version) -> &'static str {
    match version.document.values().contains_key(PLUGIN_CONFIG) {
        true => PLUGIN_CONFIG,
        false => ALIAS,
    }
}

/// What is secret is known to the plugin: when it cannot be asked, everything is.
fn hide(config: &mut Value, marked: Option<&Guarded>) {
    match marked {
        Some(marked) => marked.hide_in(config),
        None => each_leaf(config, "", &mut |_, leaf| {
            if leaf.is_string() || leaf.is_number() {
                *leaf = Value::from(HIDDEN);
            }
        }),
    }
}

/// Puts the values of the active version's document in place of each `***`.
///
/// # Errors
///
/// Where there is none: a problem for each.
pub(super) fn restore(
    written: Map<String, Value>,
    active: Option<&Version>,
) -> Result<Map<String, Value>, Vec<Problem>> {
    let mut kept = Value::Object(
        active
            .map(|version| version.document.values().clone())
            .unwrap_or_default(),
    );
    rename(&mut kept);
    let mut written = Value::Object(written);
    rename(&mut written);
    let mut problems = vec![];
    each_leaf(&mut written, "", &mut |path, leaf| {
        if leaf.as_str() != Some(HIDDEN) {
            return;
        }
        match kept.pointer(path) {
            Some(value) => *leaf = value.clone(),
            None => problems.push(nothing_kept(path)),
        }
    });
    match written {
        Value::Object(written) if problems.is_empty() => Ok(written),
        _ => Err(problems),
    }
}

fn rename(document: &mut Value) {
    let Some(table) = document.as_object_mut() else {
        return;
    };
    if table.contains_key(PLUGIN_CONFIG) {
        return;
    }
    if let Some(config) = table.shift_remove(ALIAS) {
        table.insert(PLUGIN_CONFIG.to_owned(), config);
    }
}

fn nothing_kept(pointer: &str) -> Problem {
    Problem {
        origin: crate::config::Origin::File {
            path: "the document".into(),
            line: None,
        },
        key: dotted(pointer),
        code: Code::Missing,
        reason: "`***` stands for the value that the active version has here, and it has none"
            .to_owned(),
        remedy: Some("write the value itself, or a reference such as `${env:NAME}`".to_owned()),
    }
}

/// A JSON pointer as problems name places: `streams[0].topic`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for word in pointer.split('/').skip(1) {
        let word = word.replace("~1", "/").replace("~0", "~");
        if word.bytes().all(|byte| byte.is_ascii_digit()) && !word.is_empty() {
            path.push_str(&format!("[{word}]"));
            continue;
        }
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&word);
    }
    path
}

/// Visits every value that holds no others, with its JSON pointer.
fn each_leaf(value: &mut Value, pointer: &str, visit: &mut impl FnMut(&str, &mut Value)) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let key = key.replace('~', "~0").replace('/', "~1");
                each_leaf(value, &format!("{pointer}/{key}"), visit);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter_mut().enumerate() {
                each_leaf(value, &format!("{pointer}/{index}"), visit);
            }
        }
        leaf => visit(pointer, leaf),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(table) => table,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_hidden_value_of_which_nothing_is_kept_is_a_problem_with_its_place() {
        let written = json!({
            "config": { "a/b": "***", "list": ["x", { "deep": "***" }] },
            "name": "*** is a part of this",
        });
        let problems = restore(table(written), None).unwrap_err();
        let keys: Vec<_> = problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        assert_eq!(keys, ["plugin_config.a/b", "plugin_config.list[1].deep"]);
    }

    #[test]
    fn what_hides_nothing_stays_as_it_is() {
        let written = table(json!({ "name": "a ***", "streams": [{ "stream": "s" }] }));
        assert_eq!(restore(written.clone(), None).unwrap(), written);
    }
}
