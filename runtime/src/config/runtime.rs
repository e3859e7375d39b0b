//! The runtime file as it is written: [`RuntimeConfig`]. Its defaults are the daemon's; `resolve` makes it a [`super::spec::Runtime`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    connector::{ConnectorConfig, InputConfig, OutputConfig},
    values::{ByteSize, HumanDuration, Secret},
};

/// The runtime file.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RuntimeConfig {
    pub(super) iggy: Iggy,
    pub(super) state: State,
    pub(super) connectors: Connectors,
    pub(super) http: Http,
    pub(super) logging: Logging,
    pub(super) telemetry: Telemetry,
    pub(super) plugins: Plugins,
    pub(super) runtime: Daemon,
    /// Sinks written into this file, by key.
    #[serde(skip_serializing)]
    #[schemars(with = "BTreeMap<String, ConnectorConfig<InputConfig>>")]
    pub(super) sinks: Map<String, Value>,
    /// Sources written into this file, by key.
    #[serde(skip_serializing)]
    #[schemars(with = "BTreeMap<String, ConnectorConfig<OutputConfig>>")]
    pub(super) sources: Map<String, Value>,
}

/// The Iggy server that the connectors read from and write to.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Iggy {
    /// `host:port`, or an `iggy://` connection string.
    pub(super) address: String,
    pub(super) username: String,
    pub(super) password: Secret,
    /// Personal access token; wins over user and password. `file:<path>` reads it from a file.
    pub(super) token: Secret,
    /// How long one request may take; at most 30s, and longer on a slow link. A request that is not answered by then is sent again.
    pub(super) request_timeout: HumanDuration,
    pub(super) tls: IggyTls,
    pub(super) embedded: Embedded,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct IggyTls {
    pub(super) enabled: bool,
    /// Certificates that the server's is checked against; empty: the system's.
    pub(super) ca_file: String,
    /// The name in the server's certificate; empty: that of the address.
    pub(super) domain: String,
}

/// A broker in this process, for first runs, tests and small edge deployments.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Embedded {
    pub(super) enabled: bool,
    /// Its data.
    pub(super) path: String,
    /// Where it listens; empty: at `[iggy] address`.
    pub(super) address: String,
    /// When it forces messages to disk: `os` (survives a killed process, not a power loss), `every_batch`, or an interval.
    pub(super) sync: String,
    pub(super) segment_size: ByteSize,
    /// How often it looks for segments that may go.
    pub(super) retention_interval: HumanDuration,
    pub(super) max_connections: u32,
    /// How long an empty poll waits for a message.
    pub(super) poll_hold: HumanDuration,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct State {
    /// Source states, lifecycle, private copies of plugins.
    pub(super) path: String,
}

/// Where connectors come from, besides those in the runtime file.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Connectors {
    pub(super) config_type: ConfigType,
    /// `local`: one file per connector and version; empty: none.
    pub(super) config_dir: String,
    /// `http`: where the configuration service answers.
    pub(super) base_url: String,
    pub(super) timeout: HumanDuration,
    /// How often to look for changed connectors. What has changed is applied as an activation is: a change that cannot be leaves what runs,
    /// and is shown as its last error. Zero: connectors are read at the start and when the API is asked to.
    pub(super) poll_interval: HumanDuration,
    /// `http`: sent with every request.
    pub(super) request_headers: BTreeMap<String, Secret>,
    pub(super) retry: ProviderRetry,
    pub(super) url_templates: UrlTemplates,
    pub(super) response: Response,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConfigType {
    #[default]
    Local,
    Http,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct ProviderRetry {
    pub(super) enabled: bool,
    pub(super) max_attempts: u32,
    pub(super) initial_backoff: HumanDuration,
    pub(super) max_backoff: HumanDuration,
    pub(super) backoff_multiplier: f64,
}

/// The paths of the configuration service; `{key}` and `{version}` stand for the connector's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct UrlTemplates {
    pub create_sink: String,
    pub create_source: String,
    pub get_active_configs: String,
    pub get_active_versions: String,
    pub set_active_sink: String,
    pub set_active_source: String,
    pub get_sink_configs: String,
    pub get_source_configs: String,
    pub get_sink_config: String,
    pub get_source_config: String,
    pub get_active_sink_config: String,
    pub get_active_source_config: String,
    pub delete_sink_config: String,
    pub delete_source_config: String,
}

/// Where the configuration service's replies hold what is asked for. Dotted; numbers index lists.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Response {
    pub(super) data_path: String,
    pub(super) error_path: String,
}

/// The management API.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Http {
    pub(super) enabled: bool,
    pub(super) address: String,
    /// Asked for in the header `api-key`; without it only loopback is served.
    pub(super) api_key: Secret,
    pub(super) cors: Cors,
    pub(super) metrics: Metrics,
    pub(super) tls: HttpTls,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Cors {
    pub(super) enabled: bool,
    pub(super) allowed_methods: Vec<String>,
    pub(super) allowed_origins: Vec<String>,
    pub(super) allowed_headers: Vec<String>,
    pub(super) exposed_headers: Vec<String>,
    pub(super) allow_credentials: bool,
    pub(super) allow_private_network: bool,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Metrics {
    pub(super) enabled: bool,
    pub(super) endpoint: String,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct HttpTls {
    pub(super) enabled: bool,
    pub(super) cert_file: String,
    pub(super) key_file: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Logging {
    pub(super) format: LogFormat,
    /// A level, or directives by target; `RUST_LOG` wins over it.
    pub(super) level: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Telemetry {
    pub(super) enabled: bool,
    pub(super) service_name: String,
    pub(super) logs: Exporter,
    pub(super) traces: Exporter,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Exporter {
    pub(super) transport: Transport,
    pub(super) endpoint: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Transport {
    #[default]
    Grpc,
    Http,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Plugins {
    /// Threads of each loaded library's own runtime.
    pub(super) worker_threads: u32,
    /// Looked into before the built-in places.
    pub(super) search_paths: Vec<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Daemon {
    /// Bound of the whole drain.
    pub(super) shutdown_timeout: HumanDuration,
}

impl Default for Iggy {
    fn default() -> Self {
        Self {
            address: "localhost:8090".into(),
            username: "iggy".into(),
            password: "iggy".into(),
            token: Secret::default(),
            request_timeout: HumanDuration::secs(10),
            tls: IggyTls::default(),
            embedded: Embedded::default(),
        }
    }
}

impl Default for Embedded {
    fn default() -> Self {
        Self {
            enabled: false,
            path: "local_data".into(),
            address: String::new(),
            sync: "os".into(),
            segment_size: ByteSize(256 << 20),
            retention_interval: HumanDuration::secs(60),
            max_connections: 1024,
            poll_hold: HumanDuration::millis(10),
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            path: "local_state".into(),
        }
    }
}

impl Default for Connectors {
    fn default() -> Self {
        Self {
            config_type: ConfigType::Local,
            config_dir: String::new(),
            base_url: String::new(),
            timeout: HumanDuration::secs(10),
            poll_interval: HumanDuration::secs(0),
            request_headers: BTreeMap::new(),
            retry: ProviderRetry::default(),
            url_templates: UrlTemplates::default(),
            response: Response::default(),
        }
    }
}

impl Default for ProviderRetry {
    fn default() -> Self {
        Self {
            enabled: true,
            max_attempts: 3,
            initial_backoff: HumanDuration::secs(1),
            max_backoff: HumanDuration::secs(30),
            backoff_multiplier: 2.0,
        }
    }
}

impl Default for UrlTemplates {
    fn default() -> Self {
        Self {
            create_sink: "/sinks/{key}/configs".into(),
            create_source: "/sources/{key}/configs".into(),
            get_active_configs: "/configs/active".into(),
            get_active_versions: "/configs/active/versions".into(),
            set_active_sink: "/sinks/{key}/configs/active".into(),
            set_active_source: "/sources/{key}/configs/active".into(),
            get_sink_configs: "/sinks/{key}/configs".into(),
            get_source_configs: "/sources/{key}/configs".into(),
            get_sink_config: "/sinks/{key}/configs/{version}".into(),
            get_source_config: "/sources/{key}/configs/{version}".into(),
            get_active_sink_config: "/sinks/{key}/configs/active".into(),
            get_active_source_config: "/sources/{key}/configs/active".into(),
            delete_sink_config: "/sinks/{key}/configs".into(),
            delete_source_config: "/sources/{key}/configs".into(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            enabled: true,
            address: "127.0.0.1:8081".into(),
            api_key: Secret::default(),
            cors: Cors::default(),
            metrics: Metrics::default(),
            tls: HttpTls::default(),
        }
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            enabled: false,
            allowed_methods: ["GET", "POST", "PUT", "DELETE"].map(String::from).into(),
            allowed_origins: vec!["*".into()],
            allowed_headers: vec!["content-type".into()],
            exposed_headers: vec![String::new()],
            allow_credentials: false,
            allow_private_network: false,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            endpoint: "/metrics".into(),
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".into(),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            enabled: false,
            service_name: "iggy-connectors".into(),
            logs: Exporter::default(),
            traces: Exporter::default(),
        }
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self {
            transport: Transport::Grpc,
            endpoint: "http://localhost:4317".into(),
        }
    }
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            worker_threads: 1,
            search_paths: vec![],
        }
    }
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            shutdown_timeout: HumanDuration::secs(30),
        }
    }
}

#[cfg(test)]
mod tests;
