//! The configuration: files and environment, read once and strictly into what the daemon is built from.
//!
//! A tree of values (`format`, `environment`) becomes types as written (`runtime`, `connector`), and those become
//! [`spec`] (`resolve`). Whatever is wrong is reported together, not one thing after the other.

mod active;
mod connector;
mod document;
mod environment;
mod folder;
mod format;
mod locate;
mod problem;
mod reader;
mod resolve;
mod runtime;
pub mod spec;
mod start;
mod strict;
mod suggest;
mod values;
mod versions;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use active::ActiveVersions;
pub use document::Document;
pub use environment::{Environment, variables};
pub use format::parse_json;
pub use problem::{Code, Origin, Problem, Problems};
pub use reader::Reader;
pub use resolve::is_key;
pub use runtime::UrlTemplates;
pub use versions::{Chosen, History, Place, Version};

use self::{
    format::Tree,
    problem::{Report, Source},
    runtime::RuntimeConfig,
    spec::Direction,
};

/// Everything that was read.
#[derive(Debug)]
pub struct Loaded {
    pub runtime: spec::Runtime,
    /// The versions in the runtime file.
    pub inline: Vec<Version>,
    /// All versions that stand in files, those in the runtime file among them.
    pub history: History,
    /// The version of each connector that is to run, by direction and key. Those of a configuration service come later.
    pub connectors: Vec<spec::Connector>,
    /// Connectors that are listed with their error and never started.
    pub unusable: Vec<Unusable>,
    /// What an operator should know although the daemon starts.
    pub warnings: Vec<String>,
    /// The runtime file.
    pub path: PathBuf,
    /// Reads connectors again, and those that come later.
    pub reader: Reader,
}

/// A connector that was configured but could not be understood.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// As far as it was understood, with defaults for the rest.
    pub spec: spec::Connector,
    pub reason: String,
}

/// Reads the runtime file, named by `path` or by the environment of this process, and the connectors.
///
/// # Errors
///
/// Everything that is wrong, when something is wrong with the runtime's own keys. A connector's problems make that connector
/// unusable and nothing else.
pub fn load(path: Option<&Path>) -> Result<Loaded, Problems> {
    load_with(path, &Environment::of_process())
}

/// Reads the configuration as [`load`] does, in a given environment.
///
/// # Errors
///
/// As [`load`].
pub fn load_with(path: Option<&Path>, environment: &Environment) -> Result<Loaded, Problems> {
    let located = locate::locate(path, environment).map_err(|problem| Problems(vec![problem]))?;
    let file = located.path;
    let Tree { mut values, lines } =
        format::read(&file).map_err(|problem| Problems(vec![problem]))?;
    let overrides = environment.apply(&mut values);
    let source = Source {
        file: &file,
        lines: &lines,
        variables: &overrides.variables,
    };
    let reader = Reader::new(file.clone());
    let (runtime, inline, mut problems) = read_runtime(values, source, &reader);
    problems.extend(overrides.problems);
    let history = match versions_folder(&runtime.connectors) {
        Some(folder) => reader.folder(folder, &inline).unwrap_or_else(|problem| {
            problems.push(problem);
            History::new(inline.clone(), ActiveVersions::default())
        }),
        None => History::new(inline.clone(), ActiveVersions::default()),
    };
    if !problems.is_empty() {
        problems.extend(history.into_problems());
        return Err(Problems(problems));
    }
    let chosen = history.choose();
    let warnings = [
        overrides.warnings,
        history.warnings.clone(),
        chosen.warnings,
    ]
    .concat();
    Ok(Loaded {
        runtime,
        inline,
        history,
        connectors: chosen.connectors,
        unusable: chosen.unusable,
        warnings: located.warning.into_iter().chain(warnings).collect(),
        path: file,
        reader,
    })
}

/// The folder that is read. The daemon's own is there once it has written a version, and not used with a configuration service.
fn versions_folder(connectors: &spec::Connectors) -> Option<&Path> {
    let own = connectors.own_versions.as_path();
    let is_read = connectors.config_dir.is_some() || connectors.service.is_none() && own.is_dir();
    is_read.then_some(own)
}

/// Reads the runtime's own keys, and the connectors between them.
fn read_runtime(
    values: Map<String, Value>,
    source: Source<'_>,
    reader: &Reader,
) -> (spec::Runtime, Vec<Version>, Vec<Problem>) {
    let mut report = Report::new(source);
    resolve_references(&values, &mut report);
    let mut config: RuntimeConfig = strict::read(values, &mut report);
    let inline = [
        (Direction::Sink, std::mem::take(&mut config.sinks)),
        (Direction::Source, std::mem::take(&mut config.sources)),
    ];
    let runtime = resolve::runtime(config, &mut report);
    let mut versions = vec![];
    for (direction, tables) in inline {
        for (key, table) in tables {
            versions.push(reader.inline(direction, &key, table, source));
        }
    }
    (runtime, versions, report.into_problems())
}

/// Connectors look at their own values.
fn resolve_references(values: &Map<String, Value>, report: &mut Report<'_>) {
    for (key, value) in values {
        if let (Value::Object(table), false) = (value, ["sinks", "sources"].contains(&key.as_str()))
        {
            resolve::references(key, table, report);
        }
    }
}

#[cfg(test)]
mod tests;
