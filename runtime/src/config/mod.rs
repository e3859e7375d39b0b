//! The configuration: files and environment, read once and strictly into what the daemon is built from.
//!
//! A tree of values (`format`, `environment`) becomes types as written (`runtime`, `connector`), and those become
//! [`spec`] (`resolve`). Whatever is wrong is reported together, not one thing after the other.

mod connector;
mod environment;
mod folder;
mod format;
mod locate;
mod problem;
mod resolve;
mod runtime;
pub mod spec;
mod strict;
mod suggest;
mod values;
mod versions;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use environment::{Environment, variables};
pub use problem::{Code, Origin, Problem, Problems};
pub use runtime::UrlTemplates;

use self::{
    format::Tree,
    problem::{Report, Source, Variables},
    resolve::Given,
    runtime::RuntimeConfig,
    spec::Direction,
    versions::Candidate,
};

/// Everything that was read.
#[derive(Debug)]
pub struct Loaded {
    pub runtime: spec::Runtime,
    /// The version of each connector that is to run, by direction and key.
    pub connectors: Vec<spec::Connector>,
    /// Connectors that are listed with their error and never started.
    pub unusable: Vec<Unusable>,
    /// What an operator should know although the daemon starts.
    pub warnings: Vec<String>,
    /// The runtime file.
    pub path: PathBuf,
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
    let (runtime, mut candidates, mut problems) = read_runtime(values, source);
    problems.extend(overrides.problems);
    let folder = match &runtime.connectors {
        spec::Connectors::Local {
            config_dir: Some(folder),
        } => folder::list(folder, &file),
        _ => folder::Folder::default(),
    };
    candidates.extend(folder.files.iter().map(|file| read_connector(file)));
    if !problems.is_empty() {
        problems.extend(
            candidates
                .into_iter()
                .flat_map(|candidate| candidate.problems),
        );
        return Err(Problems(problems));
    }
    let chosen = versions::choose(candidates);
    let warnings = [overrides.warnings, folder.warnings, chosen.warnings].concat();
    Ok(Loaded {
        runtime,
        connectors: chosen.connectors,
        unusable: chosen.unusable,
        warnings: located.warning.into_iter().chain(warnings).collect(),
        path: file,
    })
}

/// Reads the runtime's own keys, and the connectors between them.
fn read_runtime(
    values: Map<String, Value>,
    source: Source<'_>,
) -> (spec::Runtime, Vec<Candidate>, Vec<Problem>) {
    let mut report = Report::new(source);
    resolve_references(&values, &mut report);
    let mut config: RuntimeConfig = strict::read(values, &mut report);
    let inline = [
        (Direction::Sink, std::mem::take(&mut config.sinks)),
        (Direction::Source, std::mem::take(&mut config.sources)),
    ];
    let runtime = resolve::runtime(config, &mut report);
    let mut candidates = vec![];
    for (direction, tables) in inline {
        for (key, table) in tables {
            candidates.push(read_inline(direction, &key, table, source));
        }
    }
    (runtime, candidates, report.into_problems())
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

/// Reads a connector that stands in the runtime file.
fn read_inline(direction: Direction, key: &str, table: Value, source: Source<'_>) -> Candidate {
    let mut report = Report::of_table(source, &format!("{}s.{key}", direction.name()));
    let table = match table {
        Value::Object(table) => table,
        other => {
            let reason = format!("a table is expected, not {}", strict::kind(&other));
            report.add("", Code::Invalid, reason, None);
            Map::new()
        }
    };
    let given = Given {
        direction: Some(direction),
        key: Some(key),
        file: source.file,
    };
    Candidate {
        spec: resolve::connector(table, given, &mut report),
        problems: report.into_problems(),
    }
}

/// Reads a connector from a file of its own.
fn read_connector(file: &Path) -> Candidate {
    let Tree { values, lines } = match format::read(file) {
        Ok(tree) => tree,
        Err(problem) => {
            return Candidate {
                spec: None,
                problems: vec![problem],
            };
        }
    };
    let variables = Variables::new();
    let mut report = Report::new(Source {
        file,
        lines: &lines,
        variables: &variables,
    });
    let given = Given {
        direction: None,
        key: None,
        file,
    };
    Candidate {
        spec: resolve::connector(values, given, &mut report),
        problems: report.into_problems(),
    }
}

#[cfg(test)]
mod tests;
