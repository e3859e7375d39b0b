//! Variables, those of a `.env` file, and references to them.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap fails the test, which is its purpose"
)]

mod harness {
    pub mod site;
}

use std::{fs, path::PathBuf};

use harness::site::{SINK, Site, the_connector};
use iggy_connectors::config::{Environment, load_with, spec::Streams};
use secrecy::ExposeSecret as _;
use serde_json::json;

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
            "IGGY_CONNECTORS_SINK_STDOUT_PATH has no effect: no sink has a key that it begins with",
        ]
    );
}
#[test]
fn connectors_are_overridden_wherever_they_stand() {
    let file = "type = 'source'\nkey = 'my-db'\npath = 'p'\n[[streams]]\nstream = 's'\ntopic = 't'";
    let loaded = Site::toml(SINK)
        .with_connector("any.toml", file)
        .with_variable("IGGY_CONNECTORS_SINK_STDOUT_STREAMS_0_TOPICS", "a,b")
        .with_variable("IGGY_CONNECTORS_SINK_STDOUT_STREAMS_0_BATCH_LENGTH", "7")
        .with_variable(
            "IGGY_CONNECTORS_SINK_STDOUT_PLUGIN_CONFIG_PRINT_PAYLOAD",
            "true",
        )
        .with_variable("IGGY_CONNECTORS_SOURCE_MY_DB_ENABLED", "false")
        .with_variable("IGGY_CONNECTORS_SOURCE_MY_DB_PLUGIN_CONFIG_USER", "me")
        .with_variable("IGGY_CONNECTORS_SOURCE_MY_DB_DLQ_STREAM", "d")
        .loaded();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let [sink, source] = loaded.connectors.as_slice() else {
        panic!("{loaded:?}");
    };
    let Streams::Inputs(inputs) = &sink.streams else {
        panic!("{:?}", sink.streams);
    };
    assert_eq!(
        (inputs[0].topics.join(" ").as_str(), inputs[0].batch_length),
        ("a b", 7)
    );
    assert_eq!(
        *sink.plugin_config.expose(),
        json!({ "print_payload": true })
    );
    assert!(!source.enabled);
    assert_eq!(*source.plugin_config.expose(), json!({ "user": "me" }));
    assert_eq!(source.dlq.as_ref().unwrap().stream, "d");
}

#[test]
fn a_connectors_mistakes_name_the_variable() {
    let reasons = Site::toml(SINK)
        .with_variable("IGGY_CONNECTORS_SINK_STDOUT_STREAMS_0_BATCH_LENGTH", "many")
        .with_variable("IGGY_CONNECTORS_SINK_STDOUT_STREAMS_0_SCHEMA", "xml")
        .with_variable("IGGY_CONNECTORS_SINK_STDOUT_STREAMS_2_STREAM", "x")
        .with_variable("IGGY_CONNECTORS_SINK_STDOUT_RETRY_JITTER", "7")
        .reasons();
    assert_eq!(
        reasons,
        [
            "IGGY_CONNECTORS_SINK_STDOUT_STREAMS_0_BATCH_LENGTH: `sinks.stdout.streams[0].batch_length`: a number is expected",
            "IGGY_CONNECTORS_SINK_STDOUT_STREAMS_2_STREAM: `sinks.stdout.streams[2].stream`: the entries before it are not there; lists are counted from 0",
            "IGGY_CONNECTORS_SINK_STDOUT_STREAMS_0_SCHEMA: `sinks.stdout.streams[0].schema`: unknown value `xml`; known are `json`, `raw`, `text`, `proto`, `flat_buffer`, `flatbuffer`, `avro`",
            "IGGY_CONNECTORS_SINK_STDOUT_RETRY_JITTER: `sinks.stdout.retry.jitter`: a share from 0 to 1 is expected; 0.5 varies each wait by half",
        ]
    );
}

#[test]
fn references_have_their_values_in_every_file_and_type() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "from the file\n").unwrap();
    let runtime = format!(
        "[iggy]\nusername = '${{env:WHO}}'\npassword = '${{file:{}}}'\n[http]\nenabled = '${{env:API:-false}}'\n\
         [plugins]\nworker_threads = '${{env:THREADS}}'\nsearch_paths = ['${{env:WHO}}/lib']",
        secret.display()
    );
    let connector = r#"{ "type": "sink", "key": "k", "path": "${env:WHO}.so",
        "streams": [{ "stream": "${env:WHO}", "topics": "${env:TOPICS}", "batch_length": "${env:THREADS}" }],
        "transforms": { "add_fields": { "fields": [{ "key": "by", "value": { "static": "${env:WHO}" } }] } },
        "plugin_config": { "list": ["a ${env:WHO}"], "plain": "$${env:WHO}" } }"#;
    let loaded = Site::toml(&runtime)
        .with_connector("k.json", connector)
        .with_variable("WHO", "me")
        .with_variable("THREADS", "3")
        .with_variable("TOPICS", "a,b")
        .loaded();
    let iggy = &loaded.runtime.iggy;
    assert_eq!(
        (iggy.username.as_str(), iggy.password.expose_secret()),
        ("me", "from the file")
    );
    assert!(!loaded.runtime.http.enabled);
    assert_eq!(loaded.runtime.plugins.worker_threads, 3);
    assert_eq!(
        loaded.runtime.plugins.search_paths,
        [PathBuf::from("me/lib")]
    );
    let sink = the_connector(&loaded);
    let Streams::Inputs(inputs) = &sink.streams else {
        panic!("{:?}", sink.streams);
    };
    assert_eq!(
        (
            inputs[0].stream.as_str(),
            inputs[0].topics.join(" ").as_str()
        ),
        ("me", "a b")
    );
    assert_eq!(inputs[0].batch_length, 3);
    assert_eq!(sink.path, "me.so");
    assert_eq!(
        sink.transforms[0].config.expose()["fields"][0]["value"]["static"],
        "me"
    );
    assert_eq!(
        *sink.plugin_config.expose(),
        json!({ "list": ["a me"], "plain": "${env:WHO}" })
    );
}

#[test]
fn a_reference_to_nothing_is_told_with_its_place() {
    let text = "[http]\napi_key = '${env:NO_SUCH}'\n[iggy]\npassword = '${file:/no/such}'\ntoken = '${env:X'";
    let problems = Site::toml(text).problems();
    assert_eq!(
        problems,
        [
            "config.toml:2: `http.api_key`: the variable `NO_SUCH` is not set; set it, or write `${env:NAME:-default}`",
            "config.toml:4: `iggy.password`: the file `/no/such` cannot be read: No such file or directory (os error 2); name a file that this process may read",
            "config.toml:5: `iggy.token`: a reference is not closed; end it with `}`, or write `$${` for the text itself",
        ]
    );
    let reasons = Site::toml(&format!(
        "{SINK}[sinks.stdout.plugin_config]\na = ['', '${{env:NO_SUCH}}']"
    ))
    .reasons();
    assert_eq!(
        reasons,
        [
            "config.toml:8: `sinks.stdout.plugin_config.a[1]`: the variable `NO_SUCH` is not set; set it, or write `${env:NAME:-default}`"
        ]
    );
}

#[test]
fn a_dotenv_file_gives_what_the_process_does_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join(".env"),
        "IGGY_CONNECTORS_STATE_PATH=from_file\nIGGY_CONNECTORS_IGGY_USERNAME=nobody\nPASSWORD='p # w'\nIGGY_CONNECTORS_HTTP_ADRESS=x",
    )
    .unwrap();
    let config = folder.path().join("config.toml");
    fs::write(&config, "[iggy]\npassword = '${env:PASSWORD}'").unwrap();
    let process = Environment::new([("IGGY_CONNECTORS_IGGY_USERNAME", "me")]);
    let loaded = load_with(Some(&config), &process.with_file(folder.path())).unwrap();
    assert_eq!(loaded.runtime.state.path, PathBuf::from("from_file"));
    assert_eq!(loaded.runtime.iggy.username, "me");
    assert_eq!(loaded.runtime.iggy.password.expose_secret(), "p # w");
    assert!(
        loaded.warnings[0].contains("HTTP_ADRESS"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn a_dotenv_file_that_is_named_must_be_there_and_readable() {
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("other.env");
    let name = named.to_str().unwrap().to_owned();
    let config = folder.path().join("config.toml");
    fs::write(&config, "").unwrap();
    let load = || {
        let environment = Environment::new([("IGGY_CONNECTORS_ENV_PATH", name.as_str())]);
        load_with(Some(&config), &environment.with_file(folder.path()))
    };
    let problems = load().unwrap_err().to_string();
    assert!(problems.contains("other.env: cannot be read"), "{problems}");
    fs::write(&named, "A=1\nnonsense\n").unwrap();
    let problems = load().unwrap_err().to_string();
    assert!(
        problems.contains("other.env:2: a line `NAME=value` is expected"),
        "{problems}"
    );
    fs::write(&named, "IGGY_CONNECTORS_STATE_PATH=x").unwrap();
    assert_eq!(load().unwrap().runtime.state.path, PathBuf::from("x"));
}
