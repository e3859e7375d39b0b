//! Streams that a plugin proposes: used where a connector's file names none, shown by the API, and checked as those of a file.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod daemon;
    pub mod port;
}

use std::{fs, process::Command};

use harness::{
    broker::{Broker, Topic, client, eventually},
    daemon::{Daemon, Home},
};
use reqwest::Method;
use serde_json::{Value, json};

const SOURCE: &str = "numbers";
const SINK: &str = "ledger";

/// A broker, and a folder with these connectors.
async fn site(connectors: &str) -> (Broker, Home) {
    let broker = Broker::start().await;
    let mut home = Home::new(connectors);
    home.set("IGGY_CONNECTORS_IGGY_ADDRESS", broker.address());
    (broker, home)
}

/// A stream that no other test uses.
fn unique() -> String {
    format!("test-{}", uuid::Uuid::new_v4().simple())
}

/// A source that ends at this number of messages, every second of which takes the route `others`.
fn source(stream: &str, until: u64, entries: &str) -> String {
    format!(
        "[sources.{SOURCE}]\npath = \"libledger_source\"\n{entries}\n[sources.{SOURCE}.plugin_config]\nacked = \"acked\"\n\
         until = \"until-{until}\"\nroutes = [\"\", \"others\"]\nproposes = \"{stream}\"\n"
    )
}

fn sink(stream: &str, entries: &str) -> String {
    format!(
        "[sinks.{SINK}]\npath = \"libledger_sink\"\n{entries}\n[sinks.{SINK}.plugin_config]\nledger = \"ledger\"\n\
         proposes = \"{stream}\"\n"
    )
}

async fn topic(broker: &Broker, stream: &str, name: &str) -> Topic {
    Topic {
        client: client(broker.address()).await,
        stream: stream.to_owned(),
        name: name.to_owned(),
    }
}

async fn sent(daemon: &Daemon, count: u64) {
    daemon
        .wait_for_stats(SOURCE, |stats| stats["messages_sent"] == count)
        .await;
}

/// What the connector says that it failed for, for good.
async fn failed(daemon: &Daemon, path: &str) -> String {
    let found = daemon
        .wait_for(path, |found| {
            found["status"] == "error" && found["next_restart_at"].is_null()
        })
        .await;
    found["last_error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_source_writes_where_its_plugin_proposes_and_a_sink_reads_there() {
    let stream = unique();
    let (broker, home) = site(&format!("{}{}", source(&stream, 20, ""), sink(&stream, ""))).await;
    fs::write(home.path().join("until-20"), "20").unwrap();
    let daemon = home.start().await;
    sent(&daemon, 20).await;
    let ledger = home.path().join("ledger");
    eventually(10, async || {
        let text = fs::read_to_string(&ledger).unwrap_or_default();
        text.lines()
            .filter(|line| line.starts_with("proposed "))
            .count()
    })
    .await;
    let others = topic(&broker, &stream, "others").await.texts(0).await;
    assert_eq!(others.len(), 10);
    assert!(
        others
            .iter()
            .all(|text| text.parse::<u64>().unwrap() % 2 == 1)
    );
    let shown = daemon.get(&format!("/sources/{SOURCE}")).await["streams"].clone();
    assert_eq!(shown[0]["topic"], "proposed");
    assert_eq!(shown[0]["partitions"], 2);
    assert_eq!(shown[0]["schema"], "raw");
    assert_eq!(shown[1]["topic"], "others");
    let shown = daemon.get(&format!("/sinks/{SINK}")).await["streams"].clone();
    assert_eq!(shown[0]["topics"], json!(["proposed"]));
    assert_eq!(shown[0]["batch_length"], 7);
    assert_eq!(shown[0]["consumer_group"], "iggy-connect-sink-ledger");
    let standing = daemon.get(&format!("/sinks/{SINK}/offsets")).await;
    assert!(standing.to_string().contains("\"proposed\""), "{standing}");
    // Its lag is watched while it is paused.
    let (status, answer) = daemon.post(&format!("/sinks/{SINK}/pause")).await;
    assert_eq!(status, 202, "{answer}");
    let sink = format!("/sinks/{SINK}");
    daemon
        .wait_for(&sink, |found| found["status"] == "paused")
        .await;
    let texts = (0..3).map(|number| number.to_string());
    topic(&broker, &stream, "proposed")
        .await
        .send(0, texts)
        .await;
    let lag = format!(
        "iggy_connector_lag_messages{{connector_key=\"{SINK}\",connector_type=\"sink\"}} 3"
    );
    eventually(true, async || {
        let metrics = reqwest::get(daemon.url("/metrics")).await.unwrap();
        metrics.text().await.unwrap().contains(&lag)
    })
    .await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_sink_that_was_never_opened_is_not_reset_as_nobody_knows_what_it_reads() {
    let (_broker, home) = site(&sink(&unique(), "enabled = false")).await;
    let daemon = home.start().await;
    let offsets = format!("/sinks/{SINK}/offsets");
    let (status, answer) = daemon.send(Method::DELETE, &offsets, None).await;
    assert!((400..500).contains(&status), "{status} {answer}");
    let reason = answer.to_string();
    assert!(
        reason.contains("reads what its plugin proposes"),
        "{reason}"
    );
    daemon.interrupt().await;
}

#[tokio::test]
async fn one_entry_of_the_file_takes_the_place_of_everything_that_is_proposed() {
    let stream = unique();
    let entry = format!(
        "[[sources.{SOURCE}.streams]]\nstream = \"{stream}\"\ntopic = \"written\"\nroute = \"others\"\nschema = \"raw\""
    );
    let (broker, home) = site(&source(&stream, 20, &entry)).await;
    fs::write(home.path().join("until-20"), "20").unwrap();
    let daemon = home.start().await;
    sent(&daemon, 20).await;
    assert_eq!(
        topic(&broker, &stream, "written")
            .await
            .texts(0)
            .await
            .len(),
        20
    );
    let proposed = topic(&broker, &stream, "proposed").await;
    let found = {
        use iggy::prelude::TopicClient as _;
        proposed
            .client
            .get_topic(&proposed.stream_id(), &proposed.id())
            .await
    };
    assert_eq!(found.unwrap().map(|topic| topic.name), None);
    let shown = daemon.get(&format!("/sources/{SOURCE}")).await["streams"].clone();
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(shown[0]["topic"], "written");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_connector_without_streams_whose_plugin_proposes_none_says_what_is_missing() {
    let sinks = "[sinks.sdk]\npath = \"libledger_sink\"\nplugin_config = { ledger = \"ledger\" }\n\
                 [sinks.by_hand]\npath = \"libmisbehaving_sink\"\n";
    let (_broker, home) = site(sinks).await;
    let daemon = home.start().await;
    for (key, line) in [("sdk", 1), ("by_hand", 4)] {
        let message = failed(&daemon, &format!("/sinks/{key}")).await;
        let expected = format!(
            "config.toml:{line}: `sinks.{key}.streams`: missing; say where its messages are: add a `[[streams]]` entry"
        );
        assert!(message.ends_with(&expected), "{message}");
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_a_file_could_not_hold_is_refused_with_the_plugins_name_and_is_of_no_matter_beside_a_file()
 {
    let long = "n".repeat(256);
    let many = format!("[{}]", vec!["{}"; 1001].join(","));
    let cases = [
        (json!("{"), "they are not JSON"),
        (json!("{}"), "a list is expected, not a table"),
        (
            json!("[7]"),
            "`streams[0]`: a table is expected, not a number",
        ),
        (
            json!(r#"[{"stream": "s", "topic": "t"}]"#),
            "`streams[0].topic`: unknown key (did you mean `topics`?)",
        ),
        (
            json!(r#"[{"stream": "", "topics": ["t"]}]"#),
            "`streams[0].stream`: missing (give a name of 1 to 255 bytes)",
        ),
        (
            json!(format!(r#"[{{"stream": "{long}", "topics": ["t"]}}]"#)),
            "`streams[0].stream`: a name of at most 255 bytes is expected",
        ),
        (
            json!(r#"[{"stream": "s", "topics": ["t"], "partitions": 1001}]"#),
            "`streams[0].partitions`: a number from 1 to 1000 is expected",
        ),
        (
            json!(r#"[{"stream": "s", "topics": ["t", "t"]}]"#),
            "`streams[0].topics[1]`: `t` is read by the same group already",
        ),
        (json!(many), "1001 are more than 1000"),
        (json!([0xff]), "cannot be read: they are not UTF-8"),
        (
            json!(1_048_577),
            "cannot be read: they are longer than 1 MiB",
        ),
        (json!(-7), "cannot be read: they are no bytes"),
    ];
    let stream = unique();
    let mut config = String::new();
    for (number, (streams, _)) in cases.iter().enumerate() {
        // A text in JSON is one in TOML too.
        let proposes = Value::String(streams.to_string());
        config += &format!(
            "[sinks.bad{number}]\npath = \"libmisbehaving_sink\"\nplugin_config = {{ proposes = {proposes} }}\n"
        );
    }
    config += &format!(
        "[sinks.written]\npath = \"libmisbehaving_sink\"\nplugin_config = {{ proposes = '\"[7]\"' }}\n[[sinks.written.streams]]\n\
         stream = \"{stream}\"\ntopics = [\"t\"]\n"
    );
    let (_broker, home) = site(&config).await;
    let daemon = home.start().await;
    for (number, (_, why)) in cases.iter().enumerate() {
        let message = failed(&daemon, &format!("/sinks/bad{number}")).await;
        assert!(
            message.starts_with("plugin `misbehaving_sink` proposes streams that cannot be "),
            "{message}"
        );
        assert!(message.contains(why), "{message}");
        assert_eq!(
            daemon.get(&format!("/sinks/bad{number}")).await["streams"],
            json!([])
        );
    }
    daemon
        .wait_for("/sinks/written", |found| found["status"] == "running")
        .await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_version_without_streams_is_activated_where_its_plugin_proposes_some_and_nowhere_else() {
    let stream = unique();
    let entry = format!(
        "[[sinks.{SINK}.streams]]\nstream = \"{stream}\"\ntopics = [\"written\"]\nschema = \"raw\""
    );
    let (_broker, home) = site(&sink(&stream, &entry)).await;
    let daemon = home.start().await;
    let path = format!("/sinks/{SINK}");
    let topics = async || daemon.get(&path).await["streams"][0]["topics"].clone();
    daemon
        .wait_for(&path, |found| found["status"] == "running")
        .await;
    assert_eq!(topics().await, json!(["written"]));
    let proposing = json!({ "ledger": "ledger", "proposes": stream });
    let (status, answer) = activate(&daemon, &path, &proposing).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(topics().await, json!(["proposed"]));
    let (status, answer) = activate(&daemon, &path, &json!({ "ledger": "ledger" })).await;
    assert_ne!(status, 200, "{answer}");
    let reason = answer.to_string();
    assert!(reason.contains("streams`: missing; say where"), "{reason}");
    assert_eq!(topics().await, json!(["proposed"]));
    daemon
        .wait_for(&path, |found| found["status"] == "running")
        .await;
    daemon.interrupt().await;
}

/// Makes a version of the active one that names no streams, and activates it.
async fn activate(daemon: &Daemon, connector: &str, plugin_config: &Value) -> (u16, Value) {
    let mut document = daemon.get(&format!("{connector}/configs/active")).await;
    for key in ["key", "version", "active"] {
        document.as_object_mut().unwrap().shift_remove(key);
    }
    document["streams"] = json!([]);
    document["plugin_config"] = plugin_config.clone();
    let configs = format!("{connector}/configs");
    let (status, stored) = daemon.send(Method::POST, &configs, Some(&document)).await;
    assert_eq!(status, 200, "{stored}");
    let version = json!({ "version": stored["version"] });
    let active = format!("{configs}/active");
    daemon.send(Method::PUT, &active, Some(&version)).await
}

#[test]
fn check_tells_a_connector_without_streams_and_does_not_refuse_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[sinks.proposing]\npath = \"libledger_sink\"\nplugin_config = { ledger = \"ledger\", proposes = \"s\" }\n";
    fs::write(folder.path().join("config.toml"), config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_iggy-connectors"))
        .arg("check")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let warning = "warning: config.toml:1: `sinks.proposing.streams`: no `[[streams]]` entry: nothing is read or written unless the \
                   plugin proposes streams";
    assert!(text.contains(warning), "{text}");
}
