//! Logs and traces for an OpenTelemetry collector, over gRPC or HTTP. `main` starts it before the first log and shuts it down last.

use std::time::Duration;

use opentelemetry::{logs::LoggerProvider as _, trace::TracerProvider as _};
use opentelemetry_otlp::{LogExporter, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, logs::SdkLoggerProvider, trace::SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, Targets},
    layer::Filter,
    registry::LookupSpan,
};

use super::bridge::Bridge;
use crate::config::{
    Secrets,
    spec::{Exporter, Telemetry, Transport},
};

/// How long the last logs and traces may take to leave.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the exporters themselves log: sent to the collector it would never end.
const OURS: [&str; 7] = [
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry-otlp",
    "reqwest",
    "tonic",
];

/// Where spans of batches and stages stand; logs leave them out.
pub const TRACES: &str = "iggy_connectors::trace";

/// What sends logs and traces in the background.
pub struct Exporters {
    logs: SdkLoggerProvider,
    traces: SdkTracerProvider,
}

impl Exporters {
    /// Call it inside a Tokio runtime, which carries gRPC.
    ///
    /// # Errors
    ///
    /// An endpoint is not a URL.
    pub fn new(telemetry: &Telemetry) -> Result<Self, String> {
        let resource = Resource::builder()
            .with_service_name(telemetry.service_name.clone())
            .build();
        let traces = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(spans(&telemetry.traces)?)
            .build();
        let logs = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(log_records(&telemetry.logs)?)
            .build();
        Ok(Self { logs, traces })
    }

    /// The layers that take logs, as the filter lets them through and without secrets, and spans.
    pub fn layers<S>(
        &self,
        secrets: &Secrets,
        filter: impl Filter<S> + Send + Sync + 'static,
    ) -> Vec<Box<dyn Layer<S> + Send + Sync>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let logs =
            Bridge::new(self.logs.logger("iggy-connectors"), secrets.clone()).with_filter(filter);
        let spans = tracing_opentelemetry::layer()
            .with_tracer(self.traces.tracer("iggy-connectors"))
            .with_filter(Targets::new().with_target(TRACES, LevelFilter::INFO));
        vec![logs.boxed(), spans.boxed()]
    }

    /// Sends what is left.
    ///
    /// # Errors
    ///
    /// Not everything was taken in time.
    pub fn shutdown(self) -> Result<(), String> {
        let traces = self.traces.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
        let logs = self.logs.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
        traces
            .and(logs)
            .map_err(|error| format!("the last telemetry was not sent: {error}"))
    }
}

/// The filter without what the exporters themselves log.
pub(super) fn without_ours(filter: EnvFilter) -> EnvFilter {
    OURS.iter().fold(filter, |filter, target| {
        match format!("{target}=off").parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_) => filter,
        }
    })
}

fn spans(exporter: &Exporter) -> Result<SpanExporter, String> {
    let builder = SpanExporter::builder();
    match exporter.transport {
        Transport::Grpc => builder
            .with_tonic()
            .with_endpoint(&exporter.endpoint)
            .build(),
        Transport::Http => builder
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&exporter.endpoint)
            .build(),
    }
    .map_err(|error| format!("telemetry.traces.endpoint: {error}"))
}

fn log_records(exporter: &Exporter) -> Result<LogExporter, String> {
    let builder = LogExporter::builder();
    match exporter.transport {
        Transport::Grpc => builder
            .with_tonic()
            .with_endpoint(&exporter.endpoint)
            .build(),
        Transport::Http => builder
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&exporter.endpoint)
            .build(),
    }
    .map_err(|error| format!("telemetry.logs.endpoint: {error}"))
}
