//! The JSON Schemas of the configuration files, for editors: [`runtime_schema`], [`connector_schema`]. They are made of the types that
//! read the files, and know in addition what no type says: older names, references, the transforms there are.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    connector::{ConnectorConfig, InputConfig, OutputConfig},
    keys::ALIASES,
    runtime::RuntimeConfig,
    secrets::HIDDEN,
    spec::Direction,
};

/// Where a schema says what references look like.
const REFERENCE: &str = "#/$defs/reference";

/// The schema of the runtime file.
pub fn runtime_schema() -> Value {
    finished::<RuntimeConfig>("Iggy connectors: runtime")
}

/// The schema of a connector's file.
pub fn connector_schema(direction: Direction) -> Value {
    let mut schema = match direction {
        Direction::Sink => finished::<ConnectorConfig<InputConfig>>("Iggy connectors: sink"),
        Direction::Source => finished::<ConnectorConfig<OutputConfig>>("Iggy connectors: source"),
    };
    // A file of its own has to say what its table in the runtime file would.
    schema["required"] = json!(["type", "key", "path", "streams"]);
    schema["properties"]["type"] = json!({ "const": direction.name() });
    schema
}

fn finished<T: JsonSchema>(title: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    finish(&mut schema);
    schema["title"] = Value::from(title);
    schema["$defs"]["reference"] = json!({
        "description": "A value from elsewhere: ${env:NAME}, ${env:NAME:-default} or ${file:/path}.",
        "type": "string",
        "pattern": r"\$\{(env|file):",
    });
    schema
}

fn finish(schema: &mut Value) {
    match schema {
        Value::Object(table) => {
            table.values_mut().for_each(finish);
            if let Some(Value::Object(properties)) = table.get_mut("properties") {
                finish_properties(properties);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(finish),
        _ => {}
    }
}

fn finish_properties(properties: &mut Map<String, Value>) {
    let mut older = vec![];
    for (key, schema) in properties.iter_mut() {
        if key == "transforms" {
            *schema = transforms();
        }
        let Value::Object(table) = schema else {
            continue;
        };
        // A secret's default would stand there as what is shown of it; a table's repeats those of its keys.
        let default = table.get("default");
        if default.is_some_and(|default| default == HIDDEN || default.is_object()) {
            table.remove("default");
        }
        if let Some(Value::Array(names)) = table.remove(ALIASES) {
            older.extend(names.into_iter().map(|name| (name, key.clone())));
        }
        allow_reference(schema);
    }
    for (name, key) in older {
        let Value::String(name) = name else { continue };
        let mut schema = properties[&key].clone();
        schema["deprecated"] = Value::Bool(true);
        schema["description"] = Value::from(format!("Older name of `{key}`."));
        properties.insert(name, schema);
    }
}

/// A reference may stand wherever a text would not do.
fn allow_reference(schema: &mut Value) {
    let takes_any_text = |schema: &Value| {
        let is_text = |name: &Value| name == "string";
        let named = match &schema["type"] {
            Value::Array(names) => names.iter().any(is_text),
            name => is_text(name),
        };
        named && schema.get("enum").is_none() && schema.get("const").is_none()
    };
    let is_table = ["properties", "additionalProperties"]
        .iter()
        .any(|word| schema.get(*word).is_some());
    let says_nothing = schema.as_object().is_none_or(|table| {
        !["type", "enum", "const", "oneOf", "anyOf", "$ref"]
            .iter()
            .any(|word| table.contains_key(*word))
    });
    if is_table || says_nothing || takes_any_text(schema) {
        return;
    }
    let reference = json!({ "$ref": REFERENCE });
    match schema.get_mut("anyOf") {
        Some(Value::Array(choices)) => choices.push(reference),
        _ => {
            let written = schema.take();
            let mut table = Map::new();
            for word in ["description", "default"] {
                if let Some(value) = written.get(word) {
                    table.insert(word.to_owned(), value.clone());
                }
            }
            table.insert("anyOf".to_owned(), json!([written, reference]));
            *schema = Value::Object(table);
        }
    }
}

fn transforms() -> Value {
    let types: Vec<_> = iggy_connector_transform::types().collect();
    json!({
        "description": "A table by type, or a list with `type`; applied in file order.",
        "anyOf": [
            { "type": "object", "propertyNames": { "enum": types }, "additionalProperties": { "type": "object" } },
            {
                "type": "array",
                "items": { "type": "object", "properties": { "type": { "enum": types } }, "required": ["type"] },
            },
            { "type": "null" },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(schema: &Value, file: &Value) -> Vec<String> {
        let validator = jsonschema::validator_for(schema).unwrap();
        validator
            .iter_errors(file)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    #[test]
    fn the_shipped_file_fits_its_schema_and_mistakes_do_not() {
        let shipped: Value = toml::from_str(include_str!("../../../config.toml")).unwrap();
        assert_eq!(flaws(&runtime_schema(), &shipped), Vec::<String>::new());
        for file in [
            json!({ "http": { "enabled": "yes" } }),
            json!({ "htpp": {} }),
            json!({ "sinks": { "k": { "streams": [{ "topic": "t" }] } } }),
            json!({ "sinks": { "k": { "transforms": { "no_such": {} } } } }),
            json!({ "logging": { "format": "xml" } }),
        ] {
            assert_eq!(flaws(&runtime_schema(), &file).len(), 1, "{file}");
        }
    }

    #[test]
    fn older_names_and_references_fit_too() {
        let sink = json!({
            "type": "sink", "key": "k", "path": "p", "config": { "a": 1 }, "enabled": "${env:ON}",
            "streams": [{ "stream": "s", "topics": "${env:TOPICS}", "batch_size": 5, "schema": "${env:SCHEMA}" }],
            "transforms": [{ "type": "delete_fields", "fields": ["a"] }],
            "retry": { "max_retries": "${file:/retries}" },
        });
        assert_eq!(
            flaws(&connector_schema(Direction::Sink), &sink),
            Vec::<String>::new()
        );
        assert!(!flaws(&connector_schema(Direction::Source), &sink).is_empty());
        let schema_of = |name: &str| json!({ "type": "source", "key": "k", "path": "p", "streams": [{ "stream": "s", "topic": "t", "schema": name }] });
        for name in ["json", "flat_buffer", "flatbuffer"] {
            let flaws = flaws(&connector_schema(Direction::Source), &schema_of(name));
            assert_eq!(flaws, Vec::<String>::new(), "{name}");
        }
        assert!(!flaws(&connector_schema(Direction::Source), &schema_of("flat")).is_empty());
        let without = json!({ "type": "sink", "path": "p", "streams": [] });
        assert_eq!(flaws(&connector_schema(Direction::Sink), &without).len(), 1);
    }

    #[test]
    fn no_secret_has_its_default_in_a_schema() {
        let schema = runtime_schema().to_string();
        assert!(!schema.contains("***"), "{schema}");
        assert!(!schema.contains(ALIASES), "{schema}");
    }
}
