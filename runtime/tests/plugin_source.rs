//! What a source hands over: contents, ownership of the memory, and traits.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod plugin;
}

use bytes::Bytes;
use harness::plugin::{PATIENCE, Plugins, open_source, patient};
use iggy_connector_message::Schema;
use iggy_connectors::{
    pipeline::{GivenUp, Produced, Settlement, SourcePlugin as _, Unsent},
    plugin::{Library, Traits},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// How many batches the plugin has made and got back, by its own count.
async fn report(library: &Library) -> String {
    let reporter = open_source(library, &json!({"at": "health", "do": "report"}), patient())
        .await
        .unwrap();
    let report = reporter.health(PATIENCE).await.unwrap_err().message;
    reporter.close().await.unwrap();
    report
}

#[tokio::test]
async fn a_polled_batch_arrives_whole() {
    let plugins = Plugins::new();
    let library = plugins.source_library("misbehaving_source").await;
    let source = open_source(&library, &json!({}), patient()).await.unwrap();
    assert_eq!(
        source.traits(),
        &Traits {
            exclusive: true,
            max_unsettled: 3,
            max_in_flight: 4,
            drains: false,
            streams: Ok(String::new()),
        }
    );
    let polled = source.poll(&CancellationToken::new()).await.unwrap();
    assert_eq!(polled.schema, Schema::Raw);
    assert_eq!(polled.state.as_deref(), Some(&b"after three"[..]));
    assert!(polled.ended);
    let payloads: Vec<_> = polled
        .messages
        .iter()
        .map(|message| &message.payload[..])
        .collect();
    assert_eq!(payloads, [&b"one"[..], b"two", b"three"]);
    let first = &polled.messages[0];
    assert_eq!(first.id, Some(1 << 64 | 7));
    assert_eq!(first.origin_timestamp, Some(99));
    assert_eq!(first.key.as_deref(), Some(&b"key"[..]));
    assert_eq!(first.route.as_deref(), Some(&b"/stream/topic"[..]));
    assert!(first.headers.is_empty());
}

#[tokio::test]
async fn a_batch_is_given_back_once_when_its_last_byte_is_dropped_even_after_close() {
    let plugins = Plugins::new();
    let library = plugins.source_library("misbehaving_source").await;
    let source = open_source(&library, &json!({}), patient()).await.unwrap();
    let polled = source.poll(&CancellationToken::new()).await.unwrap();
    let payload: Bytes = polled.messages[1].payload.clone();
    let slice = payload.slice(1..);
    drop((polled, payload));
    source.close().await.unwrap();
    assert_eq!(report(&library).await, "made=1 released=0");
    let elsewhere = std::thread::spawn(move || {
        assert_eq!(&slice[..], b"wo");
        drop(slice);
    });
    elsewhere.join().unwrap();
    assert_eq!(report(&library).await, "made=1 released=1");
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_is_given_back_too() {
    let plugins = Plugins::new();
    let library = plugins.source_library("misbehaving_source").await;
    let deeds = [
        "unknown_schema",
        "null_messages",
        "batch_stride",
        "endless_batch",
        "null_state",
        "null_payload",
    ];
    for deed in deeds {
        let source = open_source(&library, &json!({"at": "poll", "do": deed}), patient())
            .await
            .unwrap();
        source.poll(&CancellationToken::new()).await.unwrap_err();
        source.close().await.unwrap();
    }
    let count = deeds.len();
    assert_eq!(
        report(&library).await,
        format!("made={count} released={count}")
    );
}

#[tokio::test]
async fn a_batch_that_is_completed_twice_is_taken_once() {
    let plugins = Plugins::new();
    let library = plugins.source_library("misbehaving_source").await;
    let source = open_source(&library, &json!({"at": "poll", "do": "twice"}), patient())
        .await
        .unwrap();
    for _ in 0..20 {
        drop(source.poll(&CancellationToken::new()).await.unwrap());
    }
    source.close().await.unwrap();
    assert_eq!(report(&library).await, "made=20 released=20");
}

#[tokio::test]
async fn a_batch_that_nobody_waited_for_is_nacked_at_close() {
    let plugins = Plugins::new();
    let library = plugins.source_library("scripted_source").await;
    let stop = CancellationToken::new();
    let source = open_source(&library, &json!({}), patient()).await.unwrap();
    // Sometimes the poll ends before it is dropped, sometimes not: either way close settles what there is.
    for _ in 0..20 {
        let call = source.poll(&stop);
        drop(tokio::time::timeout(std::time::Duration::ZERO, call).await);
    }
    source.close().await.unwrap();
    assert!(!library.is_quarantined());
}

#[tokio::test]
async fn a_state_is_offered_at_open_and_what_follows_it_is_polled() {
    let plugins = Plugins::new();
    let library = plugins.source_library("scripted_source").await;
    let stop = CancellationToken::new();
    let source = open_source(&library, &json!({}), patient()).await.unwrap();
    let first = source.poll(&stop).await.unwrap();
    source
        .settle(
            first.poll,
            Settlement::Ack {
                undelivered: vec![(0, Unsent::Skipped)],
            },
        )
        .await
        .unwrap();
    let nacked = source.poll(&stop).await.unwrap();
    source
        .settle(nacked.poll, Settlement::Nack(GivenUp::Stopped))
        .await
        .unwrap();
    source.close().await.unwrap();

    let config = json!({});
    let open = iggy_connectors::plugin::Open {
        key: "again",
        config: &config,
        state: first.state,
        deadlines: patient(),
    };
    let again = iggy_connectors::plugin::Source::open(&library, open)
        .await
        .unwrap();
    let polled = again.poll(&stop).await.unwrap();
    assert_eq!(&polled.messages[0].payload[..], b"2");
    let ids = |messages: &[Produced]| {
        messages
            .iter()
            .map(|message| message.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&polled.messages), ids(&nacked.messages));
    again.close().await.unwrap();
}
