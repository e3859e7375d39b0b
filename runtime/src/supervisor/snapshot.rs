//! What others see of a connector: [`Snapshot`]. Only the connector's own task writes it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use tracing::info;

use crate::{
    config::spec,
    pipeline::{Counts, Monitor, Retrying},
};

/// Where a connector is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Starting,
    Running,
    /// It runs and waits to try something again.
    Retrying,
    Stopping,
    Stopped,
    Error,
}

impl Status {
    /// The status in one word, as the API shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Error => "error",
        }
    }
}

/// What went wrong last, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    pub message: String,
    pub at: SystemTime,
}

/// A connector as it is now.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub status: Status,
    pub last_error: Option<LastError>,
    /// When a connector in error, or one that retries, tries again.
    pub next_attempt: Option<SystemTime>,
    /// The plugin's own version, once it is loaded.
    pub plugin_version: Option<String>,
    /// Whether it has run at least once.
    pub has_run: bool,
}

/// The connector's task's side: the only writer.
pub(super) struct Reporter(watch::Sender<Snapshot>);

/// Everybody else's side.
#[derive(Clone)]
pub struct Handle {
    /// Unique in this run of the daemon, from 1; also the number of the plugin's instance.
    pub id: u32,
    pub spec: Arc<spec::Connector>,
    pub(super) snapshot: watch::Receiver<Snapshot>,
    pub(super) monitor: Arc<Monitor>,
}

impl Handle {
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    pub fn counts(&self) -> Counts {
        self.monitor.counters.read()
    }
}

impl Reporter {
    pub(super) fn new(enabled: bool) -> (Self, watch::Receiver<Snapshot>) {
        let status = if enabled {
            Status::Starting
        } else {
            Status::Stopped
        };
        let (sender, receiver) = watch::channel(Snapshot {
            status,
            last_error: None,
            next_attempt: None,
            plugin_version: None,
            has_run: false,
        });
        (Self(sender), receiver)
    }

    pub(super) fn status(&self, status: Status) {
        self.0.send_if_modified(|snapshot| {
            if snapshot.status == status {
                return false;
            }
            info!(from = snapshot.status.name(), to = status.name(), "status");
            snapshot.status = status;
            snapshot.next_attempt = None;
            snapshot.has_run |= status == Status::Running;
            true
        });
    }

    pub(super) fn plugin_version(&self, version: &str) {
        self.0
            .send_modify(|snapshot| snapshot.plugin_version = Some(version.to_owned()));
    }

    /// The pipeline has begun (`Some`) or ended retrying.
    pub(super) fn retrying(&self, retrying: Option<Retrying>) {
        let Some(Retrying {
            reason,
            next_attempt,
        }) = retrying
        else {
            return self.status(Status::Running);
        };
        self.status(Status::Retrying);
        self.failed(reason, Some(next_attempt));
    }

    /// The connector has failed and, with a `delay`, will be started again.
    pub(super) fn error(&self, message: String, delay: Option<Duration>) {
        self.status(Status::Error);
        self.failed(message, delay.map(|delay| SystemTime::now() + delay));
    }

    fn failed(&self, message: String, next_attempt: Option<SystemTime>) {
        self.0.send_modify(|snapshot| {
            snapshot.next_attempt = next_attempt;
            snapshot.last_error = Some(LastError {
                message,
                at: SystemTime::now(),
            });
        });
    }
}
