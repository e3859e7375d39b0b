//! An open that is slow, late or cannot be read: it can be cancelled, and what exists because of it is closed.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod plugin;
}

use std::{fs, time::Duration};

use harness::plugin::{PATIENCE, Plugins, batch, hasty_at, open_sink, patient, text_of};
use iggy_connectors::{
    pipeline::{Consumed, Failure, FailureKind, Rank, SinkPlugin as _},
    plugin,
};
use serde_json::json;

/// Waits until the plugin reports `expected` through its health check.
async fn reports(reporter: &plugin::Sink, expected: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let report = reporter.health(PATIENCE).await.unwrap_err().message;
        if report == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{report}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn failure(opened: Result<plugin::Sink, Failure>) -> Failure {
    opened.err().expect("it does not open")
}

#[tokio::test]
async fn a_slow_open_is_cancelled_and_does_not_exist() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    let config = json!({"at": "open", "do": "wait"});
    let failure = failure(open_sink(&library, &config, hasty_at("open")).await);
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
    let reporter = json!({"at": "health", "do": "report"});
    let reporter = open_sink(&library, &reporter, patient()).await.unwrap();
    reports(&reporter, "cancels=1").await;
    let reporter = json!({"at": "health", "do": "report_closes"});
    let reporter = open_sink(&library, &reporter, patient()).await.unwrap();
    reports(&reporter, "closes=0").await;
    assert!(!library.is_quarantined());
}

#[tokio::test]
async fn a_slow_open_of_the_sdk_is_cancelled() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("scripted_sink").await;
    let config = json!({"open": "wait"});
    let failure = failure(open_sink(&library, &config, hasty_at("open")).await);
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
    assert!(failure.message.contains("was cancelled"), "{failure}");
    assert!(!library.is_quarantined());
    let sink = open_sink(&library, &json!({}), patient()).await.unwrap();
    assert_eq!(
        sink.consume(batch(["ok"]), Rank::First).await,
        Ok(Consumed::default())
    );
}

#[tokio::test]
async fn an_instance_whose_open_succeeds_after_it_was_given_up_is_closed() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    let reporter = json!({"at": "health", "do": "report_closes"});
    let reporter = open_sink(&library, &reporter, patient()).await.unwrap();
    let signal = plugins.path("signal");
    let config = json!({"at": "open", "do": "after_signal", "signal": signal});
    let failure = failure(open_sink(&library, &config, hasty_at("open")).await);
    assert_eq!(failure.kind, FailureKind::Hung, "{failure}");
    reports(&reporter, "closes=0").await;
    fs::write(&signal, "").unwrap();
    assert_eq!(text_of(&signal.with_extension("done")).await, "late");
    reports(&reporter, "closes=1").await;
    assert!(library.is_quarantined(), "it has hung all the same");
}

#[tokio::test]
async fn an_instance_whose_traits_cannot_be_read_is_closed() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    let reporter = json!({"at": "health", "do": "report_closes"});
    let reporter = open_sink(&library, &reporter, patient()).await.unwrap();
    for (number, deed) in ["null_value", "short_value", "one_failed"]
        .into_iter()
        .enumerate()
    {
        let config = json!({"at": "open", "do": deed});
        let failure = failure(open_sink(&library, &config, patient()).await);
        assert_eq!(failure.kind, FailureKind::Contract, "{failure}");
        reports(&reporter, &format!("closes={}", number + 1)).await;
    }
}

#[tokio::test]
async fn an_instance_that_did_not_open_is_not_closed() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    for deed in [
        "transient",
        "fatal",
        "panicked",
        "bad_status",
        "list_with_error",
    ] {
        let config = json!({"at": "open", "do": deed});
        assert!(open_sink(&library, &config, patient()).await.is_err());
    }
    let reporter = json!({"at": "health", "do": "report_closes"});
    let reporter = open_sink(&library, &reporter, patient()).await.unwrap();
    // A close would have come before this one, which comes through the same background.
    let signal = plugins.path("signal");
    fs::write(&signal, "").unwrap();
    let config = json!({"at": "close", "do": "after_signal", "signal": signal});
    drop(open_sink(&library, &config, patient()).await.unwrap());
    assert_eq!(text_of(&signal.with_extension("done")).await, "late");
    reports(&reporter, "closes=1").await;
}
