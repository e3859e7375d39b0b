//! A sink written in C against the header, compiled and loaded like any other plugin.

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod plugin;
}

use harness::plugin::{PATIENCE, Plugins, batch, everything, open_sink, patient};
use iggy_connectors::{
    config::spec::Direction,
    pipeline::{Consumed, FailureKind, Rank, SinkPlugin as _},
};
use serde_json::json;

#[tokio::test]
async fn a_sink_in_c_gets_what_the_topic_holds() {
    let plugins = Plugins::new();
    let library = plugins.compile("c_sink/sink.c", &[]);
    let library = plugins.load(&library, Direction::Sink).await.unwrap();
    assert_eq!((library.name(), library.version()), ("c_sink", "1.0"));
    let output = plugins.path("output");
    let sink = open_sink(&library, &json!({"path": output}), patient())
        .await
        .unwrap();
    assert_eq!(sink.traits().max_unsettled, 2);

    let consumed = sink
        .consume(batch(["one", "", "three"]), Rank::First)
        .await
        .unwrap();
    let failed = consumed.failed;
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].index, failed[0].kind), (1, FailureKind::Invalid));
    assert_eq!(failed[0].message, "the payload is empty");
    // It knows nothing of ranks, and does without them.
    assert_eq!(
        sink.consume(batch([]), Rank::Behind).await,
        Ok(Consumed::default())
    );
    sink.flush(everything()).await.unwrap();
    sink.health(PATIENCE).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(std::fs::read_to_string(output).unwrap(), "0 one\n2 three\n");
}

#[tokio::test]
async fn its_refusals_arrive() {
    let plugins = Plugins::new();
    let library = plugins.compile("c_sink/sink.c", &[]);
    let library = plugins.load(&library, Direction::Sink).await.unwrap();
    let failure = open_sink(&library, &json!({}), patient())
        .await
        .err()
        .unwrap();
    assert_eq!(
        (failure.kind, &*failure.message),
        (FailureKind::Fatal, "path is missing")
    );
    let nowhere = json!({"path": plugins.path("no/such/folder")});
    let failure = open_sink(&library, &nowhere, patient())
        .await
        .err()
        .unwrap();
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
}
