//! What the environment says: [`Environment`], and how its variables override the keys of the runtime file.
//!
//! The variables' names are made from the typed tree, key by key: keys hold underscores, so that a name cannot be split.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    problem::{Code, Origin, Problem, Variables},
    runtime::RuntimeConfig,
    suggest::nearest,
};

const PREFIX: &str = "IGGY_CONNECTORS_";
/// Names the runtime file.
pub(super) const CONFIG_PATH: &str = "IGGY_CONNECTORS_CONFIG_PATH";
/// Names the runtime file too; kept for those who set it already.
pub(super) const OLDER_CONFIG_PATH: &str = "IGGY_CONNECTORS_RUNTIME_CONFIG_PATH";
/// Overrides of connectors' keys begin so.
const OF_CONNECTORS: [&str; 2] = ["IGGY_CONNECTORS_SINK_", "IGGY_CONNECTORS_SOURCE_"];

/// The variables that are meant for this program.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Those whose value is not text.
    unreadable: Vec<String>,
}

/// A key of the runtime file that a variable can set.
struct Key {
    variable: String,
    steps: Vec<String>,
    default: Value,
}

/// What overriding came to.
#[derive(Default)]
pub(super) struct Overrides {
    /// The variable that set each key.
    pub(super) variables: Variables,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            match value.into_string() {
                Ok(value) => environment.variables.insert(name.to_owned(), value),
                Err(_) => {
                    environment.unreadable.push(name.to_owned());
                    None
                }
            };
        }
        environment
    }

    /// An environment of these variables, for tests and for whoever embeds the runtime.
    pub fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self {
            variables: variables
                .into_iter()
                .filter(|(name, _)| name.starts_with(PREFIX))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            unreadable: vec![],
        }
    }

    /// A variable that is set to something.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    /// Sets the keys of the runtime file that variables name.
    pub(super) fn apply(&self, tree: &mut Map<String, Value>) -> Overrides {
        let mut overrides = Overrides::default();
        let keys = keys();
        for (name, text) in &self.variables {
            let Some(key) = keys.iter().find(|key| key.variable == *name) else {
                overrides.warnings.extend(unknown(name, &keys));
                continue;
            };
            let value = match read(text, &key.default) {
                Ok(value) => value,
                Err(reason) => {
                    overrides
                        .problems
                        .push(problem(name, &key.steps.join("."), reason));
                    continue;
                }
            };
            // Where the file has something else than this key's table, reading the file reports it.
            if set(tree, &key.steps, value) {
                overrides
                    .variables
                    .insert(key.steps.join("."), name.clone());
            }
        }
        for name in &self.unreadable {
            let reason = "its value is not UTF-8 text";
            overrides.problems.push(problem(name, "", reason));
        }
        overrides
    }
}

/// Every variable that sets a key of the runtime file, with the key.
pub fn variables() -> Vec<(String, String)> {
    keys()
        .into_iter()
        .map(|key| (key.variable, key.steps.join(".")))
        .collect()
}

/// The keys of the typed tree, as its defaults name them.
fn keys() -> Vec<Key> {
    let mut keys = vec![];
    if let Ok(Value::Object(defaults)) = serde_json::to_value(RuntimeConfig::default()) {
        collect(defaults, &[], &mut keys);
    }
    keys
}

fn collect(table: Map<String, Value>, parents: &[String], keys: &mut Vec<Key>) {
    for (key, value) in table {
        let steps = [parents, &[key]].concat();
        match value {
            // An empty table has no keys of its own: it holds the user's.
            Value::Object(table) if !table.is_empty() => collect(table, &steps, keys),
            default => keys.push(Key {
                variable: format!("{PREFIX}{}", steps.join("_").to_uppercase()),
                steps,
                default,
            }),
        }
    }
}

/// Reads a variable's text as a value of the default's type. The text may be a secret and is not repeated.
fn read(text: &str, default: &Value) -> Result<Value, &'static str> {
    match default {
        Value::Bool(_) => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("true or false is expected"),
        },
        Value::Number(_) => serde_json::from_str(text)
            .ok()
            .filter(Value::is_number)
            .ok_or("a number is expected"),
        Value::Array(_) => list(text),
        Value::Object(_) => serde_json::from_str(text)
            .ok()
            .filter(Value::is_object)
            .ok_or("a JSON object is expected, for example {\"api-key\": \"…\"}"),
        Value::String(_) | Value::Null => Ok(Value::String(text.to_owned())),
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

/// Sets a key, unless something on the way to it is no table.
fn set(tree: &mut Map<String, Value>, steps: &[String], value: Value) -> bool {
    let Some((last, parents)) = steps.split_last() else {
        return false;
    };
    let mut table = tree;
    for step in parents {
        let next = table
            .entry(step.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(next) = next else {
            return false;
        };
        table = next;
    }
    table.insert(last.clone(), value);
    true
}

/// Says that a variable has no effect, unless it is one that is used elsewhere.
fn unknown(name: &str, keys: &[Key]) -> Option<String> {
    if [CONFIG_PATH, OLDER_CONFIG_PATH].contains(&name) {
        return None;
    }
    if OF_CONNECTORS.iter().any(|prefix| name.starts_with(prefix)) {
        return Some(format!(
            "{name} has no effect: keys of connectors cannot be set from the environment yet; write it into the connector's file"
        ));
    }
    let known: Vec<_> = keys.iter().map(|key| key.variable.as_str()).collect();
    Some(match nearest(name, &known) {
        Some(nearest) => {
            format!("{name} has no effect: no key has this name; did you mean {nearest}?")
        }
        None => format!("{name} has no effect: no key has this name"),
    })
}

fn problem(variable: &str, key: &str, reason: &str) -> Problem {
    Problem {
        origin: Origin::Variable(variable.to_owned()),
        key: key.to_owned(),
        code: Code::Invalid,
        reason: reason.to_owned(),
        remedy: None,
    }
}

#[cfg(test)]
mod tests;
