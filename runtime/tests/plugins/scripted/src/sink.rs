//! A scenario for `scripted_sink`: [`transcript`].

use iggy_connector_sdk::{
    Schema,
    testing::{Batch, OpenSink, SinkPlugin},
};

use crate::seen;

/// Drives the plugin through everything it can do and not hang at, and writes down what came of it.
pub async fn transcript(plugin: &dyn SinkPlugin) -> Vec<String> {
    let mut lines = Vec::new();
    refused(plugin, &mut lines).await;
    batches(plugin, &mut lines).await;
    for deed in ["ok", "transient", "fatal", "panic"] {
        let config = format!(r#"{{"flush": "{deed}", "health": "{deed}", "close": "{deed}"}}"#);
        let sink = opened(plugin, &config).await;
        lines.push(format!("flush {deed}: {}", seen(&sink.flush().await)));
        lines.push(format!("health {deed}: {}", seen(&sink.health().await)));
        lines.push(format!("close {deed}: {}", seen(&sink.close().await)));
    }
    lines
}

async fn refused(plugin: &dyn SinkPlugin, lines: &mut Vec<String>) {
    for config in [
        r#"{"open": "fatal"}"#,
        r#"{"open": "transient"}"#,
        r#"{"open": "panic"}"#,
        r#"{"new": "panic"}"#,
        r#"{"unknown": 1}"#,
        r#"{"flush": 1}"#,
    ] {
        let outcome = plugin.open(config).await.err();
        lines.push(format!("open {config}: {:?}", outcome.as_ref().map(seen)));
    }
}

async fn batches(plugin: &dyn SinkPlugin, lines: &mut Vec<String>) {
    let sink = opened(plugin, "{}").await;
    lines.push(format!("traits: {:?}", sink.traits()));
    for deed in [
        "ok",
        "transient",
        "invalid",
        "fatal",
        "records",
        "suffix",
        "suffix_later",
        "panic",
        "panic_twice",
        "slow",
        "ok",
    ] {
        let outcome = sink
            .consume(&Batch::of(Schema::Text, [deed, "second"]))
            .await;
        lines.push(format!("consume {deed}: {}", seen(&outcome)));
    }
    let outcome = sink.consume(&Batch::of(Schema::Json, ["{", "1"])).await;
    lines.push(format!("no JSON: {}", seen(&outcome)));
    let waiting = Batch::of(Schema::Text, ["wait"]);
    let cancelled = sink.consume_cancelled(&waiting).await;
    lines.push(format!("cancelled: {:?}", cancelled.as_ref().map(seen)));
    let outcome = sink.consume(&Batch::of(Schema::Text, ["ok"])).await;
    lines.push(format!("after it: {}", seen(&outcome)));
    let outcome = sink.consume(&Batch::of(Schema::Text, [""; 0])).await;
    lines.push(format!("empty: {}", seen(&outcome)));
    lines.push(format!("close: {}", seen(&sink.close().await)));
}

async fn opened(plugin: &dyn SinkPlugin, config: &str) -> Box<dyn OpenSink> {
    let opened = plugin.open(config).await;
    opened.unwrap_or_else(|outcome| panic!("open {config}: {outcome:?}"))
}
