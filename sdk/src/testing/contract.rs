//! What every connector owes the runtime, as checks that its own tests can call.
//!
//! Each opens the plugin with `config` and panics with the reason when the contract does not hold. Of a source, whether it is polled or
//! streams, `identify` tells one message from another, for example by an id in its payload, and the outside must offer at least two
//! batches.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use super::{Batch, OpenSource, Outcome, Polled, SinkPlugin, SourcePlugin};
use crate::{
    ConnectorState,
    source::{SourceBatchResult, SourceMessage},
};

/// After a nack the same messages come again.
pub async fn a_nacked_batch_comes_again(
    plugin: &dyn SourcePlugin,
    config: &str,
    identify: fn(&SourceMessage) -> String,
) {
    let source = opened(plugin.open(config, None).await);
    let first = with_messages(source.as_ref()).await;
    settled(source.settle(first.poll, SourceBatchResult::Nack).await);
    let second = with_messages(source.as_ref()).await;
    let (first, second) = (names(&first, identify), names(&second, identify));
    let shared = first.len().min(second.len());
    assert_eq!(
        first[..shared],
        second[..shared],
        "other messages came after a nack"
    );
    settled(source.close().await);
}

/// Opened again with the saved state, the source goes on behind what was acknowledged: nothing is left out, nothing repeated.
pub async fn a_restart_goes_on_behind_the_last_ack(
    plugin: &dyn SourcePlugin,
    config: &str,
    identify: fn(&SourceMessage) -> String,
) {
    let source = opened(plugin.open(config, None).await);
    let first = with_messages(source.as_ref()).await;
    settled(source.settle(first.poll, SourceBatchResult::Ack).await);
    let lost = with_messages(source.as_ref()).await;
    // It crashes with the second batch on its way.
    drop(source);

    let source = opened(plugin.open(config, first.batch.state.clone()).await);
    let again = with_messages(source.as_ref()).await;
    let (first, lost, again) = (
        names(&first, identify),
        names(&lost, identify),
        names(&again, identify),
    );
    let shared = lost.len().min(again.len());
    assert_eq!(
        lost[..shared],
        again[..shared],
        "the restart left something out"
    );
    for name in &again {
        assert!(!first.contains(name), "`{name}` came again after its ack");
    }
    settled(source.close().await);
}

/// Polls that are cancelled lose nothing: the same messages come as without them.
pub async fn a_cancelled_poll_loses_nothing(
    plugin: &dyn SourcePlugin,
    config: &str,
    identify: fn(&SourceMessage) -> String,
) {
    let undisturbed = opened(plugin.open(config, None).await);
    let expected = two_batches(undisturbed.as_ref(), identify, 0).await;
    settled(undisturbed.close().await);
    let disturbed = opened(plugin.open(config, None).await);
    let come = two_batches(disturbed.as_ref(), identify, 3).await;
    settled(disturbed.close().await);
    let shared = expected.len().min(come.len());
    assert_eq!(
        expected[..shared],
        come[..shared],
        "a cancelled poll lost or repeated something"
    );
}

/// A state that is not this source's fails the opening, and does not start it over.
pub async fn a_foreign_state_is_refused(plugin: &dyn SourcePlugin, config: &str) {
    let foreign = ConnectorState(b"\xc1 not a state".to_vec());
    if plugin.open(config, Some(foreign)).await.is_ok() {
        panic!("the source opened with a state that it cannot read");
    }
}

/// A flush of a sink that buffers ends what was handed over before it: as many batches as [`crate::Sink::max_unsettled`] allows.
pub async fn a_flush_completes_what_was_handed_over(
    plugin: &dyn SinkPlugin,
    config: &str,
    batch: &Batch,
) {
    let sink = plugin.open(config).await;
    let sink = sink.unwrap_or_else(|outcome| panic!("the sink did not open: {outcome:?}"));
    let count = sink.traits().max_unsettled.min(16);
    let calls = (0..count).map(|_| sink.consume(batch)).collect();
    let handed_over = async {
        let consumed = all(calls, sink.flush()).await;
        assert!(
            consumed.iter().all(Outcome::is_ok),
            "not everything was delivered: {consumed:?}"
        );
    };
    // Longer than any machine needs.
    let patience = Duration::from_secs(60);
    if tokio::time::timeout(patience, handed_over).await.is_err() {
        panic!("a flush did not end what was handed over before it");
    }
    settled(sink.close().await);
}

type Calls<'a> = Vec<Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>>;

/// Makes calls in order, and one more after each of them has begun. What all of them brought.
async fn all<'a>(
    mut calls: Calls<'a>,
    last: Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>,
) -> Vec<Outcome> {
    calls.push(last);
    let mut outcomes: Vec<_> = calls.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (call, outcome) in calls.iter_mut().zip(&mut outcomes) {
            if outcome.is_none()
                && let Poll::Ready(ended) = call.as_mut().poll(context)
            {
                *outcome = Some(ended);
            }
        }
        match outcomes.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    outcomes.into_iter().flatten().collect()
}

/// The names of two batches' messages, with so many cancelled polls before each.
async fn two_batches(
    source: &dyn OpenSource,
    identify: fn(&SourceMessage) -> String,
    cancelled: usize,
) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..2 {
        let polled = match cancelled_polls(source, cancelled).await {
            Some(polled) => polled,
            None => with_messages(source).await,
        };
        settled(source.settle(polled.poll, SourceBatchResult::Ack).await);
        all.extend(names(&polled, identify));
    }
    all
}

/// A poll that has something at once ends before it can be cancelled.
async fn cancelled_polls(source: &dyn OpenSource, count: usize) -> Option<Polled> {
    for _ in 0..count {
        if let Some(polled) = source.poll_cancelled().await {
            return Some(ok(polled));
        }
    }
    None
}

async fn with_messages(source: &dyn OpenSource) -> Polled {
    loop {
        let polled = ok(source.poll().await);
        if !polled.batch.messages.is_empty() {
            return polled;
        }
        settled(source.settle(polled.poll, SourceBatchResult::Ack).await);
    }
}

fn names(polled: &Polled, identify: fn(&SourceMessage) -> String) -> Vec<String> {
    polled.batch.messages.iter().map(identify).collect()
}

fn opened(opened: Result<Box<dyn OpenSource>, Outcome>) -> Box<dyn OpenSource> {
    opened.unwrap_or_else(|outcome| panic!("the source did not open: {outcome:?}"))
}

fn ok(polled: Result<Polled, Outcome>) -> Polled {
    polled.unwrap_or_else(|outcome| panic!("a poll failed: {outcome:?}"))
}

fn settled(outcome: Outcome) {
    assert!(
        outcome.is_ok(),
        "the connector did not accept a call: {outcome:?}"
    );
}
