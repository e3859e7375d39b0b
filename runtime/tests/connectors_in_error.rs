//! A connector that cannot start is listed with its reason, and the others run.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
    pub mod port;
}

use harness::{
    daemon::{Daemon, Home},
    port::Port,
};
use serde_json::Value;

const SHIPPED: &str = include_str!("../../config.toml");

async fn sink(daemon: &Daemon, key: &str) -> Value {
    daemon.get(&format!("/sinks/{key}")).await
}

fn reason(connector: &Value) -> &str {
    assert_eq!(connector["status"], "error", "{connector}");
    assert!(
        connector["last_error"]["timestamp"].as_u64() > Some(0),
        "{connector}"
    );
    connector["last_error"]["message"].as_str().unwrap()
}

#[tokio::test]
async fn a_missing_library_a_wrong_config_and_an_unknown_key_leave_the_others_running() {
    let broken = r#"
[sinks.missing]
path = "libiggy_connector_nowhere_sink"
[[sinks.missing.streams]]
stream = "example_stream"
topics = ["example_topic"]
schema = "json"

[sinks.wrong_direction]
path = "libiggy_connector_random_source"
[[sinks.wrong_direction.streams]]
stream = "example_stream"
topics = ["example_topic"]
schema = "json"

[sinks.wrong_config]
path = "libiggy_connector_stdout_sink"
[[sinks.wrong_config.streams]]
stream = "example_stream"
topics = ["example_topic"]
schema = "json"
[sinks.wrong_config.plugin_config]
print_payload = "s3cret"

[sinks.unknown_transform]
path = "libiggy_connector_stdout_sink"
[[sinks.unknown_transform.streams]]
stream = "example_stream"
topics = ["example_topic"]
schema = "json"
[sinks.unknown_transform.transforms.ad_fields]
fields = []

[sinks.off]
enabled = false
path = "libiggy_connector_nowhere_sink"
[[sinks.off.streams]]
stream = "example_stream"
topics = ["example_topic"]
schema = "json"
"#;
    let home = Home::new(&format!("{SHIPPED}\n{broken}"));
    let daemon = home.start().await;
    daemon
        .wait_for_stats("stdout", |stats| {
            stats["messages_processed"].as_u64() > Some(0)
        })
        .await;
    for key in [
        "missing",
        "wrong_direction",
        "wrong_config",
        "unknown_transform",
    ] {
        daemon
            .wait_for_stats(key, |stats| stats["status"] == "error")
            .await;
    }
    let missing = sink(&daemon, "missing").await;
    assert!(
        reason(&missing).contains("libiggy_connector_nowhere_sink"),
        "{missing}"
    );
    assert!(
        reason(&missing).contains("/usr/lib"),
        "every place looked at is listed: {missing}"
    );
    let wrong = sink(&daemon, "wrong_direction").await;
    assert!(reason(&wrong).contains("source"), "{wrong}");
    let wrong = sink(&daemon, "wrong_config").await;
    assert!(reason(&wrong).contains("print_payload"), "{wrong}");
    assert!(
        !wrong.to_string().contains("s3cret"),
        "a value of the config is shown: {wrong}"
    );
    let unknown = sink(&daemon, "unknown_transform").await;
    assert!(reason(&unknown).contains("ad_fields"), "{unknown}");
    assert_eq!(sink(&daemon, "off").await["status"], "stopped");
    assert_eq!(daemon.get("/health").await["status"], "degraded");
    assert!(
        !daemon.stderr().text().contains("s3cret"),
        "a value of the config is logged"
    );
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_wrong_runtime_key_ends_the_start_with_every_error_at_once() {
    let config = "[iggy]\nadress = \"localhost:8090\"\n[http]\nenabled = \"perhaps\"\n";
    let home = Home::new(config);
    let mut daemon = home.spawn();
    assert_eq!(daemon.ended().await.code(), Some(2));
    daemon.output_closed().await;
    let text = daemon.stderr().text();
    assert!(
        text.contains("adress") && text.contains("address"),
        "{text}"
    );
    assert!(text.contains("http.enabled"), "{text}");
}

#[tokio::test]
async fn a_second_daemon_on_the_same_state_is_refused() {
    let home = Home::new(SHIPPED);
    let first = home.start().await;
    let mut second = home.spawn();
    assert_eq!(second.ended().await.code(), Some(1));
    second.output_closed().await;
    let text = second.stderr().text();
    assert!(text.contains("local_state"), "{text}");
    first.interrupt().await;
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_cause() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for variable in [
        "IGGY_CONNECTORS_IGGY_ADDRESS",
        "IGGY_CONNECTORS_HTTP_ADDRESS",
    ] {
        let mut home = Home::new(SHIPPED);
        home.set(variable, &address);
        let mut daemon = home.spawn();
        assert_eq!(daemon.ended().await.code(), Some(1), "{variable}");
        daemon.output_closed().await;
        let text = daemon.stderr().text();
        assert!(
            text.contains(&address) && text.contains("in use"),
            "{variable}: {text}"
        );
    }
}

#[tokio::test]
async fn a_broker_out_of_reach_is_never_given_up() {
    let port = Port::reserve();
    let address = port.address();
    let retry = "\n[sinks.stdout.retry]\nmax_retries = 1\ninitial_backoff = \"10ms\"\nmax_backoff = \"20ms\"\n";
    let mut home = Home::new(&format!("{SHIPPED}{retry}"));
    home.set("IGGY_CONNECTORS_IGGY_EMBEDDED_ENABLED", "false");
    home.set("IGGY_CONNECTORS_IGGY_ADDRESS", &address.to_string());
    let daemon = home.start().await;
    daemon
        .wait_for_stats("stdout", |stats| stats["errors"].as_u64() > Some(3))
        .await;
    let data = tempfile::tempdir().unwrap();
    let broker = iggy_connector_broker::Broker::start(iggy_connector_broker::Config {
        listen: address,
        dir: data.path().join("data"),
        ..Default::default()
    })
    .await
    .unwrap();
    daemon
        .wait_for_stats("stdout", |stats| {
            stats["messages_processed"].as_u64() > Some(0)
        })
        .await;
    daemon.interrupt().await;
    broker.shutdown().await;
}
