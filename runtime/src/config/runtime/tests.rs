//! The defaults in the code are the documented ones.

use super::*;

/// Every runtime key with its default, as users know them.
const DOCUMENTED: &str = r#"
[iggy]
address = "localhost:8090"
username = "iggy"
password = "iggy"
token = ""
request_timeout = "10s"
[iggy.tls]
enabled = false
ca_file = ""
domain = ""
[iggy.embedded]
enabled = false
path = "local_data"
address = ""
sync = "os"
segment_size = "256 MiB"
retention_interval = "1m"
max_connections = 1024
poll_hold = "10ms"
[state]
path = "local_state"
[connectors]
config_type = "local"
config_dir = ""
base_url = ""
timeout = "10s"
poll_interval = "0s"
[connectors.request_headers]
[connectors.retry]
enabled = true
max_attempts = 3
initial_backoff = "1 s"
max_backoff = "30 s"
backoff_multiplier = 2
[connectors.url_templates]
create_sink = "/sinks/{key}/configs"
create_source = "/sources/{key}/configs"
get_active_configs = "/configs/active"
get_active_versions = "/configs/active/versions"
set_active_sink = "/sinks/{key}/configs/active"
set_active_source = "/sources/{key}/configs/active"
get_sink_configs = "/sinks/{key}/configs"
get_source_configs = "/sources/{key}/configs"
get_sink_config = "/sinks/{key}/configs/{version}"
get_source_config = "/sources/{key}/configs/{version}"
get_active_sink_config = "/sinks/{key}/configs/active"
get_active_source_config = "/sources/{key}/configs/active"
delete_sink_config = "/sinks/{key}/configs"
delete_source_config = "/sources/{key}/configs"
[connectors.response]
data_path = ""
error_path = ""
[http]
enabled = true
address = "127.0.0.1:8081"
api_key = ""
[http.cors]
enabled = false
allowed_methods = ["GET", "POST", "PUT", "DELETE"]
allowed_origins = ["*"]
allowed_headers = ["content-type"]
exposed_headers = [""]
allow_credentials = false
allow_private_network = false
[http.metrics]
enabled = true
endpoint = "/metrics"
[http.tls]
enabled = false
cert_file = ""
key_file = ""
[logging]
format = "text"
level = "info"
[telemetry]
enabled = false
service_name = "iggy-connectors"
[telemetry.logs]
transport = "grpc"
endpoint = "http://localhost:4317"
[telemetry.traces]
transport = "grpc"
endpoint = "http://localhost:4317"
[plugins]
worker_threads = 1
search_paths = []
[runtime]
shutdown_timeout = "30s"
"#;

/// The keys of a tree, without their values.
fn keys(value: &Value) -> Value {
    match value {
        Value::Object(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), keys(value)))
            .collect(),
        _ => Value::Null,
    }
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let documented: Value = toml::from_str(DOCUMENTED).unwrap();
    let defaults = serde_json::to_value(RuntimeConfig::default()).unwrap();
    assert_eq!(
        keys(&documented),
        keys(&defaults),
        "a key is missing in one of them"
    );
    let read: RuntimeConfig = serde_json::from_value(documented).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), defaults);
}
