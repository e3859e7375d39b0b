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
    // A source counts what it has sent once its state is saved.
    daemon
        .wait_for_stats("random", |stats| stats["messages_sent"] == 100)
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

/// A source that numbers its messages up to a hundred, and a sink that writes them down.
const LEDGERS: &str = r#"
[iggy.embedded]
enabled = true
[http.metrics]
enabled = true

[sources.numbers]
path = "libledger_source"
[[sources.numbers.streams]]
stream = "s"
topic = "t"
schema = "raw"
[sources.numbers.plugin_config]
until = "until"
acked = "acked"

[sinks.lines]
path = "libledger_sink"
consume_timeout = "1s"
[[sinks.lines.streams]]
stream = "s"
topics = ["t"]
schema = "raw"
batch_length = 10
[sinks.lines.plugin_config]
ledger = "ledger"
deed = "deed"
"#;

const LINES: &str = "{connector_key=\"lines\",connector_type=\"sink\"}";

/// The messages of the batches that were told at info, one by one.
fn told(daemon: &Daemon, what: &str) -> Vec<u64> {
    let all = daemon.stderr().all();
    let lines = all.iter().filter(|line| line.contains(what));
    lines
        .map(|line| {
            assert!(line.contains(" INFO "), "{line}");
            let (_, received) = line.split_once("received=").unwrap();
            received.split(' ').next().unwrap().parse().unwrap()
        })
        .collect()
}

#[tokio::test]
async fn a_verbose_connector_tells_each_of_its_batches_at_info_and_no_other_does() {
    for (verbose, silent, tells, key) in [
        (
            "[sources.numbers]",
            "batch consumed",
            "batch produced",
            "source{key=\"numbers\"}",
        ),
        (
            "[sinks.lines]",
            "batch produced",
            "batch consumed",
            "sink{key=\"lines\"}",
        ),
    ] {
        let config = LEDGERS.replace(verbose, &format!("{verbose}\nverbose = true"));
        let home = Home::new(&config);
        std::fs::write(home.path().join("until"), "100").unwrap();
        let daemon = home.start().await;
        daemon
            .wait_for_stats("lines", |stats| stats["messages_processed"] == 100)
            .await;
        // The last batch is told when it is settled.
        let deadline = tokio::time::Instant::now() + harness::daemon::PATIENCE;
        while told(&daemon, tells).iter().sum::<u64>() < 100 {
            let text = daemon.stderr().text();
            assert!(tokio::time::Instant::now() < deadline, "{text}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let batches = told(&daemon, tells);
        assert_eq!(batches.iter().sum::<u64>(), 100, "{batches:?}");
        assert!(batches.len() > 4, "each batch by itself: {batches:?}");
        let line = daemon.stderr().wait_for(tells).await;
        assert!(line.contains(key) && line.contains("elapsed="), "{line}");
        assert_eq!(told(&daemon, silent), [0; 0], "only who is asked to");
        daemon.interrupt().await;
    }
}

/// Waits until a series has the value that is wanted.
async fn wait_for(daemon: &Daemon, series: &str, met: impl Fn(f64) -> bool) -> f64 {
    let deadline = tokio::time::Instant::now() + harness::daemon::PATIENCE;
    loop {
        let (_, text) = metrics(daemon, "text/plain").await;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        if let Some(value) = value.filter(|value| met(*value)) {
            return value;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{series}: {value:?}\n{}",
            daemon.stderr().text()
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn lag_grows_while_a_sink_is_paused_or_stuck_and_is_gone_when_it_has_caught_up() {
    let home = Home::new(LEDGERS);
    let until = home.path().join("until");
    std::fs::write(&until, "100").unwrap();
    let daemon = home.start().await;
    let lag = format!("iggy_connector_lag_messages{LINES}");
    daemon
        .wait_for_stats("lines", |stats| stats["messages_processed"] == 100)
        .await;
    wait_for(&daemon, &lag, |lag| lag == 0.0).await;

    daemon.post("/sinks/lines/pause").await;
    daemon
        .wait_for("/sinks/lines", |sink| sink["status"] == "paused")
        .await;
    std::fs::write(&until, "142").unwrap();
    wait_for(&daemon, &lag, |lag| lag == 42.0).await;
    daemon.post("/sinks/lines/resume").await;
    wait_for(&daemon, &lag, |lag| lag == 0.0).await;

    // The sink takes what comes and settles nothing: what it has heard of grows all the same.
    std::fs::write(home.path().join("deed"), "wait").unwrap();
    std::fs::write(&until, "200").unwrap();
    wait_for(&daemon, &lag, |lag| lag == 58.0).await;
    std::fs::write(&until, "300").unwrap();
    wait_for(&daemon, &lag, |lag| lag == 158.0).await;
    std::fs::remove_file(home.path().join("deed")).unwrap();
    daemon.post("/sinks/lines/stop").await;
    daemon
        .wait_for("/sinks/lines", |sink| sink["status"] == "stopped")
        .await;
    let (_, text) = metrics(&daemon, "text/plain").await;
    assert!(
        !text.contains(&lag),
        "nobody looks at a stopped sink: {text}"
    );
    daemon.post("/sinks/lines/start").await;
    wait_for(&daemon, &lag, |lag| lag == 0.0).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_batch_that_a_slow_sink_holds_is_in_flight_and_its_commit_is_timed_afterwards() {
    let home = Home::new(LEDGERS);
    std::fs::write(home.path().join("deed"), "wait").unwrap();
    std::fs::write(home.path().join("until"), "100").unwrap();
    let daemon = home.start().await;
    let in_flight = format!("iggy_connector_in_flight_batches{LINES}");
    let commits = format!("iggy_connector_commit_delay_seconds_count{LINES}");
    wait_for(&daemon, &in_flight, |batches| batches >= 1.0).await;
    wait_for(&daemon, &commits, |commits| commits == 0.0).await;
    std::fs::remove_file(home.path().join("deed")).unwrap();
    daemon.post("/sinks/lines/restart").await;
    wait_for(&daemon, &in_flight, |batches| batches == 0.0).await;
    daemon
        .wait_for_stats("lines", |stats| stats["messages_processed"] == 100)
        .await;
    wait_for(&daemon, &commits, |commits| commits >= 1.0).await;
    let (_, text) = metrics(&daemon, "text/plain").await;
    assert!(
        value(
            &text,
            &format!("iggy_connector_commit_delay_seconds_sum{LINES}")
        ) > 0.0,
        "{text}"
    );
    let source =
        "iggy_connector_in_flight_batches{connector_key=\"numbers\",connector_type=\"source\"}";
    assert!(value(&text, source) <= 1.0, "{text}");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_connector_whose_health_checks_fail_is_not_healthy() {
    let checked = "[sinks.checked]\npath = \"libscripted_sink\"\nhealth = { interval = \"20ms\", failures = 2 }\n\
                   [[sinks.checked.streams]]\nstream = \"s\"\ntopics = [\"t\"]\nschema = \"text\"\n\
                   [sinks.checked.plugin_config]\nhealth = \"transient\"\n";
    let home = Home::new(&format!("{LEDGERS}{checked}"));
    let daemon = home.start().await;
    let of = |key: &str| {
        format!("iggy_connector_healthy{{connector_key=\"{key}\",connector_type=\"sink\"}}")
    };
    wait_for(&daemon, &of("checked"), |healthy| healthy == 0.0).await;
    wait_for(&daemon, &of("lines"), |healthy| healthy == 1.0).await;
    daemon.interrupt().await;
}
