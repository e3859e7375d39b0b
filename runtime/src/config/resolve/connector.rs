//! One connector as it is used.

use std::{path::Path, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    checks,
    streams::{Entry, transformable},
    transforms::transforms,
};
use crate::config::{
    Guarded,
    connector::{
        self, ConnectorConfig, DocumentFormat, InputConfig, OutputConfig, Policy, RestartPolicy,
        Retry,
    },
    path::field,
    problem::{Code, Report, Source},
    spec::{
        Backoff, Connector, Deadlines, Delivery, Direction, Dlq, Errors, Health, HealthAction,
        OnFailure, Restart, Tolerance,
    },
    strict::{self, kind},
    values::HumanDuration,
};

/// The longest key: names of files and of consumer groups are made from it.
const MAX_KEY: usize = 128;

/// The most partitions of which a sink takes batches at once: as many as a topic may have.
const MAX_IN_FLIGHT: u32 = 1000;

/// How often settled offsets are stored, unless it is said.
const COMMIT_INTERVAL: Duration = Duration::from_millis(10);

/// What is known of a connector from where it stands: in the runtime file its table's name says both.
#[derive(Clone, Copy)]
pub(in crate::config) struct Given<'a> {
    pub(in crate::config) direction: Option<Direction>,
    pub(in crate::config) key: Option<&'a str>,
    /// The configuration file that it came with: relative plugin paths are tried from its folder too.
    pub(in crate::config) file: &'a Path,
    /// Where the table was read, and where in it.
    pub(in crate::config) source: &'a Arc<Source>,
    pub(in crate::config) at: &'a str,
}

/// Resolves one connector. `None` when it does not even say whether it is a sink or a source, or what its key is.
pub(in crate::config) fn connector(
    mut table: Map<String, Value>,
    given: Given<'_>,
    report: &mut Report<'_>,
) -> Option<Connector> {
    only_tables(&mut table, report);
    match given.direction.or_else(|| direction(&table)) {
        Some(Direction::Sink) => of_direction::<InputConfig>(table, given, report),
        Some(Direction::Source) => of_direction::<OutputConfig>(table, given, report),
        None => {
            no_direction(table.contains_key("type"), report);
            None
        }
    }
}

fn direction(table: &Map<String, Value>) -> Option<Direction> {
    serde_json::from_value(table.get("type")?.clone()).ok()
}

fn no_direction(is_written: bool, report: &mut Report<'_>) {
    let remedy = "write \"sink\" or \"source\"";
    if is_written {
        report.invalid("type", "neither a sink nor a source", remedy);
    } else {
        report.missing("type", remedy);
    }
}

/// Empties entries of `streams` that are no tables: a list would be read as one, by position.
pub(in crate::config) fn only_tables(table: &mut Map<String, Value>, report: &mut Report<'_>) {
    let Some(Value::Array(entries)) = table.get_mut("streams") else {
        return;
    };
    for (index, entry) in entries.iter_mut().enumerate() {
        if entry.is_object() {
            continue;
        }
        let reason = format!("a table is expected, not {}", kind(entry));
        report.add(&format!("streams[{index}]"), Code::Invalid, reason, None);
        *entry = Value::Object(Map::new());
    }
}

fn of_direction<S>(
    table: Map<String, Value>,
    given: Given<'_>,
    report: &mut Report<'_>,
) -> Option<Connector>
where
    S: Entry + Serialize + DeserializeOwned,
{
    let written = Value::Object(table.clone());
    // `plugin_config` may stand there under its older name.
    let plugin_config = ["plugin_config", "config"]
        .into_iter()
        .find(|key| table.contains_key(*key))
        .unwrap_or("plugin_config");
    let guarded = |value, key: &str| Guarded::new(value, given.source, field(given.at, key));
    let config: ConnectorConfig<S> = strict::read(table, report);
    foreign_keys(&config, report);
    let key = identity(&config, given, report)?;
    if config.path.as_deref().is_none_or(str::is_empty) {
        report.missing("path", "name the plugin's library");
    }
    let errors = errors(&config, report);
    let transforms = transforms(config.transforms, given, report);
    if !transforms.is_empty() {
        transformable(&config.streams, report);
    }
    checks::at_least_one("max_in_flight", config.max_in_flight, report);
    checks::at_most("max_in_flight", config.max_in_flight, MAX_IN_FLIGHT, report);
    Some(Connector {
        direction: S::DIRECTION,
        enabled: config.enabled,
        version: config.version,
        name: config.name.unwrap_or_else(|| key.clone()),
        path: config.path.unwrap_or_default(),
        origin: given.file.to_owned(),
        plugin_config_format: config.plugin_config_format.map(format_name),
        plugin_config: guarded(
            config
                .plugin_config
                .unwrap_or_else(|| Value::Object(Map::new())),
            plugin_config,
        ),
        written: Guarded::new(written, given.source, given.at.to_owned()),
        transforms,
        streams: S::resolve(config.streams, &key, report),
        verbose: config.verbose,
        benchmark: config.benchmark,
        deadlines: Deadlines {
            open: deadline("open_timeout", config.open_timeout, report)
                .unwrap_or(Deadlines::default().open),
            consume: deadline("consume_timeout", config.consume_timeout, report)
                .unwrap_or(Deadlines::default().consume),
            poll: deadline("poll_timeout", config.poll_timeout, report),
            close: deadline("close_timeout", config.close_timeout, report)
                .unwrap_or(Deadlines::default().close),
        },
        delivery: match config.delivery {
            connector::Delivery::AtLeastOnce => Delivery::AtLeastOnce,
            connector::Delivery::AtMostOnce => Delivery::AtMostOnce,
        },
        max_in_flight: config.max_in_flight,
        exclusive: config.consumer.exclusive,
        commit_interval: config
            .commit_interval
            .map_or(COMMIT_INTERVAL, |interval| interval.0),
        consumer_name: match config.consumer_name.is_empty() {
            true => key.clone(),
            false => config.consumer_name,
        },
        retry: retry(&config.retry, report),
        restart: restart(&config.restart, report),
        health: health(&config.health, report),
        errors,
        dlq: config.dlq.map(|dlq| Dlq {
            stream: dlq.stream,
            topic: dlq.topic.unwrap_or_else(|| key.clone()),
        }),
        key,
    })
}

/// Invalid records go to the dead letters where there are any; nothing else is given up without being asked for, which delivery at
/// most once is. What a sink delivers at most once does not come again, so nothing of it stops the sink.
fn errors<S: Entry>(config: &ConnectorConfig<S>, report: &mut Report<'_>) -> Errors {
    let (written, has_dlq) = (&config.errors, config.dlq.is_some());
    let is_tried_once = config.delivery == connector::Delivery::AtMostOnce;
    if is_tried_once && written.on_exhausted == Some(Policy::Stop) {
        report.add(
            "errors.on_exhausted",
            Code::Conflict,
            "`delivery` is `at_most_once`, which goes on after one attempt",
            Some("write `dlq` or `skip`, or leave one of them out"),
        );
    }
    let is_stored_first = is_tried_once && S::DIRECTION == Direction::Sink;
    if is_stored_first && written.on_invalid == Some(Policy::Stop) {
        report.add(
            "errors.on_invalid",
            Code::Conflict,
            "`delivery` is `at_most_once`: the position is stored before a message is found invalid, and to stop would not keep it",
            Some("write `dlq` or `skip`, or leave one of them out"),
        );
    }
    let given_up = match (is_tried_once, has_dlq) {
        (false, _) => OnFailure::Stop,
        (true, true) => OnFailure::Dlq,
        (true, false) => OnFailure::Skip,
    };
    let without = match (is_stored_first, has_dlq) {
        (_, true) => OnFailure::Dlq,
        (true, false) => OnFailure::Skip,
        (false, false) => OnFailure::Stop,
    };
    let mut policy = |key: &str, policy: Option<Policy>, default: OnFailure| {
        if policy == Some(Policy::Dlq) && !has_dlq {
            report.missing("dlq", &format!("`{key}` is `dlq`: say where to, for example `[dlq]` with `stream = \"dead_letters\"`"));
        }
        match policy {
            Some(Policy::Dlq) => OnFailure::Dlq,
            Some(Policy::Skip) => OnFailure::Skip,
            Some(Policy::Stop) => OnFailure::Stop,
            None => default,
        }
    };
    let tolerance = written.tolerance.as_ref();
    Errors {
        on_invalid: policy("errors.on_invalid", written.on_invalid, without),
        on_exhausted: policy("errors.on_exhausted", written.on_exhausted, given_up),
        tolerance: tolerance.map_or_else(Tolerance::default, |tolerance| Tolerance {
            failures: u64::from(tolerance.failures),
            of_last: u64::from(tolerance.of_last),
        }),
    }
}

/// Settles what the connector is called, and reports what contradicts the place where it stands.
fn identity<S: Entry>(
    config: &ConnectorConfig<S>,
    given: Given<'_>,
    report: &mut Report<'_>,
) -> Option<String> {
    if config.r#type.is_some_and(|written| written != S::DIRECTION) {
        let reason = format!("it stands among the {}s", S::DIRECTION.name());
        report.add("type", Code::Conflict, reason, Some("leave it out"));
    }
    if let (Some(written), Some(table)) = (config.key.as_deref(), given.key)
        && written != table
    {
        let reason = format!("its table is named `{table}`");
        report.add("key", Code::Conflict, reason, Some("leave it out"));
    }
    let Some(key) = given.key.or(config.key.as_deref()) else {
        report.missing("key", "name the connector, for example \"stdout\"");
        return None;
    };
    if !is_key(key) {
        let reason = "a key has 1 to 128 of the letters a-z, 0-9, `_` and `-`";
        report.invalid("key", reason, "rename it");
    }
    Some(key.to_owned())
}

/// Whether a text may be a connector's key.
pub fn is_key(text: &str) -> bool {
    (1..=MAX_KEY).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// Reports keys that only the other direction has.
fn foreign_keys<S: Entry>(config: &ConnectorConfig<S>, report: &mut Report<'_>) {
    let keys = [
        (config.max_in_flight > 1, "max_in_flight", Direction::Sink),
        (
            config.commit_interval.is_some(),
            "commit_interval",
            Direction::Sink,
        ),
        (
            config.consume_timeout.is_some(),
            "consume_timeout",
            Direction::Sink,
        ),
        (
            config.consumer.exclusive,
            "consumer.exclusive",
            Direction::Sink,
        ),
        (
            config.poll_timeout.is_some(),
            "poll_timeout",
            Direction::Source,
        ),
    ];
    for (is_used, key, direction) in keys {
        if is_used && direction != S::DIRECTION {
            let reason = format!("only {}s have it", direction.name());
            report.invalid(key, reason, "leave it out");
        }
    }
}

fn deadline(
    key: &str,
    written: Option<HumanDuration>,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let written = written?;
    checks::not_zero(key, written, report);
    Some(written.0)
}

fn retry(retry: &Retry, report: &mut Report<'_>) -> Backoff {
    let backoff = Backoff {
        initial: retry.initial_backoff.0,
        max: retry.max_backoff.0,
        multiplier: retry.backoff_multiplier,
        jitter: retry.jitter,
        max_attempts: retry.max_retries,
    };
    checks::backoff("retry", &backoff, report);
    backoff
}

fn restart(restart: &connector::Restart, report: &mut Report<'_>) -> Restart {
    let backoff = Backoff {
        initial: restart.initial_backoff.0,
        max: restart.max_backoff.0,
        max_attempts: restart.max_restarts,
        ..Backoff::default()
    };
    checks::backoff("restart", &backoff, report);
    match restart.policy {
        RestartPolicy::Never => Restart::Never,
        RestartPolicy::OnFailure => Restart::OnFailure(backoff),
    }
}

fn health(health: &connector::Health, report: &mut Report<'_>) -> Health {
    checks::not_zero("health.interval", health.interval, report);
    checks::not_zero("health.timeout", health.timeout, report);
    checks::at_least_one("health.failures", health.failures, report);
    Health {
        interval: health.interval.0,
        timeout: health.timeout.0,
        failures: health.failures,
        action: match health.action {
            connector::HealthAction::Report => HealthAction::Report,
            connector::HealthAction::Restart => HealthAction::Restart,
            connector::HealthAction::Stop => HealthAction::Stop,
        },
    }
}

fn format_name(format: DocumentFormat) -> String {
    match format {
        DocumentFormat::Json => "json",
        DocumentFormat::Yaml => "yaml",
        DocumentFormat::Toml => "toml",
        DocumentFormat::Text => "text",
    }
    .to_owned()
}
