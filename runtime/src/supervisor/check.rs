//! What can be known of a connector before it is opened: whether its plugin is there and takes its configuration. The management API
//! and the command line ask before anything is stored or started.

use std::path::PathBuf;

use super::{Host, Supervisor};
use crate::{
    config::{Guarded, PluginSchema, Problem, Problems, Secrets, spec::Connector},
    plugin,
};

/// What plugins are found and loaded with.
pub struct Plugins<'a> {
    pub registry: &'a plugin::Registry,
    pub search_paths: &'a [PathBuf],
    /// What no message may show.
    pub secrets: &'a Secrets,
}

impl Plugins<'_> {
    /// Finds and loads the connector's plugin, and checks its configuration against the plugin's schema.
    ///
    /// # Errors
    ///
    /// There is no such plugin, or everything that does not fit.
    pub async fn check(&self, connector: &Connector) -> Result<plugin::Library, Vec<Problem>> {
        let library = self.library(connector).await?;
        let Some(schema) = self.schema(connector, &library)? else {
            return Ok(library);
        };
        let fitted = connector.plugin_config.fitted(&schema, self.secrets);
        fitted
            .map(|_| library)
            .map_err(|Problems(problems)| problems)
    }

    async fn library(&self, connector: &Connector) -> Result<plugin::Library, Vec<Problem>> {
        let path = plugin::locate(&connector.path, &connector.origin, self.search_paths)
            .map_err(|error| self.of_path(connector, &error.to_string()))?;
        let loaded = self.registry.load(&path, connector.direction).await;
        loaded.map_err(|error| self.of_path(connector, &error.to_string()))
    }

    fn schema(
        &self,
        connector: &Connector,
        library: &plugin::Library,
    ) -> Result<Option<PluginSchema>, Vec<Problem>> {
        let schema = library.descriptor().config_schema.as_deref();
        let parsed = schema.map(PluginSchema::parse).transpose();
        parsed.map_err(|error| {
            let reason = format!("the plugin's configuration schema cannot be used: {error}");
            self.of_path(connector, &reason)
        })
    }

    fn of_path(&self, connector: &Connector, reason: &str) -> Vec<Problem> {
        let reason = self.secrets.hide(reason);
        vec![connector.written.problem("path", &reason)]
    }
}

impl Supervisor {
    /// Checks a connector that is good as written: see [`Plugins::check`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn check(&self, connector: &Connector) -> Result<(), Vec<Problem>> {
        self.host()
            .plugins()
            .check(connector)
            .await
            .map(|_library| ())
    }

    /// The connector's `plugin_config` with what its plugin calls secret marked; `None` when the plugin cannot be asked.
    pub async fn marked(&self, connector: &Connector) -> Option<Guarded> {
        let plugins = self.host().plugins();
        let library = plugins.library(connector).await.ok()?;
        let config = &connector.plugin_config;
        Some(match plugins.schema(connector, &library).ok()? {
            Some(schema) => config.marked(&schema, plugins.secrets),
            None => config.clone(),
        })
    }
}

impl Host {
    fn plugins(&self) -> Plugins<'_> {
        Plugins {
            registry: &self.plugins,
            search_paths: &self.search_paths,
            secrets: &self.secrets,
        }
    }
}
