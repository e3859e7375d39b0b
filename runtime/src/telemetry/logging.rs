//! Logs on standard error, as text or JSON, and where asked for to a collector. `RUST_LOG` wins over the configured level, for
//! plugins too.

use std::io::{self, IsTerminal as _, Write};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::export::{Exporters, TRACES};
use crate::config::{
    Secrets,
    spec::{LogFormat, Logging},
};

/// Starts logging; call it once, before anything logs. Lines are written without `secrets`, whoever wrote them: a plugin may log its
/// configuration.
///
/// # Errors
///
/// The level is not one that `EnvFilter` understands.
pub fn start(
    logging: &Logging,
    secrets: &Secrets,
    exporters: Option<&Exporters>,
) -> Result<(), String> {
    let mut layers = vec![stderr::<Registry>(
        logging.format,
        secrets.clone(),
        filter(logging)?,
    )];
    if let Some(exporters) = exporters {
        layers.extend(exporters.layers(filter(logging)?));
    }
    tracing_subscriber::registry().with(layers).init();
    Ok(())
}

fn stderr<S>(
    format: LogFormat,
    secrets: Secrets,
    filter: EnvFilter,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = fmt::layer().with_writer(move || Hiding {
        secrets: secrets.clone(),
        output: io::stderr(),
    });
    match format {
        LogFormat::Text => layer
            .with_ansi(io::stderr().is_terminal())
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

/// What is logged: spans that are for traces only are not.
fn filter(logging: &Logging) -> Result<EnvFilter, String> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => parse("RUST_LOG", &directives)?,
        _ => parse("logging.level", &quieted(&logging.level))?,
    };
    let no_traces = format!("{TRACES}=off").parse();
    let no_traces = no_traces.map_err(|error| format!("{TRACES}: {error}"))?;
    Ok(filter.add_directive(no_traces))
}

/// Writes without secrets. A line of the log comes in one piece.
struct Hiding<W> {
    secrets: Secrets,
    output: W,
}

impl<W: Write> Write for Hiding<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.output.write_all(self.secrets.hide(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A plain level, with the Iggy client's own account of each connection left out: the runtime says the same once.
fn quieted(level: &str) -> String {
    match level.parse::<tracing::Level>() {
        Ok(tracing::Level::INFO) => format!("{level},iggy::tcp=warn,iggy::clients=warn"),
        _ => level.to_owned(),
    }
}

fn parse(origin: &str, directives: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(directives).map_err(|error| format!("{origin} = \"{directives}\": {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_without_secrets() {
        let secrets = Secrets::default();
        secrets.learn("hunter2");
        let mut hiding = Hiding {
            secrets,
            output: Vec::new(),
        };
        let line = "user=me password=hunter2\n";
        assert_eq!(hiding.write(line.as_bytes()).unwrap(), line.len());
        assert_eq!(hiding.output, b"user=me password=***\n");
    }

    #[test]
    fn levels_and_directives_are_understood_and_garbage_is_not() {
        for level in ["info", "debug", "off", "warn,my_plugin=trace"] {
            assert!(parse("logging.level", &quieted(level)).is_ok(), "{level}");
        }
        let error = parse("logging.level", "info,=,x=nonsense").unwrap_err();
        assert!(error.starts_with("logging.level = "), "{error}");
    }
}
