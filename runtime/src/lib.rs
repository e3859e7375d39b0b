//! The connectors runtime as a library, for its binary and its tests.

pub mod config;
pub mod pipeline;
pub mod plugin;
pub mod state;
pub mod stream;
