//! A scenario for `scripted_source`: [`transcript`].

use iggy_connector_sdk::{
    ConnectorState,
    source::SourceBatchResult,
    testing::{OpenSource, Outcome, SourcePlugin},
};

/// Drives the plugin through everything it can do and not hang at, and writes down what came of it.
pub async fn transcript(plugin: &dyn SourcePlugin) -> Vec<String> {
    let mut lines = Vec::new();
    for config in [
        r#"{"open": "fatal"}"#,
        r#"{"new": "panic"}"#,
        r#"{"unknown": 1}"#,
    ] {
        let outcome = plugin.open(config, None).await.err();
        lines.push(format!("open {config}: {outcome:?}"));
    }
    let source = opened(plugin, "{}", None).await;
    lines.push(format!("traits: {:?}", source.traits()));
    let first = round(source.as_ref(), SourceBatchResult::Ack, &mut lines).await;
    round(source.as_ref(), SourceBatchResult::Nack, &mut lines).await;
    round(source.as_ref(), SourceBatchResult::Ack, &mut lines).await;
    lines.push(format!("health: {:?}", source.health().await));
    lines.push(format!("close: {:?}", source.close().await));

    let again = opened(plugin, "{}", first).await;
    round(again.as_ref(), SourceBatchResult::Ack, &mut lines).await;
    lines.push(format!("close: {:?}", again.close().await));

    for deed in ["transient", "fatal", "panic", "panic_twice"] {
        let config = format!(r#"{{"poll": "{deed}", "health": "{deed}", "close": "{deed}"}}"#);
        let source = opened(plugin, &config, None).await;
        lines.push(format!("poll {deed}: {:?}", source.poll().await.err()));
        lines.push(format!("health {deed}: {:?}", source.health().await));
        lines.push(format!("close {deed}: {:?}", source.close().await));
    }
    let source = opened(plugin, r#"{"result": "transient"}"#, None).await;
    let polled = source.poll().await.ok().map(|polled| polled.poll);
    if let Some(poll) = polled {
        let outcome = source.settle(poll, SourceBatchResult::Ack, &[]).await;
        lines.push(format!("settle transient: {outcome:?}"));
    }
    lines.push(format!("close: {:?}", source.close().await));
    lines
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
            lines.push(format!("poll: {outcome:?}"));
            return None;
        }
    };
    lines.push(format!("poll: {:?}", polled.batch));
    let outcome = source.settle(polled.poll, result, &[]).await;
    lines.push(format!("{result:?}: {outcome:?}"));
    polled.batch.state
}

async fn opened(
    plugin: &dyn SourcePlugin,
    config: &str,
    state: Option<ConnectorState>,
) -> Box<dyn OpenSource> {
    let opened: Result<_, Outcome> = plugin.open(config, state).await;
    opened.unwrap_or_else(|outcome| panic!("open {config}: {outcome:?}"))
}
