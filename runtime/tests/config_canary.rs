//! A secret goes through the whole daemon and is shown nowhere, whoever logs it or puts it into an error.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use harness::daemon::Home;

const CANARY: &str = "hunter2-canary-hunter2";

/// One sink whose plugin logs the secret and fails with it, and one that only reads a stream of that name.
const CONFIG: &str = r#"
[iggy]
password = "${env:CANARY}"
[iggy.embedded]
enabled = true
[http]
api_key = ""
[logging]
level = "trace"
[sinks.loud]
name = "${env:CANARY}"
path = "libscripted_sink"
plugin_config = { open = "say ${env:CANARY}" }
restart.policy = "never"
[[sinks.loud.streams]]
stream = "s"
topics = ["t"]
schema = "text"
[sinks.quiet]
path = "libiggy_connector_stdout_sink"
plugin_config = { print_payload = "${env:CANARY}" }
[[sinks.quiet.streams]]
stream = "s"
topics = ["t"]
schema = "text"
[sources.named]
path = "libscripted_source"
[[sources.named.streams]]
stream = "${env:CANARY}"
topic = "t"
schema = "text"
"#;

#[tokio::test]
async fn a_secret_is_shown_nowhere_in_a_running_daemon() {
    let mut home = Home::new(CONFIG);
    home.set("CANARY", CANARY);
    home.set("RUST_LOG", "trace");
    let daemon = home.start().await;
    // The plugin has been opened, has logged the secret and has failed with it.
    daemon.stderr().wait_for("it was to ***").await;
    daemon.stderr().wait_for("asked to ***").await;
    // What the schema refuses is told without it.
    daemon
        .stderr()
        .wait_for("true or false is expected, not a string")
        .await;
    for path in [
        "/sinks",
        "/sinks/loud",
        "/sinks/quiet",
        "/sources",
        "/sources/named",
        "/stats",
    ] {
        let shown = daemon.get(path).await.to_string();
        assert!(!shown.contains("canary"), "{path}: {shown}");
    }
    let loud = daemon.get("/sinks/loud").await;
    assert_eq!(
        (&loud["name"], &loud["key"]),
        (&"***".into(), &"loud".into())
    );
    assert_eq!(
        daemon.get("/sources/named").await["streams"][0]["stream"],
        "***"
    );
    let log = daemon.stderr().text();
    assert!(
        !log.contains("canary"),
        "{}",
        log.lines().find(|line| line.contains("canary")).unwrap()
    );
    daemon.kill().await;
}
