//! Which libraries there are, and which connectors use them: what `GET /plugins` shows.

use std::{collections::HashMap, fs, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{Host, Supervisor};
use crate::{
    config::spec::{self, Direction},
    plugin,
};

/// A library that is loaded or could be, with the connectors whose path leads to it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Plugin {
    #[serde(flatten)]
    pub surveyed: plugin::Surveyed,
    pub connectors: Vec<User>,
}

/// A connector that uses a plugin.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct User {
    pub r#type: Direction,
    pub key: String,
}

/// Files, and the connectors by them.
type Files = (Vec<PathBuf>, HashMap<String, Vec<User>>);

impl Supervisor {
    /// Every library that is loaded or that the daemon finds, by path.
    pub async fn plugins(&self) -> Vec<Plugin> {
        let handles = self.all().into_iter();
        let specs: Vec<_> = handles.map(|handle| handle.spec()).collect();
        let host = self.0.host.clone();
        let found = spawn_blocking({
            let host = host.clone();
            move || files(&host, specs)
        });
        // Without an answer the blocking task has panicked, which has been logged.
        let (files, mut users) = found.await.unwrap_or_default();
        let mut plugins: Vec<_> = host
            .plugins
            .survey(files)
            .await
            .into_iter()
            .map(|surveyed| Plugin {
                connectors: users.remove(&surveyed.listed.path).unwrap_or_default(),
                surveyed,
            })
            .collect();
        plugins.sort_by(|one, other| one.surveyed.listed.path.cmp(&other.surveyed.listed.path));
        plugins
    }
}

fn files(host: &Host, specs: Vec<Arc<spec::Connector>>) -> Files {
    let whole = |path: PathBuf| fs::canonicalize(&path).unwrap_or(path);
    let found = plugin::discoverable(&host.search_paths).into_iter();
    let mut files: Vec<_> = found.map(whole).collect();
    let mut users: HashMap<String, Vec<User>> = HashMap::new();
    for spec in specs {
        let Ok(path) = plugin::locate(&spec.path, &spec.origin, &host.search_paths) else {
            continue;
        };
        let path = whole(path);
        if !files.contains(&path) {
            files.push(path.clone());
        }
        users
            .entry(path.to_string_lossy().into_owned())
            .or_default()
            .push(User {
                r#type: spec.direction,
                key: spec.key.clone(),
            });
    }
    (files, users)
}
