//! Every entry point with everything that a plugin can do wrong at it: the call fails as specified, and other instances, of the same
//! library and of another, go on.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod plugin;
}

use std::time::Duration;

use harness::plugin::{
    Plugins, batch, everything, failed_in, hasty_at, open_sink, open_source, patient,
};
use iggy_connectors::{
    config::spec::Deadlines,
    pipeline::{
        Consumed, Failure, FailureKind, Rank, Settlement, SinkPlugin as _, SourcePlugin as _,
        Unsent,
    },
    plugin::{self, Library},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// What came of a deed, with records that failed.
type Came = Result<Vec<(usize, FailureKind)>, FailureKind>;

const CONTRACT: Came = Err(FailureKind::Contract);
const FINE: Came = Ok(Vec::new());

/// Everything that may be done at any entry point, and what comes of it. `None`: it depends on the entry point.
fn deeds() -> Vec<(&'static str, Option<Came>)> {
    vec![
        ("well", Some(FINE)),
        ("before_return", Some(FINE)),
        ("twice", Some(FINE)),
        ("null_outcome", Some(CONTRACT)),
        ("short_outcome", Some(CONTRACT)),
        ("bad_status", Some(CONTRACT)),
        ("index_twice", Some(CONTRACT)),
        ("index_outside", Some(CONTRACT)),
        ("endless_list", Some(CONTRACT)),
        ("null_list", Some(CONTRACT)),
        ("bad_stride", Some(CONTRACT)),
        ("list_with_error", Some(CONTRACT)),
        ("cancelled", Some(CONTRACT)),
        ("one_failed", None),
        ("null_value", None),
        ("short_value", None),
        ("not_text", Some(Err(FailureKind::Fatal))),
        ("panicked", Some(Err(FailureKind::Panicked))),
        ("transient", Some(Err(FailureKind::Transient))),
        ("invalid", Some(Err(FailureKind::Invalid))),
        ("fatal", Some(Err(FailureKind::Fatal))),
        // It waits past its deadline and obeys the cancel.
        ("wait", Some(Err(FailureKind::Transient))),
    ]
}

fn expected(entry: &str, deed: &str, known: Option<Came>) -> Came {
    let has_value = matches!(entry, "open" | "poll");
    known.unwrap_or_else(|| match deed {
        "one_failed" if entry == "consume" => Ok(vec![(0, FailureKind::Transient)]),
        "null_value" | "short_value" if !has_value => FINE,
        _ => CONTRACT,
    })
}

fn kind(failure: &Failure) -> FailureKind {
    failure.kind
}

/// Only the one deadline that has to be missed is short.
fn deadlines(entry: &str, deed: &str) -> Deadlines {
    if deed == "wait" {
        hasty_at(entry)
    } else {
        patient()
    }
}

async fn at_sink(library: &Library, entry: &str, deed: &str) -> Came {
    let config = json!({"at": entry, "do": deed});
    let sink = match open_sink(library, &config, deadlines(entry, deed)).await {
        Ok(sink) => sink,
        Err(failure) => {
            assert_eq!(entry, "open", "{failure}");
            return Err(failure.kind);
        }
    };
    let came = match entry {
        "consume" => sink
            .consume(batch(["one", "two", "three"]), Rank::First)
            .await
            .map(|consumed| consumed.failed),
        "flush" => sink.flush(everything()).await.map(|()| Vec::new()),
        "health" => sink
            .health(deadlines(entry, deed).consume)
            .await
            .map(|()| Vec::new()),
        "close" => {
            return sink
                .close()
                .await
                .map(|()| Vec::new())
                .map_err(|failure| kind(&failure));
        }
        _ => Ok(Vec::new()),
    };
    sink.close().await.unwrap();
    came.map(|failed| {
        failed
            .iter()
            .map(|record| (record.index, record.kind))
            .collect()
    })
    .map_err(|failure| kind(&failure))
}

async fn at_source(library: &Library, entry: &str, deed: &str) -> Came {
    let config = json!({"at": entry, "do": deed});
    let source = match open_source(library, &config, deadlines(entry, deed)).await {
        Ok(source) => source,
        Err(failure) => {
            assert_eq!(entry, "open", "{failure}");
            return Err(failure.kind);
        }
    };
    let came = match entry {
        "poll" => source.poll(&CancellationToken::new()).await.map(|_| ()),
        "settle" => {
            source
                .settle(
                    1,
                    Settlement::Ack {
                        undelivered: vec![(2, Unsent::Skipped)],
                    },
                )
                .await
        }
        "health" => source.health(deadlines(entry, deed).consume).await,
        "close" => {
            return source
                .close()
                .await
                .map(|()| Vec::new())
                .map_err(|failure| kind(&failure));
        }
        _ => Ok(()),
    };
    source.close().await.unwrap();
    came.map(|()| Vec::new()).map_err(|failure| kind(&failure))
}

#[tokio::test]
async fn a_sink_that_breaks_the_contract_fails_alone() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    let neighbours = [
        open_sink(&library, &json!({}), patient()).await.unwrap(),
        open_sink(
            &plugins.sink_library("scripted_sink").await,
            &json!({}),
            patient(),
        )
        .await
        .unwrap(),
    ];
    for entry in ["open", "consume", "flush", "health", "close"] {
        for (deed, known) in deeds() {
            let came = at_sink(&library, entry, deed).await;
            assert_eq!(came, expected(entry, deed, known), "{deed} at {entry}");
            for neighbour in &neighbours {
                assert_eq!(
                    neighbour.consume(batch(["ok"]), Rank::First).await,
                    Ok(Consumed::default()),
                    "after {deed} at {entry}"
                );
            }
        }
    }
    assert!(!library.is_quarantined());
}

#[tokio::test]
async fn a_source_that_breaks_the_contract_fails_alone() {
    let plugins = Plugins::new();
    let library = plugins.source_library("misbehaving_source").await;
    let neighbours = [
        open_source(&library, &json!({}), patient()).await.unwrap(),
        open_source(
            &plugins.source_library("scripted_source").await,
            &json!({}),
            patient(),
        )
        .await
        .unwrap(),
    ];
    for entry in ["open", "poll", "settle", "health", "close"] {
        for (deed, known) in deeds() {
            let came = at_source(&library, entry, deed).await;
            assert_eq!(came, expected(entry, deed, known), "{deed} at {entry}");
            for neighbour in &neighbours {
                poll_and_ack(neighbour).await;
            }
        }
    }
    for deed in [
        "unknown_schema",
        "null_messages",
        "batch_stride",
        "endless_batch",
        "no_release",
        "null_state",
        "null_payload",
    ] {
        assert_eq!(at_source(&library, "poll", deed).await, CONTRACT, "{deed}");
        for neighbour in &neighbours {
            poll_and_ack(neighbour).await;
        }
    }
    assert!(!library.is_quarantined());
}

async fn poll_and_ack(source: &plugin::Source) {
    let polled = source.poll(&CancellationToken::new()).await.unwrap();
    assert!(!polled.messages.is_empty());
    source
        .settle(
            polled.poll,
            Settlement::Ack {
                undelivered: vec![],
            },
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn failures_say_what_the_plugin_said() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    for (deed, expected) in [
        ("panicked", "panicked: boom"),
        ("transient", "busy"),
        ("fatal", "no table"),
        (
            "bad_status",
            "contract broken: consume: the status 99 is unknown",
        ),
        (
            "index_outside",
            "contract broken: consume: record 1000 is listed as failed in a batch of 3",
        ),
        (
            "cancelled",
            "contract broken: consume ended as cancelled, but nobody had asked for it",
        ),
        ("wait", "consume did not end within 100ms and was cancelled"),
    ] {
        let config = json!({"at": "consume", "do": deed});
        let sink = open_sink(&library, &config, deadlines("consume", deed))
            .await
            .unwrap();
        let failure = sink
            .consume(batch(["one", "two", "three"]), Rank::First)
            .await
            .unwrap_err();
        assert_eq!(failure.to_string(), expected);
        let asked = (deed == "transient").then_some(Duration::from_millis(1500));
        assert_eq!(failure.retry_after, asked, "{deed}");
    }
    let sink = open_sink(
        &library,
        &json!({"at": "consume", "do": "not_text"}),
        patient(),
    )
    .await
    .unwrap();
    let failure = sink.consume(batch(["one"]), Rank::First).await.unwrap_err();
    assert!(
        failure.message.len() < 16 * 1024 && failure.message.starts_with('\u{fffd}'),
        "{}",
        failure.message.len()
    );
}

#[tokio::test]
async fn the_authors_panics_are_failures_and_the_instance_goes_on() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("scripted_sink").await;
    let sink = open_sink(&library, &json!({}), patient()).await.unwrap();
    for (deed, expected) in [("panic", "boom"), ("panic_twice", "")] {
        let failure = sink.consume(batch([deed]), Rank::First).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Panicked, "{deed}: {failure}");
        assert!(failure.message.contains(expected), "{deed}: {failure}");
        assert_eq!(
            sink.consume(batch(["ok"]), Rank::First).await,
            Ok(Consumed::default()),
            "after {deed}"
        );
    }
    for config in [json!({"new": "panic"}), json!({"open": "panic"})] {
        let failure = open_sink(&library, &config, patient()).await.err().unwrap();
        assert_eq!(failure.kind, FailureKind::Panicked, "{config}: {failure}");
    }
    let closing = open_sink(&library, &json!({"close": "panic"}), patient())
        .await
        .unwrap();
    assert_eq!(
        closing.close().await.unwrap_err().kind,
        FailureKind::Panicked
    );
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_panic_while_a_cancelled_call_is_dropped_is_a_failure() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("scripted_sink").await;
    let sink = open_sink(&library, &json!({}), hasty_at("consume"))
        .await
        .unwrap();
    let failure = failed_in(&sink, "panic_when_dropped").await;
    assert_eq!(failure.kind, FailureKind::Panicked, "{failure}");
    assert!(!library.is_quarantined());
}

#[tokio::test]
async fn a_wait_that_comes_with_a_list_of_failed_records_is_handed_on() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("scripted_sink").await;
    let sink = open_sink(&library, &json!({}), patient()).await.unwrap();
    let consumed = sink
        .consume(batch(["suffix_later", "two"]), Rank::First)
        .await
        .unwrap();
    assert_eq!(consumed.retry_after, Some(Duration::from_millis(1500)));
    let failed: Vec<_> = consumed
        .failed
        .iter()
        .map(|record| (record.index, record.kind))
        .collect();
    assert_eq!(
        failed,
        [(0, FailureKind::Transient), (1, FailureKind::Transient)]
    );
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_plugin_whose_tasks_are_thrown_away_fails_as_broken_and_alone() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("scripted_sink").await;
    let elsewhere = Plugins::new();
    let other = elsewhere.sink_library("scripted_sink").await;
    let other = open_sink(&other, &json!({}), patient()).await.unwrap();
    let sink = open_sink(&library, &json!({}), patient()).await.unwrap();
    let beside = open_sink(&library, &json!({}), patient()).await.unwrap();
    let waiting = beside.consume(batch(["wait"]), Rank::First);
    let ending = sink.consume(batch(["end_runtime"]), Rank::First);
    let (ending, waiting) = tokio::join!(ending, waiting);
    assert_eq!(ending.unwrap_err().kind, FailureKind::Contract);
    assert_eq!(waiting.unwrap_err().kind, FailureKind::Contract);
    for came in [
        sink.consume(batch(["ok"]), Rank::First).await.map(drop),
        sink.flush(everything()).await,
        open_sink(&library, &json!({}), patient()).await.map(drop),
        sink.close().await,
    ] {
        assert_eq!(came.unwrap_err().kind, FailureKind::Contract);
    }
    assert_eq!(
        other.consume(batch(["ok"]), Rank::First).await,
        Ok(Consumed::default())
    );
}
