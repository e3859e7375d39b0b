//! Connectors paused, resumed, stopped, started and restarted over the API of real daemons, under load and over their ends.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
    pub mod ledger;
}

use std::{fs, path::Path};

use harness::{
    daemon::{Daemon, Home},
    ledger,
};
use rustix::process::Signal;
use serde_json::Value;

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
deed = "source_deed"
result_deed = "result_deed"
max_in_flight = 4

[sinks.lines]
path = "libledger_sink"
consume_timeout = "1s"
restart.initial_backoff = "50ms"
[[sinks.lines.streams]]
stream = "s"
topics = ["t"]
schema = "raw"
[sinks.lines.plugin_config]
ledger = "ledger"
deed = "sink_deed"
"#;

const SINK: &str = "/sinks/lines";
const SOURCE: &str = "/sources/numbers";

/// The numbers in a ledger, in the order in which they were written.
fn written(home: &Home, ledger: &str) -> Vec<u64> {
    ledger::numbers(&home.path().join(ledger))
}

fn has_status(status: &'static str) -> impl Fn(&Value) -> bool {
    move |connector| connector["status"] == status
}

fn at_least(key: &'static str, count: u64) -> impl Fn(&Value) -> bool {
    move |stats| stats[key].as_u64() >= Some(count)
}

/// Lets the source end, and waits until everything that it has sent is in the ledger. Returns how many that are.
async fn finish(home: &Home, daemon: &Daemon, ledger: &str) -> u64 {
    let sent = daemon.stats("numbers").await["messages_sent"]
        .as_u64()
        .unwrap();
    let until = ledger::end_soon(home.path(), sent);
    let deadline = tokio::time::Instant::now() + harness::daemon::PATIENCE;
    while written(home, ledger).iter().max() != Some(&(until - 1)) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{}",
            daemon.stderr().text()
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    until
}

#[tokio::test]
async fn pausing_and_resuming_under_load_loses_nothing_and_repeats_nothing() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    for round in 1..=5 {
        let met = at_least("messages_processed", round * 200);
        daemon.wait_for_stats("lines", met).await;
        let paused = daemon.ask(SINK, "pause", "paused").await;
        assert_eq!(paused["target"], "paused");
        let (lines, stats) = (written(&home, "ledger").len(), daemon.stats("lines").await);
        assert_eq!(
            stats["messages_consumed"], stats["messages_processed"],
            "what was in flight is settled: {stats}"
        );
        // The source goes on meanwhile, and is paused in its turn.
        let sent = daemon.stats("numbers").await["messages_sent"]
            .as_u64()
            .unwrap();
        let met = at_least("messages_sent", sent + 100);
        daemon.wait_for_stats("numbers", met).await;
        daemon.ask(SOURCE, "pause", "paused").await;
        assert_eq!(written(&home, "ledger").len(), lines, "nothing moves");
        daemon.ask(SOURCE, "resume", "running").await;
        daemon.ask(SINK, "resume", "running").await;
    }
    let all = finish(&home, &daemon, "ledger").await;
    assert_eq!(written(&home, "ledger"), (0..all).collect::<Vec<_>>());
    let opened = daemon.stderr().all();
    let opened = opened.iter().filter(|line| line.contains("plugin loaded"));
    assert_eq!(opened.count(), 2, "the plugins stayed open");
    daemon.interrupt().await;
}

#[tokio::test]
async fn stopping_starting_and_restarting_under_load_loses_nothing_and_repeats_nothing() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    for round in 1..=3 {
        let met = at_least("messages_processed", round * 200);
        daemon.wait_for_stats("lines", met).await;
        for connector in [SINK, SOURCE] {
            daemon.ask(connector, "stop", "stopped").await;
            daemon.ask(connector, "start", "running").await;
            daemon.ask(connector, "restart", "running").await;
        }
    }
    let all = finish(&home, &daemon, "ledger").await;
    assert_eq!(written(&home, "ledger"), (0..all).collect::<Vec<_>>());
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_poll_that_waits_is_ended_by_a_pause_and_goes_on_afterwards() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    let met = at_least("messages_processed", 100);
    daemon.wait_for_stats("lines", met).await;
    for (command, then, back) in [
        ("pause", "paused", "resume"),
        ("stop", "stopped", "start"),
        ("pause", "paused", "restart"),
    ] {
        // The source waits for ever for something to offer.
        once(&home.path().join("source_deed"), "wait").await;
        daemon.ask(SOURCE, command, then).await;
        daemon.ask(SOURCE, back, "running").await;
        let sent = daemon.stats("numbers").await["messages_sent"].as_u64();
        let met = at_least("messages_sent", sent.unwrap() + 100);
        daemon.wait_for_stats("numbers", met).await;
    }
    let all = finish(&home, &daemon, "ledger").await;
    assert_eq!(written(&home, "ledger"), (0..all).collect::<Vec<_>>());
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_batch_that_is_tried_again_is_parked_by_a_pause() {
    let config = CONFIG.replace("consume_timeout = \"1s\"", "consume_timeout = \"1h\"");
    let home = Home::new(&config.replace(
        "[sinks.lines]\n",
        "[sinks.lines]\nretry.initial_backoff = \"1h\"\nretry.max_backoff = \"1h\"\n",
    ));
    let daemon = home.start().await;
    let met = at_least("messages_processed", 100);
    daemon.wait_for_stats("lines", met).await;
    for (command, then, back) in [("pause", "paused", "resume"), ("stop", "stopped", "start")] {
        write(&home.path().join("sink_deed"), "transient");
        daemon.wait_for(SINK, has_status("retrying")).await;
        let parked = daemon.ask(SINK, command, then).await;
        assert_eq!(parked["last_error"]["message"], "busy", "{parked}");
        assert!(parked["next_restart_at"].is_null(), "{parked}");
        fs::remove_file(home.path().join("sink_deed")).unwrap();
        daemon.ask(SINK, back, "running").await;
    }
    let all = finish(&home, &daemon, "ledger").await;
    assert_eq!(written(&home, "ledger"), (0..all).collect::<Vec<_>>());
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_source_that_takes_no_results_when_it_is_paused_or_stopped_loses_nothing_and_repeats_nothing()
 {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    for (command, then, back) in [("pause", "paused", "resume"), ("stop", "stopped", "start")] {
        let sent = daemon.stats("numbers").await["messages_sent"].as_u64();
        let met = at_least("messages_sent", sent.unwrap() + 200);
        daemon.wait_for_stats("numbers", met).await;
        write(&home.path().join("result_deed"), "transient");
        daemon.wait_for(SOURCE, has_status("retrying")).await;
        let ended = daemon.ask(SOURCE, command, then).await;
        let told = ended["last_error"]["message"].as_str().unwrap();
        assert!(told.contains("not taken the result"), "{ended}");
        let stats = daemon.stats("numbers").await;
        assert_eq!(stats["messages_produced"], stats["messages_sent"]);
        fs::remove_file(home.path().join("result_deed")).unwrap();
        daemon.ask(SOURCE, back, "running").await;
    }
    let all = finish(&home, &daemon, "ledger").await;
    assert_eq!(written(&home, "ledger"), (0..all).collect::<Vec<_>>());
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_broker_out_of_reach_holds_up_no_command() {
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap().to_string();
    let mut home = Home::new(CONFIG);
    home.set("IGGY_CONNECTORS_IGGY_EMBEDDED_ENABLED", "false");
    // It takes connections and never answers.
    home.set("IGGY_CONNECTORS_IGGY_ADDRESS", &address);
    let daemon = home.start().await;
    for connector in [SINK, SOURCE] {
        daemon.ask(connector, "pause", "paused").await;
        let (status, _) = daemon.post(&format!("{connector}/resume")).await;
        assert_eq!(status, 202);
        daemon.ask(connector, "stop", "stopped").await;
        let (status, _) = daemon.post(&format!("{connector}/restart")).await;
        assert_eq!(status, 202);
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_was_paused_or_stopped_stays_so_over_an_end_and_over_kill_9() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    let met = at_least("messages_processed", 100);
    daemon.wait_for_stats("lines", met).await;
    daemon.ask(SINK, "pause", "paused").await;
    daemon.ask(SOURCE, "stop", "stopped").await;
    daemon.kill().await;
    let before = written(&home, "ledger").len();

    let daemon = home.start().await;
    daemon.wait_for(SINK, has_status("paused")).await;
    daemon.wait_for(SOURCE, has_status("stopped")).await;
    assert_eq!(daemon.get("/health").await["status"], "healthy");
    assert_eq!(daemon.get("/ready").await["status"], "ready");
    daemon.interrupt().await;

    let daemon = home.start().await;
    daemon.wait_for(SINK, has_status("paused")).await;
    assert_eq!(written(&home, "ledger").len(), before, "nothing has moved");
    daemon.ask(SINK, "resume", "running").await;
    daemon.ask(SOURCE, "start", "running").await;
    let all = finish(&home, &daemon, "ledger").await;
    daemon.kill().await;

    let daemon = home.start().await;
    daemon.wait_for(SINK, has_status("running")).await;
    daemon.wait_for(SOURCE, has_status("running")).await;
    let mut ids = written(&home, "ledger");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids, (0..all).collect::<Vec<_>>(), "something is missing");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_damaged_lifecycle_file_ends_the_start() {
    let home = Home::new(CONFIG);
    let state = home.path().join("local_state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("lifecycle.json"), "{\"version\": 1").unwrap();
    let mut daemon = home.spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    daemon.output_closed().await;
    let text = daemon.stderr().text();
    assert!(
        text.contains("lifecycle.json") && text.contains("delete it"),
        "{text}"
    );
    assert!(!home.path().join("ledger").exists(), "nothing was started");
}

#[tokio::test]
async fn a_command_needs_a_connector_its_state_and_who_may_call() {
    let mut home =
        Home::new(&CONFIG.replace("[sinks.lines]\n", "[sinks.lines]\nenabled = false\n"));
    home.set("IGGY_CONNECTORS_HTTP_API_KEY", "c4nary");
    let daemon = home.start().await;
    let client = reqwest::Client::new();
    let call = async |method: reqwest::Method, path: &str, key: &str| {
        let request = client.request(method, daemon.url(path));
        let reply = request.header("api-key", key).send().await.unwrap();
        let status = reply.status().as_u16();
        let body: Value = reply.json().await.unwrap();
        (status, body["code"].as_str().map(str::to_owned))
    };
    for (method, path, key, status, code) in [
        ("POST", "/sinks/nobody/pause", "c4nary", 404, "not_found"),
        ("POST", "/sources/lines/start", "c4nary", 404, "not_found"),
        ("POST", "/sinks/lines/explode", "c4nary", 404, "not_found"),
        (
            "GET",
            "/sinks/lines/start",
            "c4nary",
            405,
            "method_not_allowed",
        ),
        ("POST", "/sinks/lines/start", "", 401, "unauthorized"),
        ("POST", "/sinks/lines/pause", "c4nary", 409, "wrong_state"),
        ("POST", "/sinks/lines/resume", "c4nary", 409, "wrong_state"),
    ] {
        let method = method.parse().unwrap();
        let expected = (status, Some(code.to_owned()));
        assert_eq!(call(method, path, key).await, expected, "{path}");
    }
    let (status, _) = call(reqwest::Method::POST, "/sinks/lines/start", "c4nary").await;
    assert_eq!(status, 202, "a disabled connector can be started");
    daemon
        .stderr()
        .wait_for("from=\"starting\" to=\"running\"")
        .await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn without_a_key_no_page_of_a_stranger_commands() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    let request = reqwest::Client::new().post(daemon.url("/sinks/lines/stop"));
    let reply = request.header("origin", "https://example.com").send().await;
    assert_eq!(reply.unwrap().status().as_u16(), 403);
    assert_eq!(daemon.get(SINK).await["target"], "running");
    daemon.interrupt().await;
}

#[tokio::test]
async fn readiness_waits_for_every_enabled_connector_and_says_for_which() {
    let broken = "\n[sinks.broken]\npath = \"libnowhere\"\n[[sinks.broken.streams]]\nstream = \"s\"\ntopics = [\"t\"]\n";
    let home = Home::new(&format!("{CONFIG}{broken}"));
    let daemon = home.start().await;
    daemon.wait_for(SINK, has_status("running")).await;
    daemon.wait_for("/sinks/broken", has_status("error")).await;
    let reply = reqwest::get(daemon.url("/ready")).await.unwrap();
    assert_eq!(reply.status().as_u16(), 503);
    let body: Value = reply.json().await.unwrap();
    assert_eq!(body["code"], "not_ready");
    let reason = body["reason"].as_str().unwrap();
    assert!(
        reason.contains("sink broken") && reason.contains("libnowhere"),
        "{reason}"
    );
    assert!(!reason.contains("lines"), "{reason}");
    assert_eq!(daemon.get("/health").await["status"], "degraded");
    daemon.ask("/sinks/broken", "stop", "stopped").await;
    daemon
        .wait_for("/ready", |ready| ready["status"] == "ready")
        .await;
    daemon
        .wait_for("/health", |health| health["status"] == "healthy")
        .await;
    daemon.interrupt().await;
}

/// A second sink of the same library, on the same topic.
const NEIGHBOUR: &str = r#"
[sinks.neighbour]
path = "libledger_sink"
consume_timeout = "300ms"
restart.initial_backoff = "50ms"
[[sinks.neighbour.streams]]
stream = "s"
topics = ["t"]
schema = "raw"
[sinks.neighbour.plugin_config]
ledger = "neighbour"
deed = "neighbour_deed"
"#;

#[tokio::test]
async fn a_sink_that_hangs_is_given_up_and_the_others_lose_nothing() {
    let home = Home::new(&format!("{CONFIG}{NEIGHBOUR}"));
    let deed = home.path().join("neighbour_deed");
    let daemon = home.start().await;
    let met = at_least("messages_processed", 100);
    daemon.wait_for_stats("lines", met).await;
    // Its thread, which is the library's only one, never comes back.
    once(&deed, "block").await;
    let hung = |connector: &Value| {
        let error = connector["last_error"]["message"].as_str();
        error.is_some_and(|error| error.starts_with("hung"))
    };
    daemon.wait_for("/sinks/neighbour", hung).await;
    // Each gets a fresh copy of the library.
    daemon
        .wait_for("/sinks/neighbour", has_status("running"))
        .await;
    let all = finish(&home, &daemon, "ledger").await;
    assert_all_are_in(&home, "ledger", all);
    finish(&home, &daemon, "neighbour").await;
    assert_all_are_in(&home, "neighbour", all);
    let text = daemon.stderr().text();
    assert!(text.contains("use a fresh copy"), "{text}");
    // The blocked threads of the first copy end with the process.
    let mut daemon = daemon;
    daemon.signal(Signal::INT);
    daemon.ended().await;
}

#[tokio::test]
async fn a_sink_that_hangs_takes_commands_and_follows_when_it_is_given_up() {
    // Time enough to be seen hanging before it is given up.
    let home = Home::new(&CONFIG.replace("= \"1s\"", "= \"10s\""));
    let deed = home.path().join("sink_deed");
    let mut daemon = home.start().await;
    let met = at_least("messages_processed", 100);
    daemon.wait_for_stats("lines", met).await;
    once(&deed, "block").await;
    // Accepted while nothing answers.
    for command in ["pause", "resume", "stop", "start", "pause"] {
        let (status, answer) = daemon.post(&format!("{SINK}/{command}")).await;
        assert_eq!(status, 202, "{answer}");
    }
    daemon.wait_for(SINK, has_status("paused")).await;
    daemon.stderr().wait_for("error=hung: consume").await;
    daemon.ask(SINK, "resume", "running").await;
    let all = finish(&home, &daemon, "ledger").await;
    assert_all_are_in(&home, "ledger", all);
    daemon.signal(Signal::INT);
    daemon.ended().await;
}

fn assert_all_are_in(home: &Home, ledger: &str, all: u64) {
    let ids: std::collections::BTreeSet<u64> = written(home, ledger).into_iter().collect();
    let missing: Vec<_> = (0..all).filter(|id| !ids.contains(id)).collect();
    assert!(missing.is_empty(), "{ledger} lacks {missing:?} of {all}");
}

const SCRIPTED: &str = r#"
[sinks.checked]
path = "libscripted_sink"
health = { interval = "20ms", timeout = "50ms", failures = 2 }
restart.initial_backoff = "50ms"
[[sinks.checked.streams]]
stream = "s"
topics = ["t"]
schema = "text"
[sinks.checked.plugin_config]
health = "DEED"
"#;

async fn with_health(deed: &str, action: &str) -> (Home, Daemon) {
    let scripted = SCRIPTED.replace("DEED", deed);
    let scripted = match deed {
        "wait" => scripted,
        _ => scripted.replace("timeout = \"50ms\"", "timeout = \"1h\""),
    };
    let action = format!("failures = 2, action = \"{action}\"");
    let scripted = scripted.replace("failures = 2", &action);
    let home = Home::new(&format!("{CONFIG}{scripted}"));
    let daemon = home.start().await;
    (home, daemon)
}

#[tokio::test]
async fn checks_that_fail_or_hang_are_reported_and_disturb_nothing() {
    for (deed, said) in [("transient", "busy"), ("wait", "did not end within 50ms")] {
        let (_home, daemon) = with_health(deed, "report").await;
        let unhealthy = |connector: &Value| connector["healthy"] == false;
        let checked = daemon.wait_for("/sinks/checked", unhealthy).await;
        let error = checked["last_error"]["message"].as_str().unwrap();
        assert!(
            error.starts_with("unhealthy") && error.contains(said),
            "{error}"
        );
        let processed = daemon.stats("checked").await["messages_processed"].as_u64();
        let met = at_least("messages_processed", processed.unwrap() + 200);
        let stats = daemon.wait_for_stats("checked", met).await;
        assert_eq!(stats["status"], "running", "{deed}");
        let health = daemon.get("/health").await;
        assert_eq!(
            (&health["status"], &health["unhealthy"]),
            (&"degraded".into(), &1.into())
        );
        daemon.interrupt().await;
    }
}

#[tokio::test]
async fn an_unhealthy_sink_is_restarted_or_stopped_as_it_is_configured() {
    let (_home, daemon) = with_health("transient", "restart").await;
    let failed = |connector: &Value| connector["status"] == "error";
    let checked = daemon.wait_for("/sinks/checked", failed).await;
    assert!(checked["next_restart_at"].as_u64() > Some(0), "{checked}");
    daemon
        .wait_for("/sinks/checked", has_status("running"))
        .await;
    daemon.interrupt().await;

    let (_home, daemon) = with_health("transient", "stop").await;
    let checked = daemon.wait_for("/sinks/checked", failed).await;
    assert!(checked["next_restart_at"].is_null(), "{checked}");
    daemon.interrupt().await;
}

#[tokio::test]
async fn signals_that_come_together_are_one_and_everything_is_drained() {
    let home = Home::new(CONFIG);
    let mut daemon = home.start().await;
    let met = at_least("messages_processed", 100);
    daemon.wait_for_stats("lines", met).await;
    // As from a program that passes on what its whole group has been sent. Both are there when it goes on.
    for both in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
        daemon.signal(both);
    }
    assert_eq!(
        daemon.ended().await.code(),
        Some(0),
        "{}",
        daemon.stderr().text()
    );
    let daemon = home.start().await;
    let all = finish(&home, &daemon, "ledger").await;
    assert_eq!(written(&home, "ledger"), (0..all).collect::<Vec<_>>());
    daemon.interrupt().await;
}

#[tokio::test]
async fn past_its_deadline_the_end_is_forced_and_a_second_signal_ends_at_once() {
    let config = CONFIG.replace("consume_timeout = \"1s\"", "consume_timeout = \"1h\"");
    for (timeout, signals) in [("1s", 1), ("1h", 2)] {
        let home = Home::new(&format!(
            "[runtime]\nshutdown_timeout = \"{timeout}\"\n{config}"
        ));
        let mut daemon = home.start().await;
        let met = at_least("messages_processed", 1);
        daemon.wait_for_stats("lines", met).await;
        // From here on the sink waits in the middle of a batch.
        once(&home.path().join("sink_deed"), "wait").await;
        daemon.signal(Signal::TERM);
        daemon
            .stderr()
            .wait_for("a second signal exits at once")
            .await;
        let pid = daemon.pid();
        let insisted = async {
            if signals == 1 {
                std::future::pending::<()>().await;
            }
            // One that comes with the first is not a second one.
            loop {
                signal(pid, Signal::TERM);
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let ended = tokio::select! {
            ended = daemon.ended() => ended,
            () = insisted => unreachable!(),
        };
        assert_eq!(ended.code(), Some(1));
        daemon.output_closed().await;
        let text = daemon.stderr().text();
        let said = if signals == 2 {
            "exiting at once"
        } else {
            "sink lines"
        };
        assert!(text.contains(said), "{text}");
    }
}

/// Lets a plugin do something in one call, and waits until it has begun with it.
async fn once(deed: &Path, does: &str) {
    write(deed, &format!("1 {does}"));
    let deadline = tokio::time::Instant::now() + harness::daemon::PATIENCE;
    while deed.exists() {
        assert!(tokio::time::Instant::now() < deadline, "{does}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}
