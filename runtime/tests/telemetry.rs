//! What the daemon tells about itself: metrics, and the times of batches.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use harness::daemon::{Daemon, Home};
use reqwest::{Client, StatusCode};

const SHIPPED: &str = include_str!("../../config.toml");

/// The shipped configuration, with a source that ends and a sink that tells the times of its batches.
fn bounded() -> Home {
    let config = SHIPPED
        .replace("interval = \"1s\"", "interval = \"10ms\"\nmax_count = 100")
        .replace("[sinks.stdout]", "[sinks.stdout]\nbenchmark = true");
    assert_ne!(config, SHIPPED);
    Home::new(&config)
}

async fn metrics(daemon: &Daemon, accept: &str) -> (String, String) {
    let request = Client::new()
        .get(daemon.url("/metrics"))
        .header("accept", accept);
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    let format = reply.headers()["content-type"].to_str().unwrap().to_owned();
    (format, reply.text().await.unwrap())
}

/// The value of the line that begins with `series`.
fn value(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn metrics_say_what_the_statistics_say_in_both_formats() {
    let home = bounded();
    let daemon = home.start().await;
    daemon
        .wait_for_stats("stdout", |stats| stats["messages_processed"] == 100)
        .await;
    let (format, text) = metrics(&daemon, "text/plain").await;
    assert!(format.starts_with("text/plain; version=0.0.4"), "{format}");
    let sink = "{connector_key=\"stdout\",connector_type=\"sink\"}";
    let source = "{connector_key=\"random\",connector_type=\"source\"}";
    for (name, labels) in [
        ("produced", source),
        ("sent", source),
        ("consumed", sink),
        ("processed", sink),
    ] {
        let series = format!("iggy_connector_messages_{name}_total{labels}");
        assert_eq!(value(&text, &series), 100.0, "{series}");
        assert!(
            text.contains(&format!(
                "# TYPE iggy_connector_messages_{name}_total counter"
            )),
            "{text}"
        );
    }
    assert_eq!(value(&text, "iggy_connectors_sinks_total"), 1.0);
    assert_eq!(value(&text, "iggy_connectors_sinks_running"), 1.0);
    let status = |status| {
        format!(
            "iggy_connector_status{{connector_key=\"stdout\",connector_type=\"sink\",status=\"{status}\"}}"
        )
    };
    assert_eq!(value(&text, &status("running")), 1.0);
    assert_eq!(value(&text, &status("error")), 0.0);
    for stage in ["ffi", "total"] {
        let of_stage =
            format!("connector_key=\"stdout\",connector_type=\"sink\",stage=\"{stage}\"}}");
        let name = "iggy_connector_stage_duration_seconds";
        let batches = value(&text, &format!("{name}_count{{{of_stage}"));
        assert!(batches >= 1.0, "{stage}: {batches}");
        let all = value(&text, &format!("{name}_bucket{{le=\"+Inf\",{of_stage}"));
        assert_eq!(all, batches, "{stage}");
    }
    assert!(!text.contains("# EOF"), "{text}");
    let (format, open) = metrics(&daemon, "application/openmetrics-text; version=1.0.0").await;
    assert!(
        format.starts_with("application/openmetrics-text"),
        "{format}"
    );
    assert!(
        open.ends_with("# EOF\n") && open.contains("# TYPE iggy_connector_messages_sent counter"),
        "{open}"
    );
    daemon.interrupt().await;
}

#[tokio::test]
async fn metrics_stand_where_they_are_configured_behind_the_key() {
    let mut home = Home::new("[iggy.embedded]\nenabled = true\n");
    home.set("IGGY_CONNECTORS_HTTP_METRICS_ENDPOINT", "/internal/metrics");
    home.set("IGGY_CONNECTORS_HTTP_API_KEY", "right");
    let daemon = home.start().await;
    for (path, key, expected) in [
        ("/internal/metrics", "right", StatusCode::OK),
        ("/internal/metrics", "wrong", StatusCode::UNAUTHORIZED),
        ("/metrics", "right", StatusCode::NOT_FOUND),
    ] {
        let request = Client::new().get(daemon.url(path)).header("api-key", key);
        assert_eq!(request.send().await.unwrap().status(), expected, "{path}");
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_benchmark_tells_the_times_of_each_batch() {
    let home = bounded();
    let daemon = home.start().await;
    let line = daemon.stderr().wait_for("iggy_connectors::benchmark").await;
    for part in ["sink{", "messages=", "ffi_us=", "total_us="] {
        assert!(line.contains(part), "{line}");
    }
    daemon.interrupt().await;
}
