//! `[[streams]]`, the one place where sinks and sources are configured differently.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use iggy_connector_codec::decoders;
use iggy_connector_message::Schema;

use super::{checks, unsupported};
use crate::config::{
    connector::{InputConfig, OutputConfig},
    problem::{Code, Report},
    spec::{Direction, Input, Output, Streams},
    values::HumanDuration,
};

/// The wait of a source after an empty poll, unless it is said.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The most partitions that Iggy gives a new topic.
const MAX_PARTITIONS: u32 = 1000;

/// What a source has once for all its entries.
#[derive(Clone, Copy)]
struct Pace {
    poll_interval: Duration,
    linger: Option<Duration>,
}

/// One entry as written.
pub(in crate::config) trait Entry: Sized {
    const DIRECTION: Direction;

    /// Resolves all entries of the connector `key`.
    fn resolve(entries: Vec<Self>, connector: &str, report: &mut Report<'_>) -> Streams;

    fn schema(&self) -> Schema;
}

impl Entry for InputConfig {
    const DIRECTION: Direction = Direction::Sink;

    fn resolve(entries: Vec<Self>, connector: &str, report: &mut Report<'_>) -> Streams {
        let inputs: Vec<_> = entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| input(&format!("streams[{index}]"), entry, connector, report))
            .collect();
        read_once(&inputs, report);
        Streams::Inputs(inputs)
    }

    fn schema(&self) -> Schema {
        self.schema
    }
}

impl Entry for OutputConfig {
    const DIRECTION: Direction = Direction::Source;

    fn resolve(entries: Vec<Self>, _connector: &str, report: &mut Report<'_>) -> Streams {
        let poll_interval = shared(
            "poll_interval",
            entries.iter().map(|entry| entry.poll_interval),
            report,
        )
        .unwrap_or(POLL_INTERVAL);
        let linger = shared(
            "linger_time",
            entries.iter().map(|entry| entry.linger_time),
            report,
        );
        let pace = Pace {
            poll_interval,
            linger,
        };
        let outputs: Vec<_> = entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| output(&format!("streams[{index}]"), entry, pace, report))
            .collect();
        told_apart(&outputs, report);
        Streams::Outputs(outputs)
    }

    fn schema(&self) -> Schema {
        self.schema
    }
}

/// Reports schemas that transforms would have to look into, and cannot.
pub(in crate::config) fn transformable<S: Entry>(entries: &[S], report: &mut Report<'_>) {
    for (index, entry) in entries.iter().enumerate() {
        let schema = entry.schema();
        if decoders::for_schema(schema).is_err() {
            let key = format!("streams[{index}].schema");
            let reason = format!("`{schema}` cannot be transformed");
            report.invalid(
                &key,
                reason,
                "leave the transforms out, or use `json`, `text` or `raw`",
            );
        }
    }
}

fn input(at: &str, entry: InputConfig, connector: &str, report: &mut Report<'_>) -> Input {
    unsupported::input(at, &entry, report);
    checks::name(&format!("{at}.stream"), &entry.stream, report);
    if entry.topics.is_empty() {
        report.missing(&format!("{at}.topics"), "name at least one topic");
    }
    for (index, topic) in entry.topics.iter().enumerate() {
        checks::name(&format!("{at}.topics[{index}]"), topic, report);
    }
    let consumer_group = entry
        .consumer_group
        .unwrap_or_else(|| format!("iggy-connect-sink-{connector}"));
    checks::name(&format!("{at}.consumer_group"), &consumer_group, report);
    sizes(at, entry.batch_length, entry.partitions, report);
    Input {
        stream: entry.stream,
        topics: entry.topics,
        schema: entry.schema,
        batch_length: entry.batch_length,
        batch_timeout: entry.batch_timeout.0,
        poll_interval: entry.poll_interval.0,
        consumer_group,
        start_from: entry.start_from.0,
        partitions: entry.partitions,
        create: entry.create,
    }
}

fn output(at: &str, entry: OutputConfig, pace: Pace, report: &mut Report<'_>) -> Output {
    unsupported::output(at, &entry, report);
    checks::name(&format!("{at}.stream"), &entry.stream, report);
    checks::name(&format!("{at}.topic"), &entry.topic, report);
    if let Some(route) = &entry.route {
        checks::route(&format!("{at}.route"), route, report);
    }
    sizes(at, entry.batch_length, entry.partitions, report);
    Output {
        stream: entry.stream,
        topic: entry.topic,
        route: entry.route,
        schema: entry.schema,
        batch_length: entry.batch_length,
        poll_interval: pace.poll_interval,
        linger: pace.linger,
        partitions: entry.partitions,
        create: entry.create,
    }
}

fn sizes(at: &str, batch_length: u32, partitions: u32, report: &mut Report<'_>) {
    checks::at_least_one(&format!("{at}.batch_length"), batch_length, report);
    if !(1..=MAX_PARTITIONS).contains(&partitions) {
        let key = format!("{at}.partitions");
        report.invalid(
            &key,
            "a number from 1 to 1000 is expected",
            "leave it out for one partition",
        );
    }
}

/// Reports a topic that one group would read twice: two members of a connector would take each other's partitions.
fn read_once(inputs: &[Input], report: &mut Report<'_>) {
    let mut seen = HashSet::new();
    for (index, input) in inputs.iter().enumerate() {
        for (place, topic) in input.topics.iter().enumerate() {
            if !topic.is_empty() && !seen.insert((&input.stream, topic, &input.consumer_group)) {
                let key = format!("streams[{index}].topics[{place}]");
                let reason = format!("`{topic}` is read by the same group already");
                report.add(&key, Code::Conflict, reason, Some("leave one of them out"));
            }
        }
    }
}

/// What a source has once for all its entries, and may be written in any of them.
fn shared(
    key: &str,
    written: impl Iterator<Item = Option<HumanDuration>>,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let mut found: Option<(usize, HumanDuration)> = None;
    for (index, written) in written.enumerate() {
        match (found, written) {
            (None, Some(written)) => found = Some((index, written)),
            (Some((first, value)), Some(written)) if value.0 != written.0 => {
                let reason =
                    format!("differs from `streams[{first}].{key}`, and a source has only one");
                report.add(
                    &format!("streams[{index}].{key}"),
                    Code::Conflict,
                    reason,
                    Some("write it once"),
                );
            }
            _ => {}
        }
    }
    found.map(|(_, value)| value.0)
}

/// Reports routes and topics that stand for two entries.
fn told_apart(outputs: &[Output], report: &mut Report<'_>) {
    let (mut topics, mut routes) = (HashMap::new(), HashMap::new());
    for (index, output) in outputs.iter().enumerate() {
        let topic = format!("{}/{}", output.stream, output.topic);
        let is_named = !output.stream.is_empty() && !output.topic.is_empty();
        if is_named && let Some(first) = topics.insert(topic.clone(), index) {
            let reason = format!("`{topic}` is what `streams[{first}]` writes to already");
            let key = format!("streams[{index}].topic");
            report.add(&key, Code::Conflict, reason, Some("leave one of them out"));
        }
        let Some(route) = &output.route else {
            continue;
        };
        if let Some(first) = routes.insert(route, index) {
            let reason = format!("`{route}` is the route of `streams[{first}]` already");
            let key = format!("streams[{index}].route");
            report.add(&key, Code::Conflict, reason, Some("rename one of them"));
        }
    }
}
