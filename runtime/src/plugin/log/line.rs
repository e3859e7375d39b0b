//! One line of a plugin's log on its way into `tracing`: [`Line`].

use serde_json::Map;
use tracing::{
    Event, Level,
    field::{Value, display},
};

use super::sites::{Key, SHARED_TARGET, Site};

/// Longest message, and longest text of all fields, that is logged.
pub(super) const LONGEST: usize = 64 * 1024;
/// Most fields that become fields of their own; a line with more keeps them as one text.
const MOST_FIELDS: usize = 28;
/// Longest name of such a field.
const LONGEST_NAME: usize = 64;

const MESSAGE: &str = "message";
const CONNECTOR: &str = "connector";
/// The name of a field that `message` or `connector` would hide.
const HIDDEN: [(&str, &str); 2] = [(MESSAGE, "plugin.message"), (CONNECTOR, "plugin.connector")];

/// One line, in our own memory.
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) line: u32,
    pub(super) target: String,
    pub(super) message: String,
    /// The text of one JSON object, or empty.
    pub(super) fields: String,
    pub(super) file: String,
}

impl Line {
    /// Logs the line at the current subscriber and in the current span; `connector` becomes a field.
    pub(super) fn write(&self, connector: Option<&str>) {
        let parsed = self.parsed();
        let mut fields: Vec<(&str, Field<'_>)> = vec![(MESSAGE, Field::Text(&self.message))];
        fields.extend(connector.map(|key| (CONNECTOR, Field::Text(key))));
        match &parsed {
            Some(parsed) => fields.extend(
                parsed
                    .iter()
                    .map(|(name, value)| (shown(name), Field::of(value))),
            ),
            None => fields.push(("fields", Field::Text(&self.fields))),
        }
        if !self.write_at(&self.target, &fields) {
            fields.truncate(1 + usize::from(connector.is_some()));
            fields.push(("plugin.target", Field::Text(&self.target)));
            fields.push(("fields", Field::Text(&self.fields)));
            self.write_at(SHARED_TARGET, &fields);
        }
    }

    /// Logs the line under a target. False when there is no callsite left for it.
    fn write_at(&self, target: &str, fields: &[(&str, Field<'_>)]) -> bool {
        let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        let shared = target == SHARED_TARGET;
        let key = Key {
            level: self.level,
            target,
            file: if shared { "" } else { &self.file },
            line: if shared { 0 } else { self.line },
            names: &names,
        };
        let Some(site) = Site::get(&key) else {
            return false;
        };
        if site.is_enabled() {
            let values: Vec<_> = fields
                .iter()
                .map(|(_, field)| Some(field.value()))
                .collect();
            let metadata = site.metadata();
            Event::dispatch(metadata, &metadata.fields().value_set_all(&values));
        }
        true
    }

    /// The fields by name, or `None` when they cannot become fields of their own.
    fn parsed(&self) -> Option<Map<String, serde_json::Value>> {
        if self.fields.is_empty() {
            return Some(Map::new());
        }
        let fields: Map<String, serde_json::Value> = serde_json::from_str(&self.fields).ok()?;
        let fit =
            fields.len() <= MOST_FIELDS && fields.keys().all(|name| name.len() <= LONGEST_NAME);
        fit.then_some(fields)
    }
}

fn shown(name: &str) -> &str {
    let hidden = HIDDEN.iter().find(|(taken, _)| *taken == name);
    hidden.map_or(name, |(_, instead)| instead)
}

/// A field's value, in the type that formatters know it by.
enum Field<'a> {
    Text(&'a str),
    Flag(bool),
    Natural(u64),
    Integer(i64),
    Real(f64),
    Other(tracing::field::DisplayValue<&'a serde_json::Value>),
}

impl<'a> Field<'a> {
    fn of(value: &'a serde_json::Value) -> Self {
        match value {
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Bool(flag) => Self::Flag(*flag),
            serde_json::Value::Number(number) => number
                .as_u64()
                .map(Self::Natural)
                .or_else(|| number.as_i64().map(Self::Integer))
                .or_else(|| number.as_f64().map(Self::Real))
                .unwrap_or_else(|| Self::Other(display(value))),
            serde_json::Value::Null
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => Self::Other(display(value)),
        }
    }

    fn value(&self) -> &dyn Value {
        match self {
            Self::Text(text) => text,
            Self::Flag(flag) => flag,
            Self::Natural(number) => number,
            Self::Integer(number) => number,
            Self::Real(number) => number,
            Self::Other(other) => other,
        }
    }
}
