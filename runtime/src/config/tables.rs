//! Connectors as tables, from the runtime file and from files of their own, on their way to specifications. `reader` calls it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    connector::{ConnectorConfig, InputConfig, OutputConfig},
    document::Document,
    environment::Environment,
    format,
    keys::Keys,
    overrides::{Assignments, Name},
    prepare::{self, prepare},
    problem::{Code, Lines, Problem},
    resolve::{self, Given},
    secrets::Secrets,
    spec::Direction,
    strict::kind,
    versions::{Candidate, Place},
};

/// One connector's table and where it was found.
pub(super) struct Table {
    pub(super) values: Value,
    /// The configuration file that it came with.
    pub(super) file: PathBuf,
    pub(super) lines: Arc<Lines>,
    /// Its place in the file; empty for a file of its own.
    pub(super) at: String,
    /// What its place says it is.
    pub(super) name: Option<Name>,
    pub(super) place: Place,
}

/// The keys of both directions.
pub(super) struct Keyring {
    sink: Keys,
    source: Keys,
}

impl Default for Keyring {
    fn default() -> Self {
        let [sink, source] = [Direction::Sink, Direction::Source].map(keys_of);
        Self { sink, source }
    }
}

/// The keys of a connector's table.
pub(super) fn keys_of(direction: Direction) -> Keys {
    match direction {
        Direction::Sink => Keys::of::<ConnectorConfig<InputConfig>>(),
        Direction::Source => Keys::of::<ConnectorConfig<OutputConfig>>(),
    }
}

/// Takes the connectors out of the runtime file's tree.
pub(super) fn take(values: &mut Map<String, Value>, file: &Path, lines: &Arc<Lines>) -> Vec<Table> {
    let mut tables = vec![];
    for (kind, direction) in [("sinks", Direction::Sink), ("sources", Direction::Source)] {
        // What is no table stays, and reading the file reports it.
        let Some(Value::Object(connectors)) = values.get_mut(kind) else {
            continue;
        };
        for (key, values) in std::mem::take(connectors) {
            tables.push(Table {
                values,
                file: file.to_owned(),
                lines: lines.clone(),
                at: format!("{kind}.{key}"),
                name: Some(Name { direction, key }),
                place: Place::Inline(file.to_owned()),
            });
        }
    }
    tables
}

/// Reads a connector's file.
pub(super) fn open(file: &Path) -> Result<Table, Problem> {
    let tree = format::read(file)?;
    Ok(Table::of_file(tree.values, file, tree.lines))
}

impl Table {
    /// What a connector's file holds.
    pub(super) fn of_file(values: Map<String, Value>, file: &Path, lines: Lines) -> Self {
        Self {
            values: Value::Object(values),
            file: file.to_owned(),
            lines: Arc::new(lines),
            at: String::new(),
            name: None,
            place: Place::File(file.to_owned()),
        }
    }

    /// Who the connector is, as far as that can be told before anything is read.
    pub(super) fn name(&self) -> Option<Name> {
        self.name.clone().or_else(|| {
            Some(Name {
                direction: serde_json::from_value(self.values.get("type")?.clone()).ok()?,
                key: self.values.get("key")?.as_str()?.to_owned(),
            })
        })
    }

    /// Reads it with what the environment says about it.
    pub(super) fn read(
        self,
        assignments: Assignments,
        environment: &Environment,
        keyring: &Keyring,
        secrets: &Secrets,
    ) -> Candidate {
        let keys = match self.name() {
            Some(name) if name.direction == Direction::Source => &keyring.source,
            _ => &keyring.sink,
        };
        let (values, odd) = match self.values {
            Value::Object(values) => (values, None),
            other => (Map::new(), Some(kind(&other))),
        };
        let document = Document::new(values.clone());
        let shown = PathBuf::from(self.place.to_string());
        let origin = prepare::Origin {
            file: &shown,
            lines: &self.lines,
            at: &self.at,
        };
        let mut prepared = prepare(values, origin, assignments, (environment, keys, secrets));
        let values = std::mem::take(&mut prepared.values);
        let mut report = prepared.report();
        if let Some(kind) = odd {
            let reason = format!("a table is expected, not {kind}");
            report.add("", Code::Invalid, reason, None);
        }
        let given = Given {
            direction: self.name.as_ref().map(|name| name.direction),
            key: self.name.as_ref().map(|name| name.key.as_str()),
            file: &self.file,
            source: &prepared.source,
            at: &self.at,
        };
        Candidate {
            spec: resolve::connector(values, given, &mut report),
            problems: report.into_problems(),
            document,
            place: self.place,
        }
    }
}
