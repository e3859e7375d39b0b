//! Many connectors in one daemon: a hundred of each direction start in no time, and a bad one among them is listed with its error.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use std::{fmt::Write as _, time::Duration};

use harness::daemon::{Daemon, Home};
use serde_json::Value;
use tokio::time::Instant;

/// Of each direction.
const MANY: usize = 100;
/// Messages of each source.
const MESSAGES: u64 = 3;
/// Ten times what is promised, and of the daemon's own time: the machine may have others to serve meanwhile.
const BOUND: Duration = Duration::from_secs(30);

/// Each source has a topic, and each topic a sink.
fn config() -> String {
    let mut config = "[iggy.embedded]\nenabled = true\n".to_owned();
    for number in 0..MANY {
        write!(
            config,
            r#"
[sources.source-{number}]
path = "libledger_source"
plugin_config = {{ until = "until", acked = "acked-{number}" }}
[[sources.source-{number}.streams]]
stream = "s"
topic = "t-{number}"
schema = "raw"

[sinks.sink-{number}]
path = "libledger_sink"
plugin_config = {{ ledger = "ledger-{number}" }}
[[sinks.sink-{number}.streams]]
stream = "s"
topics = ["t-{number}"]
schema = "raw"
poll_interval = "50ms"
"#
        )
        .unwrap();
    }
    config.push_str(
        r#"
[sinks.bad]
path = "libnowhere"
[[sinks.bad.streams]]
stream = "s"
topics = ["t-0"]
schema = "raw"
"#,
    );
    config
}

/// Processor time that the daemon has had.
fn spent(daemon: &Daemon) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    // Behind the name, which may hold anything, the fields are numbered from 3; 14 and 15 are the times.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields = fields.split_whitespace().skip(14 - 3).take(2);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Waits until so many run.
async fn run(daemon: &Daemon, count: usize) -> Value {
    let running = |health: &Value| health["connectors"]["running"] == count;
    daemon.wait_for("/health", running).await
}

#[tokio::test]
async fn two_hundred_connectors_start_in_no_time_and_a_bad_one_among_them_is_listed() {
    let home = Home::new(&config());
    std::fs::write(home.path().join("until"), MESSAGES.to_string()).unwrap();
    let began = Instant::now();
    let daemon = home.start().await;
    let health = run(&daemon, 2 * MANY).await;
    let took = began.elapsed();
    let spent = spent(&daemon);
    eprintln!(
        "{} connectors run {took:?} after the daemon was started, which has worked for {spent:?}",
        2 * MANY
    );
    assert!(spent < BOUND, "{spent:?}");

    assert_eq!(
        (&health["status"], &health["connectors"]["error"]),
        (&"degraded".into(), &1.into())
    );
    let sinks = daemon.get("/sinks").await;
    let sinks = sinks.as_array().unwrap();
    assert_eq!(sinks.len(), MANY + 1);
    let bad = sinks.iter().find(|sink| sink["key"] == "bad").unwrap();
    let reason = bad["last_error"]["message"].as_str().unwrap();
    assert_eq!(bad["status"], "error");
    assert!(
        reason.contains("libnowhere") && reason.contains("not found"),
        "{reason}"
    );

    // They do not only say that they run.
    let everything = MANY as u64 * MESSAGES;
    daemon
        .wait_for("/stats", |stats| {
            let connectors = stats["connectors"].as_array().unwrap().iter();
            let processed = connectors.filter_map(|it| it["messages_processed"].as_u64());
            processed.sum::<u64>() == everything
        })
        .await;
    let began = Instant::now();
    daemon.interrupt().await;
    eprintln!("they were stopped in {:?}", began.elapsed());
}
