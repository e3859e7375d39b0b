//! A sink made with the SDK behaves natively as it does through a loaded library.
//!
//! One plugin crate per test binary: two would export the same symbols.

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod loaded;
    pub mod plugin;
}

use harness::{loaded::Loaded, plugin::Plugins};
use scripted::{iggy_connector_sdk::testing::Native, sink::transcript};
use scripted_sink::ScriptedSink;

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
