//! When a connector that has failed is started again, as its `[restart]` says: [`Restarts`], for its task.

use std::time::Duration;

use crate::{config::spec::Restart, pipeline::Backoff};

/// When a connector that has failed is started again.
pub(super) struct Restarts {
    backoff: Option<Backoff>,
    /// A run that lasts so long begins a new count.
    steady: Duration,
}

impl Restarts {
    pub(super) fn new(spec: &Restart) -> Self {
        match spec {
            Restart::Never => Self {
                backoff: None,
                steady: Duration::MAX,
            },
            Restart::OnFailure(backoff) => Self {
                backoff: Some(Backoff::new(*backoff)),
                steady: backoff.max,
            },
        }
    }

    /// A run has ended that lasted so long.
    pub(super) fn ran(&mut self, elapsed: Duration) {
        if elapsed >= self.steady {
            self.reset();
        }
    }

    /// How long to wait before the next start; `None`: there is none.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.backoff.as_mut()?.next(asked)
    }

    /// Begins a new count.
    pub(super) fn reset(&mut self) {
        if let Some(backoff) = &mut self.backoff {
            backoff.reset();
        }
    }
}
