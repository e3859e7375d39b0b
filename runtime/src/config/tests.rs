//! Whatever a configuration holds, reading it ends, and ends with problems or with something usable.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{
    problem::{Lines, Variables},
    resolve::Given,
};

/// Keys that are known somewhere, so that random tables get past the first check.
const KEYS: [&str; 22] = [
    "iggy",
    "embedded",
    "connectors",
    "retry",
    "http",
    "cors",
    "sinks",
    "sources",
    "enabled",
    "address",
    "streams",
    "stream",
    "topics",
    "topic",
    "schema",
    "transforms",
    "add_fields",
    "fields",
    "path",
    "config",
    "plugin_config",
    "type",
];

fn tree() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(
        &[
            "",
            "sink",
            "source",
            "json",
            "5ms",
            "a:1",
            "${env:A}",
            "add_fields",
        ][..],
    );
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2.0..2.0).prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let key = prop_oneof![9 => prop::sample::select(&KEYS[..]).prop_map(str::to_owned), 1 => ".{0,5}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..6)
                .prop_map(|table| Value::Object(table.into_iter().collect())),
        ]
    })
}

fn table() -> impl Strategy<Value = Map<String, Value>> {
    tree().prop_map(|value| match value {
        Value::Object(table) => table,
        other => Map::from_iter([("sinks".into(), json!({ "k": other }))]),
    })
}

proptest! {
    #[test]
    fn reading_any_tree_ends(values in table()) {
        let (lines, variables) = (Lines::new(), Variables::new());
        let source = Source { file: Path::new("c"), lines: &lines, variables: &variables };
        let (_, versions, problems) = read_runtime(values.clone(), source, &Reader::new("c".into()));
        let history = History::new(versions, ActiveVersions::default());
        history.choose();
        for problem in problems.into_iter().chain(history.into_problems()) {
            prop_assert!(!problem.reason.is_empty());
        }
        let mut report = Report::new(source);
        let given = Given { direction: None, key: None, file: source.file };
        let spec = resolve::connector(values, given, &mut report);
        prop_assert!(spec.is_some() || !report.into_problems().is_empty());
    }

    #[test]
    fn reading_any_text_ends(text in "([a-z\\[\\]{}=:.,\"'\n -]|\\PC){0,80}") {
        let folder = tempfile::tempdir().unwrap();
        for extension in format::EXTENSIONS {
            let file = folder.path().join("config").with_extension(extension);
            std::fs::write(&file, &text).unwrap();
            if let Ok(tree) = format::read(&file) {
                let (lines, variables) = (tree.lines, Variables::new());
                let source = Source { file: &file, lines: &lines, variables: &variables };
                read_runtime(tree.values, source, &Reader::new(file.clone()));
            }
        }
    }
}
