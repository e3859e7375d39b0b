//! The API does what its OpenAPI document says: every operation is driven against a live daemon, and every answer has a status and a
//! shape that are described.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use std::collections::BTreeSet;

use harness::daemon::{Daemon, Home};
use jsonschema::Validator;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

const JSON: &str = "application/json";

/// A daemon without connectors.
const EMPTY: &str = "[iggy.embedded]\nenabled = true\n";

/// Two connectors that run, and one of each direction that cannot: so that everything that may be left out is somewhere there.
const CONFIG: &str = r#"
[iggy.embedded]
enabled = true
[http.metrics]
enabled = true

[sources.numbers]
path = "libledger_source"
plugin_config_format = "toml"
[[sources.numbers.streams]]
stream = "s"
topic = "t"
schema = "raw"
[sources.numbers.plugin_config]
until = "until"
acked = "acked"
deed = "source_deed"

[sources.lost]
path = "libnowhere"
[[sources.lost.streams]]
stream = "s"
topic = "lost"
schema = "json"

[sinks.lines]
path = "libledger_sink"
[[sinks.lines.streams]]
stream = "s"
topics = ["t"]
schema = "raw"
[sinks.lines.plugin_config]
ledger = "ledger"
deed = "sink_deed"

[sinks.off]
path = "libnowhere"
enabled = false
[[sinks.off.streams]]
stream = "s"
topics = ["t"]
schema = "text"
"#;

/// A request that must be answered with that status. The first ones run in order, on one daemon.
struct Case {
    operation: &'static str,
    path: String,
    /// Sent as this media type.
    body: Option<(&'static str, String)>,
    status: u16,
}

fn case(operation: &'static str, path: &str, status: u16) -> Case {
    Case {
        operation,
        path: path.to_owned(),
        body: None,
        status,
    }
}

fn sent(operation: &'static str, path: &str, body: &Value, status: u16) -> Case {
    Case {
        body: Some((JSON, body.to_string())),
        ..case(operation, path, status)
    }
}

/// Every operation at least once as it is meant to be used, and every refusal that a request alone can bring about.
fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("welcome", "/", 200),
        case("docs", "/docs", 200),
        case("openapi", "/openapi.json", 200),
        case("health", "/health", 200),
        case("ready", "/ready", 503),
        case("stats", "/stats", 200),
        case("metrics", "/metrics", 200),
        case("list_loggers", "/loggers", 200),
        case("list_plugins", "/plugins", 200),
        case("get_plugin", "/plugins/iggy_connector_stdout_sink", 200),
        case("get_plugin", "/plugins/nobody", 404),
        case("get_plugin", "/plugins/%FF", 400),
        case("list_sinks", "/sinks", 200),
        case("list_sources", "/sources", 200),
        case("get_sink", "/sinks/lines", 200),
        case("get_sink", "/sinks/off", 200),
        case("get_source", "/sources/numbers", 200),
        case("get_source", "/sources/lost", 200),
        case("get_sink", "/sinks/nobody", 404),
        case("get_sink", "/sinks/%FF", 400),
        case("get_source", "/sources/lines", 404),
        case("get_source", "/sources/%FF", 400),
    ];
    for (kind, key) in [("sink", "lines"), ("source", "numbers")] {
        cases.extend(offsets(kind, key, 409));
        for (command, status) in [
            ("pause", 202),
            ("resume", 202),
            ("restart", 202),
            ("stop", 202),
        ] {
            cases.extend(commands(kind, command, key, status));
        }
        cases.push(stopped(kind, "pause", key));
        cases.push(stopped(kind, "resume", key));
        cases.extend(offsets(kind, key, if kind == "sink" { 200 } else { 204 }));
        cases.extend(commands(kind, "start", key, 202));
        cases.extend(versions(kind, key));
        cases.extend(changes(kind, key));
    }
    let document = json!({ "type": "sink", "key": "new" });
    cases.extend(bodies("validate", "/validate"));
    let logger = "/loggers/iggy_connectors::stream";
    cases.extend(bodies("set_logger", logger));
    let change = json!({ "level": "debug", "for": "5m" });
    cases.push(sent("set_logger", logger, &change, 200));
    cases.push(sent("validate", "/validate", &document, 422));
    cases.push(sent("validate", "/validate", &new("sink"), 200));
    cases
}

/// A command to the connector, and to none.
fn commands(kind: &str, command: &str, key: &str, status: u16) -> [Case; 3] {
    let operation = named(kind, command);
    [
        case(operation, &format!("/{kind}s/{key}/{command}"), status),
        case(operation, &format!("/{kind}s/nobody/{command}"), 404),
        case(operation, &format!("/{kind}s/%FF/{command}"), 400),
    ]
}

/// Where a connector stands, and a reset that is answered with that status.
fn offsets(kind: &str, key: &str, status: u16) -> Vec<Case> {
    let get: &'static str = format!("get_{kind}_offsets").leak();
    let forget: &'static str = format!("forget_{kind}_offsets").leak();
    let of = |key: &str| format!("/{kind}s/{key}/offsets");
    let mut cases = vec![case(forget, &of(key), status)];
    for (key, shown) in [(key, 200), ("nobody", 404), ("%FF", 400)] {
        cases.push(case(get, &of(key), shown));
    }
    for (key, refused) in [("nobody", 404), ("%FF", 400)] {
        cases.push(case(forget, &of(key), refused));
    }
    if kind == "source" {
        return cases;
    }
    let (reset, to_last) = ("reset_sink_offsets", json!({ "to": "last" }));
    cases.extend(bodies(reset, &of(key)));
    cases.extend([
        sent(reset, &of(key), &to_last, status),
        sent(
            reset,
            &format!("{}?dry_run=true", of(key)),
            &to_last,
            status,
        ),
        sent(reset, &of("nobody"), &to_last, 404),
        sent(reset, &of(key), &json!({ "to": "there" }), 422),
        case(forget, &format!("{}?dry_run=true", of(key)), status),
        case(forget, &format!("{}?what", of(key)), 400),
    ]);
    cases
}

/// What is shown of a connector's versions.
fn versions(kind: &str, key: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, rest) in [
        (format!("list_{kind}_configs"), "configs"),
        (format!("get_{kind}_config"), "configs/0"),
        (format!("get_{kind}_active_config"), "configs/active"),
        (format!("get_{kind}_plugin_config"), "configs/plugin"),
        (format!("get_{kind}_transforms"), "transforms"),
    ] {
        let operation: &'static str = what.leak();
        for (key, status) in [(key, 200), ("nobody", 404), ("%FF", 400)] {
            cases.push(case(operation, &format!("/{kind}s/{key}/{rest}"), status));
        }
    }
    let plugin: &'static str = format!("get_{kind}_plugin_config").leak();
    for (format, status) in [
        ("json", 200),
        ("yaml", 200),
        ("toml", 200),
        ("text", 200),
        ("xml", 400),
    ] {
        let path = format!("/{kind}s/{key}/configs/plugin?format={format}");
        cases.push(case(plugin, &path, status));
    }
    cases
}

/// A connector that is made, changed and deleted.
fn changes(kind: &str, other: &str) -> Vec<Case> {
    let create: &'static str = format!("create_{kind}_config").leak();
    let delete: &'static str = format!("delete_{kind}_config").leak();
    let path = format!("/{kind}s/new/configs");
    let mut cases = bodies(create, &path);
    // It stands in the runtime file, and nothing was stored before.
    cases.push(case(delete, &format!("/{kind}s/{other}/configs"), 409));
    cases.extend([
        sent(create, &path, &json!({}), 422),
        sent(create, &path, &new(kind), 200),
        sent(
            create,
            &format!("/{kind}s/not%20a%20key/configs"),
            &new(kind),
            404,
        ),
    ]);
    cases.extend(activations(kind, create, &path));
    cases.extend([
        case(delete, &format!("{path}?version=0"), 409),
        case(delete, &format!("{path}?what"), 400),
        case(delete, &path, 204),
        case(delete, &path, 404),
    ]);
    cases
}

/// Versions of the new connector, of which the second does not open.
fn activations(kind: &str, create: &'static str, configs: &str) -> Vec<Case> {
    let activate: &'static str = format!("activate_{kind}_config").leak();
    let path = format!("{configs}/active");
    let mut bad = new(kind);
    bad["enabled"] = true.into();
    bad["plugin_config"]["open"] = "fatal".into();
    let mut cases = bodies(activate, &path);
    cases.extend([
        sent(activate, &path, &json!({ "version": 0 }), 200),
        sent(create, configs, &bad, 200),
        sent(activate, &path, &json!({ "version": 1 }), 409),
        sent(activate, &path, &json!({ "version": 7 }), 404),
        sent(activate, &path, &json!({}), 400),
        sent(
            activate,
            &format!("{path}?restart=false"),
            &json!({ "version": 0 }),
            200,
        ),
    ]);
    cases
}

/// A document that is disabled, so that nothing of it is started.
fn new(kind: &str) -> Value {
    let (stream, plugin_config) = match kind {
        "sink" => (
            json!({ "stream": "s", "topics": ["t"], "schema": "raw" }),
            json!({ "ledger": "new", "deed": "new" }),
        ),
        _ => (
            json!({ "stream": "s", "topic": "t", "schema": "raw" }),
            json!({ "until": "until", "acked": "new", "deed": "new" }),
        ),
    };
    json!({
        "type": kind,
        "key": "new",
        "enabled": false,
        "path": format!("libledger_{kind}"),
        "plugin_config": plugin_config,
        "streams": [stream],
    })
}

/// Bodies that no route takes.
fn bodies(operation: &'static str, path: &str) -> Vec<Case> {
    let with = |kind, body: &str, status| Case {
        body: Some((kind, body.to_owned())),
        ..case(operation, path, status)
    };
    vec![with(JSON, "{", 400), with("text/plain", "{}", 415)]
}

fn stopped(kind: &str, command: &str, key: &str) -> Case {
    case(
        named(kind, command),
        &format!("/{kind}s/{key}/{command}"),
        409,
    )
}

fn named(kind: &str, command: &str) -> &'static str {
    format!("{command}_{kind}").leak()
}

/// The generated document, with every object closed: an answer may have nothing that is not described.
struct Document(Value);

/// One operation: where it is and what it says of itself.
struct Operation<'a> {
    id: &'a str,
    path: &'a str,
    method: Method,
    described: &'a Value,
}

impl Document {
    async fn of(daemon: &Daemon) -> Self {
        let mut document = daemon.get("/openapi.json").await;
        for (_, schema) in document["components"]["schemas"].as_object_mut().unwrap() {
            close(schema);
        }
        Self(document)
    }

    fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().iter();
                methods.map(move |(method, described)| Operation {
                    id: described["operationId"].as_str().unwrap(),
                    path,
                    method: method.to_uppercase().parse().unwrap(),
                    described,
                })
            })
            .collect()
    }

    fn operation(&self, id: &str) -> Operation<'_> {
        let found = self.operations().into_iter().find(|it| it.id == id);
        found.unwrap_or_else(|| panic!("no operation is called {id}"))
    }

    /// Sends a request and holds the answer against the document. Returns its status.
    async fn judge(&self, operation: &Operation<'_>, request: RequestBuilder) -> u16 {
        let reply = request.send().await.unwrap();
        let status = reply.status().as_u16();
        let name = format!("{} {} {}", operation.method, reply.url().path(), status);
        let described = &operation.described["responses"][status.to_string()];
        assert!(described.is_object(), "{name} is not described");
        let media_type = reply.headers().get("content-type").cloned();
        let body = reply.bytes().await.unwrap();
        let Some(media_type) = media_type else {
            assert!(described["content"].is_null(), "{name} has no body");
            assert!(body.is_empty(), "{name} has a body of no type");
            return status;
        };
        let media_type = media_type.to_str().unwrap();
        let schema = &described["content"][media_type]["schema"];
        assert!(
            !schema.is_null(),
            "{name} does not describe {media_type}: {}",
            String::from_utf8_lossy(&body)
        );
        let answer = match media_type {
            "application/json" => serde_json::from_slice(&body).unwrap(),
            _ => Value::from(String::from_utf8(body.to_vec()).unwrap()),
        };
        let flaws: Vec<_> = self
            .validator(schema)
            .iter_errors(&answer)
            .map(|flaw| format!("{}: {flaw}", flaw.instance_path()))
            .collect();
        assert!(flaws.is_empty(), "{name}: {flaws:#?}\n{answer:#}");
        status
    }

    fn validator(&self, schema: &Value) -> Validator {
        let whole = json!({ "allOf": [schema], "components": self.0["components"] });
        jsonschema::draft202012::new(&whole).unwrap()
    }
}

/// Forbids what an object's schema does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".to_owned(), false.into());
            }
            map.values_mut().for_each(close);
        }
        Value::Array(parts) => parts.iter_mut().for_each(close),
        _ => {}
    }
}

/// A path of the document, with names in place of its parameters.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.starts_with('{') {
        true => "nobody",
        false => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_operation_answers_as_the_document_says() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    daemon
        .wait_for_stats("lines", |stats| {
            stats["messages_processed"].as_u64() > Some(0)
        })
        .await;
    daemon
        .wait_for("/sources/lost", |source| source["last_error"].is_object())
        .await;
    let document = Document::of(&daemon).await;
    // A refused body may end its connection, which must not be used again.
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let mut driven = BTreeSet::new();
    for case in cases() {
        let operation = document.operation(case.operation);
        let mut request = client.request(operation.method.clone(), daemon.url(&case.path));
        if let Some((kind, body)) = &case.body {
            request = request.header("content-type", *kind).body(body.clone());
        }
        let status = document.judge(&operation, request).await;
        assert_eq!(status, case.status, "{} {}", operation.method, case.path);
        driven.insert((operation.id.to_owned(), status));
        // What a command sets in motion has to end before the next one: one that is on its way is not yet stopped.
        if case.path.ends_with("/stop") && status == 202 {
            let connector = case.path.trim_end_matches("/stop");
            daemon
                .wait_for(connector, |found| found["status"] == "stopped")
                .await;
        }
    }
    for operation in document.operations() {
        let statuses = operation.described["responses"].as_object().unwrap().keys();
        for status in statuses.map(|status| status.parse::<u16>().unwrap()) {
            // A request alone brings about none of these: the key and strangers' pages have tests of their own, others need a full
            // disk, a client that is slow or sends too much, a service, or two who change the same.
            let is_elsewhere = match status {
                401 | 403 | 408 | 413 | 500 | 502 | 503 => true,
                409 => operation.id.starts_with("create_"),
                // A version that is bad is not stored.
                422 => operation.id.starts_with("activate_"),
                200 => operation.id == "ready",
                _ => false,
            };
            assert!(
                is_elsewhere || driven.contains(&(operation.id.to_owned(), status)),
                "nothing here makes {} {} answer {status}",
                operation.method,
                operation.path
            );
        }
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_daemon_that_is_ready_says_so_as_described() {
    let home = Home::new(EMPTY);
    let daemon = home.start().await;
    let document = Document::of(&daemon).await;
    let ready = document.operation("ready");
    let request = reqwest::Client::new().get(daemon.url("/ready"));
    assert_eq!(document.judge(&ready, request).await, 200);
    daemon.interrupt().await;
}

#[tokio::test]
async fn every_operation_refuses_pages_of_strangers() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    let document = Document::of(&daemon).await;
    let client = Client::new();
    for operation in document.operations() {
        let request = client
            .request(
                operation.method.clone(),
                daemon.url(&filled(operation.path)),
            )
            .header("origin", "https://example.com");
        assert_eq!(document.judge(&operation, request).await, 403);
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn every_operation_but_the_public_ones_asks_for_the_key() {
    let mut home = Home::new(CONFIG);
    let open = home.start().await;
    let document = Document::of(&open).await;
    open.interrupt().await;
    home.set("IGGY_CONNECTORS_HTTP_API_KEY", "right");
    let daemon = home.start().await;
    let client = Client::new();
    let mut public = Vec::new();
    for operation in document.operations() {
        let url = daemon.url(&filled(operation.path));
        let request = client.request(operation.method.clone(), url);
        let needs_key = operation.described["security"].is_array();
        let is_refused = document.judge(&operation, request).await == 401;
        assert_eq!(is_refused, needs_key, "{}", operation.path);
        if !needs_key {
            public.push(operation.path);
        }
    }
    // The page by itself shows nothing of this daemon.
    assert_eq!(public, ["/", "/health", "/ready", "/docs"]);
    daemon.interrupt().await;
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let home = Home::new(EMPTY);
    let daemon = home.start().await;
    let reply = reqwest::get(daemon.url("/docs")).await.unwrap();
    let policy = reply.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = reply.text().await.unwrap();
    assert!(page.contains("fetch(\"/openapi.json\""), "{page}");
    assert!(!page.contains("://"), "{page}");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_refused_document_says_how_much_is_wrong_with_it() {
    let home = Home::new(EMPTY);
    let daemon = home.start().await;
    let request = Client::new().post(daemon.url("/validate")).json(&json!({}));
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["errors"].as_array().unwrap().len(), 2, "{answer}");
    assert_eq!(answer["reason"], "the document cannot be used: 2 problems");
    daemon.interrupt().await;
}
