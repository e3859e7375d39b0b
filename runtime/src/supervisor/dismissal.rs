//! Instances that were opened for a version that was not activated: they are closed while the connector goes on, and the next activation
//! waits for that. `swap` says which.

use std::future::Future;

use tokio::task::{JoinError, JoinHandle};
use tracing::{Instrument as _, warn};

use super::{
    status::Status,
    task::{Task, panicked},
    work::{Instance as _, Opener},
};
use crate::pipeline::Failure;

/// How the close of an instance that was opened in vain has ended.
pub(super) type Dismissal = Result<(), Failure>;

impl<O: Opener> Task<O> {
    /// Closes what was opened in vain, if anything was, while the connector goes on.
    pub(super) fn dismiss(
        &mut self,
        opened: impl Future<Output = Option<O::Instance>> + Send + 'static,
    ) {
        let dismissing = async {
            match opened.await {
                Some(instance) => instance.close().await,
                None => Ok(()),
            }
        };
        let dismissing: JoinHandle<Dismissal> = tokio::spawn(dismissing.in_current_span());
        self.inbox.dismisses(dismissing);
        self.reporter.closing(true);
    }

    /// What was opened in vain is closed, and an activation that waits for it goes on.
    pub(super) fn dismissed(&mut self, closed: Result<Dismissal, JoinError>) {
        self.tell_of_dismissal(closed.map_err(panicked).flatten());
        self.reporter.closing(false);
        if self.waits() {
            self.begin_preparing();
        }
    }

    pub(super) fn tell_of_dismissal(&self, closed: Dismissal) {
        let Err(failure) = closed else { return };
        warn!(error = %failure, "the plugin of the version that is not activated did not close well");
        self.signs.monitor().counters.error();
        if self.reporter.now() != Status::Error {
            self.reporter.note(format!(
                "close of a version that was not activated: {failure}"
            ));
        }
    }
}
