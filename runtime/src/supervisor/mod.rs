//! One task per connector. The [`Supervisor`] starts them, finds them for the API, and stops them all within a deadline; connectors
//! come and go while it runs.

mod activation;
mod budget;
mod check;
mod decision;
mod dismissal;
mod handle;
mod health;
mod inbox;
mod launch;
mod offsets;
mod open;
mod plan;
mod plugins;
mod restarts;
mod session;
mod signs;
mod snapshot;
mod status;
mod swap;
mod task;
#[cfg(test)]
mod tests;
mod work;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::launch::{Launch, launch};
pub use self::{
    activation::{NotActivated, Phase},
    budget::Budget,
    check::Plugins,
    decision::{Decided, Decision},
    handle::{Handle, Refused},
    offsets::{Manner, Move, NotReset, Place, Reset, Saved, Selection, Standing},
    open::Host,
    plan::{Request, Target},
    plugins::{Plugin, User},
    snapshot::{LastError, Snapshot},
    status::Status,
};
pub use crate::pipeline::{Counts, Distribution, Stage};
use crate::{
    config::{
        Unusable,
        spec::{self, Direction},
    },
    pipeline::Failure,
    state::Lifecycle,
};

/// All connectors of the daemon. Clones are the same.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    host: Arc<Host>,
    lifecycle: Lifecycle,
    connectors: RwLock<BTreeMap<(Direction, String), Entry>>,
    last_id: AtomicU32,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Entry {
    handle: Handle,
    stop: CancellationToken,
    ended: CancellationToken,
}

/// A connector of that direction and key exists, or is still being removed.
#[derive(Debug, thiserror::Error)]
#[error("there is a {} with the key {key}", direction.name())]
pub struct Taken {
    pub direction: Direction,
    pub key: String,
}

impl Supervisor {
    /// A supervisor without connectors.
    ///
    /// # Errors
    ///
    /// What operators have paused and stopped cannot be read.
    pub fn new(host: Arc<Host>) -> Result<Self, Failure> {
        Ok(Self(Arc::new(Inner {
            lifecycle: Lifecycle::open(&host.state)?,
            host,
            connectors: RwLock::default(),
            last_id: AtomicU32::new(0),
            stop: CancellationToken::new(),
        })))
    }

    /// Adds a connector and starts it, unless it is disabled or was paused or stopped. None waits for another.
    ///
    /// # Errors
    ///
    /// The key is taken.
    pub fn add(&self, spec: spec::Connector) -> Result<Handle, Taken> {
        self.insert(spec, None)
    }

    /// Adds a connector that cannot run, with the reason. It takes commands as others do, and fails whenever it is started.
    ///
    /// # Errors
    ///
    /// The key is taken.
    pub fn add_unusable(&self, unusable: Unusable) -> Result<Handle, Taken> {
        let Unusable { spec, reason } = unusable;
        error!(connector = spec.key, %reason, "connector not started");
        self.insert(spec, Some(reason))
    }

    /// Stops a connector and forgets it, and that it was paused or stopped. Returns once it is closed, which its own deadlines bound, and
    /// tells whether there was one.
    ///
    /// # Errors
    ///
    /// It is gone, but a restart of the daemon would still know that it was paused or stopped.
    pub async fn remove(&self, direction: Direction, key: &str) -> Result<bool, Failure> {
        let Some(entry) = self.entry(direction, key) else {
            return Ok(false);
        };
        entry.stop.cancel();
        entry.ended.cancelled().await;
        let name = (direction, key.to_owned());
        self.write(|connectors| {
            let is_same = connectors
                .get(&name)
                .is_some_and(|found| found.handle.id == entry.handle.id);
            if is_same {
                connectors.remove(&name);
            }
        });
        self.0.lifecycle.set(direction, key, None);
        self.0.lifecycle.save().await?;
        Ok(true)
    }

    pub fn find(&self, direction: Direction, key: &str) -> Option<Handle> {
        self.entry(direction, key).map(|entry| entry.handle)
    }

    /// Every connector, by direction and key.
    pub fn all(&self) -> Vec<Handle> {
        let entries = self.entries().into_iter();
        entries.map(|entry| entry.handle).collect()
    }

    /// Stops every connector and waits for them until `deadline`. Returns the keys of those that had to be abandoned.
    pub async fn stop(&self, deadline: Instant) -> Vec<String> {
        self.0.stop.cancel();
        let mut abandoned = Vec::new();
        for Entry { handle, ended, .. } in self.entries() {
            if timeout_at(deadline, ended.cancelled()).await.is_err() {
                abandoned.push(format!("{} {}", handle.direction.name(), handle.key));
            }
        }
        // One more try for a command whose save has failed; then the next start does not know of it, as was said.
        if let Err(failure) = self.0.lifecycle.save().await {
            error!(error = %failure, "which connectors are paused and stopped is not saved");
        }
        abandoned
    }

    fn host(&self) -> &Host {
        &self.0.host
    }

    fn insert(&self, spec: spec::Connector, unusable: Option<String>) -> Result<Handle, Taken> {
        let name = (spec.direction, spec.key.clone());
        self.write(|connectors| {
            if connectors.contains_key(&name) {
                let (direction, key) = name;
                return Err(Taken { direction, key });
            }
            let stop = self.0.stop.child_token();
            let ended = CancellationToken::new();
            let handle = launch(
                self.0.host.clone(),
                Launch {
                    id: self.0.last_id.fetch_add(1, Ordering::Relaxed) + 1,
                    spec,
                    unusable,
                    lifecycle: self.0.lifecycle.clone(),
                    secrets: self.0.host.secrets.clone(),
                    stop: stop.clone(),
                    ended: ended.clone(),
                },
            );
            let entry = Entry {
                handle: handle.clone(),
                stop,
                ended,
            };
            connectors.insert(name, entry);
            Ok(handle)
        })
    }

    fn entry(&self, direction: Direction, key: &str) -> Option<Entry> {
        let connectors = self.0.connectors.read();
        let connectors = connectors.unwrap_or_else(PoisonError::into_inner);
        connectors.get(&(direction, key.to_owned())).cloned()
    }

    fn entries(&self) -> Vec<Entry> {
        let connectors = self.0.connectors.read();
        let connectors = connectors.unwrap_or_else(PoisonError::into_inner);
        connectors.values().cloned().collect()
    }

    fn write<T>(&self, change: impl FnOnce(&mut BTreeMap<(Direction, String), Entry>) -> T) -> T {
        let connectors = self.0.connectors.write();
        change(&mut connectors.unwrap_or_else(PoisonError::into_inner))
    }
}
