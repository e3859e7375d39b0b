//! Messages that cannot be delivered, through the daemon: dead letters with the original and the reason, and the policies beside.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use harness::daemon::{Daemon, Home};

/// A source of 40 messages and a sink that prints them.
const CONFIG: &str = r#"
[iggy.embedded]
enabled = true
[http]
address = "127.0.0.1:0"

[sources.numbers]
path = "libiggy_connector_random_source"
[[sources.numbers.streams]]
stream = "s"
topic = "t"
schema = "text"
[sources.numbers.plugin_config]
interval = "1ms"
max_count = 40
messages_range = [20, 21]

[sinks.lines]
path = "libiggy_connector_stdout_sink"
[[sinks.lines.streams]]
stream = "s"
topics = ["t"]
schema = "json"
[sinks.lines.plugin_config]
print_payload = true
"#;

/// One message whose field is text, and a transform of the sink that needs an object there.
const POISON: &str = r#"
[sources.poison]
path = "libiggy_connector_random_source"
[[sources.poison.streams]]
stream = "s"
topic = "t"
schema = "json"
[sources.poison.plugin_config]
interval = "1ms"
max_count = 1
messages_range = [1, 2]
[[sources.poison.transforms]]
type = "add_fields"
fields = [{ key = "nested", value = { static = "text" } }]

[[sinks.lines.transforms]]
type = "add_fields"
fields = [{ key = "nested.message", value = { static = "hello" } }]
"#;

async fn settled(daemon: &Daemon, count: u64) -> serde_json::Value {
    daemon
        .wait_for_stats("lines", |stats| {
            let counts =
                ["messages_processed", "messages_failed"].map(|key| stats[key].as_u64().unwrap());
            counts.iter().sum::<u64>() == count
        })
        .await
}

#[tokio::test]
async fn what_cannot_be_transformed_becomes_a_dead_letter_and_the_rest_is_delivered() {
    let dlq = r#"
[sinks.lines.dlq]
stream = "dead"

[sinks.letters]
path = "libiggy_connector_stdout_sink"
[[sinks.letters.streams]]
stream = "dead"
topics = ["lines"]
schema = "raw"
[sinks.letters.plugin_config]
print_payload = true
"#;
    let home = Home::new(&format!("{CONFIG}\n{POISON}\n{dlq}"));
    let daemon = home.start().await;
    let stats = settled(&daemon, 41).await;
    assert_eq!(stats["messages_failed"], 1, "{stats}");
    assert_eq!(stats["status"], "running", "{stats}");
    daemon
        .wait_for_stats("letters", |stats| stats["messages_processed"] == 1)
        .await;
    daemon.stdout().wait_for("\"nested\":\"text\"").await;
    let letters: Vec<_> = daemon
        .stdout()
        .all()
        .into_iter()
        .filter(|line| line.contains("\"nested\":\"text\""))
        .collect();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(
        letters.iter().all(|line| !line.contains("hello")),
        "the original, not what became of it: {letters:?}"
    );
    daemon.interrupt().await;
}

#[tokio::test]
async fn without_a_place_for_dead_letters_the_sink_stops_with_its_position_kept() {
    let home = Home::new(&format!("{CONFIG}\n{POISON}"));
    let daemon = home.start().await;
    let stats = daemon
        .wait_for_stats("lines", |stats| stats["status"] == "error")
        .await;
    assert_eq!(stats["messages_failed"], 0, "{stats}");
    let sink = daemon.get("/sinks/lines").await;
    let reason = sink["last_error"]["message"].as_str().unwrap();
    assert!(
        reason.contains("s/t, partition 0, offset") && reason.contains("position is kept"),
        "{reason}"
    );
    daemon.interrupt().await;
}

#[tokio::test]
async fn skipped_messages_are_counted() {
    let home = Home::new(&format!(
        "{CONFIG}\n{POISON}\n[sinks.lines.errors]\non_invalid = \"skip\"\n"
    ));
    let daemon = home.start().await;
    let stats = settled(&daemon, 41).await;
    assert_eq!(
        (&stats["messages_processed"], &stats["messages_failed"]),
        (&40.into(), &1.into())
    );
    daemon.interrupt().await;
}
