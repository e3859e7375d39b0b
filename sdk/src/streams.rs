//! What a connector proposes to be connected to: [`Input`] of a sink, [`Output`] of a source. They cross the fence as the text of
//! `[[streams]]` entries, and the runtime checks them as it checks those of a file.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::Schema;

/// A `[[streams]]` entry that a sink proposes (`Sink::streams`): topics of a stream, and how they are read.
///
/// What is not said is as in an entry of a file that does not say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    stream: String,
    topics: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Schema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    batch_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    poll_interval: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    create: Option<bool>,
}

/// A `[[streams]]` entry that a source proposes (`Source::streams`): a topic that it writes to.
///
/// What is not said is as in an entry of a file that does not say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    stream: String,
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Schema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    poll_interval: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    linger_time: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    create: Option<bool>,
}

impl Input {
    /// Proposes one topic.
    pub fn new(stream: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            topics: vec![topic.into()],
            schema: None,
            batch_length: None,
            batch_timeout: None,
            poll_interval: None,
            consumer_group: None,
            start_from: None,
            partitions: None,
            create: None,
        }
    }

    /// Adds another topic of the stream.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// What the messages are, JSON by default.
    #[must_use]
    pub fn with_schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Most messages of one batch.
    #[must_use]
    pub fn with_batch_length(mut self, messages: u32) -> Self {
        self.batch_length = Some(messages);
        self
    }

    /// How long to wait for a fuller batch.
    #[must_use]
    pub fn with_batch_timeout(mut self, timeout: Duration) -> Self {
        self.batch_timeout = Some(timeout);
        self
    }

    /// The wait when there was nothing to read.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = Some(interval);
        self
    }

    /// The consumer group, by default one of the connector's own.
    #[must_use]
    pub fn with_consumer_group(mut self, group: impl Into<String>) -> Self {
        self.consumer_group = Some(group.into());
        self
    }

    /// Where a new group begins, in the words of the configuration: `first`, `last`, `next`, `offset:42`,
    /// `timestamp:2026-01-31T12:00:00Z`.
    #[must_use]
    pub fn with_start_from(mut self, start: impl Into<String>) -> Self {
        self.start_from = Some(start.into());
        self
    }

    /// Partitions of a topic that is created.
    #[must_use]
    pub fn with_partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Whether a missing stream or topic is created; `true` by default.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = Some(create);
        self
    }
}

impl Output {
    /// Proposes a topic. The first one takes the messages that name no route.
    pub fn new(stream: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            topic: topic.into(),
            route: None,
            schema: None,
            batch_length: None,
            poll_interval: None,
            linger_time: None,
            partitions: None,
            create: None,
        }
    }

    /// The name under which messages choose it, besides its stream and topic.
    #[must_use]
    pub fn with_route(mut self, route: impl Into<String>) -> Self {
        self.route = Some(route.into());
        self
    }

    /// What the messages become, JSON by default.
    #[must_use]
    pub fn with_schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Most messages sent in one request.
    #[must_use]
    pub fn with_batch_length(mut self, messages: u32) -> Self {
        self.batch_length = Some(messages);
        self
    }

    /// The wait after an empty poll. A source has one for all its outputs.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = Some(interval);
        self
    }

    /// How long messages of a streaming source gather before they are sent. A source has one for all its outputs.
    #[must_use]
    pub fn with_linger_time(mut self, linger: Duration) -> Self {
        self.linger_time = Some(linger);
        self
    }

    /// Partitions of a topic that is created.
    #[must_use]
    pub fn with_partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Whether a missing stream or topic is created; `true` by default.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = Some(create);
        self
    }
}

/// A proposal as it crosses the fence: nothing when nothing is proposed.
pub(crate) fn written<S: Serialize>(proposed: &[S]) -> String {
    if proposed.is_empty() {
        return String::new();
    }
    // Texts, numbers and durations as texts: nothing that JSON cannot say.
    serde_json::to_string(proposed).unwrap_or_default()
}

/// A duration as a file says it.
fn text<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let duration = duration.unwrap_or_default();
    serializer.collect_str(&humantime::format_duration(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proposed_is_written_as_in_a_file_and_what_is_not_said_is_left_out() {
        assert_eq!(written::<Input>(&[]), "");
        let input = Input::new("s", "a").with_topic("b");
        assert_eq!(written(&[input]), r#"[{"stream":"s","topics":["a","b"]}]"#);
        let output = Output::new("s", "t");
        assert_eq!(written(&[output]), r#"[{"stream":"s","topic":"t"}]"#);
    }

    #[test]
    fn everything_that_is_said_is_written() {
        let input = Input::new("s", "t")
            .with_schema(Schema::Raw)
            .with_batch_length(7)
            .with_batch_timeout(Duration::from_millis(1_500))
            .with_poll_interval(Duration::from_micros(20))
            .with_consumer_group("g")
            .with_start_from("next")
            .with_partitions(3)
            .with_create(false);
        let expected = r#"[{"stream":"s","topics":["t"],"schema":"raw","batch_length":7,"batch_timeout":"1s 500ms","poll_interval":"20us","consumer_group":"g","start_from":"next","partitions":3,"create":false}]"#;
        assert_eq!(written(&[input]), expected);
        let output = Output::new("s", "t")
            .with_route("r")
            .with_schema(Schema::Text)
            .with_batch_length(7)
            .with_poll_interval(Duration::from_secs(1))
            .with_linger_time(Duration::ZERO)
            .with_partitions(3)
            .with_create(true);
        let expected = r#"[{"stream":"s","topic":"t","route":"r","schema":"text","batch_length":7,"poll_interval":"1s","linger_time":"0s","partitions":3,"create":true}]"#;
        assert_eq!(written(&[output]), expected);
    }
}
