//! `iggy-connectors plugins`: what libraries are, and why some are refused.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    FAILED, GOOD, say,
    scratch::{self, Scratch},
};
use crate::{
    config::{self, Environment},
    plugin::{Descriptor, LoadError, Registry},
};

/// Files beside the daemon that are meant as plugins: others are loaded only when they are asked for.
const OURS: &str = "iggy_connector_";

/// What a file is.
struct Found {
    path: PathBuf,
    plugin: Result<Descriptor, LoadError>,
}

pub(super) fn run(config: Option<&Path>, path: Option<&Path>, as_json: bool) -> Result<u8, String> {
    let files = match path {
        Some(path) if path.is_dir() => {
            libraries(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        Some(path) => vec![path.to_owned()],
        None => known(config),
    };
    let scratch =
        Scratch::new().map_err(|error| format!("a folder for copies of plugins: {error}"))?;
    let (registry, runtime) = (scratch.registry()?, scratch::runtime()?);
    let found: Vec<_> = files
        .into_iter()
        .map(|path| runtime.block_on(look_at(path, &registry)))
        .collect();
    say(&match as_json {
        true => format!("{:#}", Value::from_iter(found.iter().map(Found::json))),
        false if found.is_empty() => "no plugins".to_owned(),
        false => found.iter().map(Found::text).collect::<Vec<_>>().join("\n"),
    });
    let refused = found.iter().any(|found| found.plugin.is_err());
    Ok(if refused { FAILED } else { GOOD })
}

async fn look_at(path: PathBuf, registry: &Registry) -> Found {
    let loaded = registry.inspect(&path).await;
    Found {
        plugin: loaded.map(|library| library.descriptor().clone()),
        path,
    }
}

/// The libraries where the daemon looks: in the configured paths, and ours beside the program.
fn known(config: Option<&Path>) -> Vec<PathBuf> {
    let configured = config::inspect(config, &Environment::of_process())
        .map(|(loaded, _)| loaded.runtime.plugins.search_paths)
        .unwrap_or_default();
    let mut files: Vec<_> = configured
        .iter()
        .flat_map(|folder| libraries(folder).unwrap_or_default())
        .collect();
    let beside = env::current_exe()
        .ok()
        .and_then(|file| Some(file.parent()?.to_owned()));
    for folder in beside
        .iter()
        .flat_map(|folder| [folder.clone(), folder.join("deps")])
    {
        let ours = libraries(&folder)
            .unwrap_or_default()
            .into_iter()
            .filter(|file| is_ours(file));
        files.extend(ours);
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(fs::canonicalize(file).unwrap_or_else(|_| file.clone())));
    files
}

fn is_ours(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.trim_start_matches("lib").starts_with(OURS)
}

/// The shared libraries of a folder, by name.
fn libraries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = vec![];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| ["so", "dylib", "dll"].contains(&extension))
            && path.is_file()
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Found {
    fn json(&self) -> Value {
        let path = self.path.display().to_string();
        match &self.plugin {
            Ok(plugin) => json!({
                "path": path,
                "name": plugin.name,
                "version": plugin.version,
                "direction": plugin.direction,
                "abi": plugin.abi,
                "sdk_version": plugin.sdk_version,
                "target": plugin.target,
                "config_schema": plugin.config_schema.as_deref().map(as_value),
            }),
            Err(error) => {
                json!({ "path": path, "name": null, "version": null, "reason": error.to_string() })
            }
        }
    }

    fn text(&self) -> String {
        let path = self.path.display();
        let plugin = match &self.plugin {
            Ok(plugin) => plugin,
            Err(error) => return format!("{path}\n  refused: {error}"),
        };
        let sdk = match plugin.sdk_version.as_str() {
            "" => "without the SDK".to_owned(),
            version => format!("SDK {version}"),
        };
        let mut text = format!(
            "{path}\n  {} {} {}, plugin interface {}, {sdk}",
            plugin.direction.name(),
            plugin.name,
            plugin.version,
            plugin.abi
        );
        match &plugin.config_schema {
            Some(schema) => text += &keys(&as_value(schema)),
            None => text += "\n  plugin_config: no schema",
        }
        text
    }
}

/// A schema as a value; one that is no JSON is shown as the text that it is.
fn as_value(schema: &str) -> Value {
    serde_json::from_str(schema).unwrap_or_else(|_| Value::from(schema))
}

/// The keys that stand directly in a configuration.
fn keys(schema: &Value) -> String {
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut text = String::new();
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let types = match &schema["type"] {
            Value::String(name) => name.clone(),
            Value::Array(names) => names
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" or "),
            _ => String::new(),
        };
        let must = if required.contains(&key.as_str()) {
            " required"
        } else {
            ""
        };
        let about = schema["description"]
            .as_str()
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        text += format!("\n  plugin_config.{key} {types}{must}  {about}").trim_end();
    }
    text
}
