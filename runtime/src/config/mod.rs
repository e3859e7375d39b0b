//! The configuration: files and environment, read once and strictly into what the daemon is built from.
//!
//! A tree of values (`format`, `environment`) becomes types as written (`runtime`, `connector`), and those become
//! [`spec`] (`resolve`). Whatever is wrong is reported together, not one thing after the other.

mod active;
mod connector;
mod document;
mod dotenv;
mod environment;
mod escapes;
mod file_schema;
mod folder;
mod format;
mod guarded;
mod keys;
mod locate;
mod overrides;
mod parts;
mod path;
mod plugin_schema;
mod prepare;
mod problem;
mod proposal;
mod reader;
mod references;
mod resolve;
mod runtime;
mod secrets;
pub mod spec;
mod start;
mod strict;
mod suggest;
mod tables;
mod text;
mod values;
mod versions;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};

pub use active::ActiveVersions;
pub use connector::schema_names;
pub use document::Document;
pub use environment::Environment;
pub use file_schema::{connector_schema, runtime_schema};
pub use format::parse_json;
pub use guarded::Guarded;
pub use overrides::{connector_variables, variables};
pub use plugin_schema::PluginSchema;
pub use problem::{Code, Origin, Problem, Problems};
pub use proposal::proposed;
pub use reader::Reader;
pub use resolve::is_key;
pub use runtime::UrlTemplates;
pub use secrets::Secrets;
pub use versions::{Chosen, History, Place, Version};

use self::{
    format::Tree, keys::Keys, prepare::prepare, problem::Lines, reader::Read,
    runtime::RuntimeConfig,
};

/// Everything that was read.
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
    /// The texts that must not be shown.
    pub secrets: Secrets,
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
    match inspect(path, environment)? {
        (loaded, fatal) if fatal.is_empty() => Ok(loaded),
        (loaded, fatal) => Err(Problems(
            [fatal, loaded.history.into_problems().collect()].concat(),
        )),
    }
}

/// Reads everything as [`load_with`] does, and goes on when something is wrong with the runtime's own keys: these problems come
/// beside what was read, which has defaults in their place.
///
/// # Errors
///
/// There is no runtime file, or it cannot be read at all.
pub fn inspect(
    path: Option<&Path>,
    environment: &Environment,
) -> Result<(Loaded, Vec<Problem>), Problems> {
    let located = locate::locate(path, environment).map_err(|problem| Problems(vec![problem]))?;
    let path = located.path;
    let tree = format::read(&path).map_err(|problem| Problems(vec![problem]))?;
    let Tree { mut values, lines } = tree;
    let (lines, secrets) = (Arc::new(lines), Secrets::default());
    let inline = tables::take(&mut values, &path, &lines);
    let (runtime, mut fatal, warnings) = read_runtime(values, &path, &lines, environment, &secrets);
    let reader = Reader::new(path.clone(), environment.clone(), secrets.clone());
    let Read {
        inline,
        history,
        problem,
    } = reader.everything(inline, versions_folder(&runtime.connectors));
    fatal.extend(problem);
    let chosen = history.choose();
    let warnings = [warnings, history.warnings.clone(), chosen.warnings].concat();
    let loaded = Loaded {
        runtime,
        inline,
        history,
        connectors: chosen.connectors,
        unusable: chosen.unusable,
        warnings: located.warning.into_iter().chain(warnings).collect(),
        path,
        reader,
        secrets,
    };
    Ok((loaded, [environment.problems(), fatal].concat()))
}

/// The folder that is read. The daemon's own is there once it has written a version, and not used with a configuration service.
fn versions_folder(connectors: &spec::Connectors) -> Option<&Path> {
    let own = connectors.own_versions.as_path();
    let is_read = connectors.config_dir.is_some() || connectors.service.is_none() && own.is_dir();
    is_read.then_some(own)
}

/// Reads the runtime's own keys. Returns them with what is wrong and what should be said.
fn read_runtime(
    values: Map<String, Value>,
    file: &Path,
    lines: &Arc<Lines>,
    environment: &Environment,
    secrets: &Secrets,
) -> (spec::Runtime, Vec<Problem>, Vec<String>) {
    let keys = Keys::of::<RuntimeConfig>();
    let (assignments, warnings) = overrides::of_runtime(environment, &keys);
    let origin = prepare::Origin {
        file,
        lines,
        at: "",
    };
    let mut prepared = prepare(values, origin, assignments, (environment, &keys, secrets));
    let values = std::mem::take(&mut prepared.values);
    let mut report = prepared.report();
    let config: RuntimeConfig = strict::read(values, &mut report);
    let runtime = resolve::runtime(config, &mut report);
    learn(&runtime, secrets);
    (runtime, report.into_problems(), warnings)
}

/// Takes note of the runtime's own secrets.
fn learn(runtime: &spec::Runtime, secrets: &Secrets) {
    let iggy = &runtime.iggy;
    // The default password is also the user's name, and the product's.
    let password = iggy.password.expose_secret();
    if password != iggy.username {
        secrets.learn(password);
    }
    if let Some(password) = parts::password(&iggy.address) {
        secrets.learn(&password);
    }
    let mut others: Vec<_> = [&iggy.token, &runtime.http.api_key]
        .into_iter()
        .flatten()
        .collect();
    if let Some(provider) = &runtime.connectors.service {
        others.extend(provider.request_headers.iter().map(|(_, value)| value));
    }
    for secret in others {
        secrets.learn(secret.expose_secret());
    }
}

/// Shows what was read, without its secrets.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            runtime,
            inline,
            history,
            connectors,
            unusable,
            warnings,
            path,
            reader,
            secrets,
        } = self;
        let shown = format!(
            "Loaded {{ runtime: {runtime:?}, inline: {inline:?}, history: {history:?}, connectors: {connectors:?}, unusable: {unusable:?}, warnings: \
             {warnings:?}, path: {path:?}, reader: {reader:?} }}"
        );
        f.write_str(&secrets.hide(&shown))
    }
}

#[cfg(test)]
mod tests;
