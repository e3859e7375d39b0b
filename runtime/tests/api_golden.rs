//! The shapes that existing clients rely on, as they stand in `golden`: every answer has what its file has, where and as it is there.
//! What an answer has besides is printed: fields may be added. With `WRITE_GOLDEN=1` the files are written anew, to be read before they
//! are kept.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]
#![expect(clippy::print_stderr, reason = "added fields are shown")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use std::{fs, path::PathBuf};

use harness::daemon::{Daemon, Home};
use reqwest::{Client, Method};
use serde_json::{Map, Value, json};

/// Of each direction one connector with everything that may be left out, one with nothing of it, and one that cannot run or does not.
const CONFIG: &str = r#"
[iggy.embedded]
enabled = true

[sources.full]
name = "Full source"
version = 3
path = "libiggy_connector_random_source"
plugin_config_format = "yaml"
verbose = true
benchmark = true
[[sources.full.streams]]
stream = "s"
topic = "t"
schema = "json"
batch_length = 100
poll_interval = "20ms"
partitions = 1
[[sources.full.transforms]]
type = "add_fields"
fields = [{ key = "a", value.static = 1 }]
[sources.full.plugin_config]
interval = "1ms"
max_count = 20
messages_range = [20, 21]
[sources.full.restart]
policy = "never"

[sources.plain]
path = "libscripted_source"
enabled = false
[[sources.plain.streams]]
stream = "s"
topic = "t"
schema = "text"

[sources.lost]
path = "libnowhere"
[[sources.lost.streams]]
stream = "s"
topic = "t"
schema = "text"

[sinks.full]
name = "Full sink"
version = 3
path = "libledger_sink"
plugin_config_format = "toml"
verbose = true
benchmark = true
[[sinks.full.streams]]
stream = "s"
topics = ["t"]
schema = "json"
batch_length = 100
poll_interval = "20ms"
consumer_group = "group"
[sinks.full.transforms.delete_fields]
fields = ["a"]
[sinks.full.transforms.add_fields]
fields = [{ key = "b", value.static = "text" }]
[sinks.full.plugin_config]
ledger = "ledger"
token = "not to be shown"
[sinks.full.dlq]
stream = "dead"
[sinks.full.restart]
policy = "never"

[sinks.plain]
path = "libscripted_sink"
enabled = false
[[sinks.plain.streams]]
stream = "s"
topics = ["t"]
schema = "text"

[sinks.lost]
path = "libnowhere"
[[sinks.lost.streams]]
stream = "s"
topics = ["t"]
schema = "text"
"#;

/// Messages that go through the full ones.
const MESSAGES: u64 = 20;

/// Differ from run to run, from machine to machine and from release to release, or are for people: only their type is compared.
const VOLATILE: [&str; 19] = [
    "available_memory",
    "connectors_runtime_version",
    "connectors_runtime_version_semver",
    "cpu_usage",
    "id",
    "memory_usage",
    "message",
    "next_restart_at",
    "process_id",
    "reason",
    "run_time",
    "start_time",
    "suggestion",
    "tasks",
    "timestamp",
    "total_cpu_usage",
    "total_memory",
    "plugin_version",
    "version_semver",
];

/// Stands in a golden file for a field that must not be there.
const ABSENT: &str = "<absent>";
/// What connectors have only sometimes.
const OPTIONAL: [&str; 2] = ["last_error", "plugin_config_format"];
/// What only one direction counts.
const COUNTS: [&str; 4] = [
    "messages_produced",
    "messages_sent",
    "messages_consumed",
    "messages_processed",
];

/// A request, and the file with its answer.
struct Case {
    golden: String,
    method: Method,
    path: String,
    body: Option<Value>,
    /// Sent with the request.
    header: Option<(&'static str, &'static str)>,
}

fn get(golden: &str, path: &str) -> Case {
    Case {
        golden: golden.to_owned(),
        method: Method::GET,
        path: path.to_owned(),
        body: None,
        header: None,
    }
}

fn send(golden: &str, method: Method, path: &str, body: Option<Value>) -> Case {
    Case {
        method,
        body,
        ..get(golden, path)
    }
}

fn shapes() -> Vec<Case> {
    let mut cases = vec![get("stats", "/stats"), get("health", "/health")];
    for kind in ["sink", "source"] {
        cases.push(get(&format!("{kind}s"), &format!("/{kind}s")));
        for key in ["full", "plain", "lost"] {
            let name = format!("{kind}_{key}");
            let path = format!("/{kind}s/{key}");
            cases.push(get(&name, &path));
            for (what, rest) in [
                ("config", "configs/active"),
                ("configs", "configs"),
                ("transforms", "transforms"),
            ] {
                cases.push(get(&format!("{name}_{what}"), &format!("{path}/{rest}")));
            }
            // What cannot run has a plugin configuration like any other.
            let formats = match key {
                "lost" => &[][..],
                _ => &[
                    "",
                    "?format=json",
                    "?format=yaml",
                    "?format=toml",
                    "?format=text",
                ],
            };
            for format in formats {
                let of = format.split('=').nth(1).unwrap_or("default");
                let golden = format!("{name}_plugin_config_{of}");
                cases.push(get(&golden, &format!("{path}/configs/plugin{format}")));
            }
        }
    }
    cases
}

fn errors() -> Vec<Case> {
    let streams = json!([{ "stream": "s", "topics": ["t"], "schema": "raw" }]);
    let misfit = json!({ "nmae": "x", "streams": streams });
    let full = "/sinks/full/configs";
    vec![
        get("error_no_connector", "/sinks/nobody"),
        get("error_no_route", "/nowhere"),
        get("error_no_version", "/sinks/full/configs/9"),
        get("error_bad_version", "/sinks/full/configs/x"),
        get("error_not_ready", "/ready"),
        send("error_method", Method::POST, "/stats", None),
        send("error_stopped", Method::POST, "/sinks/plain/pause", None),
        send("error_document", Method::POST, full, Some(misfit)),
        send(
            "error_active",
            Method::DELETE,
            "/sinks/full/configs?version=3",
            None,
        ),
        Case {
            header: Some(("origin", "https://example.com")),
            ..get("error_foreign", "/stats")
        },
        Case {
            header: Some(("content-type", "text/plain")),
            ..send("error_type", Method::POST, full, None)
        },
    ]
}

/// Commands answer with the connector; those that change a version with its document.
fn changes() -> Vec<Case> {
    let mut cases = vec![];
    for (kind, path, stream) in [
        (
            "sink",
            "libscripted_sink",
            json!({ "stream": "s", "topics": ["t"], "schema": "raw" }),
        ),
        (
            "source",
            "libscripted_source",
            json!({ "stream": "s", "topic": "t", "schema": "raw" }),
        ),
    ] {
        let document = json!({ "path": path, "enabled": false, "streams": [stream] });
        let made = format!("/{kind}s/made/configs");
        let active = format!("{made}/active");
        cases.extend([
            send(
                &format!("{kind}_stop"),
                Method::POST,
                &format!("/{kind}s/plain/stop"),
                None,
            ),
            send(
                &format!("{kind}_created"),
                Method::POST,
                &made,
                Some(document),
            ),
            send(
                &format!("{kind}_activated"),
                Method::PUT,
                &active,
                Some(json!({ "version": 0 })),
            ),
        ]);
    }
    cases
}

impl Case {
    /// The answer: its status, its type, and its body, as JSON where it is.
    async fn answer(&self, daemon: &Daemon) -> Value {
        let mut request = Client::new().request(self.method.clone(), daemon.url(&self.path));
        if let Some((name, value)) = self.header {
            request = request.header(name, value);
        }
        if let Some(body) = &self.body {
            request = request.json(body);
        }
        let reply = request.send().await.unwrap();
        let status = reply.status().as_u16();
        let content_type = reply.headers().get("content-type").cloned();
        let content_type = content_type.map(|kind| kind.to_str().unwrap().to_owned());
        let text = reply.text().await.unwrap();
        let body = match content_type.as_deref() {
            Some("application/json") => serde_json::from_str(&text).unwrap(),
            _ => Value::from(text),
        };
        json!({ "status": status, "content_type": content_type, "body": body })
    }

    fn file(&self) -> PathBuf {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        folder.join(format!("{}.json", self.golden))
    }

    /// What of the golden answer is not there or is something else.
    async fn flaws(&self, daemon: &Daemon) -> Vec<String> {
        let answer = steady(self.answer(daemon).await);
        if std::env::var_os("WRITE_GOLDEN").is_some() {
            let text = serde_json::to_string_pretty(&with_absent(answer.clone())).unwrap();
            fs::write(self.file(), text + "\n").unwrap();
        }
        let golden = fs::read_to_string(self.file());
        let golden = golden.unwrap_or_else(|error| panic!("{}: {error}", self.file().display()));
        let golden = serde_json::from_str(&golden).unwrap();
        let mut found = Found::default();
        found.compare(&golden, &answer, &self.golden);
        for added in found.added {
            eprintln!("added: {added}");
        }
        found.flaws
    }
}

/// The value with types in place of what is volatile.
fn steady(value: Value) -> Value {
    match value {
        Value::Object(table) => Value::Object(table.into_iter().map(steady_field).collect()),
        Value::Array(list) => list.into_iter().map(steady).collect(),
        other => other,
    }
}

fn steady_field((key, value): (String, Value)) -> (String, Value) {
    let value = match &value {
        Value::Number(_) if VOLATILE.contains(&&*key) => "<number>".into(),
        Value::String(_) if VOLATILE.contains(&&*key) => "<text>".into(),
        // The version of a plugin is a text, that of a document a number.
        Value::String(_) if key == "version" => "<text>".into(),
        _ => steady(value),
    };
    (key, value)
}

/// Names what a connector may have and this one has not: left out is not null.
fn with_absent(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(with_absent).collect(),
        Value::Object(table) => {
            let table = table.into_iter();
            let mut table: Map<_, _> = table.map(|(key, it)| (key, with_absent(it))).collect();
            if table.contains_key("key") && table.contains_key("status") {
                let optional = match table.contains_key("connector_type") {
                    true => &COUNTS[..],
                    false => &OPTIONAL[..],
                };
                for key in optional {
                    table.entry(*key).or_insert(ABSENT.into());
                }
            }
            Value::Object(table)
        }
        other => other,
    }
}

/// What a comparison has found, by the places of it.
#[derive(Default)]
struct Found {
    flaws: Vec<String>,
    added: Vec<String>,
}

impl Found {
    fn compare(&mut self, golden: &Value, answer: &Value, at: &str) {
        match (golden, answer) {
            (Value::Object(golden), Value::Object(answer)) => self.tables(golden, answer, at),
            (Value::Array(golden), Value::Array(answer)) if golden.len() == answer.len() => {
                for (index, (golden, answer)) in golden.iter().zip(answer).enumerate() {
                    self.compare(golden, answer, &format!("{at}[{index}]"));
                }
            }
            _ if golden == answer => {}
            _ => self.flaws.push(format!("{at}: {golden} became {answer}")),
        }
    }

    fn tables(&mut self, golden: &Map<String, Value>, answer: &Map<String, Value>, at: &str) {
        for (key, value) in golden {
            let place = format!("{at}.{key}");
            match answer.get(key) {
                None if value == ABSENT => {}
                None => self.flaws.push(format!("{place} is missing")),
                Some(found) => self.compare(value, found, &place),
            }
        }
        let added = answer.keys().filter(|key| !golden.contains_key(*key));
        self.added.extend(added.map(|key| format!("{at}.{key}")));
    }
}

#[tokio::test]
async fn the_shapes_that_clients_rely_on_are_kept() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    for (key, count) in [
        ("messages_sent", "sources"),
        ("messages_processed", "sinks"),
    ] {
        let through = |stats: &Value| {
            let connectors = stats["connectors"].as_array().unwrap().iter();
            connectors.filter(|it| it[key] == MESSAGES).count() == 1
        };
        daemon.wait_for("/stats", through).await;
        let failed = |connector: &Value| connector["last_error"].is_object();
        daemon.wait_for(&format!("/{count}/lost"), failed).await;
        let runs = |connector: &Value| connector["status"] == "running";
        daemon.wait_for(&format!("/{count}/full"), runs).await;
    }
    let mut flaws = vec![];
    for case in shapes().into_iter().chain(errors()).chain(changes()) {
        flaws.extend(case.flaws(&daemon).await);
    }
    assert!(flaws.is_empty(), "{flaws:#?}");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_request_without_the_key_is_refused_in_the_same_shape() {
    let mut home = Home::new("[iggy.embedded]\nenabled = true\n");
    home.set("IGGY_CONNECTORS_HTTP_API_KEY", "right");
    let daemon = home.start().await;
    let flaws = get("error_key", "/stats").flaws(&daemon).await;
    assert!(flaws.is_empty(), "{flaws:#?}");
    daemon.interrupt().await;
}

#[test]
fn a_field_that_is_missing_renamed_or_of_another_type_is_found_and_an_added_one_is_shown() {
    let golden =
        json!({ "key": "k", "list": [{ "id": "<number>" }], "gone": ABSENT, "none": null });
    let found = |answer: Value| {
        let mut found = Found::default();
        found.compare(&golden, &steady(answer), "it");
        (found.flaws.len(), found.added)
    };
    let same = json!({ "key": "k", "list": [{ "id": 7 }], "none": null });
    assert_eq!(found(same.clone()), (0, vec![]));
    let change = |change: fn(&mut Value)| {
        let mut answer = same.clone();
        change(&mut answer);
        found(answer)
    };
    assert_eq!(change(|it| it["key"] = 1.into()).0, 1);
    assert_eq!(change(|it| it["list"][0]["id"] = "7".into()).0, 1);
    assert_eq!(change(|it| it["list"] = json!([])).0, 1);
    assert_eq!(change(|it| it["none"] = 0.into()).0, 1);
    assert_eq!(change(|it| it["gone"] = 0.into()).0, 1);
    let missing = |it: &mut Value| {
        it.as_object_mut().unwrap().remove("none");
    };
    assert_eq!(change(missing).0, 1);
    let added = change(|it| it["list"][0]["more"] = 0.into());
    assert_eq!(added, (0, vec!["it.list[0].more".to_owned()]));
}
