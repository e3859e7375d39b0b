//! What others see of a connector: [`Snapshot`]. Only the connector's own task writes it, through [`Reporter`].

use std::{sync::Arc, time::SystemTime};

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{plan::Target, status::Status};
use crate::{
    config::{Secrets, spec::Streams},
    pipeline::Retrying,
};

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
    /// What it was told to be, and is on its way to.
    pub target: Target,
    pub last_error: Option<LastError>,
    /// When a connector in error, or one that retries, tries again.
    pub next_attempt: Option<SystemTime>,
    /// Why it is not what its configuration says by now.
    pub not_applied: Option<Arc<str>>,
    /// Why its specification cannot be used.
    pub unusable: Option<Arc<str>>,
    /// The plugin's own version, once it is loaded.
    pub plugin_version: Option<String>,
    /// The streams that it had when its plugin opened last, `None` before.
    pub streams: Option<Arc<Streams>>,
    /// Whether its plugin has opened at least once.
    pub has_opened: bool,
    /// Whether its health checks go well, as far as there were any.
    pub healthy: bool,
    /// Whether an instance that was opened in vain is being closed beside it.
    pub closing: bool,
}

/// The connector's task's side: the only writer.
pub(super) struct Reporter {
    snapshot: watch::Sender<Snapshot>,
    /// What no message may show.
    secrets: Secrets,
}

impl Reporter {
    pub(super) fn new(
        status: Status,
        target: Target,
        secrets: Secrets,
    ) -> (Self, watch::Receiver<Snapshot>) {
        let (sender, receiver) = watch::channel(Snapshot {
            status,
            target,
            last_error: None,
            next_attempt: None,
            not_applied: None,
            unusable: None,
            plugin_version: None,
            streams: None,
            has_opened: false,
            healthy: true,
            closing: false,
        });
        let reporter = Self {
            snapshot: sender,
            secrets,
        };
        (reporter, receiver)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    pub(super) fn now(&self) -> Status {
        self.snapshot.borrow().status
    }

    pub(super) fn status(&self, status: Status) {
        if self.moves_to(status) {
            self.snapshot.send_modify(|snapshot| {
                snapshot.status = status;
                snapshot.next_attempt = None;
            });
        }
    }

    /// Whether it is a move; says so.
    fn moves_to(&self, status: Status) -> bool {
        let from = self.now();
        if from == status {
            return false;
        }
        let (from_name, to) = (from.name(), status.name());
        info!(from = from_name, to, "status");
        if !from.may_become(status) {
            error!(
                from = from_name,
                to, "this move is not legal, which is a bug of the runtime"
            );
            debug_assert!(false, "{from_name} became {to}");
        }
        true
    }

    pub(super) fn target(&self, target: Target) {
        self.snapshot
            .send_modify(|snapshot| snapshot.target = target);
    }

    pub(super) fn opened(&self, streams: Option<Streams>) {
        self.snapshot
            .send_modify(|snapshot| snapshot.has_opened = true);
        self.streams(streams);
    }

    pub(super) fn unusable(&self, reason: Option<&str>) {
        self.snapshot
            .send_modify(|snapshot| snapshot.unusable = reason.map(Arc::from));
    }

    pub(super) fn streams(&self, streams: Option<Streams>) {
        self.snapshot
            .send_modify(|snapshot| snapshot.streams = streams.map(Arc::new));
    }

    pub(super) fn closing(&self, closing: bool) {
        self.snapshot
            .send_modify(|snapshot| snapshot.closing = closing);
    }

    pub(super) fn plugin_version(&self, version: Option<String>) {
        if version.is_some() {
            self.snapshot
                .send_modify(|snapshot| snapshot.plugin_version = version);
        }
    }

    /// The pipeline is waiting to try something again.
    pub(super) fn retrying(&self, retrying: Retrying) {
        self.failed(
            Status::Retrying,
            retrying.reason,
            Some(retrying.next_attempt),
        );
    }

    /// The connector has failed and, where there is a `next_attempt`, will be started again then.
    pub(super) fn error(&self, message: String, next_attempt: Option<SystemTime>) {
        self.failed(Status::Error, message, next_attempt);
    }

    /// Something went wrong that does not decide the status.
    pub(super) fn note(&self, message: String) {
        let Snapshot {
            status,
            next_attempt,
            ..
        } = *self.snapshot.borrow();
        self.failed(status, message, next_attempt);
    }

    /// `None` when what its configuration says is applied.
    pub(super) fn not_applied(&self, reason: Option<String>) {
        let hidden = reason.as_deref().map(|reason| self.secrets.hide(reason));
        let hidden = hidden.as_deref().map(Arc::from);
        self.snapshot
            .send_modify(|snapshot| snapshot.not_applied = hidden);
        if let Some(reason) = reason {
            self.note(reason);
        }
    }

    /// What the health checks say: `Some` when so many have failed that the connector counts as unhealthy.
    pub(super) fn health(&self, unhealthy: Option<String>) {
        let was_healthy = self.snapshot.borrow().healthy;
        match unhealthy {
            Some(reason) if was_healthy => {
                warn!(%reason, "unhealthy");
                self.note(reason);
                self.snapshot
                    .send_modify(|snapshot| snapshot.healthy = false);
            }
            None if !was_healthy => {
                info!("healthy again");
                self.snapshot
                    .send_modify(|snapshot| snapshot.healthy = true);
            }
            _ => {}
        }
    }

    /// The status with its reason in one step: nobody may see the one without the other.
    fn failed(&self, status: Status, message: String, next_attempt: Option<SystemTime>) {
        self.moves_to(status);
        // Whoever wrote the message may have quoted a value.
        let message = self.secrets.hide(&message).into_owned();
        self.snapshot.send_modify(|snapshot| {
            snapshot.status = status;
            snapshot.next_attempt = next_attempt;
            snapshot.last_error = Some(LastError {
                message,
                at: SystemTime::now(),
            });
        });
    }
}
