//! Every key of the runtime file has a variable, and every variable sets its key and no other.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

/// Each key with a text that is not its default, and what it is then.
fn table() -> Vec<(&'static str, &'static str, Value)> {
    let words = json!(["a", "b"]);
    vec![
        ("iggy.address", "example.com:1", json!("example.com:1")),
        ("iggy.username", "me", json!("me")),
        // A secret is never shown; that it arrives is another test's.
        ("iggy.password", "", json!("")),
        ("iggy.token", "12345", json!("***")),
        ("iggy.tls.enabled", "true", json!(true)),
        ("iggy.tls.ca_file", "ca.pem", json!("ca.pem")),
        ("iggy.tls.domain", "broker", json!("broker")),
        ("iggy.embedded.enabled", "true", json!(true)),
        ("iggy.embedded.path", "data", json!("data")),
        ("iggy.embedded.address", "0.0.0.0:1", json!("0.0.0.0:1")),
        ("iggy.embedded.sync", "every_batch", json!("every_batch")),
        ("iggy.embedded.segment_size", "1048576", json!("1 MiB")),
        ("iggy.embedded.retention_interval", "2m", json!("2m")),
        ("iggy.embedded.max_connections", "5", json!(5)),
        ("iggy.embedded.poll_hold", "0s", json!("0s")),
        ("state.path", "state", json!("state")),
        ("connectors.config_type", "http", json!("http")),
        ("connectors.config_dir", "dir", json!("dir")),
        ("connectors.base_url", "http://x", json!("http://x")),
        ("connectors.timeout", "1 s", json!("1s")),
        ("connectors.poll_interval", "3s", json!("3s")),
        (
            "connectors.request_headers",
            r#"{"api-key": "x"}"#,
            json!({ "api-key": "***" }),
        ),
        ("connectors.retry.enabled", "false", json!(false)),
        ("connectors.retry.max_attempts", "9", json!(9)),
        ("connectors.retry.initial_backoff", "2s", json!("2s")),
        ("connectors.retry.max_backoff", "9s", json!("9s")),
        ("connectors.retry.backoff_multiplier", "1.5", json!(1.5)),
        ("connectors.url_templates.create_sink", "/x", json!("/x")),
        ("connectors.url_templates.create_source", "/x", json!("/x")),
        (
            "connectors.url_templates.get_active_configs",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.get_active_versions",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.set_active_sink",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.set_active_source",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.get_sink_configs",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.get_source_configs",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.get_sink_config",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.get_source_config",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.get_active_sink_config",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.get_active_source_config",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.delete_sink_config",
            "/x",
            json!("/x"),
        ),
        (
            "connectors.url_templates.delete_source_config",
            "/x",
            json!("/x"),
        ),
        ("connectors.response.data_path", "data.0", json!("data.0")),
        ("connectors.response.error_path", "error", json!("error")),
        ("http.enabled", "false", json!(false)),
        ("http.address", "127.0.0.1:0", json!("127.0.0.1:0")),
        ("http.api_key", "key", json!("***")),
        ("http.cors.enabled", "true", json!(true)),
        ("http.cors.allowed_methods", "a,b", words.clone()),
        ("http.cors.allowed_origins", "a, b", words.clone()),
        ("http.cors.allowed_headers", r#"["a", "b"]"#, words.clone()),
        ("http.cors.exposed_headers", "a,b,", words.clone()),
        ("http.cors.allow_credentials", "true", json!(true)),
        ("http.cors.allow_private_network", "true", json!(true)),
        ("http.metrics.enabled", "false", json!(false)),
        ("http.metrics.endpoint", "/m", json!("/m")),
        ("http.tls.enabled", "true", json!(true)),
        ("http.tls.cert_file", "c", json!("c")),
        ("http.tls.key_file", "k", json!("k")),
        ("logging.format", "json", json!("json")),
        ("logging.level", "debug", json!("debug")),
        ("telemetry.enabled", "true", json!(true)),
        ("telemetry.service_name", "me", json!("me")),
        ("telemetry.logs.transport", "http", json!("http")),
        ("telemetry.logs.endpoint", "http://x", json!("http://x")),
        ("telemetry.traces.transport", "http", json!("http")),
        ("telemetry.traces.endpoint", "http://x", json!("http://x")),
        ("plugins.worker_threads", "2", json!(2)),
        ("plugins.search_paths", r#" ["a", "b"]"#, words),
        ("runtime.shutdown_timeout", "1m", json!("1m")),
    ]
}

/// The runtime file that only has what these variables say.
fn written(environment: &Environment) -> Value {
    let mut tree = Map::new();
    let overrides = environment.apply(&mut tree);
    assert!(overrides.problems.is_empty(), "{:?}", overrides.problems);
    assert!(overrides.warnings.is_empty(), "{:?}", overrides.warnings);
    let config: RuntimeConfig = serde_json::from_value(Value::Object(tree)).unwrap();
    serde_json::to_value(config).unwrap()
}

fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

#[test]
fn every_key_is_in_the_table_once() {
    let keys: Vec<_> = variables().into_iter().map(|(_, key)| key).collect();
    let listed: Vec<_> = table().into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, listed);
}

#[test]
fn no_two_keys_share_a_variable() {
    let names: Vec<_> = variables().into_iter().map(|(name, _)| name).collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    for name in [CONFIG_PATH, OLDER_CONFIG_PATH] {
        assert!(!names.iter().any(|other| other == name));
    }
    for name in names {
        assert!(
            !OF_CONNECTORS.iter().any(|prefix| name.starts_with(prefix)),
            "{name}"
        );
    }
}

#[test]
fn names_are_made_of_the_keys() {
    let variables = variables();
    let cases = [
        ("IGGY_CONNECTORS_HTTP_API_KEY", "http.api_key"),
        (
            "IGGY_CONNECTORS_IGGY_EMBEDDED_ENABLED",
            "iggy.embedded.enabled",
        ),
        ("IGGY_CONNECTORS_IGGY_TLS_CA_FILE", "iggy.tls.ca_file"),
        ("IGGY_CONNECTORS_STATE_PATH", "state.path"),
        (
            "IGGY_CONNECTORS_CONNECTORS_CONFIG_DIR",
            "connectors.config_dir",
        ),
    ];
    for (name, key) in cases {
        assert!(variables.contains(&(name.into(), key.into())), "{name}");
    }
}

#[test]
fn each_variable_sets_its_key_and_no_other() {
    let defaults = written(&Environment::default());
    let names = variables();
    for ((name, _), (key, text, expected)) in names.iter().zip(table()) {
        let mut read = written(&Environment::new([(name.as_str(), text)]));
        let value = read.pointer_mut(&pointer(key)).unwrap();
        assert_eq!(*value, expected, "{name}");
        let default = defaults.pointer(&pointer(key)).unwrap();
        assert_ne!(value, default, "{name}: the table must not hold a default");
        *value = default.clone();
        assert_eq!(read, defaults, "{name} sets something else too");
    }
}

#[test]
fn a_text_of_another_type_is_refused_and_not_repeated() {
    let cases = [
        (
            "IGGY_CONNECTORS_HTTP_ENABLED",
            "`http.enabled`: true or false is expected",
        ),
        (
            "IGGY_CONNECTORS_PLUGINS_WORKER_THREADS",
            "`plugins.worker_threads`: a number is expected",
        ),
        (
            "IGGY_CONNECTORS_CONNECTORS_REQUEST_HEADERS",
            "`connectors.request_headers`: a JSON object is expected",
        ),
    ];
    for (name, expected) in cases {
        let overrides = Environment::new([(name, "hunter2")]).apply(&mut Map::new());
        let problem = overrides.problems[0].to_string();
        assert!(
            problem.starts_with(&format!("{name}: {expected}")),
            "{problem}"
        );
        assert!(!problem.contains("hunter2"), "{problem}");
    }
    let broken = Environment::new([("IGGY_CONNECTORS_PLUGINS_SEARCH_PATHS", "[a")]);
    assert!(
        broken.apply(&mut Map::new()).problems[0]
            .reason
            .starts_with("a JSON list")
    );
}

#[test]
fn a_table_in_the_way_is_left_to_the_reader() {
    let mut tree = Map::from_iter([("http".to_owned(), json!(5))]);
    let environment = Environment::new([("IGGY_CONNECTORS_HTTP_ENABLED", "false")]);
    let overrides = environment.apply(&mut tree);
    assert_eq!(Value::Object(tree), json!({ "http": 5 }));
    assert!(overrides.variables.is_empty());
}
