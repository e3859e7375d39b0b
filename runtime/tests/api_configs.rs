//! The versions of connectors over the API of a real daemon: their shapes, how they are created, checked and deleted, and what of
//! them is shown.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use harness::daemon::{Daemon, Home, PATIENCE};
use reqwest::Method;
use serde_json::{Value, json};

const CONFIG: &str = r#"
[iggy.embedded]
enabled = true

[sinks.lines]
enabled = false
path = "libledger_sink"
restart.initial_backoff = "50ms"
plugin_config = { ledger = "ledger", token = "hunter2-canary", delay_ms = 7 }
transforms.add_fields.fields = [{ key = "a", value.static = "${env:CANARY}" }]
[[sinks.lines.streams]]
stream = "s"
topics = ["t"]
schema = "json"

[sources.numbers]
enabled = false
name = "${env:CANARY}"
path = "libledger_source"
plugin_config_format = "yaml"
[[sources.numbers.streams]]
stream = "s"
topic = "t"
schema = "json"
"#;

const CONFIGS: &str = "/sinks/lines/configs";

async fn home() -> (Home, Daemon) {
    let mut home = Home::new(CONFIG);
    home.set("CANARY", "hunter2-canary-hunter2");
    let daemon = home.start().await;
    (home, daemon)
}

async fn send(daemon: &Daemon, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let mut request = reqwest::Client::new().request(method, daemon.url(path));
    if let Some(body) = body {
        request = request.json(body);
    }
    let reply = request.timeout(PATIENCE).send().await.unwrap();
    let status = reply.status().as_u16();
    let text = reply.text().await.unwrap();
    assert!(!text.contains("canary"), "{path}: {text}");
    (status, serde_json::from_str(&text).unwrap_or_default())
}

async fn get(daemon: &Daemon, path: &str) -> Value {
    let (status, answer) = send(daemon, Method::GET, path, None).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn post(daemon: &Daemon, path: &str, body: &Value) -> (u16, Value) {
    send(daemon, Method::POST, path, Some(body)).await
}

/// What GET returns, less what is no part of a document.
fn body_of(mut document: Value) -> Value {
    let table = document.as_object_mut().unwrap();
    for key in ["key", "version", "active"] {
        table.shift_remove(key).unwrap();
    }
    document
}

#[tokio::test]
async fn a_version_has_every_key_that_clients_rely_on() {
    let (_home, daemon) = home().await;
    let expected = json!({
        "type": "sink",
        "key": "lines",
        "enabled": false,
        "version": 0,
        "name": "lines",
        "path": "libledger_sink",
        "transforms": { "add_fields": { "fields": [{ "key": "a", "value": { "static": "***" } }] } },
        "streams": [{ "stream": "s", "topics": ["t"], "schema": "json" }],
        "plugin_config_format": null,
        "plugin_config": { "ledger": "ledger", "token": "***", "delay_ms": 7 },
        "verbose": false,
        "benchmark": false,
        "retry": null,
        "errors": null,
        "dlq": null,
        "restart": { "initial_backoff": "50ms" },
        "health": null,
        "active": true,
    });
    assert_eq!(get(&daemon, CONFIGS).await, json!([expected]));
    for version in ["0", "active"] {
        assert_eq!(
            get(&daemon, &format!("{CONFIGS}/{version}")).await,
            expected
        );
    }
    let source = get(&daemon, "/sources/numbers/configs/active").await;
    assert_eq!(source["name"], "***");
    assert_eq!(source["plugin_config"], Value::Null);
    assert_eq!(source["plugin_config_format"], "yaml");
    assert_eq!(
        get(&daemon, "/sinks/lines/transforms").await,
        json!([{ "type": "add_fields", "config": { "fields": [{ "key": "a", "value": { "static": "***" } }] } }])
    );
    assert_eq!(get(&daemon, "/sources/numbers/transforms").await, json!([]));
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (_home, daemon) = home().await;
    for path in [
        "/sinks/none/configs",
        "/sinks/numbers/configs/active",
        "/sinks/lines/configs/1",
        "/sinks/lines/configs/-1",
        "/sinks/lines/configs/99999999999",
        "/sinks/..%2Flines/configs/0",
        "/sinks/none/configs/plugin",
        "/sinks/none/transforms",
    ] {
        let (status, answer) = send(&daemon, Method::GET, path, None).await;
        assert_eq!(
            (status, &answer["code"]),
            (404, &"not_found".into()),
            "{path}"
        );
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_plugins_configuration_is_shown_in_every_format() {
    let (_home, daemon) = home().await;
    let read = async |path: &str| {
        let reply = reqwest::get(daemon.url(path)).await.unwrap();
        let kind = reply.headers()["content-type"].to_str().unwrap().to_owned();
        (reply.status().as_u16(), kind, reply.text().await.unwrap())
    };
    let path = "/sinks/lines/configs/plugin";
    let as_json = r#"{"ledger":"ledger","token":"***","delay_ms":7}"#;
    let expected = |kind: &str, text: &str| (200, kind.to_owned(), text.to_owned());
    assert_eq!(read(path).await, expected("application/json", as_json));
    assert_eq!(
        read(&format!("{path}?format=json")).await,
        expected("application/json", as_json)
    );
    assert_eq!(
        read(&format!("{path}?format=yaml")).await,
        expected(
            "application/yaml",
            "ledger: ledger\ntoken: '***'\ndelay_ms: 7\n"
        )
    );
    assert_eq!(
        read(&format!("{path}?format=toml")).await,
        expected(
            "application/toml",
            "ledger = \"ledger\"\ntoken = \"***\"\ndelay_ms = 7\n"
        )
    );
    let (status, _, text) = read(&format!("{path}?format=text")).await;
    assert_eq!(status, 200);
    assert!(text.contains("\"delay_ms\": 7"), "{text}");
    // Unset, and in the format that it says.
    assert_eq!(
        read("/sources/numbers/configs/plugin").await,
        expected("application/yaml", "{}\n")
    );
    for query in ["format=xml", "fromat=json", "format=json&format=yaml"] {
        let (status, _, text) = read(&format!("{path}?{query}")).await;
        assert_eq!(status, 400, "{query}: {text}");
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_get_returns_can_be_posted_and_keeps_its_secrets() {
    let (home, daemon) = home().await;
    let mut body = body_of(get(&daemon, &format!("{CONFIGS}/active")).await);
    body["name"] = "another".into();
    let (status, stored) = post(&daemon, CONFIGS, &body).await;
    assert_eq!(status, 200, "{stored}");
    assert_eq!(
        (&stored["version"], &stored["name"]),
        (&1.into(), &"another".into())
    );
    assert_eq!(body_of(stored), body);
    assert_eq!(body_of(get(&daemon, &format!("{CONFIGS}/1")).await), body);
    // The file has what `***` stood for: a reference stays one.
    let file = home
        .path()
        .join("local_state/connectors/lines_sink_v1.toml");
    let file = std::fs::read_to_string(file).unwrap();
    assert!(file.contains("hunter2-canary\""), "{file}");
    assert!(file.contains("${env:CANARY}"), "{file}");
    assert!(!file.contains("***"), "{file}");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_hidden_value_that_nothing_is_kept_of_is_refused() {
    let (_home, daemon) = home().await;
    let mut body = body_of(get(&daemon, &format!("{CONFIGS}/active")).await);
    body["plugin_config"]["deed"] = "***".into();
    body["streams"][0]["topics"] = json!(["t", "***"]);
    let (status, answer) = post(&daemon, CONFIGS, &body).await;
    assert_eq!(status, 422, "{answer}");
    let errors = answer["errors"].as_array().unwrap();
    let paths: Vec<_> = errors.iter().map(|error| &error["path"]).collect();
    assert_eq!(paths, ["streams[0].topics[1]", "plugin_config.deed"]);
    assert_eq!(post(&daemon, "/sinks/new/configs", &body).await.0, 422);
    assert_eq!(get(&daemon, CONFIGS).await.as_array().unwrap().len(), 1);
    daemon.interrupt().await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once_and_nothing_is_stored() {
    let (_home, daemon) = home().await;
    let bad = json!({
        "type": "sink",
        "key": "lines",
        "pth": "p",
        "path": "libledger_sink",
        "streams": [{ "stream": "s", "topics": ["t"], "schema": "jsn" }],
        "plugin_config": { "ledgr": "x", "delay_ms": "hunter2-canary" },
    });
    for path in [CONFIGS, "/validate"] {
        let (status, answer) = post(&daemon, path, &bad).await;
        assert_eq!((status, &answer["code"]), (422, &"invalid_document".into()));
        let errors = answer["errors"].as_array().unwrap();
        for (place, code) in [
            ("pth", "unknown_key"),
            ("streams[0].schema", "invalid"),
            ("plugin_config.ledgr", "unknown_key"),
            ("plugin_config.delay_ms", "invalid"),
        ] {
            let found = errors.iter().find(|error| error["path"] == place);
            let found = found.unwrap_or_else(|| panic!("{place}: {answer}"));
            assert_eq!(found["code"], code, "{found}");
            assert!(found["reason"].is_string(), "{found}");
        }
        let misspelt = errors
            .iter()
            .find(|error| error["path"] == "plugin_config.ledgr");
        let suggestion = misspelt.unwrap()["suggestion"].as_str().unwrap();
        assert!(suggestion.contains("`ledger`"), "{suggestion}");
    }
    let missing = json!({ "path": "libnowhere", "streams": [{ "stream": "s", "topics": ["t"] }] });
    let (status, answer) = post(&daemon, CONFIGS, &missing).await;
    assert_eq!(status, 422);
    assert_eq!(answer["errors"][0]["path"], "path", "{answer}");
    assert_eq!(get(&daemon, CONFIGS).await.as_array().unwrap().len(), 1);

    let (status, answer) = post(&daemon, "/validate", &json!({ "path": "p" })).await;
    assert_eq!(status, 422);
    assert_eq!(answer["errors"][0]["path"], "type");
    assert_eq!(answer["errors"][1]["path"], "key");
    let good = json!({
        "type": "sink",
        "key": "new",
        "path": "libledger_sink",
        "streams": [{ "stream": "s", "topics": ["t"] }],
    });
    let (status, answer) = post(&daemon, "/validate", &good).await;
    assert_eq!((status, answer), (200, json!({ "status": "valid" })));
    assert_eq!(send(&daemon, Method::GET, "/sinks/new", None).await.0, 404);
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_new_connector_runs_at_once_and_after_the_next_start() {
    let (home, daemon) = home().await;
    let sink = json!({
        "path": "libledger_sink",
        "streams": [{ "stream": "s", "topics": ["t"], "schema": "raw" }],
        "plugin_config": { "ledger": "new_ledger", "token": "hunter2-canary" },
    });
    let (status, stored) = post(&daemon, "/sinks/new/configs", &sink).await;
    assert_eq!(status, 200, "{stored}");
    assert_eq!(
        (&stored["version"], &stored["active"]),
        (&0.into(), &true.into())
    );
    let runs = |connector: &Value| connector["status"] == "running";
    daemon.wait_for("/sinks/new", runs).await;
    daemon.interrupt().await;
    let daemon = home.start().await;
    daemon.wait_for("/sinks/new", runs).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_disabled_connector_is_listed_and_deleted_with_all_its_versions() {
    let (home, daemon) = home().await;
    let sink = json!({
        "enabled": false,
        "path": "libledger_sink",
        "streams": [{ "stream": "s", "topics": ["t"] }],
    });
    for version in 0..3 {
        let (status, stored) = post(&daemon, "/sinks/new/configs", &sink).await;
        assert_eq!((status, &stored["version"]), (200, &version.into()));
    }
    assert_eq!(get(&daemon, "/sinks/new").await["status"], "stopped");
    let delete = async |query: &str| {
        let path = format!("/sinks/new/configs{query}");
        send(&daemon, Method::DELETE, &path, None).await.0
    };
    assert_eq!(delete("?version=2").await, 409, "it is the active one");
    assert_eq!(delete("?version=0").await, 409, "the connector has it");
    assert_eq!(delete("?version=7").await, 404);
    assert_eq!(delete("?version=x").await, 404);
    assert_eq!(delete("?versoin=1").await, 400);
    assert_eq!(delete("?version=1").await, 204);
    let versions = get(&daemon, "/sinks/new/configs").await;
    assert_eq!(versions.as_array().unwrap().len(), 2);
    assert_eq!(delete("").await, 204);
    for path in ["/sinks/new", "/sinks/new/configs"] {
        assert_eq!(
            send(&daemon, Method::GET, path, None).await.0,
            404,
            "{path}"
        );
    }
    // What stands in the runtime file is removed there.
    assert_eq!(send(&daemon, Method::DELETE, CONFIGS, None).await.0, 409);
    daemon.interrupt().await;
    let daemon = home.start().await;
    assert_eq!(send(&daemon, Method::GET, "/sinks/new", None).await.0, 404);
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_with_its_reason() {
    let (_home, daemon) = home().await;
    let send = async |kind: Option<&str>, body: String| {
        let mut request = reqwest::Client::new().post(daemon.url(CONFIGS)).body(body);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let reply = request.timeout(PATIENCE).send().await.unwrap();
        let status = reply.status().as_u16();
        let answer: Value = reply.json().await.unwrap();
        (status, answer["code"].clone(), answer["reason"].to_string())
    };
    let json = Some("application/json");
    let (status, code, reason) = send(json, "{\n \"path\": }".to_owned()).await;
    assert_eq!((status, code), (400, "invalid".into()));
    assert!(reason.contains("line 2 column 10"), "{reason}");
    let (status, _, reason) = send(json, r#"{"path":"a","path":"b"}"#.to_owned()).await;
    assert_eq!(status, 400, "{reason}");
    assert_eq!(send(json, "[]".to_owned()).await.0, 400);
    let (status, code, _) = send(json, format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20))).await;
    assert_eq!((status, code), (413, "too_large".into()));
    for kind in [None, Some("text/plain")] {
        let (status, code, _) = send(kind, "{}".to_owned()).await;
        assert_eq!((status, code), (415, "unsupported_media_type".into()));
    }
    daemon.interrupt().await;
}
