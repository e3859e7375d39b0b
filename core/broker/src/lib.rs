//! An embedded broker that speaks Apache Iggy's TCP protocol over a durable log of its own, so that the
//! daemon, the `iggy` client and the `iggy` CLI use it as they use a real server. It serves one machine:
//! first runs, tests and small edge deployments.
//!
//! What a client sends is written before it is acknowledged; [`SyncPolicy`] says whether that means the
//! operating system or the disk, and a topic whose `durability` is `persisted` always means the disk. A crash
//! costs nothing that was acknowledged under that promise. Consumer groups hand partitions over as a server
//! does: the old owner is stopped at once, the new one begins when what was polled has been stored.
//!
//! There is one user and, if configured, one access token. Users, permissions, tokens and clusters are not
//! managed here, and connections are not encrypted, which is why the default is to listen on loopback.
//!
//! ```no_run
//! # async fn start() -> Result<(), iggy_connector_broker::Error> {
//! use iggy_connector_broker::{Broker, Config};
//!
//! let handle = Broker::start(Config { dir: "local_data".into(), ..Config::default() }).await?;
//! println!("listening on {}", handle.address());
//! handle.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod config;
mod server;

mod connection;
mod dispatch;
mod handlers;
mod session;
mod wire;

mod broker;
mod state;
mod store;

mod error;
mod process;
mod sync;

pub use crate::{
    config::{Config, SyncPolicy},
    error::Error,
    server::{Broker, Handle},
};
