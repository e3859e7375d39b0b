//! A plugin's log lines in the daemon's log: target, level, fields, the connector's span, and what filters make of them.
//!
//! One test, since a process has one global subscriber.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod plugin;
}

use std::{
    io,
    sync::{Arc, Mutex},
};

use harness::plugin::{Plugins, batch, hasty_at, open_sink, patient, text_of};
use iggy_connectors::{
    config::spec::Direction,
    pipeline::{Rank, SinkPlugin as _},
    plugin::{self, Library},
};
use serde_json::{Value, json};
use tracing::{Instrument as _, info_span};
use tracing_subscriber::{
    EnvFilter, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

/// What was logged, line by line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no writer panics")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The lines since the last time whose target starts with `target`.
    fn take(&self, target: &str) -> Vec<Value> {
        let text = std::mem::take(&mut *self.0.lock().expect("no writer panics"));
        String::from_utf8(text)
            .expect("text")
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"))
            .filter(|line| {
                line["target"]
                    .as_str()
                    .is_some_and(|found| found.starts_with(target))
            })
            .collect()
    }
}

/// Opens a sink under a connector's span and lets it write one line for a batch.
async fn one_line(library: &Library, key: &'static str, config: &Value, payload: &str) {
    let consume = async {
        let open = plugin::Open {
            key,
            config,
            state: None,
            deadlines: patient(),
        };
        let sink = plugin::Sink::open(library, open).await.unwrap();
        sink.consume(batch([payload]), Rank::First).await.unwrap();
        sink.close().await.unwrap();
    };
    consume.instrument(info_span!("sink", key)).await;
}

#[tokio::test]
async fn lines_arrive_as_they_were_written_and_filters_see_their_targets() {
    let lines = Lines::default();
    let writer = lines.clone();
    let (filter, handle) = reload::Layer::new(EnvFilter::new("info"));
    let json = fmt::layer()
        .json()
        .with_file(true)
        .with_line_number(true)
        .with_writer(move || writer.clone());
    tracing_subscriber::registry()
        .with(filter)
        .with(json)
        .init();
    let plugins = Plugins::new();
    let scripted = plugins.sink_library("scripted_sink").await;

    one_line(&scripted, "first", &json!({}), "log").await;
    let written = lines.take("scripted");
    let [line] = &written[..] else {
        panic!("{written:?}");
    };
    assert_eq!(line["target"], "scripted::deed");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["fields"]["message"], "written");
    assert_eq!(line["fields"]["rows"], 3);
    assert_eq!(line["fields"]["table"], "events");
    assert_eq!(line["span"]["name"], "sink");
    assert_eq!(line["span"]["key"], "first");
    assert!(
        line["filename"].as_str().unwrap().ends_with("deed.rs"),
        "{line}"
    );
    assert!(line["line_number"].as_u64().unwrap() > 0);

    // A filter on the plugin's own target, changed while it runs, in both directions.
    for (directives, expected) in [
        ("info,scripted=warn", 0),
        ("off,scripted::deed=info", 1),
        ("warn", 0),
        ("info", 1),
    ] {
        handle.reload(EnvFilter::new(directives)).unwrap();
        one_line(&scripted, "filtered", &json!({}), "log").await;
        assert_eq!(lines.take("scripted").len(), expected, "{directives}");
    }

    // The span may be filtered out; the key is a field then.
    handle.reload(EnvFilter::new("off,scripted=info")).unwrap();
    one_line(&scripted, "without_span", &json!({}), "log").await;
    let written = lines.take("scripted");
    assert_eq!(written.len(), 1);
    assert_eq!(written[0]["fields"]["connector"], "without_span");

    // A plugin without the SDK.
    handle.reload(EnvFilter::new("info")).unwrap();
    let c_sink = plugins.compile("c_sink/sink.c", &[]);
    let c_sink = plugins.load(&c_sink, Direction::Sink).await.unwrap();
    one_line(
        &c_sink,
        "in_c",
        &json!({"path": plugins.path("output")}),
        "payload",
    )
    .await;
    let written = lines.take("c_sink");
    assert_eq!(written.len(), 1, "{written:?}");
    assert_eq!(written[0]["fields"]["messages"], 1);
    assert_eq!(written[0]["span"]["key"], "in_c");

    completions_of_ended_calls_are_reported_once(&plugins, &lines).await;
    a_completion_after_the_deadline_is_reported(&plugins, &lines).await;
}

async fn a_completion_after_the_deadline_is_reported(plugins: &Plugins, lines: &Lines) {
    let library = plugins.sink_library("misbehaving_sink").await;
    let signal = plugins.path("signal");
    let config = json!({"at": "consume", "do": "after_signal", "signal": signal});
    let sink = open_sink(&library, &config, hasty_at("consume"))
        .await
        .unwrap();
    sink.consume(batch(["one"]), Rank::First).await.unwrap_err();
    drop(sink);
    lines.take("");
    std::fs::write(&signal, "").unwrap();
    text_of(&signal.with_extension("done")).await;
    let late = lines.take("iggy_connectors::plugin");
    assert_eq!(late.len(), 1, "{late:?}");
    // The instance is gone, but an abandoned one is known by its key.
    assert_eq!(late[0]["fields"]["connector"], "tested");
    assert_eq!(late[0]["fields"]["call"], "consume");
}

async fn completions_of_ended_calls_are_reported_once(plugins: &Plugins, lines: &Lines) {
    let library = plugins
        .load(&plugins.fixture("misbehaving_sink"), Direction::Sink)
        .await
        .unwrap();
    let consume = async {
        let sink = open_sink(
            &library,
            &json!({"at": "consume", "do": "twice"}),
            patient(),
        )
        .await
        .unwrap();
        for _ in 0..5 {
            sink.consume(batch(["one"]), Rank::First).await.unwrap();
        }
        // The last completions come from threads that are still on their way.
        harness::plugin::until(|| library_is_quiet(lines)).await;
        sink.close().await.unwrap();
    };
    consume.instrument(info_span!("sink", key = "twice")).await;
    let stray = lines.take("iggy_connectors::plugin");
    let stray: Vec<_> = stray
        .iter()
        .filter(|line| {
            line["fields"]["message"]
                .as_str()
                .unwrap_or_default()
                .contains("had ended already")
        })
        .collect();
    assert_eq!(stray.len(), 1, "{stray:?}");
    assert_eq!(stray[0]["fields"]["connector"], "tested");
    assert_eq!(stray[0]["span"]["key"], "twice");
}

fn library_is_quiet(lines: &Lines) -> bool {
    let text = lines.0.lock().expect("no writer panics");
    String::from_utf8_lossy(&text).contains("had ended already")
}
