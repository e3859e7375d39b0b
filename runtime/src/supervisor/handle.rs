//! A connector as others hold it: [`Handle`] shows its snapshot and sends it commands. The task behind it decides.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    activation::Activation,
    decision::{self, Decided, Decision},
    offsets::Asked,
    plan::Request,
    snapshot::Snapshot,
};
use crate::{
    config::spec::{self, Direction, Streams},
    pipeline::{Counts, Failure, Monitor},
    state::Lifecycle,
};

/// A task answers without waiting for anything; past this it has been stopped in mid-command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connector's task is sent.
pub(super) enum Command {
    /// Answered when it is decided, not when it is carried out.
    Request(Request, oneshot::Sender<Result<Snapshot, Refused>>),
    /// Answered when it is done or undone.
    Activate(Activation),
    /// The same.
    Reset(Asked),
    /// Why something about it is not as somebody wants it.
    Note(String),
    /// Why it is not what its configuration says, or that it is.
    NotApplied(Option<String>),
}

/// Why a command was not followed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("it is stopped: start it, then it can be paused")]
    Stopped,
    #[error("the connector is being removed, or the daemon stops")]
    Ending,
    /// It is followed, but a restart of the daemon would not know of it.
    #[error("it is being done, but will not survive a restart of the daemon: {0}")]
    NotSaved(Failure),
}

/// A connector as others hold it.
#[derive(Clone)]
pub struct Handle {
    /// Unique in this run of the daemon, from 1.
    pub id: u32,
    pub direction: Direction,
    pub key: Arc<str>,
    pub(super) spec: watch::Receiver<Arc<spec::Connector>>,
    pub(super) snapshot: watch::Receiver<Snapshot>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) lifecycle: Lifecycle,
    pub(super) decided: decision::Shared,
}

/// A connector with these streams, if it names none itself.
pub(super) fn effective(
    spec: Arc<spec::Connector>,
    proposed: Option<Arc<Streams>>,
) -> Arc<spec::Connector> {
    match proposed {
        Some(proposed) if spec.streams.is_empty() => Arc::new(spec::Connector {
            streams: Streams::clone(&proposed),
            ..spec::Connector::clone(&spec)
        }),
        _ => spec,
    }
}

impl Handle {
    /// What it is built from.
    pub fn spec(&self) -> Arc<spec::Connector> {
        self.spec.borrow().clone()
    }

    /// The same with the streams in effect: where it names none, those that its plugin proposed when it opened last.
    pub fn effective(&self) -> Arc<spec::Connector> {
        let proposed = self.snapshot.borrow().streams.clone();
        effective(self.spec(), proposed)
    }

    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Shows a reason as its last error and changes nothing else: what somebody wants of it cannot be.
    pub async fn note(&self, reason: String) {
        // One that has ended shows nothing any more.
        let _ = self.commands.send(Command::Note(reason)).await;
    }

    /// From now on until it is dropped a decision about its version is being carried out.
    pub fn decide(&self) -> Decision {
        self.decided.begin()
    }

    pub fn decided(&self) -> Decided {
        self.decided.read()
    }

    /// What was decided when this was read is over: the provider says something else.
    pub fn forget_decided(&self, read: &Decided) {
        self.decided.forget(read);
    }

    /// Shows why it is not what its configuration says by now, as its last error too, and until this is told to be over.
    pub async fn not_applied(&self, reason: String) {
        // As above.
        let _ = self.commands.send(Command::NotApplied(Some(reason))).await;
    }

    /// It is what its configuration says. May do nothing while other commands wait.
    pub fn applied(&self) {
        let _ = self.commands.try_send(Command::NotApplied(None));
    }

    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    pub fn counts(&self) -> Counts {
        self.monitor.counters.read()
    }

    /// Asks something of the connector. Returns how it is once that is accepted and, where it has to survive a restart of the daemon,
    /// saved; it is carried out afterwards.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn request(&self, request: Request) -> Result<Snapshot, Refused> {
        let status = self.snapshot().status;
        let (sender, answer) = oneshot::channel();
        let asked = async {
            let command = Command::Request(request, sender);
            self.commands.send(command).await.ok()?;
            answer.await.ok()
        };
        let answered = timeout(ANSWER_TIMEOUT, asked).await.ok().flatten();
        let snapshot = answered.unwrap_or(Err(Refused::Ending))?;
        self.decided.heed(request, status);
        self.lifecycle.save().await.map_err(Refused::NotSaved)?;
        Ok(snapshot)
    }
}
