//! Puts another version of a connector in the place of the one that it has, or leaves everything as it was: the part of the
//! connector's task that follows [`Handle::activate`].
//!
//! First, beside whatever the connector does, the new version is prepared: a sink's instance is opened, of anything else the library and
//! the configuration are checked. Then what runs is drained, a source is closed and opened anew, the choice is recorded, and only then
//! is the old version given up. A failure before that leaves or brings back the old one.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinError,
    time::{Instant, timeout},
};
use tracing::{Instrument as _, info, warn};

use super::{
    handle::{Command, Handle},
    plan::Target,
    restarts::Restarts,
    snapshot::Snapshot,
    task::{Task, panicked},
    work::{End, Halt, Instance, Opener, Progress, Run},
};
use crate::{
    config::spec::{self, Direction},
    state::{Kept, Lifecycle},
};

/// The connector stands still while the choice is recorded, for whatever is left of the activation's time, but within these: the
/// least, so that one that was slow until then still ends well, and the most, so that who keeps the choice cannot hold up the flow.
const RECORD_LEAST: Duration = Duration::from_secs(2);
const RECORD_MOST: Duration = Duration::from_secs(5);

/// Records that a version was chosen; the reason when it cannot.
type Record = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A version that is to be put in the place of another.
pub(super) struct Activation {
    spec: Arc<spec::Connector>,
    asked: Instant,
    record: Record,
    answer: oneshot::Sender<Result<Snapshot, NotActivated>>,
}

/// Where an activation has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The library or the configuration cannot be used.
    Check,
    /// The plugin has not opened.
    Open,
    /// The choice cannot be kept.
    Record,
}

/// Why a connector has the version that it had.
#[derive(Debug, thiserror::Error)]
pub enum NotActivated {
    #[error("another version of it is being activated: wait until that is done")]
    Busy,
    #[error("the connector is being removed, or the daemon stops")]
    Ending,
    #[error("{}: {reason}", phase.name())]
    Undone { phase: Phase, reason: String },
}

/// An activation that is under way.
pub(super) struct Swap<I> {
    activation: Option<Activation>,
    /// Ends what is being opened for it.
    halt: Halt,
    /// Once it is there, the task swaps.
    prepared: Option<Prepared<I>>,
}

/// What was done beside the old version.
pub(super) enum Prepared<I> {
    Checked,
    Opened(Opened<I>),
}

pub(super) struct Opened<I> {
    instance: I,
    plugin_version: Option<String>,
}

/// How a preparation has ended.
pub(super) type Preparation<I> = Result<Prepared<I>, NotActivated>;

impl Phase {
    /// The step's name, as the API shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Open => "open",
            Self::Record => "record",
        }
    }
}

impl Handle {
    /// Puts a version in the place of the one that the connector has. Returns when that is done or undone, soon after the deadlines of
    /// an open and of a close at the latest. A connector that is paused or stopped gets it without being opened. `record` makes the
    /// choice last; it runs when everything else has succeeded. One that takes too long is given up and runs on, without being waited for:
    /// whoever gave it looks after what comes of it.
    ///
    /// # Errors
    ///
    /// See [`NotActivated`]: the connector has the version that it had.
    pub async fn activate(
        &self,
        spec: spec::Connector,
        record: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> Result<Snapshot, NotActivated> {
        let (answer, answered) = oneshot::channel();
        let activation = Activation {
            spec: Arc::new(spec),
            asked: Instant::now(),
            record: Box::pin(record),
            answer,
        };
        let sent = self.commands.send(Command::Activate(activation)).await;
        sent.map_err(|_| NotActivated::Ending)?;
        // A task answers or ends, and its opens and closes have deadlines.
        answered.await.unwrap_or(Err(NotActivated::Ending))
    }
}

/// What a connector is to be with this specification, as far as its operator has not said otherwise.
pub(super) fn target(lifecycle: &Lifecycle, spec: &spec::Connector) -> Target {
    match lifecycle.get(spec.direction, &spec.key) {
        Some(Kept::Paused) => Target::Paused,
        Some(Kept::Stopped) => Target::Stopped,
        None if spec.enabled => Target::Running,
        None => Target::Stopped,
    }
}

impl Activation {
    fn end(self, outcome: Result<Snapshot, NotActivated>) {
        let version = self.spec.version;
        match &outcome {
            Ok(_) => info!(version, "version activated"),
            Err(error) => warn!(version, %error, "version not activated"),
        }
        // Who asked may have stopped waiting; what was done holds.
        let _ = self.answer.send(outcome);
    }
}

impl<I> Swap<I> {
    pub(super) fn is_due(&self) -> bool {
        self.prepared.is_some()
    }

    /// Nothing more is opened for it.
    pub(super) fn cancel(&self) {
        self.halt.stop.cancel();
    }
}

impl<O: Opener> Task<O> {
    /// Whether a version is prepared and comes next.
    pub(super) fn swaps(&self) -> bool {
        self.swap.as_ref().is_some_and(Swap::is_due)
    }

    /// Begins an activation.
    pub(super) fn prepare(&mut self, activation: Activation) {
        if self.plan.is_ending() {
            return activation.end(Err(NotActivated::Ending));
        }
        if self.swap.is_some() {
            return activation.end(Err(NotActivated::Busy));
        }
        let (opener, spec, halt) = (
            self.opener.clone(),
            activation.spec.clone(),
            Halt::default(),
        );
        let opens = self.takes_another && target(&self.lifecycle, &spec) == Target::Running;
        let run = self.aside(&halt);
        let preparing = async move {
            match opens {
                true => open(opener, spec, run).await.map(Prepared::Opened),
                false => {
                    let checked = opener.check(spec).await;
                    checked.map_err(|end| undone(Phase::Check, end))?;
                    Ok(Prepared::Checked)
                }
            }
        };
        self.inbox
            .prepares(tokio::spawn(preparing.in_current_span()));
        self.swap = Some(Swap {
            activation: Some(activation),
            halt,
            prepared: None,
        });
    }

    pub(super) fn prepared(&mut self, ended: Result<Preparation<O::Instance>, JoinError>) {
        let prepared = ended.unwrap_or_else(|error| Err(not_prepared(error)));
        match (prepared, &mut self.swap) {
            (Ok(prepared), Some(swap)) => swap.prepared = Some(prepared),
            (Ok(_), None) => {}
            (Err(error), _) => self.conclude(Err(error)),
        }
        self.follow();
    }

    /// Swaps. What ran is drained already and, where it is open, in `old`. Returns what is open afterwards.
    pub(super) async fn swap(&mut self, mut old: Option<O::Instance>) -> Option<O::Instance> {
        let (spec, prepared) = match &mut self.swap {
            Some(Swap {
                activation: Some(activation),
                prepared,
                ..
            }) => (activation.spec.clone(), prepared.take()),
            _ => return old,
        };
        let prepared = match prepared {
            Some(Prepared::Opened(opened)) => Some(opened),
            _ => None,
        };
        let target = target(&self.lifecycle, &spec);
        let is_ending = self.plan.is_ending();
        let new = match prepared {
            _ if is_ending || target != Target::Running => {
                self.dismiss(prepared).await;
                None
            }
            Some(opened) => Some(opened),
            None => {
                if let Some(old) = old.take() {
                    self.close(old).await;
                }
                match self.open_other(spec.clone()).await {
                    Ok(opened) => Some(opened),
                    Err(error) => {
                        self.conclude(Err(error));
                        return None;
                    }
                }
            }
        };
        let recorded = match is_ending {
            true => Err(NotActivated::Ending),
            false => self.record().await,
        };
        if let Err(error) = recorded {
            self.dismiss(new).await;
            self.conclude(Err(error));
            return old;
        }
        self.adopt(spec);
        let Some(new) = new else {
            // It is opened with the new version when it goes on.
            self.plan.discard();
            self.conclude(Ok(self.reporter.snapshot()));
            return old;
        };
        self.reporter.opened(new.instance.streams());
        self.reporter.plugin_version(new.plugin_version);
        self.conclude(Ok(self.reporter.snapshot()));
        if let Some(old) = old {
            self.close(old).await;
        }
        Some(new.instance)
    }

    /// The task ends: an activation that is not done is not done.
    pub(super) async fn give_up(&mut self) {
        let Some(swap) = &self.swap else { return };
        swap.cancel();
        if let Some(Ok(Ok(Prepared::Opened(opened)))) = self.inbox.preparation().await {
            self.dismiss(Some(opened)).await;
        }
        self.conclude(Err(NotActivated::Ending));
    }

    async fn open_other(
        &mut self,
        spec: Arc<spec::Connector>,
    ) -> Result<Opened<O::Instance>, NotActivated> {
        let halt = self.swap.as_ref().map(|swap| swap.halt.clone());
        let run = self.aside(&halt.unwrap_or_default());
        let opened = self.attend(open(self.opener.clone(), spec, run)).await;
        opened.unwrap_or_else(|failure| Err(undone(Phase::Open, End::Failed(failure))))
    }

    async fn record(&mut self) -> Result<(), NotActivated> {
        let done: Record = Box::pin(async { Ok(()) });
        let activation = self.swap.as_mut().and_then(|swap| swap.activation.as_mut());
        let record = activation.map(|activation| std::mem::replace(&mut activation.record, done));
        let Some(record) = record else {
            return Ok(());
        };
        let within = self.time_to_record();
        let record = tokio::spawn(record.in_current_span());
        let recorded = self.attend(async move { timeout(within, record).await });
        let recorded = match recorded.await {
            Ok(Ok(Ok(recorded))) => recorded,
            Ok(Ok(Err(error))) => Err(panicked(error).to_string()),
            Ok(Err(_)) => Err(format!(
                "that it was chosen could not be kept within {within:?}"
            )),
            Err(failure) => Err(failure.to_string()),
        };
        recorded.map_err(|reason| NotActivated::Undone {
            phase: Phase::Record,
            reason,
        })
    }

    fn time_to_record(&self) -> Duration {
        let activation = self.swap.as_ref().and_then(|swap| swap.activation.as_ref());
        let left = activation.map_or(RECORD_LEAST, |activation| {
            let whole = self.spec.borrow().deadlines.close + activation.spec.deadlines.open;
            whole.saturating_sub(activation.asked.elapsed())
        });
        // In whole milliseconds, for people.
        Duration::from_millis(left.clamp(RECORD_LEAST, RECORD_MOST).as_millis() as u64)
    }

    /// From now on the connector is what `spec` says.
    fn adopt(&mut self, spec: Arc<spec::Connector>) {
        // Not what it was to be when this began: its operator may have said something since.
        let target = target(&self.lifecycle, &spec);
        self.unusable = None;
        self.restarts = Restarts::new(&spec.restart);
        self.spec.send_replace(spec);
        self.plan.adopt(target);
        self.reporter.streams(None);
        self.reporter.target(target);
    }

    /// Closes an instance that was opened in vain.
    async fn dismiss(&mut self, opened: Option<Opened<O::Instance>>) {
        let Some(opened) = opened else { return };
        let closed = self.attend(async move { opened.instance.close().await });
        if let Err(failure) = closed.await.flatten() {
            warn!(error = %failure, "the plugin of the version that is not activated did not close well");
        }
    }

    fn conclude(&mut self, outcome: Result<Snapshot, NotActivated>) {
        let activation = self.swap.take().and_then(|swap| swap.activation);
        if let Some(activation) = activation {
            activation.end(outcome);
        }
    }

    /// What an instance is opened with that is not the connector's yet.
    fn aside(&self, halt: &Halt) -> Run {
        Run {
            halt: halt.clone(),
            monitor: self.signs.monitor().clone(),
            progress: Arc::new(watch::channel(Progress::default()).0),
        }
    }

    /// Whether a second instance may be open beside this one.
    pub(super) fn may_have_company(&self, instance: &O::Instance) -> bool {
        self.spec.borrow().direction == Direction::Sink && !instance.is_exclusive()
    }
}

async fn open<O: Opener>(
    opener: O,
    spec: Arc<spec::Connector>,
    run: Run,
) -> Result<Opened<O::Instance>, NotActivated> {
    let opened = opener.open(spec, run.clone()).await;
    let instance = opened.map_err(|end| undone(Phase::Open, end))?;
    let plugin_version = run.progress.borrow().plugin_version.clone();
    Ok(Opened {
        instance,
        plugin_version,
    })
}

fn undone(phase: Phase, end: End) -> NotActivated {
    let (End::Failed(failure) | End::Final(failure)) = end;
    NotActivated::Undone {
        phase,
        reason: failure.to_string(),
    }
}

fn not_prepared(error: JoinError) -> NotActivated {
    undone(Phase::Open, End::Failed(panicked(error)))
}
