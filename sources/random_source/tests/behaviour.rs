//! The source as the runtime uses it, without the runtime.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::time::Duration;

use iggy_connector_random_source::RandomSource;
use iggy_connector_sdk::{
    Schema,
    source::{SourceBatchResult, SourceMessage},
    testing::{Native, OpenSource, Polled, SourcePlugin, Status, contract},
};
use serde::Deserialize;
use tokio::time::Instant;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    id: u64,
    text: String,
}

fn record(message: &SourceMessage) -> Record {
    simd_json::from_slice(&mut message.message().payload.clone()).unwrap()
}

fn ids(polled: &Polled) -> Vec<u64> {
    let messages = polled.batch.messages.iter();
    messages.map(|message| record(message).id).collect()
}

fn id(message: &SourceMessage) -> String {
    record(message).id.to_string()
}

fn plugin() -> impl SourcePlugin {
    Native::source(RandomSource::new)
}

async fn opened(config: &str) -> Box<dyn OpenSource> {
    plugin().open(config, None).await.unwrap()
}

async fn settle(source: &dyn OpenSource, polled: &Polled, result: SourceBatchResult) {
    let ended = source.settle(polled.poll, result).await;
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_are_numbered_json_of_the_wanted_size() {
    let source = opened(r#"{"messages_range": [2, 5], "payload_size": 33}"#).await;
    let mut next = 1;
    for _ in 0..50 {
        let polled = source.poll().await.unwrap();
        assert_eq!(polled.batch.schema, Schema::Json);
        assert!((2..5).contains(&polled.batch.messages.len()));
        for message in &polled.batch.messages {
            let record = record(message);
            assert_eq!((record.id, record.text.len()), (next, 33));
            next += 1;
        }
        settle(source.as_ref(), &polled, SourceBatchResult::Ack).await;
    }
    assert!(source.close().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_first_poll_comes_at_once_and_the_next_after_the_interval() {
    let source = opened(r#"{"interval": "5s"}"#).await;
    let begun = Instant::now();
    assert!(
        source.poll_cancelled().await.is_some(),
        "the first poll does not wait"
    );
    assert_eq!(begun.elapsed(), Duration::ZERO);
    tokio::time::advance(Duration::from_secs(3)).await;
    // A cancelled poll does not begin the interval anew.
    assert!(source.poll_cancelled().await.is_none());
    source.poll().await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_nack_goes_back_to_the_last_ack() {
    let source = opened(r#"{"messages_count": 2}"#).await;
    let first = source.poll().await.unwrap();
    settle(source.as_ref(), &first, SourceBatchResult::Ack).await;
    let second = source.poll().await.unwrap();
    settle(source.as_ref(), &second, SourceBatchResult::Nack).await;
    let third = source.poll().await.unwrap();
    assert_eq!(
        (ids(&first), ids(&second), ids(&third)),
        (vec![1, 2], vec![3, 4], vec![3, 4])
    );
}

#[tokio::test(start_paused = true)]
async fn it_rests_after_max_count_also_when_it_is_opened_again() {
    let config = r#"{"messages_count": 3, "max_count": 5}"#;
    let source = opened(config).await;
    let mut all = Vec::new();
    let mut state = None;
    for _ in 0..4 {
        let polled = source.poll().await.unwrap();
        all.extend(ids(&polled));
        state = polled.batch.state.clone().or(state);
        settle(source.as_ref(), &polled, SourceBatchResult::Ack).await;
    }
    assert_eq!(all, [1, 2, 3, 4, 5]);
    let source = plugin().open(config, state).await.unwrap();
    let polled = source.poll().await.unwrap();
    assert!(polled.batch.messages.is_empty());
    assert_eq!(polled.batch.state, None, "nothing has changed");
}

#[tokio::test(start_paused = true)]
async fn it_keeps_what_every_source_owes() {
    let config = r#"{"messages_count": 3}"#;
    contract::a_nacked_batch_comes_again(&plugin(), config, id).await;
    contract::a_restart_goes_on_behind_the_last_ack(&plugin(), config, id).await;
    contract::a_cancelled_poll_loses_nothing(&plugin(), config, id).await;
    contract::a_foreign_state_is_refused(&plugin(), config).await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_meant_is_refused_by_name() {
    for (config, expected) in [
        (r#"{"intervall": "1s"}"#, "unknown field `intervall`"),
        (
            r#"{"interval": "soon"}"#,
            "plugin_config.interval: a duration like",
        ),
        (
            r#"{"messages_range": [5, 5]}"#,
            "messages_range: the first number has to be below",
        ),
        (
            r#"{"messages_range": [5]}"#,
            "plugin_config.messages_range: invalid length 1",
        ),
        (
            r#"{"messages_count": 1, "messages_range": [1, 2]}"#,
            "exclude each other",
        ),
        (
            r#"{"messages_count": 100000, "payload_size": 100000}"#,
            "bytes a poll",
        ),
    ] {
        let Err(ended) = plugin().open(config, None).await else {
            panic!("{config} was accepted")
        };
        assert_eq!(ended.status, Status::FATAL);
        assert!(ended.message.contains(expected), "{}", ended.message);
    }
}
