//! A sink made with the SDK behaves natively as it does through a loaded library.
//!
//! One plugin crate per test binary: two would export the same symbols.

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod loaded;
    pub mod plugin;
}

use harness::{
    loaded::Loaded,
    plugin::{HASTE, Plugins, batch, open_sink, patient},
};
use iggy_connectors::pipeline::{Consumed, FailureKind, Rank, SinkPlugin as _};
use scripted::{iggy_connector_sdk::testing::Native, sink::transcript};
use scripted_sink::ScriptedSink;
use serde_json::json;

#[tokio::test]
async fn a_sink_does_the_same_on_both_sides_of_the_fence() {
    let plugins = Plugins::new();
    let loaded = Loaded(plugins.sink_library("scripted_sink").await);
    let natively = transcript(&Native::sink(ScriptedSink::new)).await;
    let over_the_fence = transcript(&loaded).await;
    assert!(natively.len() > 25, "{natively:#?}");
    for (native, loaded) in natively.iter().zip(&over_the_fence) {
        assert_eq!(native, loaded);
    }
    assert_eq!(natively.len(), over_the_fence.len());
    assert!(!loaded.0.is_quarantined());
}

#[tokio::test]
async fn what_follows_a_failure_reaches_a_sink_when_the_runtime_knows_of_it() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("scripted_sink").await;
    let sink = open_sink(&library, &json!({}), patient()).await.unwrap();
    // Had the sink seen it, it would be fatal.
    let assert_held = async || {
        let refused = sink.consume(batch(["fatal"]), Rank::Behind).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Transient, "{refused}");
        assert!(refused.message.contains("not tried"), "{refused}");
        assert_eq!(refused.retry_after, None);
    };
    let fine = Ok(Consumed::default());
    for failing in ["transient", "invalid", "fatal", "suffix"] {
        assert_eq!(sink.consume(batch(["ok"]), Rank::First).await, fine);
        let failed = sink.consume(batch([failing, "second"]), Rank::Behind).await;
        assert_ne!(failed, fine, "{failing}");
        assert_held().await;
        assert_held().await;
    }
    assert_eq!(sink.consume(batch(["ok"]), Rank::First).await, fine);
    // What is settled is followed as ever: one bad message, alone or named.
    for settled in [batch(["invalid"]), batch(["records", "second"])] {
        assert_ne!(sink.consume(settled, Rank::Behind).await, fine);
        assert_eq!(sink.consume(batch(["ok"]), Rank::Behind).await, fine);
    }
    let waiting = sink.consume(batch(["wait"]), Rank::Behind);
    assert_eq!(tokio::time::timeout(HASTE, waiting).await.ok(), None);
    sink.drain().await.unwrap();
    assert_held().await;
    assert_eq!(sink.consume(batch(["ok"]), Rank::First).await, fine);
    assert_eq!(sink.consume(batch(["ok"]), Rank::Behind).await, fine);
    sink.close().await.unwrap();
}
