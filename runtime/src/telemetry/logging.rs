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
        _ => parse("logging.level", &quieted(&logging.level))?,
    };
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match logging.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
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
    fn levels_and_directives_are_understood_and_garbage_is_not() {
        for level in ["info", "debug", "off", "warn,my_plugin=trace"] {
            assert!(parse("logging.level", &quieted(level)).is_ok(), "{level}");
        }
        let error = parse("logging.level", "info,=,x=nonsense").unwrap_err();
        assert!(error.starts_with("logging.level = "), "{error}");
    }
}
