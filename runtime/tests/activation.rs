//! Versions activated over the API of real daemons: under load, with a fault at each step, and over the daemons' ends.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
    pub mod ledger;
    pub mod port;
    pub mod service;
}

use std::{fs, time::Duration};

use config_service::Direction::Sink;
use harness::{
    daemon::{Daemon, Home, PATIENCE},
    ledger,
    service::{API_KEY, ConfigService, Fault},
};
use reqwest::Method;
use serde_json::{Value, json};

/// A source that numbers its messages for ever, and a sink that writes them down.
const CONFIG: &str = r#"
[iggy.embedded]
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
restart.initial_backoff = "50ms"
[[sinks.lines.streams]]
stream = "s"
topics = ["t"]
schema = "raw"
[sinks.lines.plugin_config]
ledger = "ledger"
token = "v0"
"#;

const SINK: &str = "/sinks/lines";
const SOURCE: &str = "/sources/numbers";

/// Makes a version of the active one and `change`s it. Returns its number.
async fn create(daemon: &Daemon, connector: &str, change: impl FnOnce(&mut Value)) -> u64 {
    let mut document = daemon.get(&format!("{connector}/configs/active")).await;
    for key in ["key", "version", "active"] {
        document.as_object_mut().unwrap().shift_remove(key);
    }
    change(&mut document);
    let path = format!("{connector}/configs");
    let (status, stored) = daemon.send(Method::POST, &path, Some(&document)).await;
    assert_eq!(status, 200, "{stored}");
    stored["version"].as_u64().unwrap()
}

async fn activate(daemon: &Daemon, connector: &str, version: u64) -> (u16, Value) {
    let path = format!("{connector}/configs/active");
    let wanted = json!({ "version": version });
    daemon.send(Method::PUT, &path, Some(&wanted)).await
}

async fn activated(daemon: &Daemon, connector: &str, version: u64) {
    let (status, answer) = activate(daemon, connector, version).await;
    assert_eq!(status, 200, "{answer}\n{}", daemon.stderr().text());
    assert_eq!(
        (&answer["version"], &answer["active"]),
        (&version.into(), &true.into())
    );
    let active = daemon.get(&format!("{connector}/configs/active")).await;
    assert_eq!(active["version"], version);
}

/// The numbers in the ledger, and which version wrote each, in the order in which they were written.
fn written(home: &Home) -> (Vec<u64>, Vec<String>) {
    let written = ledger::entries(&home.path().join("ledger")).into_iter();
    written
        .map(|entry| (entry.id.parse::<u64>().unwrap(), entry.writer))
        .unzip()
}

/// Waits until a version of the sink has written.
async fn writes(home: &Home, daemon: &Daemon, version: &str) {
    let before = written(home).1.len();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !written(home).1[before..]
        .iter()
        .any(|writer| writer == version)
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{}",
            daemon.stderr().text()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn has_status(status: &'static str) -> impl Fn(&Value) -> bool {
    move |connector| connector["status"] == status
}

/// Waits until so many more have been counted.
async fn flows(daemon: &Daemon, key: &str, count: &str, more: u64) {
    let before = daemon.stats(key).await[count].as_u64().unwrap();
    let met = |stats: &Value| stats[count].as_u64().unwrap() >= before + more;
    daemon.wait_for_stats(key, met).await;
}

async fn all_flows(daemon: &Daemon) {
    flows(daemon, "numbers", "messages_sent", 200).await;
    flows(daemon, "lines", "messages_processed", 200).await;
}

/// Lets the source end, waits until everything is in the ledger, and checks that it is there once and in order.
async fn nothing_is_lost_repeated_or_moved(home: &Home, daemon: &Daemon) {
    let sent = daemon.stats("numbers").await["messages_sent"].as_u64();
    let until = ledger::end_soon(home.path(), sent.unwrap());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while written(home).0.iter().max() != Some(&(until - 1)) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{}",
            daemon.stderr().text()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(written(home).0, (0..until).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_sink_takes_another_version_under_load() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let next = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["token"] = "v1".into()
    })
    .await;
    for _ in 0..3 {
        activated(&daemon, SINK, next).await;
        writes(&home, &daemon, "v1").await;
        activated(&daemon, SINK, 0).await;
        writes(&home, &daemon, "v0").await;
    }
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_source_takes_another_version_under_load_and_goes_on_where_the_old_one_was() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    all_flows(&daemon).await;
    let next = create(&daemon, SOURCE, |source| {
        source["plugin_config"]["batch"] = 7.into();
        source["plugin_config"]["max_in_flight"] = 4.into();
    })
    .await;
    for version in [next, 0, next, 0] {
        activated(&daemon, SOURCE, version).await;
        all_flows(&daemon).await;
    }
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn whatever_fails_the_old_version_flows_on_and_the_step_is_told() {
    // A version that blocks its thread stops the old one of the same library, which its check notices.
    let backoff = "restart.initial_backoff = \"50ms\"";
    let checked = format!("{backoff}\nhealth = {{ interval = \"2s\", timeout = \"5s\" }}");
    let home = Home::new(&CONFIG.replace(backoff, &checked));
    let daemon = home.start().await;
    all_flows(&daemon).await;
    for (connector, kind) in [(SINK, "lines_sink"), (SOURCE, "numbers_source")] {
        // What a check of documents would not store, as an editor leaves it behind.
        let folder = home.path().join("local_state/connectors");
        let good = create(&daemon, connector, |_| {}).await;
        let text = fs::read_to_string(folder.join(format!("{kind}_v{good}.toml"))).unwrap();
        for (version, from, to) in [
            (100, "libledger", "libnowhere"),
            (101, "schema = \"raw\"", "schema = \"row\""),
        ] {
            let text = text.replace(from, to);
            let text = text.replace(
                &format!("version = {good}"),
                &format!("version = {version}"),
            );
            fs::write(folder.join(format!("{kind}_v{version}.toml")), text).unwrap();
            let (status, answer) = activate(&daemon, connector, version).await;
            assert_eq!(
                (status, &answer["code"]),
                (422, &"invalid_document".into()),
                "{answer}"
            );
            all_flows(&daemon).await;
            fs::remove_file(folder.join(format!("{kind}_v{version}.toml"))).unwrap();
        }
        for deed in ["fatal", "panic", "wait", "block"] {
            let version = create(&daemon, connector, |document| {
                document["plugin_config"]["open"] = deed.into();
                document["open_timeout"] = "1s".into();
            })
            .await;
            let (status, answer) = activate(&daemon, connector, version).await;
            assert_eq!(
                (status, &answer["code"], &answer["step"]),
                (409, &"not_activated".into(), &"open".into()),
                "{deed}: {answer}"
            );
            all_flows(&daemon).await;
            let active = daemon.get(&format!("{connector}/configs/active")).await;
            assert_eq!(active["version"], 0, "the next start takes what runs");
        }
    }
    assert_eq!(activate(&daemon, SINK, 999).await.0, 404);
    assert_eq!(activate(&daemon, "/sinks/none", 0).await.0, 404);
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    // The threads that a plugin blocks for ever would make its end a failure.
    daemon.kill().await;
}

#[tokio::test]
async fn the_old_sink_runs_while_the_new_one_opens_and_only_one_is_activated_at_a_time() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    all_flows(&daemon).await;
    let hangs = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["open"] = "wait".into();
        sink["open_timeout"] = "50s".into();
    })
    .await;
    // An ask that is not waited for is followed all the same.
    let path = daemon.url(&format!("{SINK}/configs/active"));
    let asked = reqwest::Client::new()
        .put(path)
        .json(&json!({ "version": hangs }))
        .timeout(Duration::from_secs(5));
    assert!(asked.send().await.unwrap_err().is_timeout());
    let (status, answer) = activate(&daemon, SINK, 0).await;
    assert_eq!((status, &answer["code"]), (409, &"wrong_state".into()));
    all_flows(&daemon).await;
    // Nor does it hold up the daemon's end.
    daemon.interrupt().await;
}

#[tokio::test]
async fn the_choice_holds_over_restarts_of_the_daemon() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let next = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["token"] = "v1".into()
    })
    .await;
    activated(&daemon, SINK, next).await;
    daemon.interrupt().await;
    let daemon = home.start().await;
    writes(&home, &daemon, "v1").await;
    activated(&daemon, SINK, 0).await;
    daemon.kill().await;
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let active = daemon.get(&format!("{SINK}/configs/active")).await;
    assert_eq!(active["version"], 0);
    // Recorded and no more: what runs goes on until the next start.
    let path = format!("{SINK}/configs/active?restart=false");
    let body = json!({ "version": next });
    let (status, answer) = daemon.send(Method::PUT, &path, Some(&body)).await;
    assert_eq!((status, &answer["active"]), (200, &true.into()), "{answer}");
    writes(&home, &daemon, "v0").await;
    daemon.interrupt().await;
    let daemon = home.start().await;
    writes(&home, &daemon, "v1").await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_paused_or_stopped_connector_has_the_version_when_it_goes_on() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let next = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["token"] = "v1".into()
    })
    .await;
    daemon.ask(SINK, "pause", "paused").await;
    activated(&daemon, SINK, next).await;
    daemon.wait_for(SINK, has_status("paused")).await;
    daemon.ask(SINK, "resume", "running").await;
    writes(&home, &daemon, "v1").await;
    daemon.ask(SINK, "stop", "stopped").await;
    activated(&daemon, SINK, 0).await;
    assert_eq!(daemon.get(SINK).await["status"], "stopped");
    daemon.ask(SINK, "start", "running").await;
    writes(&home, &daemon, "v0").await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_connector_in_error_starts_with_a_version_that_opens() {
    let config = CONFIG
        .replace("token = \"v0\"", "token = \"v0\"\nopen = \"fatal\"")
        .replace(
            "restart.initial_backoff = \"50ms\"",
            "restart.policy = \"never\"",
        );
    // Another that cannot even be read.
    let config = config.replace(
        "[sources.numbers.plugin_config]",
        "[sources.numbers.plugin_confg]",
    );
    let home = Home::new(&config);
    let daemon = home.start().await;
    daemon.wait_for(SINK, has_status("error")).await;
    daemon.wait_for(SOURCE, has_status("error")).await;
    let bad = create(&daemon, SINK, |_| {}).await;
    let (status, answer) = activate(&daemon, SINK, bad).await;
    assert_eq!((status, &answer["step"]), (409, &"open".into()), "{answer}");
    daemon.wait_for(SINK, has_status("error")).await;
    let good = create(&daemon, SINK, |sink| {
        sink["plugin_config"]
            .as_object_mut()
            .unwrap()
            .shift_remove("open");
    })
    .await;
    activated(&daemon, SINK, good).await;
    daemon.wait_for(SINK, has_status("running")).await;
    let good = create(&daemon, SOURCE, |source| {
        let source = source.as_object_mut().unwrap();
        let config = source.shift_remove("plugin_confg").unwrap();
        source.insert("plugin_config".to_owned(), config);
    })
    .await;
    activated(&daemon, SOURCE, good).await;
    writes(&home, &daemon, "v0").await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_disabled_version_stops_its_connector_and_an_enabled_one_starts_it() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let off = create(&daemon, SINK, |sink| sink["enabled"] = false.into()).await;
    activated(&daemon, SINK, off).await;
    daemon.wait_for(SINK, has_status("stopped")).await;
    activated(&daemon, SINK, 0).await;
    daemon.wait_for(SINK, has_status("running")).await;
    writes(&home, &daemon, "v0").await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_is_asked_must_be_a_version() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    let path = format!("{SINK}/configs/active");
    for body in [
        json!({}),
        json!({ "version": -1 }),
        json!({ "version": 0, "x": 1 }),
    ] {
        let (status, answer) = daemon.send(Method::PUT, &path, Some(&body)).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &"invalid".into()),
            "{body}"
        );
    }
    let path = format!("{path}?restart=no");
    let body = json!({ "version": 0 });
    assert_eq!(daemon.send(Method::PUT, &path, Some(&body)).await.0, 400);
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_choice_that_cannot_be_written_down_leaves_the_old_version_flowing() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let sink = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["token"] = "v1".into()
    })
    .await;
    let source = create(&daemon, SOURCE, |source| {
        source["plugin_config"]["batch"] = 7.into();
    })
    .await;
    // What stands where the record is written before it takes the place of the old one.
    let folder = home.path().join("local_state/connectors");
    let in_the_way = folder.join(".unfinished-.active_versions.toml.tmp");
    fs::create_dir_all(in_the_way.join("full")).unwrap();
    for (connector, version) in [(SINK, sink), (SOURCE, source)] {
        let (status, answer) = activate(&daemon, connector, version).await;
        assert_eq!(
            (status, &answer["code"], &answer["step"]),
            (500, &"not_activated".into(), &"record".into()),
            "{answer}"
        );
        let reason = answer["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("version 0 stays: record: ")
                && reason.contains(".active_versions.toml"),
            "{reason}"
        );
        all_flows(&daemon).await;
        writes(&home, &daemon, "v0").await;
    }
    fs::remove_dir_all(in_the_way).unwrap();
    activated(&daemon, SINK, sink).await;
    activated(&daemon, SOURCE, source).await;
    writes(&home, &daemon, "v1").await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn an_exclusive_sink_is_closed_before_its_other_version_opens() {
    let lock = "token = \"v0\"\nlock = \"lock\"";
    let exclusive = format!("{lock}\nexclusive = true");
    let home = Home::new(&CONFIG.replace("token = \"v0\"", &exclusive));
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let next = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["token"] = "v1".into()
    })
    .await;
    for (version, token) in [(next, "v1"), (0, "v0"), (next, "v1")] {
        // Only one instance at a time gets the lock.
        activated(&daemon, SINK, version).await;
        writes(&home, &daemon, token).await;
    }
    let bad = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["open"] = "fatal".into()
    })
    .await;
    let (status, answer) = activate(&daemon, SINK, bad).await;
    assert_eq!((status, &answer["step"]), (409, &"open".into()), "{answer}");
    writes(&home, &daemon, "v1").await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;

    // One that does not say so is opened beside the old one, which has the lock.
    let home = Home::new(&CONFIG.replace("token = \"v0\"", lock));
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let next = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["token"] = "v1".into()
    })
    .await;
    let (status, answer) = activate(&daemon, SINK, next).await;
    assert_eq!((status, &answer["step"]), (409, &"open".into()), "{answer}");
    assert!(
        answer["reason"].as_str().unwrap().contains("the lock"),
        "{answer}"
    );
    writes(&home, &daemon, "v0").await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_batch_that_takes_too_long_holds_up_another_version_no_longer_than_its_close_timeout() {
    let home = Home::new(&CONFIG.replace(
        "restart.initial_backoff = \"50ms\"",
        "close_timeout = \"1s\"\nconsume_timeout = \"1h\"",
    ));
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let stuck = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["token"] = "v1".into();
        sink["plugin_config"]["delay_ms"] = (60 * 60 * 1000).into();
    })
    .await;
    activated(&daemon, SINK, stuck).await;
    // It takes a batch, and has it for an hour.
    let has_one =
        |stats: &Value| stats["messages_consumed"].as_u64() > stats["messages_processed"].as_u64();
    daemon.wait_for_stats("lines", has_one).await;
    activated(&daemon, SINK, 0).await;
    writes(&home, &daemon, "v0").await;
    // What was in flight is delivered again, and was not delivered before.
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_service_that_freezes_when_a_choice_is_to_be_kept_holds_up_nothing_and_is_told_what_runs()
{
    for fault in [Fault::Silence, Fault::Unanswered] {
        let mut service = ConfigService::start().await;
        let (source, _) = CONFIG.split_once("[sinks.lines]").unwrap();
        let home = Home::new(&format!(
            "{source}[connectors]\nconfig_type = \"http\"\nbase_url = \"{}\"\ntimeout = \"1h\"\n\
             request_headers = {{ api-key = \"{API_KEY}\" }}\n",
            service.url()
        ));
        for token in ["v0", "v1"] {
            let document = json!({
                "path": "libledger_sink",
                "open_timeout": "1h",
                "streams": [{ "stream": "s", "topics": ["t"], "schema": "raw" }],
                "plugin_config": { "ledger": "ledger", "token": token },
            });
            service.store(Sink, "lines", document).await;
        }
        service.activate(Sink, "lines", 0).await;
        let daemon = home.start().await;
        writes(&home, &daemon, "v0").await;
        service.fail_changes(Some(fault));
        let (status, answer) = activate(&daemon, SINK, 1).await;
        assert_eq!(
            (status, &answer["code"], &answer["step"]),
            (500, &"not_activated".into(), &"record".into()),
            "{answer}"
        );
        let reason = answer["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("version 0 stays: record: ") && reason.contains("may be recorded"),
            "{reason}"
        );
        writes(&home, &daemon, "v0").await;
        // It comes back, and takes what was sent before it went.
        service.kill();
        service.fail_changes(None);
        service.activate(Sink, "lines", 1).await;
        service.restart().await;
        // What is recorded until it is taken back was chosen by nobody: a restart does not take it.
        daemon.ask(SINK, "restart", "running").await;
        daemon.stderr().wait_for("is recorded again").await;
        let active = daemon.get("/sinks/lines/configs/active").await;
        assert_eq!(active["version"], 0, "{active}");
        writes(&home, &daemon, "v0").await;
        activated(&daemon, SINK, 1).await;
        writes(&home, &daemon, "v1").await;
        nothing_is_lost_repeated_or_moved(&home, &daemon).await;
        daemon.interrupt().await;
    }
}

#[tokio::test]
async fn an_activation_does_not_wait_for_a_plugin_that_never_closes_and_the_old_version_flows_on() {
    for connector in [SINK, SOURCE] {
        let config = CONFIG
            .replace(
                "token = \"v0\"",
                "token = \"v0\"\nexclusive = true\nclose = \"block\"",
            )
            .replace("acked = \"acked\"", "acked = \"acked\"\nclose = \"block\"")
            .replace(
                "\npath =",
                "\nclose_timeout = \"5s\"\nopen_timeout = \"3s\"\npath =",
            );
        let home = Home::new(&config);
        let daemon = home.start().await;
        all_flows(&daemon).await;
        let next = create(&daemon, connector, |document| {
            document["plugin_config"]["close"] = "".into();
        })
        .await;
        let (status, answer) = activate(&daemon, connector, next).await;
        assert_eq!(
            (status, &answer["code"], &answer["step"]),
            (409, &"not_activated".into(), &"close".into()),
            "{answer}"
        );
        let reason = answer["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("version 0 stays: close: ") && reason.contains("8s"),
            "{reason}"
        );
        all_flows(&daemon).await;
        let active = daemon.get(&format!("{connector}/configs/active")).await;
        assert_eq!(active["version"], 0, "the next start takes what runs");
        nothing_is_lost_repeated_or_moved(&home, &daemon).await;
        // The threads that a plugin blocks for ever would make its end a failure.
        daemon.kill().await;
    }
}

#[tokio::test]
async fn a_version_that_was_opened_in_vain_is_closed_beside_the_old_one_which_flows_on_at_once() {
    let home = Home::new(&CONFIG.replace(
        "restart.initial_backoff = \"50ms\"",
        "close_timeout = \"10s\"",
    ));
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let next = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["close"] = "wait".into();
    })
    .await;
    let folder = home.path().join("local_state/connectors");
    let in_the_way = folder.join(".unfinished-.active_versions.toml.tmp");
    fs::create_dir_all(in_the_way.join("full")).unwrap();
    let (status, answer) = activate(&daemon, SINK, next).await;
    assert_eq!(
        (status, &answer["step"]),
        (500, &"record".into()),
        "{answer}"
    );
    let shown = daemon.get(SINK).await;
    assert_eq!(shown["closing"], 1, "{shown}");
    all_flows(&daemon).await;
    writes(&home, &daemon, "v0").await;
    let given_up = |shown: &Value| shown.get("closing").is_none();
    let shown = daemon.wait_for(SINK, given_up).await;
    let message = shown["last_error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("close of a version that was not activated: ")
            && message.contains("within 10s"),
        "{shown}"
    );
    all_flows(&daemon).await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

/// The version that a connector has, and which of its stored ones is the active one: as each route says.
async fn versions(daemon: &Daemon, connector: &str) -> (u64, u64) {
    let active = daemon.get(&format!("{connector}/configs/active")).await;
    let all = daemon.get(&format!("{connector}/configs")).await;
    let flags = all.as_array().unwrap().iter();
    let flagged: Vec<_> = flags.filter(|entry| entry["active"] == true).collect();
    assert_eq!(
        (flagged.len(), &flagged[0]["version"]),
        (1, &active["version"]),
        "{all}"
    );
    let has = daemon.get(connector).await["config_version"].as_u64();
    (has.unwrap(), active["version"].as_u64().unwrap())
}

#[tokio::test]
async fn the_highest_version_is_active_until_one_is_chosen_and_a_restart_takes_what_is_active() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    let token =
        |token: &'static str| move |sink: &mut Value| sink["plugin_config"]["token"] = token.into();
    let has = |version: u64| move |sink: &Value| sink["config_version"] == version;
    // Nobody has chosen: it is what the next start takes, and says so.
    let stored = create(&daemon, SINK, token("v1")).await;
    assert_eq!((stored, versions(&daemon, SINK).await), (1, (0, 1)));
    daemon.ask(SINK, "restart", "running").await;
    daemon.wait_for(SINK, has(1)).await;
    writes(&home, &daemon, "v1").await;
    // Somebody has chosen: what is stored later is one among others.
    activated(&daemon, SINK, 0).await;
    let stored = create(&daemon, SINK, token("v2")).await;
    assert_eq!((stored, versions(&daemon, SINK).await), (2, (0, 0)));
    daemon.ask(SINK, "restart", "running").await;
    writes(&home, &daemon, "v0").await;
    assert_eq!(versions(&daemon, SINK).await, (0, 0));
    // Chosen for later, which is the restart.
    let path = format!("{SINK}/configs/active?restart=false");
    let chosen = json!({ "version": 2 });
    assert_eq!(daemon.send(Method::PUT, &path, Some(&chosen)).await.0, 200);
    assert_eq!(versions(&daemon, SINK).await, (0, 2));
    daemon.ask(SINK, "restart", "running").await;
    daemon.wait_for(SINK, has(2)).await;
    writes(&home, &daemon, "v2").await;
    // Chosen, and no good.
    let bad = create(&daemon, SINK, |sink| {
        sink["plugin_config"]["open"] = "fatal".into();
    })
    .await;
    let chosen = json!({ "version": bad });
    assert_eq!(daemon.send(Method::PUT, &path, Some(&chosen)).await.0, 200);
    daemon.ask(SINK, "restart", "running").await;
    let told = |sink: &Value| {
        let message = sink["last_error"]["message"].as_str().unwrap_or_default();
        message.starts_with("version 3 is the active one and is not activated: open")
    };
    daemon.wait_for(SINK, told).await;
    writes(&home, &daemon, "v2").await;
    assert_eq!(versions(&daemon, SINK).await, (2, 3));
    activated(&daemon, SINK, 2).await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_restart_that_cannot_be_saved_takes_what_is_active_all_the_same() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    writes(&home, &daemon, "v0").await;
    // What a restart takes back has to be saved.
    daemon.ask(SINK, "pause", "paused").await;
    let change = |sink: &mut Value| sink["plugin_config"]["token"] = "v1".into();
    assert_eq!(create(&daemon, SINK, change).await, 1);
    let unfinished = home.path().join("local_state/lifecycle.json.new");
    fs::create_dir(&unfinished).unwrap();
    let path = format!("{SINK}/restart");
    let (status, answer) = daemon.send(Method::POST, &path, None).await;
    assert_eq!(
        (status, &answer["code"]),
        (500, &"not_saved".into()),
        "{answer}"
    );
    daemon
        .wait_for(SINK, |sink| sink["config_version"] == 1)
        .await;
    writes(&home, &daemon, "v1").await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    fs::remove_dir(unfinished).unwrap();
    daemon.interrupt().await;
}
