//! The keys of a typed tree, made from its JSON Schema: [`Keys`]. Variables are matched against them, and texts are read as what
//! they expect; a new field of a configuration is a new key without a line here.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

use super::path::Step;

/// Older names of a key, in its schema.
pub(super) const ALIASES: &str = "x-aliases";

/// Every key of a typed tree.
pub(super) struct Keys(Vec<Key>);

/// One key that can be set.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) place: Vec<Place>,
    pub(super) kind: Kind,
}

/// One step on the way to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A key, by all its names; the first is the one of today.
    Named(Vec<String>),
    /// Any entry of a list.
    Element,
    /// Any key of a table that belongs to somebody else.
    Free,
}

/// What a key expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Number,
    Text,
    List,
    Table,
    /// Whatever somebody else makes of it.
    Free,
}

/// The JSON Schema of a type, in one piece.
pub(super) fn schema<T: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

impl Keys {
    pub(super) fn of<T: JsonSchema>() -> Self {
        let mut keys = vec![];
        collect(&schema::<T>(), &[], &mut keys);
        Self(keys)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// What is expected at a place of the tree.
    pub(super) fn kind_at(&self, steps: &[Step]) -> Option<Kind> {
        let key = self.0.iter().find(|key| key.is_at(steps))?;
        Some(key.kind)
    }
}

impl Key {
    /// The key as it is written in TOML, with `0` for any entry and `name` for any name.
    pub(super) fn example(&self) -> Vec<Step> {
        self.place
            .iter()
            .map(|place| match place {
                Place::Named(names) => Step::Key(names[0].clone()),
                Place::Element => Step::Index(0),
                Place::Free => Step::Key("name".to_owned()),
            })
            .collect()
    }

    fn is_at(&self, steps: &[Step]) -> bool {
        self.place.len() == steps.len()
            && self
                .place
                .iter()
                .zip(steps)
                .all(|(place, step)| match (place, step) {
                    (Place::Named(names), Step::Key(key)) => names.contains(key),
                    (Place::Element, Step::Index(_)) | (Place::Free, Step::Key(_)) => true,
                    _ => false,
                })
    }
}

fn collect(schema: &Value, place: &[Place], keys: &mut Vec<Key>) {
    let schema = without_null(schema);
    let mut add = |kind| {
        let place = place.to_vec();
        if !place.is_empty() {
            keys.push(Key { place, kind });
        }
    };
    match schema.get("properties") {
        Some(Value::Object(properties)) => fields(properties, place, keys),
        _ => match kind(schema) {
            Kind::List => {
                add(Kind::List);
                if let Some(items) = schema.get("items") {
                    collect(items, &[place, &[Place::Element]].concat(), keys);
                }
            }
            Kind::Table => {
                add(Kind::Table);
                // A table of somebody else's: a plugin's configuration.
                if schema.get("additionalProperties") == Some(&Value::Bool(true)) {
                    let place = [place, &[Place::Free]].concat();
                    keys.push(Key {
                        place,
                        kind: Kind::Free,
                    });
                }
            }
            kind => add(kind),
        },
    }
}

fn fields(properties: &Map<String, Value>, place: &[Place], keys: &mut Vec<Key>) {
    for (name, schema) in properties {
        let older = schema.get(ALIASES).and_then(Value::as_array);
        let older = older.into_iter().flatten().filter_map(Value::as_str);
        let names = std::iter::once(name.as_str())
            .chain(older)
            .map(str::to_owned)
            .collect();
        collect(schema, &[place, &[Place::Named(names)]].concat(), keys);
    }
}

/// The schema of what an `Option` holds.
fn without_null(schema: &Value) -> &Value {
    let is_null = |schema: &Value| schema.get("type").and_then(Value::as_str) == Some("null");
    match schema
        .get("anyOf")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        Some([schema, null] | [null, schema]) if is_null(null) => schema,
        _ => schema,
    }
}

fn kind(schema: &Value) -> Kind {
    let choices = schema.get("oneOf").and_then(Value::as_array);
    let is_word = |schema: &Value| schema.get("const").is_some() || schema.get("enum").is_some();
    if is_word(schema) || choices.is_some_and(|choices| choices.iter().all(is_word)) {
        return Kind::Text;
    }
    let types = match schema.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    match types.as_slice() {
        [] => Kind::Free,
        types if types.contains(&"string") => Kind::Text,
        types if types.contains(&"boolean") => Kind::Boolean,
        types if types.contains(&"integer") || types.contains(&"number") => Kind::Number,
        types if types.contains(&"array") => Kind::List,
        types if types.contains(&"object") => Kind::Table,
        _ => Kind::Free,
    }
}
