//! The configuration as an operator writes it: what it comes to, and which connectors run.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap fails the test, which is its purpose"
)]

mod harness {
    pub mod site;
}

use std::{fs, path::PathBuf, time::Duration};

use harness::site::{SINK, Site, the_connector};
use iggy_connector_message::Schema;
use iggy_connectors::config::{
    Environment, load_with,
    spec::{self, Direction, Errors, HealthAction, OnFailure, Restart, Streams},
};
use secrecy::ExposeSecret as _;

#[test]
fn health_checks_are_configured_or_have_defaults() {
    let sink = "[sinks.k]\npath = 'p'\nstreams = [{ stream = 's', topics = ['t'] }]\n";
    let loaded = Site::toml(sink).loaded();
    let health = the_connector(&loaded).health;
    assert_eq!(
        (health.interval, health.timeout, health.failures),
        (Duration::from_secs(30), Duration::from_secs(10), 3)
    );
    assert_eq!(health.action, HealthAction::Report);
    for (written, action) in [
        ("report", HealthAction::Report),
        ("restart", HealthAction::Restart),
        ("stop", HealthAction::Stop),
    ] {
        let health = format!(
            "health = {{ interval = '1s', timeout = '500ms', failures = 1, action = '{written}' }}"
        );
        let loaded = Site::toml(&format!("{sink}{health}")).loaded();
        let health = the_connector(&loaded).health;
        assert_eq!(health.action, action);
        assert_eq!(
            (health.interval, health.timeout, health.failures),
            (Duration::from_secs(1), Duration::from_millis(500), 1)
        );
    }
}

#[test]
fn every_format_means_the_same() {
    let toml = r#"
        [iggy]
        address = "example.com:8090"
        [iggy.embedded]
        enabled = true
        sync = "100ms"
        segment_size = 1024
        [plugins]
        search_paths = ["a", "b"]
        [sinks.stdout]
        path = "libstdout"
        plugin_config = { z = 1, a = [true, "x"] }
        transforms.delete_fields.fields = ["b"]
        transforms.add_fields.fields = []
        [[sinks.stdout.streams]]
        stream = "s"
        topics = ["t"]
        poll_interval = "1s"
    "#;
    let yaml = r#"
iggy:
  address: example.com:8090
  embedded: {enabled: true, sync: 100ms, segment_size: 1024}
plugins:
  search_paths: [a, b]
sinks:
  stdout:
    path: libstdout
    plugin_config: {z: 1, a: [true, x]}
    transforms:
      delete_fields: {fields: [b]}
      add_fields: {fields: []}
    streams:
      - {stream: s, topics: [t], poll_interval: 1s}
"#;
    let json = r#"{
        "iggy": { "address": "example.com:8090", "embedded": { "enabled": true, "sync": "100ms", "segment_size": 1024 } },
        "plugins": { "search_paths": ["a", "b"] },
        "sinks": { "stdout": {
            "path": "libstdout",
            "plugin_config": { "z": 1, "a": [true, "x"] },
            "transforms": { "delete_fields": { "fields": ["b"] }, "add_fields": { "fields": [] } },
            "streams": [{ "stream": "s", "topics": ["t"], "poll_interval": "1s" }]
        } }
    }"#;
    let files = [
        ("c.toml", toml),
        ("c.yaml", yaml),
        ("c.yml", yaml),
        ("c.json", json),
    ];
    let [first, others @ ..] = files.map(|(name, text)| {
        let mut loaded = Site::new(name, text).loaded();
        loaded.connectors[0].origin = PathBuf::new();
        let connector = &loaded.connectors[0];
        let mut config = connector.plugin_config.expose().to_string();
        for transform in &connector.transforms {
            config += &format!("{} {}", transform.r#type, transform.config.expose());
        }
        (
            format!("{:?} {:?}", loaded.runtime, loaded.connectors),
            config,
        )
    });
    assert!(first.0.contains("Interval(100ms)"), "{}", first.0);
    assert_eq!(
        first.1,
        r#"{"z":1,"a":[true,"x"]}delete_fields {"fields":["b"]}add_fields {"fields":[]}"#
    );
    for other in others {
        assert_eq!(other, first);
    }
}

#[test]
fn transforms_keep_the_order_of_the_file() {
    let table = "
[sinks.stdout.transforms.delete_fields]
fields = ['a']
[sinks.stdout.transforms.add_fields]
fields = [{ key = 'a', value.static = 1 }]
";
    let list = "
[[sinks.stdout.transforms]]
type = 'delete_fields'
fields = ['a']
[[sinks.stdout.transforms]]
type = 'add_fields'
fields = []
[[sinks.stdout.transforms]]
type = 'delete_fields'
fields = ['b']
enabled = false
";
    let cases = [
        (table, vec!["delete_fields", "add_fields"]),
        (list, vec!["delete_fields", "add_fields", "delete_fields"]),
    ];
    for (transforms, expected) in cases {
        let loaded = Site::toml(&format!("{SINK}{transforms}")).loaded();
        let transforms = &the_connector(&loaded).transforms;
        let types: Vec<_> = transforms
            .iter()
            .map(|transform| transform.r#type.as_str())
            .collect();
        assert_eq!(types, expected);
        assert!(
            transforms
                .iter()
                .all(|transform| transform.config.expose().get("type").is_none())
        );
    }
}

#[test]
fn a_minimal_sink_has_the_documented_defaults() {
    let loaded = Site::toml(SINK).loaded();
    let sink = the_connector(&loaded);
    assert_eq!(
        (sink.direction, sink.key.as_str()),
        (Direction::Sink, "stdout")
    );
    assert_eq!((sink.enabled, sink.version), (true, 0));
    assert_eq!(
        (sink.name.as_str(), sink.consumer_name.as_str()),
        ("stdout", "stdout")
    );
    assert_eq!(*sink.plugin_config.expose(), serde_json::json!({}));
    assert_eq!(sink.commit_interval, Duration::from_millis(10));
    assert_eq!(sink.deadlines, spec::Deadlines::default());
    assert_eq!(sink.retry, spec::Backoff::default());
    assert_eq!((sink.errors, &sink.dlq), (Errors::default(), &None));
    let Restart::OnFailure(restart) = sink.restart else {
        panic!("{:?}", sink.restart);
    };
    assert_eq!(
        (restart.initial, restart.max),
        (Duration::from_secs(1), Duration::from_secs(60))
    );
    assert_eq!(restart.max_attempts, 0);
    let Streams::Inputs(inputs) = &sink.streams else {
        panic!("{:?}", sink.streams);
    };
    let input = &inputs[0];
    assert_eq!((input.schema, input.batch_length), (Schema::Json, 1000));
    assert_eq!(input.poll_interval, Duration::from_millis(5));
    assert_eq!(input.consumer_group, "iggy-connect-sink-stdout");
    assert_eq!((input.partitions, input.create), (1, true));
}

#[test]
fn a_connector_may_say_everything() {
    let text = r#"
type = "source"
key = "db-1"
enabled = false
version = 3
name = "Database"
path = "libdb"
plugin_config_format = "yaml"
verbose = true
benchmark = true
delivery = "at_least_once"
max_in_flight = 1
open_timeout = "1s"
poll_timeout = "2s"
close_timeout = "3s"
consumer_name = "me"
plugin_config.url = "x"

[[streams]]
stream = "s"
topic = "t"
schema = "flatbuffer"
batch_length = 7
poll_interval = "8ms"
linger_time = "9ms"
partitions = 4
create = false

[retry]
max_retries = 5
initial_backoff = "1ms"
max_backoff = "2ms"
backoff_multiplier = 3
jitter = 0

[restart]
policy = "never"

[errors]
on_invalid = "skip"
on_exhausted = "stop"

[consumer]
exclusive = false
"#;
    let loaded = Site::toml("")
        .with_connector("any_name.toml", text)
        .loaded();
    let source = the_connector(&loaded);
    assert_eq!(
        (source.direction, source.key.as_str()),
        (Direction::Source, "db-1")
    );
    assert_eq!((source.enabled, source.version), (false, 3));
    assert_eq!(
        (source.name.as_str(), source.path.as_str()),
        ("Database", "libdb")
    );
    assert_eq!(source.plugin_config_format.as_deref(), Some("yaml"));
    assert_eq!((source.verbose, source.benchmark), (true, true));
    assert_eq!(source.consumer_name, "me");
    assert_eq!(source.deadlines.open, Duration::from_secs(1));
    assert_eq!(source.deadlines.poll, Some(Duration::from_secs(2)));
    assert_eq!(source.deadlines.close, Duration::from_secs(3));
    assert_eq!(source.retry.max_attempts, 5);
    assert_eq!((source.retry.multiplier, source.retry.jitter), (3.0, 0.0));
    assert_eq!(
        (source.restart, source.errors.on_invalid),
        (Restart::Never, OnFailure::Skip)
    );
    let Streams::Outputs(outputs) = &source.streams else {
        panic!("{:?}", source.streams);
    };
    let output = &outputs[0];
    assert_eq!(
        (output.schema, output.batch_length),
        (Schema::FlatBuffer, 7)
    );
    assert_eq!(output.poll_interval, Duration::from_millis(8));
    assert_eq!((output.partitions, output.create), (4, false));
}

#[test]
fn the_older_form_is_still_read() {
    let text = r#"
[sinks.stdout]
enabled = true
name = "Stdout sink"
path = "target/release/libiggy_connector_stdout_sink"
[[sinks.stdout.streams]]
stream = "example_stream"
topics = ["example_topic"]
schema = "json"
batch_size = 100
poll_interval = "5ms"
consumer_group = "stdout_sink_connector"
[sinks.stdout.config]
print_payload = true
[sources.random]
enabled = true
name = "Random source"
path = "libiggy_connector_random_source"
[[sources.random.streams]]
stream = "example_stream"
topic = "example_topic"
schema = "json"
batch_size = 200
send_interval = "5ms"
[sources.random.config]
messages_count = 10
"#;
    let loaded = Site::toml(text).loaded();
    let [sink, source] = loaded.connectors.as_slice() else {
        panic!("{loaded:?}");
    };
    let lengths = [&sink.streams, &source.streams].map(|streams| match streams {
        Streams::Inputs(inputs) => inputs[0].batch_length,
        Streams::Outputs(outputs) => outputs[0].batch_length,
    });
    assert_eq!(lengths, [100, 200]);
    assert_eq!(
        *sink.plugin_config.expose(),
        serde_json::json!({ "print_payload": true })
    );
    assert_eq!(
        *source.plugin_config.expose(),
        serde_json::json!({ "messages_count": 10 })
    );
}

#[test]
fn a_bad_connector_does_not_keep_the_others_from_starting() {
    let text = format!("{SINK}\n[sources.bad]\npath = 'p'\nfoo = 1");
    let loaded = Site::toml(&text)
        .with_connector("broken.toml", "key = ")
        .with_connector("typeless.toml", "key = 'k'")
        .with_connector("odd.toml", "type = 'snik'")
        .with_connector("nameless.toml", "type = 'sink'\npath = 'p'")
        .with_connector(
            "good.toml",
            &SINK
                .replace("sinks.stdout.", "")
                .replace("[sinks.stdout]", "type = 'sink'\nkey = 'good'"),
        )
        .loaded();
    let keys: Vec<_> = loaded
        .connectors
        .iter()
        .map(|connector| connector.key.as_str())
        .collect();
    assert_eq!(keys, ["good", "stdout"]);
    assert_eq!(loaded.unusable.len(), 1);
    assert_eq!(loaded.unusable[0].spec.key, "bad");
    assert_eq!(loaded.unusable[0].spec.direction, Direction::Source);
    assert!(
        loaded.unusable[0]
            .reason
            .contains("`sources.bad.foo`: unknown key")
    );
    for part in [
        "broken.toml:1",
        "nameless.toml: `key`: missing",
        "typeless.toml: `type`: missing",
        "odd.toml:1: `type`: neither a sink nor a source",
    ] {
        assert!(
            loaded.warnings.iter().any(|warning| warning.contains(part)),
            "{:?}",
            loaded.warnings
        );
    }
}

#[test]
fn the_highest_version_runs() {
    let version = |version: u32| {
        format!(
            "type = 'sink'\nkey = 'k'\npath = 'p{version}'\nversion = {version}\nstreams = [{{ stream = 's', topics = ['t'] }}]"
        )
    };
    let site = Site::toml("")
        .with_connector("1.toml", &version(9))
        .with_connector("2.toml", &version(10))
        .with_connector("3.toml", &version(2));
    assert_eq!(the_connector(&site.loaded()).path, "p10");
    // An older version does not take the place of one that cannot be used.
    let site = site.with_connector("4.toml", &format!("{}\nnew_key = 1", version(11)));
    let loaded = site.loaded();
    assert!(loaded.connectors.is_empty());
    assert_eq!(loaded.unusable[0].spec.version, 11);
}

/// A file of sink `k` with its version in the plugin's path.
fn version(version: u32) -> String {
    format!(
        "type = 'sink'\nkey = 'k'\npath = 'p{version}'\nversion = {version}\nstreams = [{{ stream = 's', topics = ['t'] }}]"
    )
}

#[test]
fn the_version_that_was_activated_runs() {
    let inline = "[sinks.k]\npath = 'p0'\nstreams = [{ stream = 's', topics = ['t'] }]";
    let active = |version: u32| format!("[sinks.k]\nversion = {version}");
    for chosen in [0, 1, 2] {
        let site = Site::toml(inline)
            .with_connector("1.toml", &version(1))
            .with_connector("2.toml", &version(2))
            .with_connector(".active_versions.toml", &active(chosen));
        let loaded = site.loaded();
        assert_eq!(the_connector(&loaded).path, format!("p{chosen}"));
        assert_eq!(loaded.history.versions.len(), 3);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
    let site = Site::toml(inline).with_connector(".active_versions.toml", &active(7));
    assert_eq!(
        site.reasons(),
        ["version 7 of sink `k` was activated and is not there: put it back, or activate another"]
    );
    let site = Site::toml("").with_connector(".active_versions.toml", &active(1));
    let warnings = site.loaded().warnings;
    assert_eq!(
        warnings,
        ["version 1 of sink `k` was activated, but no version of it is there any more"]
    );
}

#[test]
fn a_damaged_record_of_active_versions_is_told_with_what_to_do() {
    let site = Site::toml(SINK)
        .with_connector("1.toml", &version(1))
        .with_connector(".active_versions.toml", "[sinks.k]\nversion = 'one'");
    let problems = site.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    for part in [".active_versions.toml:2", "sinks.k.version", "restore it"] {
        assert!(problems[0].contains(part), "{problems:?}");
    }
}

#[test]
fn versions_beside_the_state_are_read_when_no_folder_is_named() {
    let site = Site::toml("");
    let state = site.folder.path().join("state");
    let site = site.with_variable("IGGY_CONNECTORS_STATE_PATH", state.to_str().unwrap());
    assert!(site.loaded().connectors.is_empty() && site.loaded().warnings.is_empty());
    fs::create_dir_all(state.join("connectors")).unwrap();
    fs::write(state.join("connectors/k_sink_v4.toml"), version(4)).unwrap();
    assert_eq!(the_connector(&site.loaded()).version, 4);
}

#[test]
fn one_version_twice_is_refused() {
    let text =
        "type = 'sink'\nkey = 'stdout'\npath = 'p'\nstreams = [{ stream = 's', topics = ['t'] }]";
    let reasons = Site::toml(SINK).with_connector("a.toml", text).reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0].contains("sink `stdout` has version 0 in"),
        "{reasons:?}"
    );
    // A source may have a sink's key.
    let text =
        "type = 'source'\nkey = 'stdout'\npath = 'p'\nstreams = [{ stream = 's', topic = 't' }]";
    let loaded = Site::toml(SINK).with_connector("a.toml", text).loaded();
    assert_eq!(loaded.connectors.len(), 2);
}

#[test]
fn dead_letters_are_where_invalid_records_go_once_there_is_a_place() {
    let sink = |more: &str| {
        let streams = "streams = [{ stream = 's', topics = ['t'] }]";
        Site::toml(&format!("[sinks.k]\npath = 'p'\n{streams}\n{more}"))
    };
    let loaded = sink("dlq.stream = 'd'").loaded();
    let connector = &loaded.connectors[0];
    let dlq = connector.dlq.as_ref().unwrap();
    assert_eq!((dlq.stream.as_str(), dlq.topic.as_str()), ("d", "k"));
    assert_eq!(connector.errors.on_invalid, OnFailure::Dlq);
    assert_eq!(connector.errors.on_exhausted, OnFailure::Stop);
    let reasons = sink("errors.on_invalid = 'dlq'").reasons();
    assert!(reasons[0].contains("dlq"), "{reasons:?}");
    let loaded = sink("errors.tolerance = { failures = 1, of_last = 2 }").loaded();
    let tolerance = loaded.connectors[0].errors.tolerance;
    assert_eq!((tolerance.failures, tolerance.of_last), (1, 2));
}

#[test]
fn the_shipped_file_differs_from_the_defaults_only_where_it_says_so() {
    let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config.toml");
    let plain = [("IGGY_CONNECTORS_IGGY_EMBEDDED_ENABLED", "false")];
    let loaded = load_with(Some(&shipped), &Environment::new(plain)).unwrap();
    let defaults = Site::toml("").loaded();
    assert_eq!(
        format!("{:?}", loaded.runtime),
        format!("{:?}", defaults.runtime)
    );
    let loaded = load_with(Some(&shipped), &Environment::default()).unwrap();
    assert!(loaded.runtime.iggy.embedded.is_some());
    let keys: Vec<_> = loaded
        .connectors
        .iter()
        .map(|connector| connector.key.as_str())
        .collect();
    assert_eq!(keys, ["stdout", "random"]);
    assert!(
        loaded.unusable.is_empty() && loaded.warnings.is_empty(),
        "{loaded:?}"
    );
}

#[test]
fn an_empty_file_is_the_defaults() {
    let runtime = Site::toml("").loaded().runtime;
    assert_eq!(runtime.iggy.address, "localhost:8090");
    assert_eq!(runtime.iggy.username, "iggy");
    assert_eq!(runtime.iggy.password.expose_secret(), "iggy");
    assert!(
        runtime.iggy.token.is_none()
            && runtime.iggy.tls.is_none()
            && runtime.iggy.embedded.is_none()
    );
    assert_eq!(runtime.state.path, PathBuf::from("local_state"));
    assert!(runtime.connectors.config_dir.is_none() && runtime.connectors.service.is_none());
    assert_eq!(
        (runtime.http.enabled, runtime.http.address.as_str()),
        (true, "127.0.0.1:8081")
    );
    assert_eq!(runtime.shutdown_timeout, Duration::from_secs(30));
}
