//! A scenario for `scripted_sink`: [`transcript`].

use iggy_connector_sdk::{
    Schema,
    testing::{Batch, OpenSink, Outcome, SinkPlugin},
};

/// Drives the plugin through everything it can do and not hang at, and writes down what came of it.
pub async fn transcript(plugin: &dyn SinkPlugin) -> Vec<String> {
    let mut lines = Vec::new();
    for config in [
        r#"{"open": "fatal"}"#,
        r#"{"open": "panic"}"#,
        r#"{"new": "panic"}"#,
        r#"{"unknown": 1}"#,
        "[]",
    ] {
        let outcome = plugin.open(config).await.err();
        lines.push(format!("open {config}: {outcome:?}"));
    }
    let sink = opened(plugin, "{}").await;
    lines.push(format!("traits: {:?}", sink.traits()));
    for deed in [
        "ok",
        "transient",
        "invalid",
        "fatal",
        "records",
        "suffix",
        "panic",
        "panic_twice",
        "slow",
        "ok",
    ] {
        let outcome = sink
            .consume(&Batch::of(Schema::Text, [deed, "second"]))
            .await;
        lines.push(format!("consume {deed}: {outcome:?}"));
    }
    lines.push(format!(
        "no JSON: {:?}",
        sink.consume(&Batch::of(Schema::Json, ["{", "1"])).await
    ));
    let cancelled = sink
        .consume_cancelled(&Batch::of(Schema::Text, ["wait"]))
        .await;
    lines.push(format!("cancelled: {cancelled:?}"));
    lines.push(format!(
        "after it: {:?}",
        sink.consume(&Batch::of(Schema::Text, ["ok"])).await
    ));
    lines.push(format!(
        "empty: {:?}",
        sink.consume(&Batch::of(Schema::Text, [""; 0])).await
    ));
    lines.push(format!("close: {:?}", sink.close().await));
    for deed in ["ok", "transient", "fatal", "panic"] {
        let config = format!(r#"{{"flush": "{deed}", "health": "{deed}", "close": "{deed}"}}"#);
        let sink = opened(plugin, &config).await;
        lines.push(format!("flush {deed}: {:?}", sink.flush().await));
        lines.push(format!("health {deed}: {:?}", sink.health().await));
        lines.push(format!("close {deed}: {:?}", sink.close().await));
    }
    lines
}

async fn opened(plugin: &dyn SinkPlugin, config: &str) -> Box<dyn OpenSink> {
    let opened: Result<_, Outcome> = plugin.open(config).await;
    opened.unwrap_or_else(|outcome| panic!("open {config}: {outcome:?}"))
}
