//! Whatever a configuration holds, reading it ends, and ends with problems or with something usable.

use proptest::prelude::*;
use serde_json::json;

use super::*;

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

/// Everything that becomes of a runtime file's tree.
fn read_all(mut values: Map<String, Value>, lines: Lines) -> (Vec<Problem>, History) {
    let (file, lines, secrets) = (Path::new("c"), Arc::new(lines), Secrets::default());
    let environment = Environment::new([("A", "a")]);
    let inline = tables::take(&mut values, file, &lines);
    let (_, problems, _) = read_runtime(values, file, &lines, &environment, &secrets);
    let reader = Reader::new(file.to_owned(), environment, secrets);
    (problems, reader.everything(inline, None).history)
}

proptest! {
    #[test]
    fn reading_any_tree_ends(values in table()) {
        let (problems, history) = read_all(values.clone(), Lines::new());
        history.choose();
        for problem in problems.into_iter().chain(history.into_problems()) {
            prop_assert!(!problem.reason.is_empty());
        }
        let file = Path::new("c");
        let table = tables::Table::of_file(values, file, Lines::new());
        let reader = Reader::new(file.to_owned(), Environment::default(), Secrets::default());
        let history = reader.everything(vec![table], None).history;
        prop_assert!(!history.versions.is_empty() || history.into_problems().next().is_some());
    }

    #[test]
    fn reading_any_text_ends(text in "([a-z\\[\\]{}=:.,\"'\n -]|\\PC){0,80}") {
        let folder = tempfile::tempdir().unwrap();
        for extension in format::EXTENSIONS {
            let file = folder.path().join("config").with_extension(extension);
            std::fs::write(&file, &text).unwrap();
            if let Ok(tree) = format::read(&file) {
                read_all(tree.values, tree.lines);
            }
        }
    }
}
