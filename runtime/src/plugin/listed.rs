//! What a library is, in words: [`Listed`], and where libraries are looked for when nobody names one: [`discoverable`]. The command
//! line and the management API show both.

use std::{
    collections::HashSet,
    env, fs, io,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Descriptor;
use crate::config::spec::Direction;

/// Files beside the daemon that are meant as plugins: others are loaded only when they are asked for.
const OURS: &str = "iggy_connector_";

/// What a file is that may be a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// Where it stands; what is no UTF-8 of it is replaced.
    pub path: String,
    /// The plugin's Cargo package; null for a file that is refused.
    pub name: Option<String>,
    pub version: Option<String>,
    pub direction: Option<Direction>,
    /// The version of the plugin interface that it speaks.
    pub abi: Option<String>,
    /// Empty for a plugin that was made without the SDK.
    pub sdk_version: Option<String>,
    pub target: Option<String>,
    /// JSON Schema of `plugin_config`; null when it has none.
    pub config_schema: Option<Value>,
    /// Why it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Listed {
    pub fn plugin(path: &Path, plugin: &Descriptor) -> Self {
        // One that is no JSON is shown as the text that it is.
        let value = |schema: &String| {
            serde_json::from_str(schema).unwrap_or_else(|_| Value::from(schema.as_str()))
        };
        Self {
            path: path.to_string_lossy().into_owned(),
            name: Some(plugin.name.clone()),
            version: Some(plugin.version.clone()),
            direction: Some(plugin.direction),
            abi: Some(plugin.abi.clone()),
            sdk_version: Some(plugin.sdk_version.clone()),
            target: Some(plugin.target.clone()),
            config_schema: plugin.config_schema.as_ref().map(value),
            reason: None,
        }
    }

    /// What the plugin says of itself, or why it is refused.
    pub(super) fn descriptor(self) -> Result<Descriptor, String> {
        let (Some(name), Some(version), Some(direction)) =
            (self.name, self.version, self.direction)
        else {
            let unknown = || format!("nothing is known of plugin `{}`", self.path);
            return Err(self.reason.unwrap_or_else(unknown));
        };
        let text = |schema| match schema {
            Value::String(text) => text,
            schema => schema.to_string(),
        };
        Ok(Descriptor {
            direction,
            abi: self.abi.unwrap_or_default(),
            name,
            version,
            sdk_version: self.sdk_version.unwrap_or_default(),
            target: self.target.unwrap_or_default(),
            config_schema: self.config_schema.map(text),
        })
    }

    pub fn refused(path: &Path, reason: String) -> Self {
        Self {
            path: path.to_string_lossy().into_owned(),
            name: None,
            version: None,
            direction: None,
            abi: None,
            sdk_version: None,
            target: None,
            config_schema: None,
            reason: Some(reason),
        }
    }
}

/// The libraries where the daemon looks, each once: in the configured paths, and ours beside the program.
pub fn discoverable(search_paths: &[PathBuf]) -> Vec<PathBuf> {
    let configured = search_paths
        .iter()
        .flat_map(|folder| libraries(folder).unwrap_or_default());
    let mut files: Vec<_> = configured.collect();
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
    let mut seen = HashSet::new();
    files.retain(|file| seen.insert(fs::canonicalize(file).unwrap_or_else(|_| file.clone())));
    files
}

fn is_ours(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.trim_start_matches("lib").starts_with(OURS)
}

/// The shared libraries of a folder, by name.
///
/// # Errors
///
/// The folder cannot be read.
pub fn libraries(folder: &Path) -> io::Result<Vec<PathBuf>> {
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
