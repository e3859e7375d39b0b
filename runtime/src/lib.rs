//! The connectors runtime as a library, for its binary and its tests. Reading order: `app`, `supervisor`, `pipeline`.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod pipeline;
pub mod plugin;
pub mod provider;
pub mod state;
pub mod stream;
pub mod supervisor;
pub mod telemetry;
