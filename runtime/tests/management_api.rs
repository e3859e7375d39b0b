//! The management API as a client sees it: shapes, keys, pages of strangers.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use harness::daemon::Home;
use reqwest::{Client, StatusCode};
use serde_json::Value;

const SHIPPED: &str = include_str!("../../config.toml");

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn shapes_that_clients_rely_on_are_kept() {
    let home = Home::new(SHIPPED);
    let daemon = home.start().await;
    daemon
        .wait_for_stats("stdout", |stats| {
            stats["messages_processed"].as_u64() > Some(0)
        })
        .await;
    let stats = daemon.get("/stats").await;
    for key in [
        "connectors_runtime_version",
        "connectors_runtime_version_semver",
        "process_id",
        "cpu_usage",
        "total_cpu_usage",
        "memory_usage",
        "total_memory",
        "available_memory",
        "run_time",
        "start_time",
        "sources_total",
        "sources_running",
        "sinks_total",
        "sinks_running",
        "connectors",
    ] {
        assert!(!stats[key].is_null(), "{key} of {stats}");
    }
    assert_eq!(stats["process_id"], daemon.pid());
    assert_eq!(
        (&stats["sinks_total"], &stats["sources_total"]),
        (&1.into(), &1.into())
    );
    let sinks = daemon.get("/sinks").await;
    assert_eq!(
        keys(&sinks[0]),
        [
            "id",
            "key",
            "name",
            "path",
            "config_version",
            "enabled",
            "status",
            "target",
            "healthy"
        ]
    );
    let source = daemon.get("/sources/random").await;
    assert_eq!(source["key"], "random");
    assert_eq!(source["streams"][0]["topic"], "example_topic");
    let health = daemon.get("/health").await;
    assert_eq!(health["connectors"]["running"], 2, "{health}");
    daemon.interrupt().await;
}

#[tokio::test]
async fn unknown_routes_and_connectors_answer_with_a_code_and_a_reason() {
    let home = Home::new(SHIPPED);
    let daemon = home.start().await;
    for path in ["/sinks/nobody", "/sources/stdout", "/nowhere"] {
        let reply = reqwest::get(daemon.url(path)).await.unwrap();
        assert_eq!(reply.status(), StatusCode::NOT_FOUND, "{path}");
        let body: Value = reply.json().await.unwrap();
        assert_eq!(body["code"], "not_found", "{path}: {body}");
        assert!(body["reason"].is_string(), "{path}: {body}");
    }
    let reply = Client::new()
        .post(daemon.url("/stats"))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED);
    daemon.interrupt().await;
}

#[tokio::test]
async fn without_a_key_strangers_pages_are_refused() {
    let home = Home::new(SHIPPED);
    let daemon = home.start().await;
    let client = Client::new();
    for (name, value) in [
        ("origin", "https://example.com"),
        ("host", "rebound.example.com"),
    ] {
        let reply = client
            .get(daemon.url("/stats"))
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
    let reply = client
        .get(daemon.url("/stats"))
        .header("origin", "http://localhost:3000")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    daemon.interrupt().await;
}

#[tokio::test]
async fn with_a_key_only_its_holder_is_answered() {
    let mut home = Home::new(SHIPPED);
    home.set("IGGY_CONNECTORS_HTTP_API_KEY", "c4nary");
    let daemon = home.start().await;
    let client = Client::new();
    for (path, key, expected) in [
        ("/", None, StatusCode::OK),
        ("/health", None, StatusCode::OK),
        ("/stats", None, StatusCode::UNAUTHORIZED),
        ("/sinks", Some("wrong"), StatusCode::UNAUTHORIZED),
        ("/sources/random", Some(""), StatusCode::UNAUTHORIZED),
        ("/stats", Some("c4nary"), StatusCode::OK),
    ] {
        let mut request = client.get(daemon.url(path));
        if let Some(key) = key {
            request = request.header("api-key", key);
        }
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), expected, "{path} with {key:?}");
    }
    assert!(
        !daemon.stderr().text().contains("c4nary"),
        "the key is logged"
    );
    daemon.interrupt().await;
}

#[tokio::test]
async fn without_a_key_only_loopback_is_bound() {
    let mut home = Home::new(SHIPPED);
    home.set("IGGY_CONNECTORS_HTTP_ADDRESS", "0.0.0.0:0");
    let mut daemon = home.spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    daemon.output_closed().await;
    let text = daemon.stderr().text();
    assert!(
        text.contains("http.api_key") && text.contains("127.0.0.1"),
        "{text}"
    );
}

#[tokio::test]
async fn logs_are_json_when_asked_for() {
    let mut home = Home::new(SHIPPED);
    home.set("IGGY_CONNECTORS_LOGGING_FORMAT", "json");
    let daemon = home.spawn();
    let line = daemon.stderr().wait_for("opened the random source").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "INFO", "{line}");
    assert_eq!(line["span"]["key"], "random", "{line}");
    daemon.interrupt().await;
}
