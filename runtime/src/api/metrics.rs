//! Prometheus metrics: read from the connectors at each scrape. OpenMetrics for who asks for it, else the older text format.

use std::fmt::{Error, Write as _};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, MetricEncoder, NoLabelSet, text,
    },
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::{
    Api,
    dto::is_running,
    openapi::{Operation, Routes},
};
use crate::{
    config::spec::Direction,
    supervisor::{Counts, Distribution, Handle, Stage, Status},
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Ends a text in OpenMetrics; the older format knows no such line.
const END: &str = "# EOF\n";

/// The metrics at the configured path.
pub(super) fn routes(path: &str) -> Routes {
    let measured = Operation::new("metrics", "daemon", "Metrics for Prometheus").tells(
        &[TEXT, OPEN_METRICS],
        "the text format, or OpenMetrics for who accepts it",
    );
    Routes::default().get(path, metrics, measured)
}

async fn metrics(State(api): State<Api>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT);
    let open_metrics = accepts.is_some_and(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.contains("application/openmetrics-text"))
    });
    let text = scrape(api.connectors.all());
    match open_metrics {
        true => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        false => ([(header::CONTENT_TYPE, TEXT)], older(&text)).into_response(),
    }
}

fn scrape(handles: Vec<Handle>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Connectors(handles)));
    let mut text = String::new();
    // Writing to a string fails only where a metric is malformed, which the tests would show.
    if text::encode(&mut text, &registry).is_err() {
        tracing::error!("the metrics could not be written");
    }
    text
}

/// The older format: it writes a counter's type under the name with `_total`, and has no end.
fn older(text: &str) -> String {
    let is_counter = |name: &str| text.contains(&format!("# TYPE {name} counter\n"));
    let mut older = String::with_capacity(text.len());
    for line in text.trim_end_matches(END).lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if is_counter(name) => {
                let _ = writeln!(older, "# {what} {name}_total {rest}");
            }
            _ => {
                let _ = writeln!(older, "{line}");
            }
        }
    }
    older
}

/// All connectors at one moment.
struct Connectors(Vec<Handle>);

impl std::fmt::Debug for Connectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connectors({})", self.0.len())
    }
}

type Labels<'a> = [(&'static str, &'a str); 2];

fn labels(handle: &Handle) -> Labels<'_> {
    [
        ("connector_key", &handle.key),
        ("connector_type", handle.direction.name()),
    ]
}

impl Collector for Connectors {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.totals(&mut encoder)?;
        self.counters(&mut encoder)?;
        self.failures(&mut encoder)?;
        self.status(&mut encoder)?;
        self.gauges(&mut encoder)?;
        self.histograms(&mut encoder)
    }
}

impl Connectors {
    fn totals(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for (direction, total, running) in [
            (
                Direction::Source,
                "iggy_connectors_sources_total",
                "iggy_connectors_sources_running",
            ),
            (
                Direction::Sink,
                "iggy_connectors_sinks_total",
                "iggy_connectors_sinks_running",
            ),
        ] {
            let of_direction = || {
                let handles = self.0.iter();
                handles.filter(|handle| handle.direction == direction)
            };
            let are_running = of_direction().filter(|handle| is_running(handle.snapshot().status));
            let name = direction.name();
            gauge(
                encoder,
                total,
                &format!("Configured {name}s"),
                of_direction().count(),
            )?;
            gauge(
                encoder,
                running,
                &format!("Running {name}s"),
                are_running.count(),
            )?;
        }
        Ok(())
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let counts: Vec<_> = self
            .0
            .iter()
            .map(|handle| (handle, handle.counts()))
            .collect();
        for (name, help, of, read) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (handle, counts) in &counts {
                if of.is_none_or(|of| of == handle.direction) {
                    count(&mut family, &labels(handle), read(counts))?;
                }
            }
        }
        Ok(())
    }

    fn failures(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let (name, help) = (
            "iggy_connector_messages_failed",
            "Messages skipped or dead-lettered, by where and why",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for handle in &self.0 {
            for ((stage, code), count) in handle.monitor().counters.failures() {
                let [key, direction] = labels(handle);
                let labels = [key, direction, ("stage", stage), ("code", code)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn status(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let (name, help) = ("iggy_connector_status", "1 for the status that it has");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for handle in &self.0 {
            let now = handle.snapshot().status;
            for status in Status::ALL {
                let [key, direction] = labels(handle);
                let labels = [key, direction, ("status", status.name())];
                ConstGauge::new(u64::from(status == now)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for (name, help, read) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for handle in &self.0 {
                if let Some(value) = read(handle) {
                    ConstGauge::new(value).encode(family.encode_family(&labels(handle))?)?;
                }
            }
        }
        Ok(())
    }

    fn histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let (name, help) = (
            "iggy_connector_stage_duration_seconds",
            "Time that a batch spends in a stage",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for handle in &self.0 {
            for stage in Stage::ALL {
                let [key, direction] = labels(handle);
                let labels = [key, direction, ("stage", stage.name())];
                let durations = handle.monitor().durations.of(stage);
                histogram(&mut family, &labels, &durations, 1e9)?;
            }
        }
        let (name, help) = ("iggy_connector_batch_messages", "Messages in a batch");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for handle in &self.0 {
            histogram(
                &mut family,
                &labels(handle),
                &handle.monitor().durations.messages(),
                1.0,
            )?;
        }
        let (name, help) = (
            "iggy_connector_commit_delay_seconds",
            "Time from the first settlement that an offset covers until Iggy has stored it",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let sinks = self.0.iter();
        for handle in sinks.filter(|handle| handle.direction == Direction::Sink) {
            let commits = handle.monitor().durations.commits();
            histogram(&mut family, &labels(handle), &commits, 1e9)?;
        }
        Ok(())
    }
}

type ReadNow = fn(&Handle) -> Option<u64>;

/// Name, help, and where it is read; nothing where it is not known.
const GAUGES: [(&str, &str, ReadNow); 3] = [
    (
        "iggy_connector_lag_messages",
        "Messages in the partitions of a sink that it has not settled, as of its last look; missing while it is stopped",
        |handle| handle.monitor().lag(),
    ),
    (
        "iggy_connector_in_flight_batches",
        "Batches that have arrived from Iggy or from the plugin and are not settled",
        |handle| Some(handle.monitor().in_flight()),
    ),
    (
        "iggy_connector_healthy",
        "0 while so many health checks in a row have failed that the connector counts as unhealthy, else 1",
        |handle| Some(handle.snapshot().healthy.into()),
    ),
];

type Read = fn(&Counts) -> u64;

/// Name without `_total`, help, direction (`None`: both), and where it is read.
const COUNTERS: [(&str, &str, Option<Direction>, Read); 11] = [
    (
        "iggy_connector_messages_produced",
        "Messages polled from the plugin, those that were offered again included",
        Some(Direction::Source),
        |counts| counts.received,
    ),
    (
        "iggy_connector_messages_sent",
        "Messages confirmed by Iggy",
        Some(Direction::Source),
        |counts| counts.sent,
    ),
    (
        "iggy_connector_messages_consumed",
        "Messages received from Iggy, those that came again included",
        Some(Direction::Sink),
        |counts| counts.received,
    ),
    (
        "iggy_connector_messages_processed",
        "Messages delivered",
        Some(Direction::Sink),
        |counts| counts.processed,
    ),
    (
        "iggy_connector_messages_filtered",
        "Messages that a transform left out",
        None,
        |counts| counts.filtered,
    ),
    (
        "iggy_connector_messages_dead_lettered",
        "Messages written to the dead-letter topic",
        None,
        |counts| counts.dead_lettered,
    ),
    (
        "iggy_connector_messages_expired",
        "Messages that Iggy dropped before they were read",
        Some(Direction::Sink),
        |counts| counts.expired,
    ),
    (
        "iggy_connector_bytes",
        "Bytes of payloads received from Iggy or polled from the plugin",
        None,
        |counts| counts.bytes,
    ),
    (
        "iggy_connector_errors",
        "Attempts and batches that did not succeed",
        None,
        |counts| counts.errors,
    ),
    (
        "iggy_connector_retries",
        "Attempts after the first",
        None,
        |counts| counts.retries,
    ),
    (
        "iggy_connector_restarts",
        "Starts after a failure",
        None,
        |counts| counts.restarts,
    ),
];

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: usize,
) -> Result<(), Error> {
    let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value as u64).encode(family)
}

fn count(family: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: u64) -> Result<(), Error> {
    ConstCounter::new(value).encode(family.encode_family(labels)?)
}

/// `unit` values make one of the metric's.
fn histogram(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    values: &Distribution,
    unit: f64,
) -> Result<(), Error> {
    let inside: u64 = values.buckets.iter().map(|(_, count)| count).sum();
    let bounded = values
        .buckets
        .iter()
        .map(|(bound, count)| (*bound as f64 / unit, *count));
    let buckets: Vec<_> = bounded
        .chain([(f64::INFINITY, values.count - inside)])
        .collect();
    family
        .encode_family(labels)?
        .encode_histogram::<NoLabelSet>(values.sum as f64 / unit, values.count, &buckets, None)
}
