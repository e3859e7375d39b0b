//! Events as log records of OpenTelemetry, without secrets, and with the connector in whose span they were logged. The exporters put
//! it beside the layer for standard error.

use std::{fmt, time::SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, Severity};
use opentelemetry_sdk::logs::SdkLogger;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::config::Secrets;

/// The field of an event that is its text, and that of a connector's span that is its key.
const MESSAGE: &str = "message";
const KEY: &str = "key";

/// Turns events into records.
pub(super) struct Bridge {
    logger: SdkLogger,
    secrets: Secrets,
}

/// Which connector a span is of; kept with the span.
struct Connector {
    direction: &'static str,
    key: String,
}

/// The fields of an event or a span.
struct Fields<'a> {
    secrets: &'a Secrets,
    found: Vec<(&'static str, AnyValue)>,
}

impl Bridge {
    pub(super) fn new(logger: SdkLogger, secrets: Secrets) -> Self {
        Self { logger, secrets }
    }

    fn fields(&self) -> Fields<'_> {
        Fields {
            secrets: &self.secrets,
            found: Vec::new(),
        }
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Bridge {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let direction = attributes.metadata().name();
        if !matches!(direction, "sink" | "source") {
            return;
        }
        let mut fields = self.fields();
        attributes.record(&mut fields);
        let key = fields.found.into_iter().find(|(name, _)| *name == KEY);
        if let (Some((_, AnyValue::String(key))), Some(span)) = (key, ctx.span(id)) {
            let key = key.as_str().to_owned();
            span.extensions_mut().insert(Connector { direction, key });
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = self.fields();
        event.record(&mut fields);
        let mut record = self.logger.create_log_record();
        record.set_timestamp(SystemTime::now());
        record.set_target(metadata.target());
        record.set_severity_number(severity(*metadata.level()));
        record.set_severity_text(metadata.level().as_str());
        for (name, value) in fields.found {
            match name {
                MESSAGE => record.set_body(value),
                _ => record.add_attribute(name, value),
            }
        }
        for span in ctx.event_scope(event).into_iter().flatten() {
            if let Some(Connector { direction, key }) = span.extensions().get() {
                record.add_attribute("connector.type", *direction);
                record.add_attribute("connector.key", key.clone());
            }
        }
        self.logger.emit(record);
    }
}

impl Fields<'_> {
    fn text(&mut self, field: &Field, text: &str) {
        let shown = self.secrets.hide(text).into_owned();
        self.found.push((field.name(), shown.into()));
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.found.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.text(field, &value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.found.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.found.push((field.name(), value.into()));
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::TRACE => Severity::Trace,
        Level::DEBUG => Severity::Debug,
        Level::INFO => Severity::Info,
        Level::WARN => Severity::Warn,
        Level::ERROR => Severity::Error,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::logs::{InMemoryLogExporter, SdkLoggerProvider};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_record_has_the_events_fields_and_its_connector_and_no_secret() {
        use opentelemetry::logs::LoggerProvider as _;

        let exporter = InMemoryLogExporter::default();
        let provider = SdkLoggerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let secrets = Secrets::default();
        secrets.learn("c4nary-in-a-log");
        let bridge = Bridge::new(provider.logger("tests"), secrets);
        let subscriber = tracing_subscriber::registry().with(bridge);
        tracing::subscriber::with_default(subscriber, || {
            let _in_sink = tracing::info_span!("sink", key = "stdout").entered();
            let password = "c4nary-in-a-log";
            tracing::warn!(attempt = 3, password, "with c4nary-in-a-log");
        });
        let logs = exporter.get_emitted_logs().unwrap();
        let [log] = &*logs else {
            panic!("{logs:?}");
        };
        let record = &log.record;
        assert_eq!(record.severity_number(), Some(Severity::Warn));
        assert_eq!(record.body(), Some(&AnyValue::from("with ***")));
        let mut attributes: Vec<_> = record
            .attributes_iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        attributes.sort_by_key(|(name, _)| *name);
        assert_eq!(
            attributes,
            [
                ("attempt", AnyValue::Int(3)),
                ("connector.key", "stdout".into()),
                ("connector.type", "sink".into()),
                ("password", "***".into()),
            ]
        );
    }
}
