//! A connector's streams: where a sink reads and a source writes.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap fails the test, which is its purpose"
)]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod site;
}

use std::time::Duration;

use harness::site::{Site, the_connector};
use iggy_connector_message::Schema;
use iggy_connectors::config::spec::{Delivery, OnFailure, StartFrom, Streams};

#[test]
fn a_wrong_start_is_told_with_its_line_and_a_remedy() {
    let reasons = Site::toml(
        "[sinks.k]\npath = 'p'\n[[sinks.k.streams]]\nstream = 's'\ntopics = ['t']\nstart_from = 'latest'",
    )
    .reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    for part in [
        "config.toml:6",
        "sinks.k.streams[0].start_from",
        "`next`",
        "`offset:42`",
    ] {
        assert!(reasons[0].contains(part), "{reasons:?}");
    }
}

#[test]
fn a_sink_says_how_it_reads() {
    let streams = "streams = [{ stream = 's', topics = ['t'], batch_timeout = '20ms', start_from = 'offset:7' }]";
    let sink = |more: &str| Site::toml(&format!("[sinks.k]\npath = 'p'\n{streams}\n{more}"));
    let loaded = sink("consumer.exclusive = true").loaded();
    let connector = the_connector(&loaded);
    assert!(connector.exclusive);
    let Streams::Inputs(inputs) = &connector.streams else {
        panic!("{:?}", connector.streams);
    };
    assert_eq!(inputs[0].batch_timeout, Duration::from_millis(20));
    assert_eq!(inputs[0].start_from, StartFrom::Offset(7));
    let reasons = sink("consumer.exclusive = 'yes'").reasons();
    assert!(reasons[0].contains("consumer.exclusive"), "{reasons:?}");
    let source = "[sources.k]\npath = 'p'\nstreams = [{ stream = 's', topic = 't' }]\n";
    let reasons = Site::toml(&format!("{source}consumer.exclusive = true")).reasons();
    assert!(reasons[0].contains("only sinks have it"), "{reasons:?}");
}

/// A source with these entries.
fn source_of(streams: &str) -> Site {
    Site::toml(&format!("[sources.k]\npath = 'p'\nstreams = [{streams}]"))
}

#[test]
fn a_source_has_several_outputs_with_routes() {
    let loaded = source_of(
        "{ stream = 's', topic = 't', batch_length = 10 }, { stream = 's', topic = 'u', route = 'audit', schema = 'text', poll_interval = '1s', partitions = 3, create = false }",
    )
    .loaded();
    let Streams::Outputs(outputs) = &the_connector(&loaded).streams else {
        panic!("a source has outputs");
    };
    let [first, second] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!((&first.route, first.batch_length), (&None, 10));
    assert_eq!(second.route.as_deref(), Some("audit"));
    assert_eq!(
        (second.batch_length, second.partitions, second.create),
        (1000, 3, false)
    );
    assert_eq!(second.schema, Schema::Text);
    assert_eq!(first.linger, None);
    let loaded = source_of("{ stream = 's', topic = 't', send_interval = '20ms' }").loaded();
    let Streams::Outputs(outputs) = &the_connector(&loaded).streams else {
        panic!("a source has outputs");
    };
    assert_eq!(outputs[0].linger, Some(Duration::from_millis(20)));
    let interval = Duration::from_secs(1);
    assert_eq!(
        (first.poll_interval, second.poll_interval),
        (interval, interval),
        "it is polled once for all"
    );
}

#[test]
fn outputs_that_messages_could_not_tell_apart_are_refused() {
    for (streams, expected) in [
        (
            "{ stream = 's', topic = 't' }, { stream = 's', topic = 't', route = 'r' }",
            "`sources.k.streams[1].topic`: `s/t` is what `streams[0]` writes to already",
        ),
        (
            "{ stream = 's/t', topic = 'u' }, { stream = 's', topic = 't/u' }",
            "`sources.k.streams[1].topic`: `s/t/u` is what `streams[0]` writes to already",
        ),
        (
            "{ stream = 's', topic = 't', route = 'r' }, { stream = 's', topic = 'u', route = 'r' }",
            "`sources.k.streams[1].route`: `r` is the route of `streams[0]` already",
        ),
        (
            "{ stream = 's', topic = 't', route = '' }",
            "`sources.k.streams[0].route`: a route has 1 to 255 bytes and no `/`",
        ),
        (
            "{ stream = 's', topic = 't', route = '/s/t' }",
            "`sources.k.streams[0].route`: a route has 1 to 255 bytes and no `/`",
        ),
        (
            "{ stream = 's', topic = 't', poll_interval = '1s' }, { stream = 's', topic = 'u' }, { stream = 's', topic = 'v', poll_interval = '2s' }",
            "`sources.k.streams[2].poll_interval`: differs from `streams[0].poll_interval`",
        ),
        (
            "{ stream = 's', topic = 't', linger_time = '1s' }, { stream = 's', topic = 'u', linger_time = '0s' }",
            "`sources.k.streams[1].linger_time`: differs from `streams[0].linger_time`",
        ),
    ] {
        let reasons = source_of(streams).reasons();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(reasons[0].contains(expected), "{reasons:?}");
    }
}

#[test]
fn a_source_may_give_up_messages_that_iggy_keeps_refusing() {
    let errors = |policy: &str| {
        let streams = "streams = [{ stream = 's', topic = 't' }]";
        let config = format!(
            "[sources.k]\npath = 'p'\n{streams}\nretry.max_retries = 3\nerrors.on_exhausted = '{policy}'"
        );
        Site::toml(&config)
    };
    let loaded = errors("skip").loaded();
    let spec = the_connector(&loaded);
    assert_eq!(spec.errors.on_exhausted, OnFailure::Skip);
    assert_eq!(spec.retry.max_attempts, 3);
    let reasons = errors("dlq").reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("say where to"), "{reasons:?}");
}

#[test]
fn a_sink_may_have_several_partitions_in_flight_and_a_source_chooses_by_itself() {
    let of = |connector: &str, topics: &str, count: u32| {
        let streams = format!("streams = [{{ stream = 's', {topics} }}]");
        Site::toml(&format!(
            "[{connector}]\npath = 'p'\n{streams}\nmax_in_flight = {count}"
        ))
    };
    let loaded = of("sinks.k", "topics = ['t']", 4).loaded();
    assert_eq!(the_connector(&loaded).max_in_flight, 4);
    let reasons = of("sources.k", "topic = 't'", 4).reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let expected = "`sources.k.max_in_flight`: only sinks have it";
    assert!(reasons[0].contains(expected), "{reasons:?}");
}

#[test]
fn a_sink_that_delivers_at_most_once_is_not_stopped_by_what_fails() {
    let once = |more: &str| {
        let streams = "streams = [{ stream = 's', topics = ['t'] }]";
        Site::toml(&format!(
            "[sinks.k]\npath = 'p'\n{streams}\ndelivery = 'at_most_once'\n{more}"
        ))
    };
    for (more, on_failure) in [("", OnFailure::Skip), ("dlq.stream = 'd'", OnFailure::Dlq)] {
        let loaded = once(more).loaded();
        let spec = the_connector(&loaded);
        assert_eq!(spec.delivery, Delivery::AtMostOnce);
        assert_eq!(
            (spec.errors.on_invalid, spec.errors.on_exhausted),
            (on_failure, on_failure)
        );
    }
    for key in ["on_invalid", "on_exhausted"] {
        let reasons = once(&format!("errors.{key} = 'stop'")).reasons();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(
            reasons[0].contains(&format!("`sinks.k.errors.{key}`")),
            "{reasons:?}"
        );
    }
}

#[test]
fn a_source_that_delivers_at_most_once_goes_on_after_one_attempt() {
    let once = |more: &str| {
        let streams = "streams = [{ stream = 's', topic = 't' }]";
        Site::toml(&format!(
            "[sources.k]\npath = 'p'\n{streams}\ndelivery = 'at_most_once'\n{more}"
        ))
    };
    for (more, on_exhausted) in [
        ("", OnFailure::Skip),
        ("dlq.stream = 'd'", OnFailure::Dlq),
        (
            "dlq.stream = 'd'\nerrors.on_exhausted = 'skip'",
            OnFailure::Skip,
        ),
    ] {
        let loaded = once(more).loaded();
        let spec = the_connector(&loaded);
        assert_eq!(spec.delivery, Delivery::AtMostOnce);
        assert_eq!(spec.errors.on_exhausted, on_exhausted, "{more}");
    }
    let reasons = once("errors.on_exhausted = 'stop'").reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0].contains("`sources.k.errors.on_exhausted`")
            && reasons[0].contains("goes on after one attempt"),
        "{reasons:?}"
    );
}
