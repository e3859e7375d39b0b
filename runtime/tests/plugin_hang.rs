//! Calls that end late or never: deadlines, cancels, abandoned instances, and libraries in quarantine.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod plugin;
}

use std::{future::Future, time::Duration};

use futures_util::future::join_all;
use harness::plugin::{
    HASTE, PATIENCE, Plugins, batch, everything, failed_in, hasty_at, open_sink, open_source,
    patient, text_of,
};
use iggy_connectors::{
    config::spec::Direction,
    pipeline::{
        Consumed, FailureKind, GivenUp, Rank, Settlement, SinkPlugin as _, SourcePlugin as _,
    },
    plugin::{Library, LoadError},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Drops a call's future once the plugin has the call.
async fn start_and_drop<T>(call: impl Future<Output = T>) {
    let began = tokio::time::timeout(Duration::from_millis(500), call).await;
    assert!(began.is_err(), "the call has ended by itself");
}

/// Does nothing at one entry point of a sink, ignores the cancel, and tells what came of it.
async fn hung_sink(entry: &'static str) -> (FailureKind, Library) {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    let neighbour = open_sink(&library, &json!({}), patient()).await.unwrap();
    let config = json!({"at": entry, "do": "never"});
    let deadlines = hasty_at(entry);
    let failure = match open_sink(&library, &config, deadlines).await {
        Err(failure) => failure,
        Ok(sink) => {
            let came = match entry {
                "consume" => sink.consume(batch(["one"]), Rank::First).await.map(drop),
                "flush" => sink.flush(everything()).await,
                "health" => sink.health(HASTE).await,
                _ => return closed(sink.close().await, library),
            };
            let failure = came.unwrap_err();
            // The instance is abandoned: no further call reaches the plugin, not even close.
            let again = sink.consume(batch(["one"]), Rank::First).await.unwrap_err();
            assert_eq!(again.kind, FailureKind::Hung, "{again}");
            assert_eq!(sink.close().await.unwrap_err().kind, FailureKind::Hung);
            failure
        }
    };
    assert_eq!(
        neighbour.consume(batch(["ok"]), Rank::First).await,
        Ok(Consumed::default()),
        "{entry}"
    );
    (failure.kind, library)
}

fn closed(
    came: Result<(), iggy_connectors::pipeline::Failure>,
    library: Library,
) -> (FailureKind, Library) {
    (came.unwrap_err().kind, library)
}

async fn hung_source(entry: &'static str) -> (FailureKind, Library) {
    let plugins = Plugins::new();
    let library = plugins.source_library("misbehaving_source").await;
    let config = json!({"at": entry, "do": "never"});
    let deadlines = hasty_at(entry);
    let failure = match open_source(&library, &config, deadlines).await {
        Err(failure) => failure,
        Ok(source) => match entry {
            "poll" => source.poll(&CancellationToken::new()).await.unwrap_err(),
            "settle" => source
                .settle(1, Settlement::Nack(GivenUp::Stopped))
                .await
                .unwrap_err(),
            "health" => source.health(HASTE).await.unwrap_err(),
            _ => return closed(source.close().await, library),
        },
    };
    (failure.kind, library)
}

#[tokio::test]
async fn a_call_that_never_ends_is_hung_at_every_entry_point() {
    let sinks = join_all(["open", "consume", "flush", "health", "close"].map(hung_sink));
    let sources = join_all(["open", "poll", "settle", "health", "close"].map(hung_source));
    let (sinks, sources) = tokio::join!(sinks, sources);
    for (kind, library) in sinks.into_iter().chain(sources) {
        assert_eq!(kind, FailureKind::Hung);
        assert!(library.is_quarantined());
    }
}

#[tokio::test]
async fn a_blocked_worker_thread_is_hung_and_a_fresh_copy_goes_on() {
    let plugins = Plugins::new();
    let mut copies: Vec<Library> = Vec::new();
    for _ in 0..3 {
        let library = plugins.sink_library("scripted_sink").await;
        assert!(copies.iter().all(|copy| !copy.is_same(&library)));
        let fine = open_sink(&library, &json!({}), patient()).await.unwrap();
        assert_eq!(
            fine.consume(batch(["ok"]), Rank::First).await,
            Ok(Consumed::default()),
            "a fresh copy has threads of its own"
        );
        let sink = open_sink(&library, &json!({}), hasty_at("consume"))
            .await
            .unwrap();
        let failure = failed_in(&sink, "block").await;
        assert_eq!(failure.kind, FailureKind::Hung, "{failure}");
        let refused = open_sink(&library, &json!({}), patient())
            .await
            .err()
            .unwrap();
        assert_eq!(refused.kind, FailureKind::Transient, "{refused}");
        copies.push(library);
    }
    let error = plugins
        .load(&plugins.fixture("scripted_sink"), Direction::Sink)
        .await
        .unwrap_err();
    assert!(matches!(error, LoadError::Exhausted { .. }), "{error}");
    assert!(error.to_string().contains("restarted"), "{error}");
    // Other plugins are not concerned, and neither is the daemon's end: blocked threads end with the process.
    plugins.sink_library("misbehaving_sink").await;
    assert!(!plugins.registry.shutdown(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn what_was_lent_stays_until_the_plugin_completes_long_after_the_deadline() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    let signal = plugins.path("signal");
    let config = json!({"at": "consume", "do": "read_after_signal", "signal": signal});
    let sink = open_sink(&library, &config, hasty_at("consume"))
        .await
        .unwrap();
    let handed_over = batch(["what ", "was ", "lent"]);
    let weak = std::sync::Arc::downgrade(&handed_over);
    let failure = sink.consume(handed_over, Rank::First).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hung, "{failure}");
    drop(sink);
    assert!(
        weak.upgrade().is_some(),
        "the batch was freed under the plugin's hands"
    );
    std::fs::write(&signal, "").unwrap();
    assert_eq!(
        text_of(&signal.with_extension("done")).await,
        "what was lent"
    );
    assert!(
        weak.upgrade().is_none(),
        "the late completion has given the batch back"
    );
}

#[tokio::test]
async fn a_batch_that_is_completed_is_given_back_at_once() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    let sink = open_sink(&library, &json!({}), patient()).await.unwrap();
    for _ in 0..10 {
        let handed_over = batch(["one", "two"]);
        let weak = std::sync::Arc::downgrade(&handed_over);
        sink.consume(handed_over, Rank::First).await.unwrap();
        assert!(weak.upgrade().is_none());
    }
}

#[tokio::test]
async fn dropping_a_calls_future_cancels_it_and_the_instance_goes_on() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("scripted_sink").await;
    let sink = open_sink(&library, &json!({}), patient()).await.unwrap();
    let handed_over = batch(["wait"]);
    let weak = std::sync::Arc::downgrade(&handed_over);
    start_and_drop(sink.consume(handed_over, Rank::First)).await;
    sink.drain().await.unwrap();
    assert!(weak.upgrade().is_none(), "what was dropped has ended");
    assert_eq!(
        sink.consume(batch(["ok"]), Rank::First).await,
        Ok(Consumed::default())
    );
    // Close comes only after the dropped call has ended.
    sink.close().await.unwrap();
    assert!(weak.upgrade().is_none());
    assert!(!library.is_quarantined());
}

#[tokio::test]
async fn what_is_waited_for_is_not_drained_and_what_never_ends_is_given_up() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("scripted_sink").await;
    let sink = open_sink(&library, &json!({}), patient()).await.unwrap();
    let waiting = sink.consume(batch(["wait"]), Rank::First);
    tokio::select! {
        biased;
        _ = waiting => panic!("it waits for ever"),
        drained = sink.drain() => drained.unwrap(),
    }
    let library = plugins.sink_library("misbehaving_sink").await;
    let config = json!({"at": "consume", "do": "never"});
    let sink = open_sink(&library, &config, patient()).await.unwrap();
    start_and_drop(sink.consume(batch(["one"]), Rank::First)).await;
    assert_eq!(sink.drain().await.unwrap_err().kind, FailureKind::Hung);
    assert!(library.is_quarantined());
}

#[tokio::test]
async fn close_waits_for_dropped_calls_and_gives_up_on_one_that_never_ends() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    let config = json!({"at": "consume", "do": "never"});
    let sink = open_sink(&library, &config, patient()).await.unwrap();
    start_and_drop(sink.consume(batch(["one"]), Rank::First)).await;
    let failure = sink.close().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hung, "{failure}");
    assert!(library.is_quarantined());
}

#[tokio::test]
async fn an_instance_that_is_dropped_is_closed_in_the_background() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    let signal = plugins.path("signal");
    std::fs::write(&signal, "").unwrap();
    let config = json!({"at": "close", "do": "after_signal", "signal": signal});
    drop(open_sink(&library, &config, patient()).await.unwrap());
    assert_eq!(text_of(&signal.with_extension("done")).await, "late");
}

#[tokio::test]
async fn an_open_that_is_dropped_is_cancelled() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("misbehaving_sink").await;
    let config = json!({"at": "open", "do": "wait"});
    start_and_drop(open_sink(&library, &config, patient())).await;
    let reporter = open_sink(
        &library,
        &json!({"at": "health", "do": "report"}),
        patient(),
    )
    .await
    .unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let report = reporter.health(PATIENCE).await.unwrap_err().message;
        if report == "cancels=1" {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{report}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_waiting_poll_gets_a_moment_after_a_stop_and_is_then_cancelled() {
    let plugins = Plugins::new();
    let library = plugins.source_library("misbehaving_source").await;
    let source = open_source(&library, &json!({"at": "poll", "do": "wait"}), patient())
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let stopped = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
        tokio::time::Instant::now()
    };
    let (polled, since) = tokio::join!(source.poll(&stop), stopped);
    assert_eq!(polled.unwrap_err().kind, FailureKind::Cancelled);
    assert!(
        since.elapsed() >= Duration::from_millis(950),
        "{:?}",
        since.elapsed()
    );
    // Stopped already: the plugin is not even asked.
    assert_eq!(
        source.poll(&stop).await.unwrap_err().kind,
        FailureKind::Cancelled
    );
    source.close().await.unwrap();
}

#[tokio::test]
async fn a_poll_that_ends_in_its_last_moment_is_kept() {
    let plugins = Plugins::new();
    let library = plugins.source_library("misbehaving_source").await;
    let signal = plugins.path("signal");
    let config = json!({"at": "poll", "do": "after_signal", "signal": signal});
    let source = open_source(&library, &config, patient()).await.unwrap();
    let stop = CancellationToken::new();
    let stopped = async {
        stop.cancel();
        std::fs::write(&signal, "").unwrap();
    };
    let (polled, ()) = tokio::join!(
        async {
            tokio::task::yield_now().await;
            source.poll(&CancellationToken::new()).await
        },
        stopped
    );
    assert_eq!(polled.unwrap().messages.len(), 3);
    source.close().await.unwrap();
}

#[tokio::test]
async fn a_poll_whose_future_was_dropped_loses_no_batch() {
    let plugins = Plugins::new();
    let library = plugins.source_library("misbehaving_source").await;
    let signal = plugins.path("signal");
    let config = json!({"at": "poll", "do": "after_signal", "signal": signal});
    let source = open_source(&library, &config, patient()).await.unwrap();
    let stop = CancellationToken::new();
    start_and_drop(source.poll(&stop)).await;
    // The plugin has taken a batch all the same: it does not obey the cancel.
    std::fs::write(&signal, "").unwrap();
    text_of(&signal.with_extension("done")).await;
    let first = source.poll(&stop).await.unwrap();
    let second = source.poll(&stop).await.unwrap();
    assert!(
        first.poll < second.poll,
        "the dropped poll's batch comes first"
    );
    assert_eq!(
        second.poll - first.poll,
        1,
        "the dropped poll's own batch is returned"
    );
    source.close().await.unwrap();
}
