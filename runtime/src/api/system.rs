//! Routes about the daemon itself: welcome, health, statistics.

use std::{collections::BTreeMap, sync::PoisonError};

use axum::{Json, extract::State, http::StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime;

use super::{
    Api,
    dto::{ConnectorStats, is_running, micros, semver, shown},
    error::ApiError,
    openapi::{Operation, Routes},
};
use crate::{
    config::spec::Direction,
    supervisor::{Handle, Snapshot, Status, Target},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The routes that everybody may use: they tell whether the daemon lives.
pub(super) fn public() -> Routes {
    let about = |id, summary| Operation::new(id, "daemon", summary);
    let greets = about("welcome", "Says what this is")
        .tells(&["text/plain; charset=utf-8"], "a line of text");
    let is_well = about("health", "Tells how the connectors are")
        .answers::<Health>(StatusCode::OK, "the process serves");
    let is_ready = about("ready", "Tells whether every enabled connector has opened")
        .answers::<Ready>(StatusCode::OK, "all have")
        .refuses(StatusCode::SERVICE_UNAVAILABLE, "some have not, and why");
    Routes::default()
        .get("/", welcome, greets)
        .get("/health", health, is_well)
        .get("/ready", ready, is_ready)
}

/// The routes for the holder of the key.
pub(super) fn keyed() -> Routes {
    let counts = Operation::new(
        "stats",
        "daemon",
        "Figures of the process and of every connector",
    )
    .answers::<Stats>(StatusCode::OK, "figures since the start");
    Routes::default().get("/stats", stats, counts)
}

async fn welcome() -> String {
    format!(
        "Iggy connectors runtime {VERSION}: see /docs, /health, /ready, /stats, /sinks and /sources\n"
    )
}

/// How the connectors are.
#[derive(Serialize, JsonSchema)]
struct Health {
    /// `healthy`: every enabled connector runs, or was paused or stopped; `degraded`: some do not; `unhealthy`: none does.
    #[schemars(extend("enum" = ["healthy", "degraded", "unhealthy"]))]
    status: &'static str,
    /// Connectors by status.
    connectors: BTreeMap<&'static str, usize>,
    /// Connectors whose health checks fail.
    unhealthy: usize,
}

async fn health(State(api): State<Api>) -> Json<Health> {
    let all: Vec<_> = api
        .connectors
        .all()
        .into_iter()
        .map(|handle| (handle.spec().enabled, handle.snapshot()))
        .collect();
    let mut connectors = BTreeMap::new();
    for (_, snapshot) in &all {
        *connectors.entry(snapshot.status.name()).or_default() += 1;
    }
    let enabled = all.iter().filter(|(enabled, _)| *enabled);
    Json(Health {
        status: overall(enabled.map(|(_, snapshot)| is_well(snapshot))),
        connectors,
        unhealthy: all.iter().filter(|(_, snapshot)| !snapshot.healthy).count(),
    })
}

/// Whether a connector does what it is to do. One that was paused or stopped, or whose source has ended, does.
fn is_well(snapshot: &Snapshot) -> bool {
    match (snapshot.target, snapshot.status) {
        (Target::Paused | Target::Stopped, _) | (_, Status::Stopped) => true,
        (_, Status::Running) => snapshot.healthy,
        _ => false,
    }
}

fn overall(well: impl Iterator<Item = bool>) -> &'static str {
    let (well, unwell): (Vec<bool>, Vec<bool>) = well.partition(|well| *well);
    match (well.len(), unwell.len()) {
        (_, 0) => "healthy",
        (0, _) => "unhealthy",
        _ => "degraded",
    }
}

/// Every enabled connector has opened at least once.
#[derive(Serialize, JsonSchema)]
struct Ready {
    #[schemars(extend("const" = "ready"))]
    status: &'static str,
}

/// Whether every enabled connector has opened at least once. One that was paused or stopped is not waited for.
async fn ready(State(api): State<Api>) -> Result<Json<Ready>, ApiError> {
    let all = api.connectors.all();
    let waiting: Vec<_> = all.iter().filter_map(not_opened).collect();
    match waiting.is_empty() {
        true => Ok(Json(Ready { status: "ready" })),
        false => Err(ApiError::NotReady(waiting.join("; "))),
    }
}

/// Why a connector that should have opened has not.
fn not_opened(handle: &Handle) -> Option<String> {
    let snapshot = handle.snapshot();
    if snapshot.has_opened || !handle.spec().enabled || snapshot.target != Target::Running {
        return None;
    }
    let (direction, key) = (handle.direction.name(), &handle.key);
    Some(match (snapshot.status, snapshot.last_error) {
        (Status::Error, Some(error)) => format!("{direction} {key}: {}", error.message),
        (status, _) => format!("{direction} {key}: {}", status.name()),
    })
}

/// Figures of the process and of every connector.
#[derive(Serialize, JsonSchema)]
struct Stats {
    connectors_runtime_version: &'static str,
    connectors_runtime_version_semver: Option<u32>,
    process_id: u32,
    cpu_usage: f32,
    total_cpu_usage: f32,
    memory_usage: u64,
    total_memory: u64,
    available_memory: u64,
    /// In µs.
    run_time: u64,
    /// In µs since the epoch.
    start_time: u64,
    /// Tasks that are alive. As many as before once connectors have stopped; more and more of them are a leak.
    tasks: usize,
    sources_total: usize,
    sources_running: usize,
    sinks_total: usize,
    sinks_running: usize,
    #[schemars(with = "Vec<ConnectorStats>")]
    connectors: Vec<Value>,
}

async fn stats(State(api): State<Api>) -> Json<Stats> {
    let (figures, start_time) = {
        let mut process = api.process.lock().unwrap_or_else(PoisonError::into_inner);
        (process.read(), process.start_time())
    };
    let all = api.connectors.all();
    let count = |direction: Direction, running_only: bool| {
        let counts = |handle: &&Handle| {
            handle.direction == direction && (!running_only || is_running(handle.snapshot().status))
        };
        all.iter().filter(counts).count()
    };
    Json(Stats {
        connectors_runtime_version: VERSION,
        connectors_runtime_version_semver: semver(VERSION),
        process_id: std::process::id(),
        cpu_usage: figures.cpu_usage,
        total_cpu_usage: figures.total_cpu_usage,
        memory_usage: figures.memory_usage,
        total_memory: figures.total_memory,
        available_memory: figures.available_memory,
        run_time: u64::try_from(figures.run_time.as_micros()).unwrap_or(u64::MAX),
        start_time: micros(start_time),
        tasks: runtime::Handle::current().metrics().num_alive_tasks(),
        sources_total: count(Direction::Source, false),
        sources_running: count(Direction::Source, true),
        sinks_total: count(Direction::Sink, false),
        sinks_running: count(Direction::Sink, true),
        connectors: all.iter().map(shown::<ConnectorStats>).collect(),
    })
}
