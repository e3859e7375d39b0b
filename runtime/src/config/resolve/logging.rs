//! `[logging]` as it is used.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::config::{problem::Report, runtime, spec, suggest};

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
const KEY: &str = "logging.level";

pub(super) fn logging(logging: runtime::Logging, report: &mut Report<'_>) -> spec::Logging {
    level(&logging.level, report);
    spec::Logging {
        format: match logging.format {
            runtime::LogFormat::Text => spec::LogFormat::Text,
            runtime::LogFormat::Json => spec::LogFormat::Json,
        },
        level: logging.level,
    }
}

/// A word alone would be understood as a target that logs everything, which is what a mistyped level would do.
fn level(written: &str, report: &mut Report<'_>) {
    let alone = written
        .split(',')
        .map(str::trim)
        .find(|directive| is_word(directive));
    if let Some(word) = alone {
        let remedy = match suggest::nearest(word, &LEVELS) {
            Some(level) => suggest::did_you_mean(level),
            None => format!("write `{word}=info` if it is a target"),
        };
        report.invalid(KEY, format!("`{word}` is no level"), &remedy);
    } else if EnvFilter::try_new(written).is_err() {
        let remedy = "write a level (error, warn, info, debug, trace), or `target=level` with commas in between";
        report.invalid(KEY, "it is no level", remedy);
    }
}

fn is_word(directive: &str) -> bool {
    let is_plain = |character: char| character.is_alphanumeric() || "_-:".contains(character);
    !directive.is_empty()
        && directive.chars().all(is_plain)
        && directive.parse::<LevelFilter>().is_err()
}
