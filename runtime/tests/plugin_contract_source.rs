//! A source made with the SDK behaves natively as it does through a loaded library, and keeps what every source owes the runtime.
//!
//! One plugin crate per test binary: two would export the same symbols.

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod loaded;
    pub mod plugin;
}

use harness::{loaded::Loaded, plugin::Plugins};
use scripted::{
    iggy_connector_sdk::{
        source::SourceMessage,
        testing::{Native, SourcePlugin, contract},
    },
    source::transcript,
};
use scripted_source::ScriptedSource;

#[tokio::test]
async fn a_source_does_the_same_on_both_sides_of_the_fence() {
    let plugins = Plugins::new();
    let loaded = Loaded(plugins.source_library("scripted_source").await);
    let natively = transcript(&Native::source(ScriptedSource::new)).await;
    let over_the_fence = transcript(&loaded).await;
    assert!(natively.len() > 25, "{natively:#?}");
    for (native, loaded) in natively.iter().zip(&over_the_fence) {
        assert_eq!(native, loaded);
    }
    assert_eq!(natively.len(), over_the_fence.len());
    assert!(!loaded.0.is_quarantined());
}

#[tokio::test]
async fn it_keeps_the_contract_natively() {
    keeps_the_contract(&Native::source(ScriptedSource::new)).await;
}

#[tokio::test]
async fn it_keeps_the_contract_over_the_fence() {
    let plugins = Plugins::new();
    let loaded = Loaded(plugins.source_library("scripted_source").await);
    keeps_the_contract(&loaded).await;
}

async fn keeps_the_contract(plugin: &dyn SourcePlugin) {
    contract::a_nacked_batch_comes_again(plugin, "{}", identify).await;
    contract::a_restart_goes_on_behind_the_last_ack(plugin, "{}", identify).await;
    contract::a_cancelled_poll_loses_nothing(plugin, "{}", identify).await;
    contract::a_foreign_state_is_refused(plugin, "{}").await;
}

fn identify(message: &SourceMessage) -> String {
    String::from_utf8_lossy(&message.message().payload).into_owned()
}
