//! Secrets go through a whole daemon, each through another door, and are shown nowhere, whoever logs them or puts them into an error.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod collector;
    pub mod daemon;
}

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use harness::{
    collector::Collector,
    daemon::{Daemon, Home},
};
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// Stands in every secret. What follows it says through which door it came.
const CANARY: &str = "hunter2-canary";

/// The key of the API.
const API_KEY: &str = "hunter2-canary-of-the-api";
/// What the schema of its plugin calls secret.
const TOKEN: &str = "hunter2-canary-of-a-schema";
/// The same, in a version that comes over the API.
const POSTED: &str = "hunter2-canary-of-a-version";

/// Plugins that log their secrets, fail with them, refuse with them and panic with them.
const CONFIG: &str = r#"
[iggy]
password = "${env:PASSWORD}"
[iggy.embedded]
enabled = true
[http.metrics]
enabled = true
[logging]
level = "trace"
[connectors]
config_dir = "versions"

[sinks.loud]
name = "${env:NAME}"
path = "libscripted_sink"
plugin_config = { open = "say ${env:OPENED}" }
restart.policy = "never"
streams = [{ stream = "s", topics = ["t"], schema = "text" }]

[sinks.quiet]
path = "libiggy_connector_stdout_sink"
plugin_config = { print_payload = "${env:MISFIT}" }
streams = [{ stream = "s", topics = ["t"], schema = "text" }]

[sinks.unwell]
path = "libscripted_sink"
plugin_config = { health = "say ${file:secret}" }
health.interval = "20ms"
streams = [{ stream = "s", topics = ["none"], schema = "text" }]

[sinks.panics]
path = "libscripted_sink"
plugin_config = { open = "panic ${env:DOTENV}" }
restart.policy = "never"
streams = [{ stream = "s", topics = ["none"], schema = "text" }]

[sinks.overridden]
path = "libscripted_sink"
restart.policy = "never"
streams = [{ stream = "s", topics = ["none"], schema = "text" }]

[sinks.changes]
path = "libiggy_connector_stdout_sink"
transforms.add_fields.fields = [{ key = "a", value.static = "${env:ADDED}" }]
streams = [{ stream = "s", topics = ["none"], schema = "json" }]

[sinks.refuses]
path = "libledger_sink"
plugin_config = { ledger = "ledger", token = "hunter2-canary-of-a-schema", deed = "deed" }
dlq.stream = "dead"
streams = [{ stream = "s", topics = ["numbers"], schema = "raw" }]

[sinks.letters]
path = "libledger_sink"
plugin_config = { ledger = "letters" }
streams = [{ stream = "dead", topics = ["refuses"], schema = "raw" }]

[sources.numbers]
path = "libledger_source"
plugin_config = { until = "until", acked = "acked" }
streams = [{ stream = "s", topic = "numbers", schema = "raw" }]

[sources.named]
path = "libscripted_source"
plugin_config = { open = "${env:CALLED}" }
streams = [{ stream = "${env:STREAM}", topic = "t", schema = "text" }]
"#;

/// A version in a file of its own.
const VERSION: &str = r#"
type: sink
key: filed
path: libscripted_sink
plugin_config: { open: "say ${env:FILED}" }
restart: { policy: never }
streams: [{ stream: s, topics: [none], schema: text }]
"#;

/// Doors with the names of their variables.
const DOORS: [&str; 9] = [
    "PASSWORD", "NAME", "OPENED", "MISFIT", "ADDED", "STREAM", "FILED", "CALLED", "MADE",
];

fn home() -> Home {
    let mut home = Home::new(CONFIG);
    for door in DOORS {
        home.set(door, &format!("{CANARY}-{}", door.to_lowercase()));
    }
    let overridden = "IGGY_CONNECTORS_SINK_OVERRIDDEN_PLUGIN_CONFIG_OPEN";
    home.set(overridden, &format!("echo {CANARY}-of-a-variable"));
    home.set("IGGY_CONNECTORS_HTTP_API_KEY", API_KEY);
    home.set("RUST_LOG", "trace");
    let write = |name: &str, text: String| fs::write(home.path().join(name), text).unwrap();
    write(".env", format!("DOTENV={CANARY}-of-dotenv\n"));
    write("secret", format!("{CANARY}-of-a-file\n"));
    write("deed", format!("refuse {TOKEN}"));
    write("until", "20".to_owned());
    fs::create_dir(home.path().join("versions")).unwrap();
    fs::write(home.path().join("versions/filed.yaml"), VERSION).unwrap();
    home
}

fn none_of_it(what: &str, text: &str) {
    let line = text.lines().find(|line| line.contains(CANARY));
    assert!(line.is_none(), "{what}: {}", line.unwrap_or_default());
}

async fn send(daemon: &Daemon, method: Method, path: &str, body: Option<&Value>) -> (u16, String) {
    let client = Client::new();
    let mut request = client
        .request(method, daemon.url(path))
        .header("api-key", API_KEY);
    if let Some(body) = body {
        request = request.json(body);
    }
    let reply = request.send().await.unwrap();
    (reply.status().as_u16(), reply.text().await.unwrap())
}

async fn get(daemon: &Daemon, path: &str) -> Value {
    let (_, answer) = send(daemon, Method::GET, path, None).await;
    serde_json::from_str(&answer).unwrap()
}

/// Waits until the last error of a connector contains this.
async fn fails_with(daemon: &Daemon, path: &str, part: &str) {
    let deadline = tokio::time::Instant::now() + harness::daemon::PATIENCE;
    loop {
        let connector = get(daemon, path).await;
        let message = connector["last_error"]["message"].as_str();
        if message.is_some_and(|message| message.contains(part)) {
            return;
        }
        let log = daemon.stderr().text();
        assert!(tokio::time::Instant::now() < deadline, "{connector}\n{log}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Every address that may be read, with each connector's key in its place.
async fn readable(daemon: &Daemon) -> Vec<String> {
    let document = get(daemon, "/openapi.json").await;
    let (sinks, sources) = (get(daemon, "/sinks").await, get(daemon, "/sources").await);
    let keys = |connectors: &Value| -> Vec<String> {
        let connectors = connectors.as_array().unwrap().iter();
        connectors
            .map(|connector| connector["key"].as_str().unwrap().to_owned())
            .collect()
    };
    let (sinks, sources) = (keys(&sinks), keys(&sources));
    let mut paths = vec![];
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods["get"].is_null() {
            continue;
        }
        let path = path.replace("{version}", "0");
        let path = path.replace("{name}", "ledger_sink");
        let keys = match path.starts_with("/sinks") {
            true => &sinks,
            false => &sources,
        };
        match path.contains("{key}") {
            true => paths.extend(keys.iter().map(|key| path.replace("{key}", key))),
            false => paths.push(path.clone()),
        }
    }
    let plugin = paths
        .iter()
        .filter(|path| path.ends_with("/configs/plugin"));
    let formats: Vec<_> = plugin
        .flat_map(|path| {
            ["json", "yaml", "toml", "text"].map(|format| format!("{path}?format={format}"))
        })
        .collect();
    [paths, formats].concat()
}

/// What a connector of the API is made of. It fails with its secret.
fn document(token: &Value) -> Value {
    json!({
        "path": "libledger_sink",
        "plugin_config": { "ledger": "made", "open": "say ${env:MADE}", "token": token },
        "restart": { "policy": "never" },
        "streams": [{ "stream": "s", "topics": ["none"], "schema": "raw" }],
    })
}

/// Everything in a folder, names of files too.
fn contents(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.push_str(&format!("\n{}\n", path.display()));
        match path.is_dir() {
            true => contents(&path, all),
            false => all.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap())),
        }
    }
}

/// What the command line says of the same configuration.
fn checked(home: &Home, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iggy-connectors"));
    command
        .args(arguments)
        .current_dir(home.path())
        .env("RUST_LOG", "trace")
        .env(
            "IGGY_CONNECTORS_SINK_OVERRIDDEN_PLUGIN_CONFIG_OPEN",
            format!("echo {CANARY}-of-a-variable"),
        )
        .env("IGGY_CONNECTORS_HTTP_API_KEY", API_KEY);
    for door in DOORS {
        command.env(door, format!("{CANARY}-{}", door.to_lowercase()));
    }
    command.output().unwrap()
}

#[tokio::test]
async fn no_secret_is_shown_anywhere_in_a_running_daemon() {
    let mut home = home();
    let collector = Collector::start().await;
    home.set("IGGY_CONNECTORS_TELEMETRY_ENABLED", "true");
    for signal in ["LOGS", "TRACES"] {
        let name = format!("IGGY_CONNECTORS_TELEMETRY_{signal}");
        home.set(&format!("{name}_TRANSPORT"), "http");
        home.set(&format!("{name}_ENDPOINT"), &collector.url);
    }
    let daemon = home.start().await;

    // Everybody has said what there is to be said.
    for key in ["loud", "filed", "overridden", "unwell"] {
        fails_with(&daemon, &format!("/sinks/{key}"), "it was to ***").await;
    }
    fails_with(&daemon, "/sinks/panics", "boom with ***").await;
    let expected = "true or false is expected, not a string";
    fails_with(&daemon, "/sinks/quiet", expected).await;
    daemon.stderr().wait_for("asked to ***").await;
    let letters = |stats: &Value| stats["messages_processed"].as_u64() > Some(0);
    let deadline = tokio::time::Instant::now() + harness::daemon::PATIENCE;
    loop {
        let stats = get(&daemon, "/stats").await;
        let all = stats["connectors"].as_array().unwrap();
        if letters(all.iter().find(|it| it["key"] == "letters").unwrap()) {
            break;
        }
        let log = daemon.stderr().text();
        assert!(tokio::time::Instant::now() < deadline, "{stats}\n{log}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    // What is made, refused and activated over the API.
    let path = "/sinks/made/configs";
    let made = document(&POSTED.into());
    let (status, answer) = send(&daemon, Method::POST, path, Some(&made)).await;
    assert_eq!(status, 200, "{answer}");
    none_of_it("POST", &answer);
    fails_with(&daemon, "/sinks/made", "it was to ***").await;
    let misfit = document(&json!([POSTED]));
    for path in [path, "/validate"] {
        let mut misfit = misfit.clone();
        misfit["type"] = "sink".into();
        misfit["key"] = "made".into();
        let (status, answer) = send(&daemon, Method::POST, path, Some(&misfit)).await;
        assert_eq!(status, 422, "{answer}");
        none_of_it(path, &answer);
    }
    let active = format!("{path}/active");
    let version = json!({ "version": 0 });
    let (status, answer) = send(&daemon, Method::PUT, &active, Some(&version)).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer.contains("it was to ***"), "{answer}");
    none_of_it("PUT", &answer);

    let paths = readable(&daemon).await;
    assert!(paths.len() > 100, "{paths:?}");
    for path in &paths {
        let (status, answer) = send(&daemon, Method::GET, path, None).await;
        assert!([200, 503].contains(&status), "{path}: {status} {answer}");
        none_of_it(path, &answer);
    }
    let metrics = send(&daemon, Method::GET, "/metrics", None).await.1;
    assert!(metrics.contains("connector_key=\"refuses\""), "{metrics}");
    let loud = get(&daemon, "/sinks/loud").await;
    assert_eq!(
        (&loud["name"], &loud["key"]),
        (&"***".into(), &"loud".into())
    );
    let named = get(&daemon, "/sources/named").await;
    assert_eq!(named["streams"][0]["stream"], "***");
    let refuses = get(&daemon, "/sinks/refuses/configs/active").await;
    assert_eq!(refuses["plugin_config"]["token"], "***");

    collector.wait_for("/v1/logs", "it was to ***").await;
    collector.wait_for("/v1/traces", "refuses").await;
    let (stdout, stderr) = (daemon.stdout().clone(), daemon.stderr().clone());
    daemon.interrupt().await;
    none_of_it("standard output", &stdout.text());
    none_of_it("the log", &stderr.text());
    for path in ["/v1/logs", "/v1/traces"] {
        none_of_it(path, &collector.text(path));
    }

    // The dead letters, as they lie in the broker's files. Streams are called there what they are called.
    let mut stored = String::new();
    contents(&home.path().join("local_data"), &mut stored);
    assert!(stored.contains("it refuses ***"), "no dead letter is there");
    let stream = format!("{CANARY}-stream");
    none_of_it("the broker's files", &stored.replace(&stream, "named"));
}

#[test]
fn the_command_line_shows_no_secret_either() {
    let home = home();
    for (arguments, code) in [
        (&["check", "--config", "config.toml"][..], 2),
        (&["check", "--json", "--config", "config.toml"][..], 2),
    ] {
        let output = checked(&home, arguments);
        let all = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&all);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains("print_payload"), "{text}");
        none_of_it("check", &text);
    }
}

/// Whose daemon has no plugin that tells secrets: brokers and services see these, and whoever logs what goes to them.
#[tokio::test]
async fn what_brokers_and_services_are_told_is_not_shown_either() {
    const SINK: &str = r#"
        [sinks.out]
        path = "libiggy_connector_stdout_sink"
        streams = [{ stream = "s", topics = ["t"], schema = "text" }]
    "#;
    let address = format!("iggy://me:{CANARY}-in-an-address@127.0.0.1:1");
    let cases = [
        ("retrying", "", [("IGGY_ADDRESS", address.as_str())]),
        (
            "running",
            "[iggy.embedded]\nenabled = true",
            [("IGGY_TOKEN", "hunter2-canary-as-a-token")],
        ),
        (
            "running",
            "[iggy.embedded]\nenabled = true",
            [("IGGY_TOKEN", "file:token")],
        ),
        (
            "running",
            "[iggy.embedded]\nenabled = true",
            [("IGGY_PASSWORD", "hunter2-canary-as-a-password")],
        ),
    ];
    for (status, config, variables) in cases {
        let mut home = Home::new(&format!("{config}\n{SINK}"));
        fs::write(home.path().join("token"), "hunter2-canary-in-a-file").unwrap();
        for (name, value) in variables {
            home.set(&format!("IGGY_CONNECTORS_{name}"), value);
        }
        home.set("RUST_LOG", "trace");
        let daemon = home.start().await;
        daemon
            .wait_for("/sinks/out", |sink| sink["status"] == status)
            .await;
        for path in readable(&daemon).await {
            let (_, answer) = send(&daemon, Method::GET, &path, None).await;
            none_of_it(&path, &answer);
        }
        let stderr = daemon.stderr().clone();
        daemon.interrupt().await;
        none_of_it("standard error", &stderr.text());
    }
    let service = r#"
        [connectors]
        config_type = "http"
        base_url = "http://127.0.0.1:1"
        retry.enabled = false
        [connectors.request_headers]
        api-key = "hunter2-canary-in-a-header"
    "#;
    let mut home = Home::new(service);
    home.set("RUST_LOG", "trace");
    let mut daemon = home.spawn();
    assert!(!daemon.ended().await.success());
    daemon.output_closed().await;
    assert!(daemon.stderr().text().contains("127.0.0.1:1"));
    none_of_it("standard error", &daemon.stderr().text());
}
