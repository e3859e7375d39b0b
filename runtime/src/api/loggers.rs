//! `/loggers`: what is logged, changed while the daemon runs.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Api,
    body::Table,
    dto::micros,
    error::ApiError,
    extract::Named,
    openapi::{Operation, Routes},
};
use crate::telemetry::levels::Level;

/// What is logged.
#[derive(Serialize, JsonSchema)]
struct Loggers {
    /// Levels and targets as `RUST_LOG` or `logging.level` has them.
    configured: String,
    /// Targets whose levels were changed since.
    loggers: Vec<Logger>,
}

/// A target whose level was changed.
#[derive(Serialize, JsonSchema)]
struct Logger {
    target: String,
    level: Level,
    /// When it is taken back, in µs since the epoch; null when it stays until the daemon ends.
    until: Option<u64>,
}

/// A change of a target's level.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    /// Null takes the change back.
    level: Option<Level>,
    /// For how long, such as `5m`; at most 30 days.
    r#for: Option<String>,
}

pub(super) fn routes() -> Routes {
    let listed = Operation::new("list_loggers", "loggers", "Tells what is logged")
        .answers::<Loggers>(StatusCode::OK, "what is configured, and what was changed");
    let changed = Operation::new(
        "set_logger",
        "loggers",
        "Changes the log level of a target and of what is below it",
    )
    .takes::<Change>()
    .answers::<Loggers>(StatusCode::OK, "what is logged from now on");
    Routes::default()
        .get("/loggers", list, listed)
        .put("/loggers/{target}", set, changed)
}

async fn list(State(api): State<Api>) -> Json<Loggers> {
    Json(shown(&api))
}

async fn set(
    State(api): State<Api>,
    Named(target): Named<String>,
    Table(body): Table,
) -> Result<Json<Loggers>, ApiError> {
    let change: Change = serde_json::from_value(Value::Object(body))
        .map_err(|error| ApiError::Invalid(format!("the body is no change of a level: {error}")))?;
    let time = change.r#for.as_deref().map(duration).transpose()?;
    let done = match change.level {
        Some(level) => api.levels.set(&target, level, time),
        None => api.levels.take_back(&target),
    };
    done.map_err(ApiError::Invalid)?;
    Ok(Json(shown(&api)))
}

fn duration(text: &str) -> Result<Duration, ApiError> {
    humantime::parse_duration(text)
        .map_err(|error| ApiError::Invalid(format!("`for`: {error}; write it as `5m`")))
}

fn shown(api: &Api) -> Loggers {
    let loggers = api.levels.changed().into_iter().map(|target| Logger {
        target: target.name,
        level: target.level,
        until: target.until.map(micros),
    });
    Loggers {
        configured: api.levels.configured().to_owned(),
        loggers: loggers.collect(),
    }
}
