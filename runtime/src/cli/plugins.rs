//! `iggy-connectors plugins`: what libraries are, and why some are refused.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    Answer, FAILED, GOOD,
    scratch::{self, Scratch},
};
use crate::{
    config::{self, Environment},
    plugin::{Descriptor, Listed, LoadError, Registry, discoverable, libraries},
};

/// What a file is.
struct Found {
    path: PathBuf,
    plugin: Result<Descriptor, LoadError>,
}

pub(super) fn run(
    config: Option<&Path>,
    path: Option<&Path>,
    as_json: bool,
) -> Result<Answer, String> {
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
    let text = match as_json {
        true => json(&found),
        false if found.is_empty() => "no plugins".to_owned(),
        false => found.iter().map(Found::text).collect::<Vec<_>>().join("\n"),
    };
    let refused = found.iter().any(|found| found.plugin.is_err());
    let code = if refused { FAILED } else { GOOD };
    Ok(Answer { text, code })
}

fn json(found: &[Found]) -> String {
    let listed: Vec<_> = found.iter().map(Found::listed).collect();
    // Texts and schemas: nothing that JSON cannot say.
    serde_json::to_string_pretty(&listed).unwrap_or_default()
}

async fn look_at(path: PathBuf, registry: &Registry) -> Found {
    let loaded = registry.inspect(&path).await;
    Found {
        plugin: loaded.map(|library| library.descriptor().clone()),
        path,
    }
}

/// The libraries where the daemon looks.
fn known(config: Option<&Path>) -> Vec<PathBuf> {
    let configured = config::inspect(config, &Environment::of_process())
        .map(|(loaded, _)| loaded.runtime.plugins.search_paths)
        .unwrap_or_default();
    discoverable(&configured)
}

impl Found {
    fn listed(&self) -> Listed {
        match &self.plugin {
            Ok(plugin) => Listed::plugin(&self.path, plugin),
            Err(error) => Listed::refused(&self.path, error.to_string()),
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
        match self.listed().config_schema {
            Some(schema) => text += &keys(&schema),
            None => text += "\n  plugin_config: no schema",
        }
        text
    }
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
