//! Puts another version of a connector in the place of the one that it has, or leaves everything as it was: the part of the
//! connector's task that follows [`Handle::activate`](super::Handle::activate).
//!
//! First, beside whatever the connector does, the new version is prepared: a sink's instance is opened, of anything else the library and
//! the configuration are checked. Then what runs is drained, a source is closed and opened anew, the choice is recorded, and only then
//! is the old version given up. A failure before that, or a lapse of its time, leaves or brings back the old one.

use std::sync::Arc;

use tokio::{
    sync::watch,
    task::JoinError,
    time::{Instant, timeout},
};
use tracing::Instrument as _;

use super::{
    activation::{Activation, NotActivated, Phase, Record},
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

/// An activation that is under way.
pub(super) struct Swap<I> {
    /// `None` when it has been answered, and something of it has yet to end.
    activation: Option<Activation>,
    /// Ends what is being opened for it.
    halt: Halt,
    stage: Stage<I>,
    /// What is being done.
    phase: Phase,
    /// Why it is being undone.
    failed: Option<NotActivated>,
}

enum Stage<I> {
    /// For the end of an instance that was opened in vain: there are never more than one of these.
    Waiting,
    Preparing,
    /// The task swaps next.
    Prepared(Prepared<I>),
    Swapping,
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

/// What a connector is to be with this specification, as far as its operator has not said otherwise.
pub(super) fn target(lifecycle: &Lifecycle, spec: &spec::Connector) -> Target {
    match lifecycle.get(spec.direction, &spec.key) {
        Some(Kept::Paused) => Target::Paused,
        Some(Kept::Stopped) => Target::Stopped,
        None if spec.enabled => Target::Running,
        None => Target::Stopped,
    }
}

impl<I> Swap<I> {
    /// Nothing more is opened for it.
    pub(super) fn cancel(&self) {
        self.halt.stop.cancel();
    }
}

impl<O: Opener> Task<O> {
    /// Whether a version is prepared and comes next.
    pub(super) fn swaps(&self) -> bool {
        let stage = self.swap.as_ref().map(|swap| &swap.stage);
        matches!(stage, Some(Stage::Prepared(_)))
    }

    /// When what runs has to have ended, if a version is prepared and comes next.
    pub(super) fn leaves_by(&self) -> Option<Instant> {
        let Some(Swap {
            activation: Some(activation),
            stage: Stage::Prepared(_),
            ..
        }) = &self.swap
        else {
            return None;
        };
        let close = self.spec.borrow().deadlines.close;
        Some(activation.budget.drained(close))
    }

    /// Begins an activation.
    pub(super) fn prepare(&mut self, activation: Activation) {
        if self.plan.is_ending() {
            return activation.end(Err(NotActivated::Ending));
        }
        if self.swap.is_some() {
            return activation.end(Err(NotActivated::Busy));
        }
        self.inbox.lapses(Some(activation.budget.ready()));
        self.swap = Some(Swap {
            activation: Some(activation),
            halt: Halt::default(),
            stage: Stage::Waiting,
            phase: Phase::Check,
            failed: None,
        });
        if !self.inbox.is_dismissing() {
            self.begin_preparing();
        }
    }

    /// Whether an activation waits for the end of an instance that was opened in vain.
    pub(super) fn waits(&self) -> bool {
        let stage = self.swap.as_ref().map(|swap| &swap.stage);
        matches!(stage, Some(Stage::Waiting))
    }

    pub(super) fn begin_preparing(&mut self) {
        let Some((spec, halt)) = self.enter(Phase::Check) else {
            return;
        };
        let opens = self.takes_another && self.target_with(&spec) == Target::Running;
        let (opener, run) = (self.opener.clone(), self.aside(&halt));
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
        if let Some(swap) = &mut self.swap {
            swap.stage = Stage::Preparing;
            swap.phase = match opens {
                true => Phase::Open,
                false => Phase::Check,
            };
        }
    }

    pub(super) fn prepared(&mut self, ended: Result<Preparation<O::Instance>, JoinError>) {
        let prepared = ended.unwrap_or_else(|error| Err(not_prepared(error)));
        match (prepared, &mut self.swap) {
            (Ok(prepared), Some(swap)) => {
                swap.stage = Stage::Prepared(prepared);
                swap.phase = Phase::Close;
            }
            (Ok(_), None) => {}
            (Err(error), _) => self.conclude(Err(error)),
        }
        self.follow();
    }

    /// An activation has used up its time. What is under way for it is ended, and whoever asked does not wait for that.
    pub(super) fn lapse(&mut self) {
        let Some(Swap {
            activation: Some(activation),
            halt,
            stage,
            phase,
            failed,
        }) = &mut self.swap
        else {
            return;
        };
        halt.stop.cancel();
        let late = phase.late(&activation.budget);
        let late = failed.take().unwrap_or(late);
        match std::mem::replace(stage, Stage::Swapping) {
            Stage::Preparing => {
                let preparing = self.inbox.unprepare();
                self.dismiss(async { preparing?.await.ok()?.ok()?.instance() });
            }
            Stage::Prepared(prepared) => self.dismiss(async { prepared.instance() }),
            Stage::Waiting => {}
            // `swap` sees to the rest.
            Stage::Swapping => return self.answer(Err(late)),
        }
        self.conclude(Err(late));
    }

    /// Swaps. What ran is drained already and, where it is open, in `old`. Returns what is open afterwards.
    pub(super) async fn swap(&mut self, mut old: Option<O::Instance>) -> Option<O::Instance> {
        let Some((spec, prepared)) = self.begin_swapping() else {
            return old;
        };
        let is_ending = self.plan.is_ending();
        let runs = !is_ending && self.target_with(&spec) == Target::Running;
        let is_beside = matches!(prepared, Prepared::Opened(_));
        let new = match prepared {
            Prepared::Opened(opened) if runs => Some(opened),
            Prepared::Opened(opened) => {
                self.dismiss(async { Some(opened.instance) });
                None
            }
            Prepared::Checked if runs => Some(self.replace(old.take()).await?),
            Prepared::Checked => None,
        };
        let recorded = match is_ending {
            true => Err(NotActivated::Ending),
            false => self.record().await,
        };
        if let Err(error) = recorded {
            match new {
                Some(opened) if is_beside => self.dismiss(async { Some(opened.instance) }),
                // The old one is opened again when this is closed.
                Some(opened) => self.take_back(opened, &error).await,
                None => {}
            }
            self.conclude(Err(error));
            return old;
        }
        self.adopt(spec);
        let Some(new) = new else {
            // It is opened with the new version when it goes on.
            self.plan.discard();
            self.conclude(Ok(()));
            return old;
        };
        self.reporter.opened(new.instance.streams());
        self.reporter.plugin_version(new.plugin_version);
        self.conclude(Ok(()));
        if let Some(old) = old {
            self.close(old).await;
        }
        Some(new.instance)
    }

    fn begin_swapping(&mut self) -> Option<(Arc<spec::Connector>, Prepared<O::Instance>)> {
        let swap = self.swap.as_mut()?;
        let spec = swap.activation.as_ref()?.spec.clone();
        match std::mem::replace(&mut swap.stage, Stage::Swapping) {
            Stage::Prepared(prepared) => Some((spec, prepared)),
            other => {
                swap.stage = other;
                None
            }
        }
    }

    /// Closes what is open and opens the other version. If it does not come to that, the activation is over, and nothing is open.
    async fn replace(&mut self, old: Option<O::Instance>) -> Option<Opened<O::Instance>> {
        if let Some(old) = old {
            self.close(old).await;
        }
        let opened = match self.enter(Phase::Open) {
            Some((spec, halt)) => {
                let (opener, run) = (self.opener.clone(), self.aside(&halt));
                let opened = self.attend(open(opener, spec, run)).await;
                opened.unwrap_or_else(|failure| Err(undone(Phase::Open, End::Failed(failure))))
            }
            // It has lapsed, and was answered.
            None => Err(NotActivated::Ending),
        };
        let is_over = self.enter(Phase::Open).is_none();
        match opened {
            Ok(opened) if !is_over => return Some(opened),
            Ok(opened) => self.take_back(opened, &NotActivated::Ending).await,
            Err(error) => self.answer(Err(error)),
        }
        self.swap = None;
        None
    }

    /// The task ends: an activation that is not done is not done.
    pub(super) async fn give_up(&mut self) {
        if let Some(swap) = &self.swap {
            swap.cancel();
        }
        self.conclude(Err(NotActivated::Ending));
        if let Some(Ok(Ok(Prepared::Opened(opened)))) = self.inbox.preparation().await {
            self.dismiss(async { Some(opened.instance) });
        }
        if let Some(closed) = self.inbox.dismissal().await {
            self.dismissed(closed);
        }
    }

    async fn record(&mut self) -> Result<(), NotActivated> {
        self.inbox.lapses(None);
        let done: Record = Box::pin(async { Ok(()) });
        let activation = self.swap.as_mut().and_then(|swap| swap.activation.as_mut());
        let Some(activation) = activation else {
            return Err(NotActivated::Ending);
        };
        let within = activation.budget.recording();
        let record = std::mem::replace(&mut activation.record, done);
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
            is_final: false,
        })
    }

    /// From now on the connector is what `spec` says.
    fn adopt(&mut self, spec: Arc<spec::Connector>) {
        // Not what it was to be when this began: its operator may have said something since.
        let target = self.target_with(&spec);
        self.unusable = None;
        self.reporter.unusable(None);
        self.reporter.not_applied(None);
        self.restarts = Restarts::new(&spec.restart);
        self.spec.send_replace(spec);
        self.plan.adopt(target);
        self.reporter.streams(None);
        self.reporter.target(target);
    }

    /// What the connector is to be with another specification. One that is as `enabled` as the one that it has changes nothing about
    /// that: its operator may have started it although it is disabled.
    fn target_with(&self, spec: &spec::Connector) -> Target {
        match spec.enabled == self.spec.borrow().enabled {
            true => self.plan.target(),
            false => target(&self.lifecycle, spec),
        }
    }

    /// Closes an instance that was opened in vain, before anything else is done. Whoever asked hears why as long as that is in time.
    async fn take_back(&mut self, opened: Opened<O::Instance>, why: &NotActivated) {
        if let Some(swap) = &mut self.swap {
            swap.failed = Some(why.clone());
            let activation = swap.activation.as_ref();
            self.inbox
                .lapses(activation.map(|activation| activation.budget.decided()));
        }
        let closed = self.attend(async move { opened.instance.close().await });
        let closed = closed.await.flatten();
        self.tell_of_dismissal(closed);
    }

    /// The next step of an activation; `None` when it is over.
    fn enter(&mut self, phase: Phase) -> Option<(Arc<spec::Connector>, Halt)> {
        let swap = self.swap.as_mut()?;
        swap.phase = phase;
        let activation = swap.activation.as_ref()?;
        Some((activation.spec.clone(), swap.halt.clone()))
    }

    /// Tells whoever asked what has come of it. What is left of it goes on.
    fn answer(&mut self, outcome: Result<(), NotActivated>) {
        self.inbox.lapses(None);
        let activation = self.swap.as_mut().and_then(|swap| swap.activation.take());
        if let Some(activation) = activation {
            let outcome: Result<Snapshot, _> = outcome.map(|()| self.reporter.snapshot());
            activation.end(outcome);
        }
    }

    fn conclude(&mut self, outcome: Result<(), NotActivated>) {
        self.answer(outcome);
        self.swap = None;
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

impl<I> Prepared<I> {
    fn instance(self) -> Option<I> {
        match self {
            Self::Checked => None,
            Self::Opened(opened) => Some(opened.instance),
        }
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
    let (failure, is_final) = match end {
        End::Failed(failure) => (failure, false),
        End::Final(failure) => (failure, true),
    };
    NotActivated::Undone {
        phase,
        reason: failure.to_string(),
        is_final,
    }
}

fn not_prepared(error: JoinError) -> NotActivated {
    undone(Phase::Open, End::Failed(panicked(error)))
}
