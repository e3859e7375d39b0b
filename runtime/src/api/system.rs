//! Routes about the daemon itself: welcome, health, statistics.

use std::{collections::BTreeMap, sync::PoisonError};

use axum::{Json, extract::State};
use serde::Serialize;

use super::{
    Api,
    dto::{ConnectorStats, is_running, micros, semver},
};
use crate::{
    config::spec::Direction,
    supervisor::{Handle, Status},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn welcome() -> String {
    format!("Iggy connectors runtime {VERSION}: see /health, /stats, /sinks and /sources\n")
}

#[derive(Serialize)]
pub(super) struct Health {
    /// `healthy`: every enabled connector runs; `degraded`: some do not; `unhealthy`: none does.
    status: &'static str,
    /// Connectors by status.
    connectors: BTreeMap<&'static str, usize>,
}

pub(super) async fn health(State(api): State<Api>) -> Json<Health> {
    let mut connectors = BTreeMap::new();
    let (mut enabled, mut well) = (0, 0);
    for handle in api.connectors.iter() {
        let status = handle.snapshot().status;
        *connectors.entry(status.name()).or_default() += 1;
        if handle.spec.enabled {
            enabled += 1;
            // A connector that has been stopped, or whose source has ended, is where it should be.
            well += usize::from(matches!(
                status,
                Status::Running | Status::Stopped | Status::Stopping
            ));
        }
    }
    let status = match well {
        _ if well == enabled => "healthy",
        0 => "unhealthy",
        _ => "degraded",
    };
    Json(Health { status, connectors })
}

#[derive(Serialize)]
pub(super) struct Stats {
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
    sources_total: usize,
    sources_running: usize,
    sinks_total: usize,
    sinks_running: usize,
    connectors: Vec<ConnectorStats>,
}

pub(super) async fn stats(State(api): State<Api>) -> Json<Stats> {
    let (figures, start_time) = {
        let mut process = api.process.lock().unwrap_or_else(PoisonError::into_inner);
        (process.read(), process.start_time())
    };
    let count = |direction: Direction, running_only: bool| {
        let counts = |handle: &&Handle| {
            handle.spec.direction == direction
                && (!running_only || is_running(handle.snapshot().status))
        };
        api.connectors.iter().filter(counts).count()
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
        sources_total: count(Direction::Source, false),
        sources_running: count(Direction::Source, true),
        sinks_total: count(Direction::Sink, false),
        sinks_running: count(Direction::Sink, true),
        connectors: api.connectors.iter().map(ConnectorStats::from).collect(),
    })
}
