//! The resolved configuration: no options that mean a default, no strings that mean something else. `resolve` makes it from what
//! was written, the supervisor builds from it.

mod policy;

use std::{path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue, Method};
use iggy_connector_message::Schema;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub use policy::{
    Backoff, Deadlines, Dlq, Errors, Health, HealthAction, OnFailure, Restart, Tolerance,
};

use super::{Guarded, UrlTemplates};

/// Everything the daemon was told.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub iggy: Iggy,
    pub state: State,
    pub connectors: Connectors,
    pub http: Http,
    pub logging: Logging,
    pub telemetry: Option<Telemetry>,
    pub plugins: Plugins,
    pub shutdown_timeout: Duration,
}

#[derive(Clone)]
pub struct Iggy {
    /// `host:port`, or an `iggy://` connection string.
    pub address: String,
    pub username: String,
    pub password: SecretString,
    /// Personal access token; wins over user and password.
    pub token: Option<SecretString>,
    /// Of one request.
    pub request_timeout: Duration,
    pub tls: Option<IggyTls>,
    /// The broker in this process, when enabled.
    pub embedded: Option<Embedded>,
}

/// A connection string holds a password, which is left out.
impl std::fmt::Debug for Iggy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = match self.address.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => self.address.clone(),
        };
        f.debug_struct("Iggy")
            .field("address", &address)
            .field("username", &self.username)
            .field("password", &self.password)
            .field("token", &self.token)
            .field("request_timeout", &self.request_timeout)
            .field("tls", &self.tls)
            .field("embedded", &self.embedded)
            .finish()
    }
}

#[derive(Clone, Debug)]
pub struct IggyTls {
    pub ca_file: Option<PathBuf>,
    pub domain: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Embedded {
    pub path: PathBuf,
    /// Where it listens; `None` is the address of `[iggy]`.
    pub address: Option<String>,
    pub sync: Sync,
    pub segment_size: u64,
    pub retention_interval: Duration,
    pub max_connections: usize,
    pub poll_hold: Duration,
}

/// When the embedded broker forces messages to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    Os,
    EveryBatch,
    Interval(Duration),
}

#[derive(Clone, Debug)]
pub struct State {
    pub path: PathBuf,
}

/// Where connectors come from, besides those inline in the runtime file.
#[derive(Clone, Debug)]
pub struct Connectors {
    /// One file per connector and version.
    pub config_dir: Option<PathBuf>,
    /// Where versions are kept that the daemon writes itself: `config_dir`, else a folder beside the state.
    pub own_versions: PathBuf,
    /// The configuration service, with `config_type = "http"`.
    pub service: Option<Box<HttpProvider>>,
    /// How often to look for changes; `None`: only at start and on request.
    pub poll_interval: Option<Duration>,
}

/// The HTTP provider's settings.
#[derive(Clone, Debug)]
pub struct HttpProvider {
    pub base_url: String,
    /// Of one request.
    pub timeout: Duration,
    /// Sent with every request.
    pub request_headers: Vec<(String, SecretString)>,
    /// `None`: a failed request is not repeated.
    pub retry: Option<Backoff>,
    pub url_templates: UrlTemplates,
    /// Where replies hold their data; dotted, numbers index lists.
    pub data_path: Option<String>,
    /// Where replies hold an error.
    pub error_path: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Http {
    pub enabled: bool,
    pub address: String,
    /// Header `api-key`; `None` serves loopback only.
    pub api_key: Option<SecretString>,
    pub cors: Option<Cors>,
    pub tls: Option<HttpTls>,
    /// The path of the metrics; `None` serves none.
    pub metrics: Option<String>,
}

/// Which web pages may read the API's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    pub methods: Allowed<Method>,
    pub origins: Allowed<HeaderValue>,
    pub headers: Allowed<HeaderName>,
    pub exposed_headers: Vec<HeaderName>,
    /// Not together with [`Allowed::Any`].
    pub allow_credentials: bool,
    pub allow_private_network: bool,
}

/// What is allowed of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed<T> {
    /// `*`
    Any,
    These(Vec<T>),
}

/// The API's certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    pub format: LogFormat,
    /// A level or an `EnvFilter` directive.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Where logs and traces go, besides standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    pub service_name: String,
    pub logs: Exporter,
    pub traces: Exporter,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    pub transport: Transport,
    /// For HTTP with its path.
    pub endpoint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Grpc,
    Http,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugins {
    /// Threads of each loaded library's own runtime.
    pub worker_threads: u32,
    pub search_paths: Vec<PathBuf>,
}

/// Which way messages flow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Sink,
    Source,
}

impl Direction {
    /// `sink` or `source`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::Source => "source",
        }
    }
}

/// One connector, ready to be built.
#[derive(Clone, Debug)]
pub struct Connector {
    pub direction: Direction,
    pub key: String,
    pub enabled: bool,
    pub version: u32,
    pub name: String,
    /// The plugin, as written; `plugin::locate` finds the file.
    pub path: String,
    /// The file the connector was read from: relative plugin paths are tried from its folder too.
    pub origin: PathBuf,
    /// How the API shows `plugin_config`, as written.
    pub plugin_config_format: Option<String>,
    /// As written; fitted to the plugin's schema before it is opened.
    pub plugin_config: Guarded,
    /// The whole connector as written, for those who show it.
    pub written: Guarded,
    /// In file order.
    pub transforms: Vec<Transform>,
    /// Empty where the configuration names none: the plugin is to propose them.
    pub streams: Streams,
    pub verbose: bool,
    pub benchmark: bool,
    pub deadlines: Deadlines,
    pub delivery: Delivery,
    /// Sinks: of how many partitions batches may be with the plugin at once.
    pub max_in_flight: u32,
    /// Sinks: refuses to start beside another member of its consumer group.
    pub exclusive: bool,
    /// Sinks: how often settled offsets are stored.
    pub commit_interval: Duration,
    /// Names the client at the broker.
    pub consumer_name: String,
    pub retry: Backoff,
    pub restart: Restart,
    pub errors: Errors,
    pub dlq: Option<Dlq>,
    pub health: Health,
}

impl Connector {
    /// Whether the other is the same version and would be the same connector: read in the same folder, with the same values. Their order
    /// counts too, as that of transforms does.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let text = |written: &Guarded| written.expose().to_string();
        self.version == other.version
            && self.origin.parent() == other.origin.parent()
            && text(&self.written) == text(&other.written)
    }
}

/// One entry of `transforms`, with its config as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    pub r#type: String,
    pub config: Guarded,
}

#[derive(Clone, Debug)]
pub enum Streams {
    Inputs(Vec<Input>),
    Outputs(Vec<Output>),
}

impl Streams {
    /// Whether there is none: the plugin is to propose them.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Inputs(inputs) => inputs.is_empty(),
            Self::Outputs(outputs) => outputs.is_empty(),
        }
    }
}

/// One `[[streams]]` entry of a sink.
#[derive(Clone, Debug)]
pub struct Input {
    pub stream: String,
    pub topics: Vec<String>,
    pub schema: Schema,
    pub batch_length: u32,
    /// How long messages of a partition are gathered into one batch; zero takes what is there.
    pub batch_timeout: Duration,
    /// The wait when every partition was empty.
    pub poll_interval: Duration,
    pub consumer_group: String,
    pub start_from: StartFrom,
    /// Created when missing, with this many partitions (as for sources: a sink may be started first).
    pub partitions: u32,
    pub create: bool,
}

/// Where a group begins to read a partition of which it has stored nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// At the first message there is.
    #[default]
    First,
    /// At the last message there is.
    Last,
    /// Behind the last message there is.
    Next,
    Offset(u64),
    /// At the first message that Iggy took in at this time or later, in µs since the epoch.
    Timestamp(u64),
}

impl std::fmt::Display for StartFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Last => f.write_str("last"),
            Self::Next => f.write_str("next"),
            Self::Offset(offset) => write!(f, "offset:{offset}"),
            Self::Timestamp(micros) => {
                let time = std::time::UNIX_EPOCH + Duration::from_micros(*micros);
                write!(f, "timestamp:{}", humantime::format_rfc3339_micros(time))
            }
        }
    }
}

/// One `[[streams]]` entry of a source.
#[derive(Clone, Debug)]
pub struct Output {
    pub stream: String,
    pub topic: String,
    /// The name under which messages choose it, besides its stream and topic.
    pub route: Option<String>,
    pub schema: Schema,
    /// Most messages sent in one request.
    pub batch_length: u32,
    /// The wait after an empty poll; the same in all outputs.
    pub poll_interval: Duration,
    /// How long messages of a streaming source gather; the same in all outputs. `None`: as the plugin does by itself.
    pub linger: Option<Duration>,
    /// Of a topic that is created.
    pub partitions: u32,
    /// Whether a missing stream or topic is created.
    pub create: bool,
}

/// What a crash may do to messages in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// They come again.
    #[default]
    AtLeastOnce,
    /// They are lost.
    AtMostOnce,
}
