//! The configuration as an operator meets it: files in, connectors and messages about mistakes out.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap fails the test, which is its purpose"
)]

use std::{fs, path::PathBuf, time::Duration};

use iggy_connector_message::Schema;
use iggy_connectors::config::{
    Code, Environment, Loaded, Origin, Problems, load_with,
    spec::{
        self, Allowed, Delivery, Direction, Errors, HealthAction, OnFailure, Restart, StartFrom,
        Streams,
    },
};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

const SINK: &str = r#"
[sinks.stdout]
path = "libstdout"
[[sinks.stdout.streams]]
stream = "s"
topics = ["t"]
"#;

/// A folder with a runtime file and whatever a test puts beside it.
struct Site {
    folder: TempDir,
    file: PathBuf,
    variables: Vec<(String, String)>,
}

impl Site {
    fn new(name: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        Self {
            folder,
            file,
            variables: vec![],
        }
    }

    fn toml(text: &str) -> Self {
        Self::new("config.toml", text)
    }

    /// Puts a file into the folder of connectors, which the environment names.
    fn with_connector(mut self, name: &str, text: &str) -> Self {
        let folder = self.folder.path().join("connectors");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
        let folder = folder.to_str().unwrap().to_owned();
        self.variables
            .push(("IGGY_CONNECTORS_CONNECTORS_CONFIG_DIR".into(), folder));
        self
    }

    fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn load(&self) -> Result<Loaded, Problems> {
        let variables = self.variables.iter();
        let environment =
            Environment::new(variables.map(|(name, value)| (name.as_str(), value.as_str())));
        load_with(Some(&self.file), &environment)
    }

    fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The problems of the runtime file, without the folder's name in front.
    fn problems(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let Err(Problems(problems)) = self.load() else {
            panic!("the configuration was accepted");
        };
        problems
            .iter()
            .map(|problem| problem.to_string().replace(&folder, ""))
            .collect()
    }

    /// Why the only connector cannot be used, one problem per line.
    fn reasons(&self) -> Vec<String> {
        let loaded = self.loaded();
        assert_eq!(loaded.unusable.len(), 1, "{loaded:?}");
        let folder = format!("{}/", self.folder.path().display());
        loaded.unusable[0]
            .reason
            .lines()
            .map(|line| line.replace(&folder, ""))
            .collect()
    }
}

fn the_connector(loaded: &Loaded) -> &spec::Connector {
    assert!(loaded.unusable.is_empty(), "{:?}", loaded.unusable);
    assert_eq!(loaded.connectors.len(), 1);
    &loaded.connectors[0]
}

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
        let config = loaded.connectors[0].plugin_config.0.to_string();
        (
            format!("{:?} {:?}", loaded.runtime, loaded.connectors),
            config,
        )
    });
    assert!(first.0.contains("Interval(100ms)"), "{}", first.0);
    assert_eq!(first.1, r#"{"z":1,"a":[true,"x"]}"#);
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
                .all(|transform| transform.config.get("type").is_none())
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
    assert_eq!(sink.plugin_config.0, serde_json::json!({}));
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
        sink.plugin_config.0,
        serde_json::json!({ "print_payload": true })
    );
    assert_eq!(
        source.plugin_config.0,
        serde_json::json!({ "messages_count": 10 })
    );
}

#[test]
fn every_mistake_is_told_at_once_with_file_line_key_and_remedy() {
    let text = r#"
[iggy]
adress = "localhost:8090"
address = "nowhere"
[http]
enabled = "yes"
[sinks.stdout]
pth = "libstdout"
streams = 5
"#;
    let site = Site::toml(text)
        .with_connector(
            "a.yaml",
            "type: source\nkey: b c\npath: p\nstreams: [{stream: s, topic: t, batch: 1}]",
        )
        .with_connector("b.json", "{")
        .with_variable("IGGY_CONNECTORS_LOGGING_FORMAT", "xml")
        .with_variable("IGGY_CONNECTORS_PLUGINS_WORKER_THREADS", "many");
    let mut problems = site.problems();
    problems.sort();
    assert_eq!(
        problems,
        [
            "IGGY_CONNECTORS_LOGGING_FORMAT: `logging.format`: unknown value `xml`; known are `text`, `json`",
            "IGGY_CONNECTORS_PLUGINS_WORKER_THREADS: `plugins.worker_threads`: a number is expected",
            "config.toml:3: `iggy.adress`: unknown key; did you mean `address`?",
            "config.toml:4: `iggy.address`: an address is expected; write it as `host:port`",
            "config.toml:6: `http.enabled`: true or false is expected, not a string",
            "config.toml:8: `sinks.stdout.pth`: unknown key; did you mean `path`?",
            "config.toml:9: `sinks.stdout.streams`: a list is expected, not a number",
            "connectors/a.yaml: `key`: a key has 1 to 128 of the letters a-z, 0-9, `_` and `-`; rename it",
            "connectors/a.yaml: `streams[0].batch`: unknown key",
            "connectors/b.json:1: EOF while parsing an object",
        ]
    );
}

#[test]
fn a_problem_can_be_taken_apart() {
    let Err(Problems(problems)) = Site::toml("[http]\nport = 1").load() else {
        panic!("accepted");
    };
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    assert_eq!(
        (problem.key.as_str(), problem.code),
        ("http.port", Code::UnknownKey)
    );
    assert!(
        matches!(&problem.origin, Origin::File { line: Some(2), .. }),
        "{problem:?}"
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
fn wrong_values_of_the_runtime_are_refused() {
    let cases = [
        (
            "[iggy]\naddress = 'localhost'",
            "`iggy.address`: an address is expected; write it as `host:port`",
        ),
        (
            "[iggy]\naddress = 'iggy+http://u:p@h:1'",
            "`iggy.address`: consumer groups cannot be polled over HTTP; write `iggy://user:password@host:port`, or `host:port`",
        ),
        (
            "[iggy]\naddress = 'iggy://u:p@h:1'\nembedded.enabled = true",
            "`iggy.embedded.address`: missing; give the `host:port` that the embedded broker listens on",
        ),
        (
            "[iggy]\nusername = ''",
            "`iggy.username`: missing; give it with `iggy.password`, or give `iggy.token`",
        ),
        (
            "[iggy.embedded]\nsync = 'often'",
            "`iggy.embedded.sync`: neither `os`, `every_batch` nor an interval; write an interval as \"100ms\"",
        ),
        (
            "[iggy.embedded]\nsegment_size = '1 parsec'",
            "`iggy.embedded.segment_size`: a number of bytes is expected, for example \"256 MiB\" or 4096",
        ),
        (
            "[iggy.embedded]\nmax_connections = 0",
            "`iggy.embedded.max_connections`: at least 1 is expected",
        ),
        ("[state]\npath = ''", "`state.path`: missing; name a folder"),
        (
            "[http]\naddress = '127.0.0.1'",
            "`http.address`: an address is expected",
        ),
        (
            "[logging]\nlevel = 'a=b=c'",
            "`logging.level`: it is no level",
        ),
        (
            "[plugins]\nworker_threads = 0",
            "`plugins.worker_threads`: at least 1 is expected",
        ),
        (
            "[runtime]\nshutdown_timeout = 30",
            "`runtime.shutdown_timeout`: a duration with a unit is expected, for example \"5ms\" or \"1m 30s\"",
        ),
        (
            "[connectors.retry]\nbackoff_multiplier = 0.5",
            "`connectors.retry.backoff_multiplier`: a number from 1",
        ),
        (
            "[connectors.retry]\ninitial_backoff = '1h'",
            "`connectors.retry.initial_backoff`: longer than `max_backoff`",
        ),
        (
            "iggy = 'iggy://u:hunter2@h:1'",
            "`iggy`: a table is expected, not a string",
        ),
        ("sinks = 5", "`sinks`: a table is expected, not a number"),
    ];
    for (text, expected) in cases {
        let problems = Site::toml(text).problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains(expected),
            "{problems:?} instead of {expected}"
        );
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }
}

#[test]
fn a_configuration_service_is_named_whole_or_not_at_all() {
    let service = |more: &str| {
        Site::toml(&format!(
            "[connectors]\nconfig_type = 'http'\nbase_url = 'https://h:1/api'\n{more}"
        ))
    };
    let loaded = service("poll_interval = '5s'\nrequest_headers.api-key = 'hunter2'").loaded();
    let connectors = loaded.runtime.connectors;
    assert_eq!(connectors.poll_interval, Some(Duration::from_secs(5)));
    let service_spec = connectors.service.unwrap();
    assert_eq!(service_spec.base_url, "https://h:1/api");
    assert_eq!(service_spec.timeout, Duration::from_secs(10));
    assert_eq!(service_spec.retry.unwrap().max_attempts, 3);
    assert_eq!(service_spec.request_headers[0].1.expose_secret(), "hunter2");
    let cases = [
        (
            "base_url = ''",
            "`connectors.base_url`: missing; give the URL",
        ),
        (
            "base_url = 'h:1'",
            "`connectors.base_url`: neither `http` nor `https`",
        ),
        (
            "base_url = '/api'",
            "`connectors.base_url`: it names no host",
        ),
        (
            "base_url = 'http://a b'",
            "`connectors.base_url`: it is no URL",
        ),
        (
            "base_url = 'ftp://h'",
            "`connectors.base_url`: neither `http` nor `https`",
        ),
        (
            "base_url = 'http://u:hunter2@h'",
            "`connectors.base_url`: a password in a URL is shown",
        ),
        (
            "base_url = 'http://h?x=1'",
            "`connectors.base_url`: a URL without a query is expected",
        ),
        ("timeout = '0s'", "`connectors.timeout`: more than zero"),
        (
            "retry.max_attempts = 0",
            "`connectors.retry.max_attempts`: at least 1 is expected",
        ),
        (
            "request_headers.'a b' = 'hunter2'",
            "`connectors.request_headers.a b`: no header can have this name",
        ),
        (
            "request_headers.a = \"hunter2\\n\"",
            "`connectors.request_headers.a`: no header can have this value",
        ),
        (
            "url_templates.create_sink = 'sinks/{key}'",
            "`connectors.url_templates.create_sink`: a path is expected",
        ),
        (
            "url_templates.create_sink = '/sinks'",
            "`connectors.url_templates.create_sink`: it does not say where `{key}` belongs",
        ),
        (
            "url_templates.get_source_config = '/{key}'",
            "`connectors.url_templates.get_source_config`: it does not say where `{version}` belongs",
        ),
        (
            "url_templates.get_active_configs = '/{key}'",
            "`connectors.url_templates.get_active_configs`: no path comes of it; it has no placeholders",
        ),
        (
            "url_templates.delete_sink_config = '/{key}/{version}'",
            "`connectors.url_templates.delete_sink_config`: no path comes of it; its placeholders are `{key}`",
        ),
        (
            "response.data_path = 'a..b'",
            "`connectors.response.data_path`: a step of the path is empty",
        ),
    ];
    for (text, expected) in cases {
        let site = match text.starts_with("base_url") {
            true => Site::toml(&format!("[connectors]\nconfig_type = 'http'\n{text}")),
            false => service(text),
        };
        let problems = site.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains(expected),
            "{problems:?} instead of {expected}"
        );
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }
}

#[test]
fn wrong_values_of_a_connector_are_refused() {
    let cases = [
        (
            "path = ''",
            "`sinks.k.path`: missing; name the plugin's library",
        ),
        (
            "type = 'source'",
            "`sinks.k.type`: it stands among the sinks; leave it out",
        ),
        (
            "key = 'other'",
            "`sinks.k.key`: its table is named `k`; leave it out",
        ),
        (
            "poll_timeout = '1s'",
            "`sinks.k.poll_timeout`: only sources have it; leave it out",
        ),
        (
            "open_timeout = '0s'",
            "`sinks.k.open_timeout`: more than zero is expected",
        ),
        (
            "max_in_flight = 0",
            "`sinks.k.max_in_flight`: at least 1 is expected",
        ),
        (
            "health.interval = '0s'",
            "`sinks.k.health.interval`: more than zero is expected",
        ),
        (
            "health.timeout = '0s'",
            "`sinks.k.health.timeout`: more than zero is expected",
        ),
        (
            "health.failures = 0",
            "`sinks.k.health.failures`: at least 1 is expected",
        ),
        ("health.action = 'kill'", "`sinks.k.health.action`: "),
        ("health.every = '1s'", "`sinks.k.health.every`: "),
        (
            "retry.jitter = 2",
            "`sinks.k.retry.jitter`: a share from 0 to 1 is expected",
        ),
        (
            "retry.max_backoff = '0s'",
            "`sinks.k.retry.max_backoff`: more than zero is expected",
        ),
        (
            "config = {}\nplugin_config = {}",
            "`sinks.k.plugin_config`: given twice, under this name and an older one",
        ),
        (
            "streams = []",
            "`sinks.k.streams`: missing; say where its messages are",
        ),
        (
            "streams = [['s']]",
            "`sinks.k.streams[0]`: a table is expected, not a list",
        ),
        (
            "streams = [{ stream = 's', topics = [] }]",
            "`sinks.k.streams[0].topics`: missing; name at least one topic",
        ),
        (
            "streams = [{ stream = 's', topic = 't' }]",
            "`sinks.k.streams[0].topic`: unknown key; did you mean `topics`?",
        ),
        (
            "streams = [{ stream = '', topics = ['t'] }]",
            "`sinks.k.streams[0].stream`: missing; give a name",
        ),
        (
            "streams = [{ stream = 's', topics = ['t', 't'] }]",
            "`sinks.k.streams[0].topics[1]`: `t` is read by the same group already; leave one of them out",
        ),
        (
            "streams = [{ stream = 's', topics = ['t'], batch_length = 0 }]",
            "`sinks.k.streams[0].batch_length`: at least 1 is expected",
        ),
        (
            "streams = [{ stream = 's', topics = ['t'], partitions = 1001 }]",
            "`sinks.k.streams[0].partitions`: a number from 1 to 1000 is expected",
        ),
        (
            "streams = [{ stream = 's', topics = ['t'], schema = 'xml' }]",
            "`sinks.k.streams[0].schema`: unknown value `xml`",
        ),
        (
            "transforms.add_field = {}",
            "`sinks.k.transforms.add_field`: unknown transform `add_field`; did you mean `add_fields`?",
        ),
        (
            "transforms.add_fields.fields = [{ key = 'a' }]",
            "`sinks.k.transforms.add_fields`: transform `add_fields`: `fields[0]`: missing field `value`",
        ),
        (
            "transforms = [{ fields = [] }]",
            "`sinks.k.transforms[0].type`: missing; name the transform",
        ),
        (
            "transforms = 'all'",
            "`sinks.k.transforms`: a table or a list of tables is expected, not a string",
        ),
        (
            "transforms.delete_fields.fields = []\nstreams = [{ stream = 's', topics = ['t'], schema = 'avro' }]",
            "`sinks.k.streams[0].schema`: `avro` cannot be transformed",
        ),
    ];
    for (text, expected) in cases {
        let mut lines = String::from("[sinks.k]\n");
        for (key, default) in [
            ("path", "path = 'p'\n"),
            ("streams", "streams = [{ stream = 's', topics = ['t'] }]\n"),
        ] {
            if !text.lines().any(|line| line.starts_with(key)) {
                lines.push_str(default);
            }
        }
        let reasons = Site::toml(&(lines + text)).reasons();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(
            reasons[0].contains(expected),
            "{reasons:?} instead of {expected}"
        );
    }
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
fn what_pages_may_do_is_checked() {
    let cors = |text: &str| Site::toml(&format!("[http.cors]\nenabled = true\n{text}"));
    let loaded = cors("exposed_headers = ['x-request-id', '']").loaded();
    let resolved = loaded.runtime.http.cors.unwrap();
    assert_eq!(resolved.exposed_headers, ["x-request-id"]);
    assert_eq!(resolved.origins, Allowed::Any);
    for (text, key) in [
        ("allowed_origins = ['example.com']", "allowed_origins[0]"),
        ("allowed_origins = ['https://a.b/c']", "allowed_origins[0]"),
        ("allowed_methods = ['GET', 'G T']", "allowed_methods[1]"),
        ("allowed_headers = ['a b']", "allowed_headers[0]"),
        ("allow_credentials = true", "allowed_origins"),
    ] {
        let problems = cors(text).problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(key), "{problems:?}");
    }
}

#[test]
fn the_metrics_may_stand_anywhere_but_on_a_route() {
    let metrics = |text: &str| Site::toml(&format!("[http.metrics]\n{text}"));
    for (text, expected) in [
        ("", Some("/metrics")),
        ("endpoint = '/internal/metrics'", Some("/internal/metrics")),
        ("enabled = false", None),
    ] {
        let http = metrics(text).loaded().runtime.http;
        assert_eq!(http.metrics.as_deref(), expected, "{text}");
    }
    for endpoint in ["metrics", "/", "/sinks", "/sinks/metrics", "/a b", "/{key}"] {
        let problems = metrics(&format!("endpoint = '{endpoint}'")).problems();
        assert_eq!(problems.len(), 1, "{endpoint}: {problems:?}");
        assert!(
            problems[0].contains("http.metrics.endpoint"),
            "{problems:?}"
        );
    }
}

#[test]
fn a_collector_is_a_url_and_http_gets_a_path_by_signal() {
    let telemetry = |text: &str| Site::toml(&format!("[telemetry]\nenabled = true\n{text}"));
    let loaded =
        telemetry("traces = { transport = 'http', endpoint = 'http://otel:4318' }").loaded();
    let telemetry_of = loaded.runtime.telemetry.unwrap();
    assert_eq!(telemetry_of.traces.endpoint, "http://otel:4318/v1/traces");
    assert_eq!(telemetry_of.logs.endpoint, "http://localhost:4317");
    let problems = telemetry("logs.endpoint = 'otel:4317'").problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("telemetry.logs.endpoint"),
        "{problems:?}"
    );
}

#[test]
fn the_files_of_https_must_be_named() {
    let problems = Site::toml("[http.tls]\nenabled = true").problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("http.tls.cert_file"), "{problems:?}");
}

#[test]
fn a_wrong_start_is_told_with_its_line_and_a_remedy() {
    let reasons = Site::toml(
        "[sinks.k]\npath = 'p'\n[[sinks.k.streams]]\nstream = 's'\ntopics = ['t']\nstart_from = 'latest'",
    )
    .reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    for part in [
        "config.toml:6",
        "sinks.k.streams[0].start_from",
        "`next`",
        "`offset:42`",
    ] {
        assert!(reasons[0].contains(part), "{reasons:?}");
    }
}

#[test]
fn a_sink_says_how_it_reads() {
    let streams = "streams = [{ stream = 's', topics = ['t'], batch_timeout = '20ms', start_from = 'offset:7' }]";
    let sink = |more: &str| Site::toml(&format!("[sinks.k]\npath = 'p'\n{streams}\n{more}"));
    let loaded = sink("consumer.exclusive = true").loaded();
    let connector = the_connector(&loaded);
    assert!(connector.exclusive);
    let Streams::Inputs(inputs) = &connector.streams else {
        panic!("{:?}", connector.streams);
    };
    assert_eq!(inputs[0].batch_timeout, Duration::from_millis(20));
    assert_eq!(inputs[0].start_from, StartFrom::Offset(7));
    let reasons = sink("consumer.exclusive = 'yes'").reasons();
    assert!(reasons[0].contains("consumer.exclusive"), "{reasons:?}");
    let source = "[sources.k]\npath = 'p'\nstreams = [{ stream = 's', topic = 't' }]\n";
    let reasons = Site::toml(&format!("{source}consumer.exclusive = true")).reasons();
    assert!(reasons[0].contains("only sinks have it"), "{reasons:?}");
}

#[test]
fn what_has_no_effect_yet_is_refused() {
    let of_the_runtime = [
        "[iggy]\npassword = '${env:PASSWORD}'",
        "[iggy]\npassword = '${file:/secret}'",
    ];
    for text in of_the_runtime {
        let problems = Site::toml(text).problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("not supported yet"), "{problems:?}");
    }
    let of_a_sink = [
        ("", "delivery = 'at_most_once'"),
        ("", "max_in_flight = 2"),
        ("", "plugin_config.password = 'a${env:PASSWORD}'"),
        (", codec = {}", ""),
        (", contract = {}", ""),
        (", avro_schema_path = 'x'", ""),
    ];
    for (of_stream, of_connector) in of_a_sink {
        let streams = format!("streams = [{{ stream = 's', topics = ['t']{of_stream} }}]");
        let reasons =
            Site::toml(&format!("[sinks.k]\npath = 'p'\n{streams}\n{of_connector}")).reasons();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(reasons[0].contains("not supported yet"), "{reasons:?}");
    }
}

/// A source with these entries.
fn source_of(streams: &str) -> Site {
    Site::toml(&format!("[sources.k]\npath = 'p'\nstreams = [{streams}]"))
}

#[test]
fn a_source_has_several_outputs_with_routes() {
    let loaded = source_of(
        "{ stream = 's', topic = 't', batch_length = 10 }, { stream = 's', topic = 'u', route = 'audit', schema = 'text', poll_interval = '1s', partitions = 3, create = false }",
    )
    .loaded();
    let Streams::Outputs(outputs) = &the_connector(&loaded).streams else {
        panic!("a source has outputs");
    };
    let [first, second] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!((&first.route, first.batch_length), (&None, 10));
    assert_eq!(second.route.as_deref(), Some("audit"));
    assert_eq!(
        (second.batch_length, second.partitions, second.create),
        (1000, 3, false)
    );
    assert_eq!(second.schema, Schema::Text);
    assert_eq!(first.linger, None);
    let loaded = source_of("{ stream = 's', topic = 't', send_interval = '20ms' }").loaded();
    let Streams::Outputs(outputs) = &the_connector(&loaded).streams else {
        panic!("a source has outputs");
    };
    assert_eq!(outputs[0].linger, Some(Duration::from_millis(20)));
    let interval = Duration::from_secs(1);
    assert_eq!(
        (first.poll_interval, second.poll_interval),
        (interval, interval),
        "it is polled once for all"
    );
}

#[test]
fn outputs_that_messages_could_not_tell_apart_are_refused() {
    for (streams, expected) in [
        (
            "{ stream = 's', topic = 't' }, { stream = 's', topic = 't', route = 'r' }",
            "`sources.k.streams[1].topic`: `s/t` is what `streams[0]` writes to already",
        ),
        (
            "{ stream = 's/t', topic = 'u' }, { stream = 's', topic = 't/u' }",
            "`sources.k.streams[1].topic`: `s/t/u` is what `streams[0]` writes to already",
        ),
        (
            "{ stream = 's', topic = 't', route = 'r' }, { stream = 's', topic = 'u', route = 'r' }",
            "`sources.k.streams[1].route`: `r` is the route of `streams[0]` already",
        ),
        (
            "{ stream = 's', topic = 't', route = '' }",
            "`sources.k.streams[0].route`: a route has 1 to 255 bytes and no `/`",
        ),
        (
            "{ stream = 's', topic = 't', route = '/s/t' }",
            "`sources.k.streams[0].route`: a route has 1 to 255 bytes and no `/`",
        ),
        (
            "{ stream = 's', topic = 't', poll_interval = '1s' }, { stream = 's', topic = 'u' }, { stream = 's', topic = 'v', poll_interval = '2s' }",
            "`sources.k.streams[2].poll_interval`: differs from `streams[0].poll_interval`",
        ),
        (
            "{ stream = 's', topic = 't', linger_time = '1s' }, { stream = 's', topic = 'u', linger_time = '0s' }",
            "`sources.k.streams[1].linger_time`: differs from `streams[0].linger_time`",
        ),
    ] {
        let reasons = source_of(streams).reasons();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(reasons[0].contains(expected), "{reasons:?}");
    }
}

#[test]
fn a_source_that_delivers_at_most_once_goes_on_after_one_attempt() {
    let once = |more: &str| {
        let streams = "streams = [{ stream = 's', topic = 't' }]";
        Site::toml(&format!(
            "[sources.k]\npath = 'p'\n{streams}\ndelivery = 'at_most_once'\n{more}"
        ))
    };
    for (more, on_exhausted) in [
        ("", OnFailure::Skip),
        ("dlq.stream = 'd'", OnFailure::Dlq),
        (
            "dlq.stream = 'd'\nerrors.on_exhausted = 'skip'",
            OnFailure::Skip,
        ),
    ] {
        let loaded = once(more).loaded();
        let spec = the_connector(&loaded);
        assert_eq!(spec.delivery, Delivery::AtMostOnce);
        assert_eq!(spec.errors.on_exhausted, on_exhausted, "{more}");
    }
    let reasons = once("errors.on_exhausted = 'stop'").reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0].contains("`sources.k.errors.on_exhausted`")
            && reasons[0].contains("goes on after one attempt"),
        "{reasons:?}"
    );
}

#[test]
fn a_source_may_give_up_messages_that_iggy_keeps_refusing() {
    let errors = |policy: &str| {
        let streams = "streams = [{ stream = 's', topic = 't' }]";
        let config = format!(
            "[sources.k]\npath = 'p'\n{streams}\nretry.max_retries = 3\nerrors.on_exhausted = '{policy}'"
        );
        Site::toml(&config)
    };
    let loaded = errors("skip").loaded();
    let spec = the_connector(&loaded);
    assert_eq!(spec.errors.on_exhausted, OnFailure::Skip);
    assert_eq!(spec.retry.max_attempts, 3);
    let reasons = errors("dlq").reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("say where to"), "{reasons:?}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let loaded = Site::toml("[iggy]\npassword = 'from the file'\n[http]\napi_key = 'x'")
        .with_variable("IGGY_CONNECTORS_IGGY_PASSWORD", "12345")
        .with_variable("IGGY_CONNECTORS_HTTP_API_KEY", "")
        .with_variable("IGGY_CONNECTORS_IGGY_TLS_ENABLED", "true")
        .with_variable("IGGY_CONNECTORS_IGGY_TLS_CA_FILE", "ca.pem")
        .with_variable("IGGY_CONNECTORS_PLUGINS_SEARCH_PATHS", "a, b")
        .loaded();
    assert_eq!(loaded.runtime.iggy.password.expose_secret(), "12345");
    assert!(loaded.runtime.http.api_key.is_none());
    assert_eq!(
        loaded.runtime.iggy.tls.unwrap().ca_file,
        Some(PathBuf::from("ca.pem"))
    );
    assert_eq!(
        loaded.runtime.plugins.search_paths,
        ["a", "b"].map(PathBuf::from)
    );
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn variables_without_effect_are_told() {
    let loaded = Site::toml("")
        .with_variable("IGGY_CONNECTORS_HTTP_ADRESS", "x")
        .with_variable("IGGY_CONNECTORS_SINK_STDOUT_PATH", "x")
        .with_variable("IGGY_CONNECTORS_CONFIG_PATH", "x")
        .with_variable("IGGY_CONNECTORS_RUNTIME_CONFIG_PATH", "x")
        .with_variable("SOMETHING_ELSE", "x")
        .loaded();
    assert_eq!(
        loaded.warnings,
        [
            "IGGY_CONNECTORS_HTTP_ADRESS has no effect: no key has this name; did you mean IGGY_CONNECTORS_HTTP_ADDRESS?",
            "IGGY_CONNECTORS_SINK_STDOUT_PATH has no effect: keys of connectors cannot be set from the environment yet; write it into the connector's file",
        ]
    );
}

#[test]
fn secrets_are_never_shown() {
    let text = r#"
[iggy]
address = "iggy://user:hunter2@localhost:8090"
password = "hunter2"
token = "hunter2"
[http]
api_key = "hunter2"
[connectors.request_headers]
api-key = "hunter2"
[sinks.stdout]
path = "libstdout"
plugin_config.password = "hunter2"
[[sinks.stdout.streams]]
stream = "s"
topics = ["t"]
"#;
    let loaded = Site::toml(text).loaded();
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("***@localhost:8090"), "{shown}");
    assert_eq!(
        loaded.runtime.iggy.token.unwrap().expose_secret(),
        "hunter2"
    );
    // Wrong types and values in the same places.
    let text = text
        .replace("\"hunter2\"", "[\"hunter2\"]")
        .replace("hunter2@", "hunter2@x@");
    let problems = Site::toml(&text.replace("path =", "pth ="))
        .load()
        .unwrap_err();
    assert!(problems.0.len() >= 5, "{problems}");
    let shown = format!("{problems} {problems:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_token_may_stand_in_a_file() {
    let site = Site::toml("");
    let token = site.folder.path().join("token");
    let variable = format!("file:{}", token.display());
    let site = site.with_variable("IGGY_CONNECTORS_IGGY_TOKEN", &variable);
    assert!(site.problems()[0].starts_with("IGGY_CONNECTORS_IGGY_TOKEN: `iggy.token`: `"));
    fs::write(&token, "\n").unwrap();
    assert!(site.problems()[0].contains("is empty; write the token into it"));
    fs::write(&token, "secret\n").unwrap();
    assert_eq!(
        site.loaded().runtime.iggy.token.unwrap().expose_secret(),
        "secret"
    );
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

#[test]
fn a_file_that_is_not_there_is_told() {
    let site = Site::toml("");
    let missing = site.folder.path().join("other.toml");
    let problems = load_with(Some(&missing), &Environment::default()).unwrap_err();
    assert!(
        problems.to_string().contains("other.toml: cannot be read"),
        "{problems}"
    );
}
