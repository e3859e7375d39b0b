//! What can be known of a connector before it is opened: whether its plugin is there and takes its configuration. The management API
//! and the command line ask before anything is stored or started.

use std::path::PathBuf;

use super::{Host, Supervisor};
use crate::{
    config::{Guarded, PluginSchema, Problem, Problems, Secrets, spec::Connector},
    plugin,
};

/// What plugins are found and asked with. None is loaded for a check where a process of its own can look at it.
pub struct Plugins<'a> {
    pub registry: &'a plugin::Registry,
    pub search_paths: &'a [PathBuf],
    /// What no message may show.
    pub secrets: &'a Secrets,
}

impl Plugins<'_> {
    /// Finds the connector's plugin, and checks its configuration against the plugin's schema.
    ///
    /// # Errors
    ///
    /// There is no such plugin, or everything that does not fit.
    pub async fn check(&self, connector: &Connector) -> Result<plugin::Descriptor, Vec<Problem>> {
        let plugin = self.plugin(connector).await?;
        let Some(schema) = self.schema(connector, &plugin)? else {
            return Ok(plugin);
        };
        let fitted = connector.plugin_config.fitted(&schema, self.secrets);
        fitted
            .map(|_| plugin)
            .map_err(|Problems(problems)| problems)
    }

    async fn plugin(&self, connector: &Connector) -> Result<plugin::Descriptor, Vec<Problem>> {
        let path = plugin::locate(&connector.path, &connector.origin, self.search_paths)
            .map_err(|error| self.of_path(connector, &error.to_string()))?;
        let described = self.registry.describe(&path, connector.direction).await;
        described.map_err(|error| self.of_path(connector, &error.to_string()))
    }

    fn schema(
        &self,
        connector: &Connector,
        plugin: &plugin::Descriptor,
    ) -> Result<Option<PluginSchema>, Vec<Problem>> {
        let schema = plugin.config_schema.as_deref();
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
            .map(|_plugin| ())
    }

    /// The connector's `plugin_config` with what its plugin calls secret marked; `None` when the plugin cannot be asked.
    pub async fn marked(&self, connector: &Connector) -> Option<Guarded> {
        let plugins = self.host().plugins();
        let plugin = plugins.plugin(connector).await.ok()?;
        let config = &connector.plugin_config;
        Some(match plugins.schema(connector, &plugin).ok()? {
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
