//! What is wrong with a configuration is told at once, with its place and a remedy.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap fails the test, which is its purpose"
)]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod site;
}

use std::time::Duration;

use harness::site::Site;
use iggy_connectors::config::{Code, Environment, Origin, Problems, load_with, spec::Allowed};
use secrecy::ExposeSecret as _;

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
            "connectors/a.yaml:2: `key`: a key has 1 to 128 of the letters a-z, 0-9, `_` and `-`; rename it",
            "connectors/a.yaml:4: `streams[0].batch`: unknown key",
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
            "[iggy]\nrequest_timeout = '31s'",
            "`iggy.request_timeout`: at most 30s is expected; Iggy's client gives a request up then: send or read less at once, with \
             a smaller `batch_length`",
        ),
        (
            "[iggy]\nrequest_timeout = '0s'",
            "`iggy.request_timeout`: more than zero is expected",
        ),
        (
            "[iggy.embedded]\nenabled = true\npoll_hold = '10s'",
            "`iggy.embedded.poll_hold`: shorter than `iggy.request_timeout` is expected; make it shorter",
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
            "[logging]\nlevel = 'inf'",
            "`logging.level`: `inf` is no level; did you mean `info`?",
        ),
        (
            "[logging]\nlevel = 'warn,my_plugin'",
            "`logging.level`: `my_plugin` is no level; write `my_plugin=info` if it is a target",
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
            "max_in_flight = 1001",
            "`sinks.k.max_in_flight`: at most 1000 is expected",
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
fn the_files_of_https_must_be_named() {
    let problems = Site::toml("[http.tls]\nenabled = true").problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("http.tls.cert_file"), "{problems:?}");
}

#[test]
fn what_has_no_effect_yet_is_refused() {
    let of_a_sink = [
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
    let problems = telemetry("traces.endpoint = 'https://me:hunter2@otel:4317'").problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("telemetry.traces.endpoint")
            && problems[0].contains("a password in a URL")
            && !problems[0].contains("hunter2"),
        "{problems:?}"
    );
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
