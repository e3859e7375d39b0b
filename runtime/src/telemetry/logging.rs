//! Logs on standard error, as text or JSON. `RUST_LOG` wins over the configured level, for plugins too.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::spec::{LogFormat, Logging};

/// Starts logging; call it once, before anything logs.
///
/// # Errors
///
/// The level is not one that `EnvFilter` understands.
pub fn start(logging: &Logging) -> Result<(), String> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => parse("RUST_LOG", &directives)?,
        _ => parse("logging.level", &logging.level)?,
    };
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match logging.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

fn parse(origin: &str, directives: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(directives).map_err(|error| format!("{origin} = \"{directives}\": {error}"))
}
