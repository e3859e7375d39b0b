//! A connector as it is written, in a file of its own or in the runtime file: [`ConnectorConfig`].
//!
//! Sinks and sources differ in their streams only; `resolve` makes either a [`super::spec::Connector`].

use iggy_connector_message::Schema;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    spec::{Direction, StartFrom},
    start::Start,
    values::HumanDuration,
};

/// A connector with streams of type `S`: [`InputConfig`] or [`OutputConfig`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table",
    bound(deserialize = "S: Deserialize<'de>")
)]
pub(super) struct ConnectorConfig<S> {
    pub(super) r#type: Option<Direction>,
    pub(super) key: Option<String>,
    pub(super) enabled: bool,
    pub(super) version: u32,
    /// For people; default: the key.
    pub(super) name: Option<String>,
    /// The plugin.
    pub(super) path: Option<String>,
    /// How the API shows `plugin_config`.
    pub(super) plugin_config_format: Option<DocumentFormat>,
    /// Logs each batch at info instead of debug.
    pub(super) verbose: bool,
    /// Writes each batch's stage timings.
    pub(super) benchmark: bool,
    pub(super) delivery: Delivery,
    /// Sinks: batches of different partitions at once.
    pub(super) max_in_flight: u32,
    /// Sinks: how often settled offsets are stored.
    pub(super) commit_interval: Option<HumanDuration>,
    pub(super) open_timeout: Option<HumanDuration>,
    /// Sinks.
    pub(super) consume_timeout: Option<HumanDuration>,
    /// Sources; default: a poll may wait.
    pub(super) poll_timeout: Option<HumanDuration>,
    pub(super) close_timeout: Option<HumanDuration>,
    /// The client's name at the broker; empty: the key.
    pub(super) consumer_name: String,
    pub(super) streams: Vec<S>,
    /// Handed to the plugin as JSON.
    #[serde(alias = "config")]
    #[schemars(with = "Option<Map<String, Value>>", extend("x-aliases" = ["config"]))]
    pub(super) plugin_config: Option<Value>,
    /// A table by type, or a list with `type`; applied in file order.
    pub(super) transforms: Option<Value>,
    pub(super) retry: Retry,
    pub(super) errors: Errors,
    pub(super) dlq: Option<Dlq>,
    pub(super) restart: Restart,
    pub(super) health: Health,
    pub(super) consumer: Consumer,
}

/// One `[[streams]]` entry of a sink.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct InputConfig {
    pub(super) stream: String,
    pub(super) topics: Vec<String>,
    #[schemars(schema_with = "written_schema_names")]
    pub(super) schema: Schema,
    #[serde(alias = "batch_size")]
    #[schemars(extend("x-aliases" = ["batch_size"]))]
    pub(super) batch_length: u32,
    /// How long to wait for a fuller batch; zero: take what is there.
    pub(super) batch_timeout: HumanDuration,
    /// The wait when every partition was empty.
    pub(super) poll_interval: HumanDuration,
    /// Default: `iggy-connect-sink-` and the key.
    pub(super) consumer_group: Option<String>,
    pub(super) start_from: Start,
    /// Of a topic that is created.
    pub(super) partitions: u32,
    /// Whether a missing stream or topic is created.
    pub(super) create: bool,
    pub(super) codec: Option<Value>,
    pub(super) contract: Option<Value>,
    pub(super) avro_schema_path: Option<String>,
    pub(super) avro_schema_json: Option<Value>,
}

/// One `[[streams]]` entry of a source.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct OutputConfig {
    pub(super) stream: String,
    pub(super) topic: String,
    /// The name under which messages choose this entry, besides `stream/topic`; without a route they go to the first entry.
    pub(super) route: Option<String>,
    #[schemars(schema_with = "written_schema_names")]
    pub(super) schema: Schema,
    /// Most messages sent in one request.
    #[serde(alias = "batch_size")]
    #[schemars(extend("x-aliases" = ["batch_size"]))]
    pub(super) batch_length: u32,
    /// The wait after an empty poll, 100ms by default. A source has one for all its entries.
    pub(super) poll_interval: Option<HumanDuration>,
    /// Streaming sources: how long messages gather before they are sent. By default a lone one goes at once, and 5ms are waited while
    /// earlier ones are on their way. A source has one for all its entries.
    #[serde(alias = "send_interval")]
    #[schemars(extend("x-aliases" = ["send_interval"]))]
    pub(super) linger_time: Option<HumanDuration>,
    /// Of a topic that is created.
    pub(super) partitions: u32,
    /// Whether a missing stream or topic is created.
    pub(super) create: bool,
    pub(super) codec: Option<Value>,
    pub(super) contract: Option<Value>,
    pub(super) avro_schema_path: Option<String>,
    pub(super) avro_schema_json: Option<Value>,
}

const SCHEMAS: [Schema; 6] = [
    Schema::Json,
    Schema::Raw,
    Schema::Text,
    Schema::Proto,
    Schema::FlatBuffer,
    Schema::Avro,
];

/// The names of the schemas.
pub fn schema_names(_generator: &mut SchemaGenerator) -> schemars::Schema {
    let names = SCHEMAS.map(|schema| schema.to_string());
    json_schema!({ "type": "string", "enum": names })
}

/// The names that may be written: one schema has two.
fn written_schema_names(_generator: &mut SchemaGenerator) -> schemars::Schema {
    let mut names = SCHEMAS.map(|schema| schema.to_string()).to_vec();
    names.push("flatbuffer".to_owned());
    json_schema!({ "type": "string", "enum": names })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum DocumentFormat {
    Json,
    Yaml,
    Toml,
    Text,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Delivery {
    #[default]
    AtLeastOnce,
    AtMostOnce,
}

/// How failed attempts are repeated.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Retry {
    /// How often messages that are refused are tried again before `on_exhausted`; 0: for ever. A broker out of reach does not count.
    pub(super) max_retries: u32,
    pub(super) initial_backoff: HumanDuration,
    pub(super) max_backoff: HumanDuration,
    pub(super) backoff_multiplier: f64,
    /// The share of each wait that is random.
    pub(super) jitter: f64,
}

/// What happens to records that fail for good.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Errors {
    pub(super) on_invalid: Option<Policy>,
    pub(super) on_exhausted: Option<Policy>,
    pub(super) tolerance: Option<Tolerance>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Policy {
    Dlq,
    Skip,
    Stop,
}

/// Beyond this many failures the connector stops, whatever the policies say.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Tolerance {
    pub(super) failures: u32,
    pub(super) of_last: u32,
}

/// Where records go that fail for good.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Dlq {
    pub(super) stream: String,
    /// Default: the key.
    pub(super) topic: Option<String>,
}

/// What happens after a connector failed.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Restart {
    pub(super) policy: RestartPolicy,
    pub(super) initial_backoff: HumanDuration,
    pub(super) max_backoff: HumanDuration,
    /// 0: for ever.
    pub(super) max_restarts: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RestartPolicy {
    Never,
    #[default]
    OnFailure,
}

/// How a connector's health is checked.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Health {
    pub(super) interval: HumanDuration,
    /// Of one check.
    pub(super) timeout: HumanDuration,
    /// So many in a row make it unhealthy.
    pub(super) failures: u32,
    pub(super) action: HealthAction,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum HealthAction {
    #[default]
    Report,
    Restart,
    Stop,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Consumer {
    /// Refuses to start beside another member of the group.
    pub(super) exclusive: bool,
}

impl<S> Default for ConnectorConfig<S> {
    fn default() -> Self {
        Self {
            r#type: None,
            key: None,
            enabled: true,
            version: 0,
            name: None,
            path: None,
            plugin_config_format: None,
            verbose: false,
            benchmark: false,
            delivery: Delivery::AtLeastOnce,
            max_in_flight: 1,
            commit_interval: None,
            open_timeout: None,
            consume_timeout: None,
            poll_timeout: None,
            close_timeout: None,
            consumer_name: String::new(),
            streams: vec![],
            plugin_config: None,
            transforms: None,
            retry: Retry::default(),
            errors: Errors::default(),
            dlq: None,
            restart: Restart::default(),
            health: Health::default(),
            consumer: Consumer::default(),
        }
    }
}

impl Default for InputConfig {
    fn default() -> Self {
        Self {
            stream: String::new(),
            topics: vec![],
            schema: Schema::Json,
            batch_length: 1000,
            batch_timeout: HumanDuration::secs(0),
            poll_interval: HumanDuration::millis(5),
            consumer_group: None,
            start_from: Start(StartFrom::First),
            partitions: 1,
            create: true,
            codec: None,
            contract: None,
            avro_schema_path: None,
            avro_schema_json: None,
        }
    }
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            stream: String::new(),
            topic: String::new(),
            route: None,
            schema: Schema::Json,
            batch_length: 1000,
            poll_interval: None,
            linger_time: None,
            partitions: 1,
            create: true,
            codec: None,
            contract: None,
            avro_schema_path: None,
            avro_schema_json: None,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 0,
            initial_backoff: HumanDuration::millis(500),
            max_backoff: HumanDuration::secs(30),
            backoff_multiplier: 2.0,
            jitter: 0.5,
        }
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            failures: 100,
            of_last: 1000,
        }
    }
}

impl Default for Dlq {
    fn default() -> Self {
        Self {
            stream: "dead_letters".into(),
            topic: None,
        }
    }
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::OnFailure,
            initial_backoff: HumanDuration::secs(1),
            max_backoff: HumanDuration::secs(60),
            max_restarts: 0,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: HumanDuration::secs(30),
            timeout: HumanDuration::secs(10),
            failures: 3,
            action: HealthAction::Report,
        }
    }
}
