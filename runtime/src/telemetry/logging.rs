//! Logs on standard error, as text or JSON, and where asked for to a collector. `RUST_LOG` wins over the configured level, for
//! plugins too.

use std::io::{self, IsTerminal as _, Write};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt,
    layer::{Filter, SubscriberExt as _},
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

use super::{
    export::{Exporters, TRACES, without_ours},
    levels::Levels,
};
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
) -> Result<Levels, String> {
    let configured = configured(logging);
    let (stderr_filter, on_stderr) = reload::Layer::new(configured.filter(&[])?);
    let mut layers = vec![stderr::<Registry>(
        logging.format,
        secrets.clone(),
        stderr_filter,
    )];
    let mut exported = None;
    if let Some(exporters) = exporters {
        let (filter, handle) = reload::Layer::new(without_ours(configured.filter(&[])?));
        layers.extend(exporters.layers(secrets, filter));
        exported = Some(handle);
    }
    tracing_subscriber::registry().with(layers).init();
    let written = configured.directives.clone();
    let apply = move |changes: &[String]| {
        let gone = |error: reload::Error| format!("logs cannot be changed any more: {error}");
        on_stderr
            .reload(configured.filter(changes)?)
            .map_err(gone)?;
        match &exported {
            Some(handle) => handle
                .reload(without_ours(configured.filter(changes)?))
                .map_err(gone),
            None => Ok(()),
        }
    };
    Ok(Levels::new(written, Box::new(apply)))
}

fn stderr<S>(
    format: LogFormat,
    secrets: Secrets,
    filter: impl Filter<S> + Send + Sync + 'static,
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

/// What is configured to be logged.
struct Configured {
    /// Where it is written.
    origin: &'static str,
    directives: String,
}

fn configured(logging: &Logging) -> Configured {
    match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => Configured {
            origin: "RUST_LOG",
            directives,
        },
        _ => Configured {
            origin: "logging.level",
            directives: quieted(&logging.level),
        },
    }
}

impl Configured {
    /// What is logged with these changes: spans that are for traces only are not.
    fn filter(&self, changes: &[String]) -> Result<EnvFilter, String> {
        let filter = parse(self.origin, &self.directives)?;
        let no_traces = format!("{TRACES}=off");
        let later = changes.iter().chain([&no_traces]);
        later.into_iter().try_fold(filter, |filter, directive| {
            let parsed = directive.parse();
            let parsed = parsed.map_err(|error| format!("{directive}: {error}"))?;
            Ok(filter.add_directive(parsed))
        })
    }
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
