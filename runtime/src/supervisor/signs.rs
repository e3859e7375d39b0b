//! What the work lets a connector's task see while it is under way: [`Signs`].

use std::sync::Arc;

use tokio::sync::watch;

use super::work::{Halt, Progress, Run};
use crate::pipeline::{Monitor, Retrying};

/// What the work lets the task see.
pub(super) struct Signs {
    monitor: Arc<Monitor>,
    retrying: watch::Receiver<Option<Retrying>>,
    sender: Arc<watch::Sender<Progress>>,
    progress: watch::Receiver<Progress>,
}

impl Signs {
    pub(super) fn new(monitor: Arc<Monitor>) -> Self {
        let (sender, progress) = watch::channel(Progress::default());
        Self {
            retrying: monitor.retrying(),
            monitor,
            sender: Arc::new(sender),
            progress,
        }
    }

    pub(super) fn monitor(&self) -> &Arc<Monitor> {
        &self.monitor
    }

    pub(super) fn begin(&self, halt: Halt) -> Run {
        self.monitor.end_retry();
        self.sender.send_replace(Progress::default());
        Run {
            halt,
            monitor: self.monitor.clone(),
            progress: self.sender.clone(),
        }
    }

    /// Neither sender is ever gone: one is in the monitor, the other here.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            _ = self.progress.changed() => {}
            _ = self.retrying.changed() => {}
        }
    }

    pub(super) fn read(&mut self) -> (Progress, Option<Retrying>) {
        let progress = self.progress.borrow_and_update().clone();
        let retrying = self.retrying.borrow_and_update().clone();
        (progress, retrying)
    }
}
