//! A scenario for `scripted_source`: [`transcript`].

use iggy_connector_sdk::{
    ConnectorState,
    source::SourceBatchResult,
    testing::{OpenSource, SourcePlugin},
};

use crate::seen;

/// Drives the plugin through everything it can do and not hang at, and writes down what came of it.
pub async fn transcript(plugin: &dyn SourcePlugin) -> Vec<String> {
    let mut lines = Vec::new();
    for config in [
        r#"{"open": "fatal"}"#,
        r#"{"new": "panic"}"#,
        r#"{"unknown": 1}"#,
    ] {
        let outcome = plugin.open(config, None).await.err();
        lines.push(format!("open {config}: {:?}", outcome.as_ref().map(seen)));
    }
    restart(plugin, &mut lines).await;
    for deed in ["transient", "fatal", "panic", "panic_twice"] {
        let config = format!(r#"{{"poll": "{deed}", "health": "{deed}", "close": "{deed}"}}"#);
        let source = opened(plugin, &config, None).await;
        let polled = source.poll().await.err();
        lines.push(format!("poll {deed}: {:?}", polled.as_ref().map(seen)));
        lines.push(format!("health {deed}: {}", seen(&source.health().await)));
        lines.push(format!("close {deed}: {}", seen(&source.close().await)));
    }
    for deed in ["transient", "fatal", "panic"] {
        let config = format!(r#"{{"result": "{deed}"}}"#);
        let source = opened(plugin, &config, None).await;
        round(source.as_ref(), SourceBatchResult::Ack, &mut lines).await;
        lines.push(format!("close: {}", seen(&source.close().await)));
    }
    lines
}

/// Acknowledges, nacks, and opens again with the state of before.
async fn restart(plugin: &dyn SourcePlugin, lines: &mut Vec<String>) {
    let source = opened(plugin, "{}", None).await;
    lines.push(format!("traits: {:?}", source.traits()));
    let first = round(source.as_ref(), SourceBatchResult::Ack, lines).await;
    round(source.as_ref(), SourceBatchResult::Nack, lines).await;
    round(source.as_ref(), SourceBatchResult::Ack, lines).await;
    lines.push(format!("health: {}", seen(&source.health().await)));
    lines.push(format!("close: {}", seen(&source.close().await)));

    let again = opened(plugin, "{}", first).await;
    round(again.as_ref(), SourceBatchResult::Ack, lines).await;
    lines.push(format!("close: {}", seen(&again.close().await)));
}

/// Polls once, writes down what came, settles it, and returns the state.
async fn round(
    source: &dyn OpenSource,
    result: SourceBatchResult,
    lines: &mut Vec<String>,
) -> Option<ConnectorState> {
    let polled = match source.poll().await {
        Ok(polled) => polled,
        Err(outcome) => {
            lines.push(format!("poll: {}", seen(&outcome)));
            return None;
        }
    };
    lines.push(format!("poll: {:?}", polled.batch));
    let outcome = source.settle(polled.poll, result).await;
    lines.push(format!("{result:?}: {}", seen(&outcome)));
    polled.batch.state
}

async fn opened(
    plugin: &dyn SourcePlugin,
    config: &str,
    state: Option<ConnectorState>,
) -> Box<dyn OpenSource> {
    let opened = plugin.open(config, state).await;
    opened.unwrap_or_else(|outcome| panic!("open {config}: {outcome:?}"))
}
