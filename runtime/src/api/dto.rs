//! The shapes that the API answers with. Existing clients rely on them: fields may be added, never changed.

use std::time::{SystemTime, UNIX_EPOCH};

use iggy_connector_message::Schema;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    config::{
        schema_names,
        spec::{self, Direction, Streams},
    },
    supervisor::{Handle, LastError, Snapshot, Status, Target},
};

/// A connector in a list.
#[derive(Serialize, JsonSchema)]
pub(super) struct Connector {
    id: u32,
    key: String,
    name: String,
    path: String,
    /// The version of its configuration that it has, which may not be the active one yet.
    config_version: u32,
    enabled: bool,
    #[schemars(extend("enum" = Status::ALL.map(Status::name)))]
    status: &'static str,
    /// What it was told to be: `running`, `paused` or `stopped`.
    #[schemars(extend("enum" = ["running", "paused", "stopped"]))]
    target: &'static str,
    /// Whether its health checks go well.
    healthy: bool,
    /// Instances that were opened for a version that was not activated, and are being closed. Left out when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    closing: Option<u32>,
    /// Why it is not what its configuration says by now, where changes are looked for. Left out when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_applied: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<ErrorEntry>,
    /// When a connector in error, or one that retries, tries again, in µs since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_restart_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin_config_format: Option<String>,
}

/// What went wrong last.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LastError")]
struct ErrorEntry {
    message: String,
    /// In µs since the epoch.
    timestamp: u64,
}

/// A connector by itself.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConnectorDetails")]
pub(super) struct Details {
    #[serde(flatten)]
    connector: Connector,
    streams: Vec<Stream>,
}

/// Where a sink's messages come from, or a source's go to.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Stream {
    Input {
        stream: String,
        topics: Vec<String>,
        #[schemars(schema_with = "schema_names")]
        schema: Schema,
        batch_length: u32,
        batch_timeout: String,
        poll_interval: String,
        consumer_group: String,
        start_from: String,
    },
    Output {
        stream: String,
        topic: String,
        #[schemars(schema_with = "schema_names")]
        schema: Schema,
        batch_length: u32,
        poll_interval: String,
        partitions: u32,
        create: bool,
    },
}

/// Counts of one connector in `/stats`.
#[derive(Serialize, JsonSchema)]
pub(super) struct ConnectorStats {
    key: String,
    name: String,
    #[schemars(extend("enum" = ["sink", "source"]))]
    connector_type: &'static str,
    /// The plugin's version, once it is loaded.
    version: Option<String>,
    version_semver: Option<u32>,
    #[schemars(extend("enum" = Status::ALL.map(Status::name)))]
    status: &'static str,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_produced: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_sent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_consumed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_processed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_expired: Option<u64>,
    messages_filtered: u64,
    messages_failed: u64,
    errors: u64,
}

/// A connector's answer with `***` in place of each value that its configuration may not show.
pub(super) fn shown<'a, T>(handle: &'a Handle) -> Value
where
    T: From<&'a Handle> + Serialize,
{
    hidden(handle, &T::from(handle))
}

/// As [`shown`], of an answer that is made already.
pub(super) fn hidden(handle: &Handle, answer: &impl Serialize) -> Value {
    // The shapes of this file have text keys and nothing that JSON cannot say.
    let mut shown = serde_json::to_value(answer).unwrap_or_default();
    handle.spec().written.hide_in(&mut shown);
    shown
}

impl Connector {
    pub(super) fn of(handle: &Handle, snapshot: Snapshot) -> Self {
        let spec = handle.spec();
        Self {
            id: handle.id,
            key: spec.key.clone(),
            name: spec.name.clone(),
            path: spec.path.clone(),
            config_version: spec.version,
            enabled: spec.enabled,
            status: snapshot.status.name(),
            target: match snapshot.target {
                Target::Running => "running",
                Target::Paused => "paused",
                Target::Stopped => "stopped",
            },
            healthy: snapshot.healthy,
            closing: snapshot.closing.then_some(1),
            not_applied: snapshot.not_applied.map(|reason| reason.to_string()),
            last_error: snapshot.last_error.map(ErrorEntry::from),
            next_restart_at: snapshot.next_attempt.map(micros),
            plugin_config_format: spec.plugin_config_format.clone(),
        }
    }
}

impl From<&Handle> for Connector {
    fn from(handle: &Handle) -> Self {
        Self::of(handle, handle.snapshot())
    }
}

impl From<LastError> for ErrorEntry {
    fn from(error: LastError) -> Self {
        Self {
            message: error.message,
            timestamp: micros(error.at),
        }
    }
}

impl From<&Handle> for Details {
    fn from(handle: &Handle) -> Self {
        let streams = match &handle.effective().streams {
            Streams::Inputs(inputs) => inputs.iter().map(Stream::from).collect(),
            Streams::Outputs(outputs) => outputs.iter().map(Stream::from).collect(),
        };
        Self {
            connector: handle.into(),
            streams,
        }
    }
}

impl From<&spec::Input> for Stream {
    fn from(input: &spec::Input) -> Self {
        Self::Input {
            stream: input.stream.clone(),
            topics: input.topics.clone(),
            schema: input.schema,
            batch_length: input.batch_length,
            batch_timeout: humantime::format_duration(input.batch_timeout).to_string(),
            poll_interval: humantime::format_duration(input.poll_interval).to_string(),
            consumer_group: input.consumer_group.clone(),
            start_from: input.start_from.to_string(),
        }
    }
}

impl From<&spec::Output> for Stream {
    fn from(output: &spec::Output) -> Self {
        Self::Output {
            stream: output.stream.clone(),
            topic: output.topic.clone(),
            schema: output.schema,
            batch_length: output.batch_length,
            poll_interval: humantime::format_duration(output.poll_interval).to_string(),
            partitions: output.partitions,
            create: output.create,
        }
    }
}

impl From<&Handle> for ConnectorStats {
    fn from(handle: &Handle) -> Self {
        let (snapshot, counts) = (handle.snapshot(), handle.counts());
        let (spec, direction) = (handle.spec(), handle.direction);
        let of_source = |count| (direction == Direction::Source).then_some(count);
        let of_sink = |count| (direction == Direction::Sink).then_some(count);
        Self {
            key: spec.key.clone(),
            name: spec.name.clone(),
            connector_type: direction.name(),
            version_semver: snapshot.plugin_version.as_deref().and_then(semver),
            version: snapshot.plugin_version,
            status: snapshot.status.name(),
            enabled: spec.enabled,
            messages_produced: of_source(counts.produced),
            messages_sent: of_source(counts.sent),
            messages_consumed: of_sink(counts.consumed),
            messages_processed: of_sink(counts.processed),
            messages_expired: of_sink(counts.expired),
            messages_filtered: counts.filtered,
            messages_failed: counts.failed,
            errors: counts.errors,
        }
    }
}

/// Whether a status counts as running in totals: a connector that retries still runs.
pub(super) fn is_running(status: Status) -> bool {
    matches!(status, Status::Running | Status::Retrying)
}

/// Microseconds since the epoch; 0 for a time before it.
pub(super) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A version as one number: major·1 000 000 + minor·1 000 + patch; pre-release tags are left out.
pub(super) fn semver(version: &str) -> Option<u32> {
    let release = version.split(['-', '+']).next()?;
    let mut parts = release.split('.').map(|part| part.parse::<u32>().ok());
    let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
    major
        .checked_mul(1_000_000)?
        .checked_add(minor.checked_mul(1_000)?)?
        .checked_add(patch)
}

#[cfg(test)]
mod tests {
    use super::semver;

    #[test]
    fn versions_become_numbers() {
        for (version, number) in [
            ("0.1.0", Some(1_000)),
            ("1.2.3-edge.4", Some(1_002_003)),
            ("1.2", None),
            ("x.y.z", None),
            ("4294967295.0.0", None),
        ] {
            assert_eq!(semver(version), number, "{version}");
        }
    }
}
