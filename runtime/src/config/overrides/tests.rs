//! Every key of every file has a variable, and every variable sets its key: the tables are made from the typed trees.

use std::collections::BTreeSet;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::*;
use crate::config::{
    connector::{ConnectorConfig, InputConfig, OutputConfig},
    keys::schema,
    problem::{Report, Source},
    runtime::RuntimeConfig,
    strict,
    tables::keys_of,
};

const SINK: &str = "my-sink";

fn name(direction: Direction, key: &str) -> Name {
    let key = key.to_owned();
    Name { direction, key }
}

/// What a schema says of a key.
fn schema_at<'a>(root: &'a Value, place: &[Place]) -> &'a Value {
    place.iter().fold(root, |schema, place| {
        let choices = schema.get("anyOf").and_then(Value::as_array);
        let schema = choices.map_or(schema, |choices| &choices[0]);
        match place {
            Place::Named(names) => &schema["properties"][names[0].as_str()],
            Place::Element => &schema["items"],
            Place::Free => &schema["additionalProperties"],
        }
    })
}

/// A text that the key takes and that is not its default.
fn sample(key: &Key, schema: &Value) -> String {
    let choices = schema.get("anyOf").and_then(Value::as_array);
    let schema = choices.map_or(schema, |choices| &choices[0]);
    let words = schema
        .get("enum")
        .or_else(|| schema.get("examples"))
        .and_then(Value::as_array);
    let consts = schema.get("oneOf").and_then(Value::as_array);
    let word = words
        .into_iter()
        .flatten()
        .chain(
            consts
                .into_iter()
                .flatten()
                .filter_map(|one| one.get("const")),
        )
        .rfind(|word| !word.is_null() && schema.get("default") != Some(word));
    match (word, key.kind) {
        (Some(Value::String(word)), _) => word.clone(),
        (Some(other), _) => other.to_string(),
        (None, Kind::Boolean) => (schema["default"] == json!(false)).to_string(),
        (None, Kind::Number) => "7".to_owned(),
        (None, Kind::Text | Kind::Free) => "text".to_owned(),
        (None, Kind::List) if schema["items"]["type"] == "object" => "[{}]".to_owned(),
        (None, Kind::List) => "a,b".to_owned(),
        (None, Kind::Table) => r#"{"a": "b"}"#.to_owned(),
    }
}

fn pointer(steps: &[Step]) -> String {
    steps
        .iter()
        .map(|step| match step {
            Step::Key(key) => format!("/{key}"),
            Step::Index(index) => format!("/{index}"),
        })
        .collect()
}

/// What a file comes to that only has what these assignments say.
fn written<T>(assignments: Assignments) -> Value
where
    T: Serialize + DeserializeOwned + Default,
{
    let (mut tree, mut found) = (Map::new(), Found::default());
    let (_, problems) = assignments.apply(&mut tree, "", &Secrets::default(), &mut found);
    assert!(problems.is_empty(), "{problems:?}");
    let source = Source::default();
    let mut report = Report::new(&source);
    let read: T = strict::read(tree, &mut report);
    assert_eq!(report.into_problems(), []);
    serde_json::to_value(read).unwrap()
}

/// Sets each key by its variable.
fn check<T>(
    keys: &[(Key, String)],
    root: &Value,
    assign: impl Fn(&Environment) -> (Assignments, Vec<String>),
) where
    T: Serialize + DeserializeOwned + Default,
{
    let defaults = serde_json::to_value(T::default()).unwrap();
    let mut seen = BTreeSet::new();
    for (key, variable) in keys {
        assert!(seen.insert(variable), "{variable} is there twice");
        let schema = schema_at(root, &key.place);
        let text = sample(key, schema);
        let (assignments, warnings) =
            assign(&Environment::new([(variable.as_str(), text.as_str())]));
        assert!(warnings.is_empty(), "{warnings:?}");
        let read = written::<T>(assignments);
        let at = pointer(&key.example());
        let value = read.pointer(&at).unwrap_or(&Value::Null);
        let is_secret = schema["writeOnly"] == json!(true);
        assert!(
            is_secret || defaults.pointer(&at) != Some(value),
            "{variable} = {text} changes nothing at {at}"
        );
        let section = at.split('/').nth(1).unwrap();
        for (other, default) in defaults.as_object().unwrap() {
            assert!(
                other == section || read[other] == *default,
                "{variable} changes {other}"
            );
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
}

#[test]
fn every_runtime_key_is_set_by_its_variable() {
    let keys = Keys::of::<RuntimeConfig>();
    let named: Vec<_> = runtime_keys(&keys)
        .map(|key| (key.clone(), variable(PREFIX, key)))
        .collect();
    for (_, variable) in &named {
        assert!(direction_of(variable).is_none(), "{variable}");
        assert!(![CONFIG_PATH, OLDER_CONFIG_PATH, ENV_PATH].contains(&variable.as_str()));
    }
    check::<RuntimeConfig>(&named, &schema::<RuntimeConfig>(), |environment| {
        of_runtime(environment, &keys)
    });
    // The defaults name the same keys, but for tables of the user's.
    let defaults = serde_json::to_value(RuntimeConfig::default()).unwrap();
    let listed = |(key, _): &&(Key, String)| key.place.contains(&Place::Element);
    for (key, _) in named.iter().filter(|named| !listed(named)) {
        assert!(
            defaults.pointer(&pointer(&key.example())).is_some(),
            "{key:?}"
        );
    }
}

#[test]
fn every_key_of_a_connector_is_set_by_its_variable() {
    fn of<T: Serialize + DeserializeOwned + Default + schemars::JsonSchema>(direction: Direction) {
        let keys = keys_of(direction);
        let prefix = prefix(direction, SINK);
        let named: Vec<_> = keys
            .iter()
            .map(|key| (key.clone(), variable(&prefix, key)))
            .collect();
        check::<T>(&named, &schema::<T>(), |environment| {
            let (mut all, warnings) = of_connectors(environment, &[name(direction, SINK)]);
            (all.remove(0), warnings)
        });
    }
    of::<ConnectorConfig<InputConfig>>(Direction::Sink);
    of::<ConnectorConfig<OutputConfig>>(Direction::Source);
}

#[test]
fn names_are_made_of_the_keys() {
    let (runtime, sink) = (variables(), connector_variables(Direction::Sink, SINK));
    for (variable, key) in [
        ("IGGY_CONNECTORS_HTTP_API_KEY", "http.api_key"),
        (
            "IGGY_CONNECTORS_IGGY_EMBEDDED_ENABLED",
            "iggy.embedded.enabled",
        ),
        (
            "IGGY_CONNECTORS_CONNECTORS_CONFIG_DIR",
            "connectors.config_dir",
        ),
        (
            "IGGY_CONNECTORS_SINK_MY_SINK_STREAMS_0_TOPICS_0",
            "streams[0].topics[0]",
        ),
        ("IGGY_CONNECTORS_SINK_MY_SINK_DLQ_STREAM", "dlq.stream"),
        (
            "IGGY_CONNECTORS_SINK_MY_SINK_PLUGIN_CONFIG_NAME",
            "plugin_config.name",
        ),
        (
            "IGGY_CONNECTORS_SINK_MY_SINK_PLUGIN_CONFIG_FORMAT",
            "plugin_config_format",
        ),
    ] {
        let known = runtime.iter().chain(&sink);
        assert!(
            known
                .clone()
                .any(|(name, path)| (name.as_str(), path.as_str()) == (variable, key)),
            "{variable}"
        );
    }
}

/// The tree of a sink with this one variable.
fn set_in(mut tree: Value, variable: &str, text: &str) -> (Value, Vec<String>) {
    let environment = Environment::new([(variable, text)]);
    let (mut all, warnings) = of_connectors(&environment, &[name(Direction::Sink, SINK)]);
    assert!(warnings.is_empty(), "{warnings:?}");
    let table = tree.as_object_mut().unwrap();
    let (_, problems) = all
        .remove(0)
        .apply(table, "", &Secrets::default(), &mut Found::default());
    (tree, problems.iter().map(Problem::to_string).collect())
}

#[test]
fn a_key_keeps_the_name_that_the_file_has_for_it() {
    let cases = [
        (
            json!({ "config": { "a": 1 } }),
            "PLUGIN_CONFIG_B",
            "2",
            json!({ "config": { "a": 1, "b": 2 } }),
        ),
        (
            json!({}),
            "CONFIG_B",
            "2",
            json!({ "plugin_config": { "b": 2 } }),
        ),
        (
            json!({ "streams": [{ "batch_size": 1 }] }),
            "STREAMS_0_BATCH_LENGTH",
            "2",
            json!({ "streams": [{ "batch_size": 2 }] }),
        ),
        (
            json!({ "streams": [{ "stream": "a" }] }),
            "STREAMS_1_STREAM",
            "b",
            json!({ "streams": [{ "stream": "a" }, { "stream": "b" }] }),
        ),
        (
            json!({ "dlq": null }),
            "DLQ_STREAM",
            "d",
            json!({ "dlq": { "stream": "d" } }),
        ),
    ];
    for (tree, variable, text, expected) in cases {
        let variable = format!("IGGY_CONNECTORS_SINK_MY_SINK_{variable}");
        assert_eq!(
            set_in(tree, &variable, text),
            (expected, vec![]),
            "{variable}"
        );
    }
}

#[test]
fn what_stands_in_a_variables_way_is_told() {
    let cases = [
        (
            json!({ "streams": [] }),
            "STREAMS_1_STREAM",
            "`streams[1].stream`: the entries before it are not there; lists are counted from 0",
        ),
        (
            json!({ "streams": 5 }),
            "STREAMS_0_STREAM",
            "`streams[0].stream`: there is no list that it could be set in",
        ),
        (
            json!({ "retry": 5 }),
            "RETRY_JITTER",
            "`retry.jitter`: a number is expected",
        ),
        (
            json!({ "dlq": 5 }),
            "DLQ_STREAM",
            "`dlq.stream`: there is no table that it could be set in",
        ),
    ];
    for (tree, variable, expected) in cases {
        let variable = format!("IGGY_CONNECTORS_SINK_MY_SINK_{variable}");
        let (unchanged, problems) = set_in(tree.clone(), &variable, "hunter2");
        assert_eq!(problems, [format!("{variable}: {expected}")]);
        assert_eq!(unchanged, tree);
    }
}

#[test]
fn the_longest_connectors_name_wins() {
    let names = [
        name(Direction::Sink, "a"),
        name(Direction::Sink, "a-dlq"),
        name(Direction::Sink, "a-dlq"),
        name(Direction::Source, "a"),
    ];
    for (variable, expected) in [
        ("SINK_A_PATH", vec![0]),
        // `a` has a key `dlq.stream`, `a-dlq` has none named `stream`.
        ("SINK_A_DLQ_STREAM", vec![0]),
        // Both versions of it.
        ("SINK_A_DLQ_PATH", vec![1, 2]),
        ("SINK_A_DLQ_DLQ_STREAM", vec![1, 2]),
        ("SOURCE_A_PATH", vec![3]),
    ] {
        let variable = format!("{PREFIX}{variable}");
        let (all, warnings) = of_connectors(&Environment::new([(variable.as_str(), "x")]), &names);
        assert!(warnings.is_empty(), "{warnings:?}");
        let set: Vec<_> = (0..all.len())
            .filter(|place| !all[*place].list.is_empty())
            .collect();
        assert_eq!(set, expected, "{variable}");
    }
}

#[test]
fn two_connectors_of_one_name_are_told_apart_by_nobody() {
    let names = [name(Direction::Sink, "a-b"), name(Direction::Sink, "a_b")];
    let environment = Environment::new([("IGGY_CONNECTORS_SINK_A_B_PATH", "x")]);
    let (all, _) = of_connectors(&environment, &names);
    for assignments in all {
        assert!(assignments.list.is_empty());
        assert_eq!(
            assignments.problems[0].to_string(),
            "IGGY_CONNECTORS_SINK_A_B_PATH: it could mean each of `a-b`, `a_b`; rename one of them, or write the value into its file"
        );
    }
}

#[test]
fn a_text_of_another_type_is_refused_and_not_repeated() {
    let keys = Keys::of::<RuntimeConfig>();
    for (variable, expected) in [
        (
            "IGGY_CONNECTORS_HTTP_ENABLED",
            "`http.enabled`: true or false is expected",
        ),
        (
            "IGGY_CONNECTORS_PLUGINS_WORKER_THREADS",
            "`plugins.worker_threads`: a number is expected",
        ),
        (
            "IGGY_CONNECTORS_CONNECTORS_REQUEST_HEADERS",
            "`connectors.request_headers`: a JSON object is expected",
        ),
    ] {
        let (assignments, _) = of_runtime(&Environment::new([(variable, "hunter2")]), &keys);
        let (_, problems) = assignments.apply(
            &mut Map::new(),
            "",
            &Secrets::default(),
            &mut Found::default(),
        );
        let problem = problems[0].to_string();
        assert!(
            problem.starts_with(&format!("{variable}: {expected}")),
            "{problem}"
        );
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
