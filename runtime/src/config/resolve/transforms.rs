//! `transforms`, as a table by type or as a list with `type`. File order is kept in both.

use serde_json::{Map, Value};

use super::Given;
use crate::config::{
    Guarded,
    path::field,
    problem::{Code, Report},
    spec::Transform,
    strict::kind,
};

const TYPE: &str = "type";

pub(super) fn transforms(
    written: Option<Value>,
    given: Given<'_>,
    report: &mut Report<'_>,
) -> Vec<Transform> {
    match written {
        None => vec![],
        Some(Value::Object(table)) => table
            .into_iter()
            .filter_map(|(r#type, config)| {
                checked(&format!("transforms.{type}"), r#type, config, given, report)
            })
            .collect(),
        Some(Value::Array(list)) => list
            .into_iter()
            .enumerate()
            .filter_map(|(index, entry)| {
                listed(&format!("transforms[{index}]"), entry, given, report)
            })
            .collect(),
        Some(other) => {
            let reason = format!(
                "a table or a list of tables is expected, not {}",
                kind(&other)
            );
            report.add("transforms", Code::Invalid, reason, None);
            vec![]
        }
    }
}

fn listed(at: &str, entry: Value, given: Given<'_>, report: &mut Report<'_>) -> Option<Transform> {
    let mut config: Map<String, Value> = match entry {
        Value::Object(config) => config,
        other => {
            let reason = format!("a table is expected, not {}", kind(&other));
            report.add(at, Code::Invalid, reason, None);
            return None;
        }
    };
    match config.shift_remove(TYPE) {
        Some(Value::String(r#type)) => checked(at, r#type, Value::Object(config), given, report),
        _ => {
            report.missing(
                &format!("{at}.{TYPE}"),
                "name the transform, for example \"add_fields\"",
            );
            None
        }
    }
}

fn checked(
    at: &str,
    r#type: String,
    config: Value,
    given: Given<'_>,
    report: &mut Report<'_>,
) -> Option<Transform> {
    match iggy_connector_transform::from_config(&r#type, &config) {
        Ok(_) => {
            let config = Guarded::new(config, given.source, field(given.at, at));
            Some(Transform { r#type, config })
        }
        Err(error) => {
            let reason = error.to_string();
            // The problem says already that it is about a configuration.
            let reason = reason.trim_start_matches("invalid config value: ");
            report.add(at, Code::Invalid, reason, None);
            None
        }
    }
}
