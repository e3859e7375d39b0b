//! What an activation is to those who ask for one: [`Handle::activate`], and [`NotActivated`]. The connector's task carries it out, in
//! `swap`.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::{sync::oneshot, time::Instant};
use tracing::{info, warn};

use super::{
    budget::Budget,
    decision::Decided,
    handle::{Command, Handle},
    snapshot::Snapshot,
};
use crate::config::spec;

/// Records that a version was chosen; the reason when it cannot.
pub(super) type Record = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A version that is to be put in the place of another.
pub(super) struct Activation {
    pub(super) spec: Arc<spec::Connector>,
    pub(super) budget: Budget,
    pub(super) record: Record,
    answer: oneshot::Sender<Result<Snapshot, NotActivated>>,
}

/// Where an activation has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The library or the configuration cannot be used.
    Check,
    /// What the connector has did not end in time.
    Close,
    /// The plugin has not opened.
    Open,
    /// The choice cannot be kept.
    Record,
}

/// Why a connector has the version that it had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotActivated {
    #[error("another version of it is being activated: wait until that is done")]
    Busy,
    #[error("the connector is being removed, or the daemon stops")]
    Ending,
    #[error("{}: {reason}", phase.name())]
    Undone {
        phase: Phase,
        reason: String,
        /// Trying again would change nothing.
        is_final: bool,
    },
}

impl Phase {
    /// The step's name, as the API shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Close => "close",
            Self::Open => "open",
            Self::Record => "record",
        }
    }

    /// This step has taken more time than there is.
    pub fn late(self, budget: &Budget) -> NotActivated {
        let what = match self {
            Self::Check => "the plugin could not be looked at",
            Self::Close => "what the connector has did not end",
            Self::Open => "the plugin did not open",
            Self::Record => "that it was chosen could not be kept",
        };
        NotActivated::Undone {
            phase: self,
            reason: format!("{what} in time: an activation has {}", budget.in_words()),
            is_final: false,
        }
    }
}

impl Handle {
    /// Puts a version in the place of the one that the connector has. Returns when that is done or undone, within the sum of the
    /// deadlines of a close and of an open; instances that are not used any more may then still be closing. A connector that is paused
    /// or stopped gets it without being opened. `record` makes the choice last; it runs when everything else has succeeded. One that
    /// takes too long is given up and runs on, without being waited for: whoever gave it looks after what comes of it.
    ///
    /// # Errors
    ///
    /// See [`NotActivated`]: the connector has the version that it had.
    pub async fn activate(
        &self,
        spec: spec::Connector,
        record: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> Result<Snapshot, NotActivated> {
        let budget = Budget::new(Instant::now(), &self.spec().deadlines, &spec.deadlines);
        self.activate_within(budget, spec, record).await
    }

    /// The same for what was chosen already, unless something was decided about the connector since this was read.
    ///
    /// # Errors
    ///
    /// As [`Handle::activate`].
    pub async fn activate_while(
        &self,
        read: Decided,
        spec: spec::Connector,
    ) -> Result<Snapshot, NotActivated> {
        let decided = self.decided.clone();
        let holds = async move {
            match decided.read().is_still(&read) {
                true => Ok(()),
                false => Err("another version was chosen since".to_owned()),
            }
        };
        self.activate(spec, holds).await
    }

    /// The same as [`Handle::activate`] when some of the time has passed.
    ///
    /// # Errors
    ///
    /// As [`Handle::activate`].
    pub async fn activate_within(
        &self,
        budget: Budget,
        spec: spec::Connector,
        record: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> Result<Snapshot, NotActivated> {
        let (answer, answered) = oneshot::channel();
        let activation = Activation {
            spec: Arc::new(spec),
            budget,
            record: Box::pin(record),
            answer,
        };
        let sent = self.commands.send(Command::Activate(activation)).await;
        sent.map_err(|_| NotActivated::Ending)?;
        // A task answers in time or ends.
        answered.await.unwrap_or(Err(NotActivated::Ending))
    }
}

impl Activation {
    pub(super) fn end(self, outcome: Result<Snapshot, NotActivated>) {
        let version = self.spec.version;
        match &outcome {
            Ok(_) => info!(version, "version activated"),
            Err(error) => warn!(version, %error, "version not activated"),
        }
        // Who asked may have stopped waiting; what was done holds.
        let _ = self.answer.send(outcome);
    }
}
