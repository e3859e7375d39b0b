//! One connector's task: it carries out its plan step by step, takes commands meanwhile, and alone changes the connector's status.
//!
//! The work itself (open, run, close, save) is spawned beside it, so that commands are answered at once whatever a plugin does.

use std::{future::Future, sync::Arc, time::SystemTime};

use tokio::{
    sync::watch,
    task::JoinError,
    time::{Instant, sleep_until},
};
use tracing::{Instrument as _, error, warn};

use super::{
    handle::{self, Command, Refused},
    inbox::{Inbox, Order},
    offsets::Asked,
    plan::{Plan, Request, Step, Target},
    restarts::Restarts,
    signs::Signs,
    snapshot::Reporter,
    status::Status,
    swap::Swap,
    work::{End, Halt, Instance, Opener, Run, work},
};
use crate::{
    config::spec,
    pipeline::{Failure, FailureKind},
    state::{Kept, Lifecycle},
};

/// The task's own data.
pub(super) struct Task<O: Opener> {
    pub(super) opener: O,
    pub(super) spec: watch::Sender<Arc<spec::Connector>>,
    /// Why the specification cannot be used.
    pub(super) unusable: Option<String>,
    pub(super) plan: Plan,
    pub(super) reporter: Reporter,
    pub(super) lifecycle: Lifecycle,
    pub(super) inbox: Inbox<O::Instance>,
    pub(super) signs: Signs,
    /// Ends what is under way, while that can be ended.
    pub(super) halt: Option<Halt>,
    pub(super) restarts: Restarts,
    /// Another version that is to take this one's place.
    pub(super) swap: Option<Swap<O::Instance>>,
    /// What was asked for while it is at rest.
    pub(super) asked: Option<Asked>,
    /// Whether what runs lets another instance be opened beside it.
    pub(super) takes_another: bool,
}

impl<O: Opener> Task<O> {
    /// Until the connector is removed or the daemon stops.
    pub(super) async fn run(mut self) {
        let mut open = None;
        loop {
            if let Some(asked) = self.asked.take() {
                open = self.reset(asked, open).await;
                continue;
            }
            if self.swaps() {
                open = self.swap(open).await;
                continue;
            }
            let Some(step) = self.plan.step(open.is_some()) else {
                break;
            };
            match (step, open.take()) {
                (Step::Open, _) => open = self.open().await,
                (Step::Run, Some(instance)) => open = self.drive(instance).await,
                (Step::Close, Some(instance)) => self.close(instance).await,
                (Step::Rest(status), instance) => {
                    open = instance;
                    self.rest(status).await;
                }
                (Step::Wait(until), _) => self.wait(until).await,
                (Step::Run | Step::Close, None) => {}
            }
        }
        self.give_up().await;
        if self.reporter.now() != Status::Error {
            self.stopped();
        }
    }

    async fn open(&mut self) -> Option<O::Instance> {
        self.plan.opens();
        self.starting();
        self.reporter.health(None);
        if let Some(reason) = &self.unusable {
            let failure = Failure::fatal(reason.clone());
            self.failed(End::Final(failure));
            return None;
        }
        let (opener, spec, run) = (self.opener.clone(), self.spec(), self.begin());
        let opened = self.attend(async move { opener.open(spec, run).await });
        let opened = opened.await.map_err(End::Failed).flatten();
        let was_halted = self.has_halted();
        match opened {
            Ok(instance) => {
                self.reporter.opened(instance.streams());
                return Some(instance);
            }
            Err(end) if was_halted => self.failed_while_halted(&end),
            Err(end) => self.failed(end),
        }
        None
    }

    async fn drive(&mut self, instance: O::Instance) -> Option<O::Instance> {
        self.starting();
        let began = Instant::now();
        let (spec, run) = (self.spec(), self.begin());
        self.takes_another = self.may_have_company(&instance);
        let (instance, ended) = match self.attend(work(instance, spec, run)).await {
            Ok((instance, ended)) => (Some(instance), ended),
            Err(panicked) => (None, Err(End::Failed(panicked))),
        };
        self.takes_another = false;
        let was_halted = self.has_halted();
        self.restarts.ran(began.elapsed());
        match ended {
            Ok(()) if was_halted => {}
            Ok(()) => self.plan.ended(),
            Err(end) if was_halted => {
                self.failed_while_halted(&end);
                self.plan.discard();
            }
            Err(end) => self.failed(end),
        }
        instance
    }

    pub(super) async fn close(&mut self, instance: O::Instance) {
        let has_failed = self.reporter.now() == Status::Error;
        if !has_failed {
            self.stopping();
        }
        let closed = self.attend(async move { instance.close().await });
        let closed = closed.await.flatten();
        self.plan.closed();
        let Err(failure) = closed else { return };
        warn!(error = %failure, "the plugin did not close well");
        if !has_failed {
            // Where it has failed already, that is what people have to know.
            self.signs.monitor().counters.error();
            self.reporter.note(format!("close: {failure}"));
        }
    }

    /// Is paused, stopped or in error until there is something to do.
    async fn rest(&mut self, status: Status) {
        let before = self.plan;
        let lifecycle = self.lifecycle.clone();
        // Who sees it paused or stopped may rely on that it stays so, also after a crash.
        let saved = self.attend(async move { lifecycle.save().await }).await;
        if let Err(failure) = saved.flatten() {
            error!(error = %failure, "that the connector is paused or stopped will not survive a restart of the daemon");
        }
        if self.plan != before || self.swaps() || self.asked.is_some() {
            return;
        }
        match status {
            Status::Stopped => self.stopped(),
            Status::Paused => self.paused(),
            status => self.reporter.status(status),
        }
        // A sink that reads nothing hears of nothing. What is stopped is nobody's concern.
        let is_watched = status != Status::Stopped && self.unusable.is_none();
        let (opener, spec, monitor) = (
            self.opener.clone(),
            self.effective(),
            self.signs.monitor().clone(),
        );
        tokio::select! {
            biased;
            order = self.inbox.next() => self.obey(order),
            () = opener.watch(spec, &monitor), if is_watched => {}
        }
    }

    /// Waits for the next start.
    async fn wait(&mut self, until: Instant) {
        tokio::select! {
            biased;
            order = self.inbox.next() => self.obey(order),
            () = sleep_until(until) => self.plan.retry(),
        }
    }

    /// Does something beside this task, and takes commands until it has ended.
    pub(super) async fn attend<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut work = tokio::spawn(work.in_current_span());
        loop {
            tokio::select! {
                biased;
                ended = &mut work => {
                    self.show();
                    return ended.map_err(panicked);
                }
                order = self.inbox.next() => self.obey(order),
                () = self.signs.changed() => self.show(),
            }
        }
    }

    fn obey(&mut self, order: Order<O::Instance>) {
        match order {
            Order::End => {
                self.plan.end();
                if let Some(swap) = &self.swap {
                    swap.cancel();
                }
                self.follow();
            }
            Order::Command(Command::Request(request, answer)) => {
                let accepted = self.accept(request);
                self.follow();
                // Who asked may have stopped waiting; the command holds.
                let _ = answer.send(accepted.map(|()| self.reporter.snapshot()));
            }
            Order::Command(Command::Activate(activation)) => self.prepare(activation),
            Order::Command(Command::Reset(asked)) => self.ask_reset(asked),
            Order::Command(Command::Note(reason)) => self.reporter.note(reason),
            Order::Command(Command::NotApplied(reason)) => self.reporter.not_applied(reason),
            Order::Prepared(prepared) => self.prepared(prepared),
            Order::Dismissed(closed) => self.dismissed(closed),
            Order::Lapse => self.lapse(),
        }
    }

    fn accept(&mut self, request: Request) -> Result<(), Refused> {
        if self.plan.is_ending() {
            return Err(Refused::Ending);
        }
        if !self.plan.obey(request, self.reporter.now()) {
            return Err(Refused::Stopped);
        }
        self.restarts.reset();
        let target = self.plan.target();
        self.reporter.target(target);
        let kept = match target {
            Target::Running => None,
            Target::Paused => Some(Kept::Paused),
            Target::Stopped => Some(Kept::Stopped),
        };
        let spec = self.spec();
        self.lifecycle.set(spec.direction, &spec.key, kept);
        Ok(())
    }

    /// Ends what is under way when the plan has changed, or another version comes in its place.
    pub(super) fn follow(&mut self) {
        let Some(halt) = &self.halt else { return };
        let leaves_by = self.leaves_by();
        if self.plan.runs_on() && leaves_by.is_none() {
            return;
        }
        match self.plan.closes() || leaves_by.is_some() {
            true => self.reporter.status(Status::Stopping),
            false => halt.pausing.cancel(),
        }
        if let Some(by) = leaves_by {
            // Where it is to leave already, it is by then.
            let _ = halt.leaving.set(by);
        }
        halt.stop.cancel();
    }

    /// Makes the status of what the work has told. One that is to end keeps its status until it has.
    fn show(&mut self) {
        let (progress, retrying) = self.signs.read();
        self.reporter.plugin_version(progress.plugin_version);
        self.reporter.health(progress.unhealthy);
        let goes_on = self
            .halt
            .as_ref()
            .is_some_and(|halt| !halt.stop.is_cancelled());
        match retrying {
            _ if !goes_on => {}
            Some(retrying) => self.reporter.retrying(retrying),
            None if progress.is_connected => self.reporter.status(Status::Running),
            None => {}
        }
    }

    fn starting(&self) {
        if matches!(self.reporter.now(), Status::Running | Status::Retrying) {
            // It was resumed before anybody saw it paused.
            self.paused();
        }
        self.reporter.status(Status::Starting);
    }

    fn paused(&self) {
        if self.reporter.now() == Status::Stopped {
            // It was paused again before it had begun to start.
            self.reporter.status(Status::Starting);
        }
        self.reporter.status(Status::Paused);
    }

    fn stopping(&self) {
        if self.reporter.now() == Status::Stopped {
            // Another version was opened, and it was stopped again before that had begun to start.
            self.reporter.status(Status::Starting);
        }
        self.reporter.status(Status::Stopping);
    }

    fn stopped(&self) {
        if matches!(
            self.reporter.now(),
            Status::Starting | Status::Running | Status::Retrying
        ) {
            self.reporter.status(Status::Stopping);
        }
        self.reporter.status(Status::Stopped);
        self.signs.monitor().forget_lag();
    }

    /// The connector has failed; its restart policy says when it is started again.
    fn failed(&mut self, end: End) {
        let (failure, delay) = match end {
            End::Final(failure) => (failure, None),
            End::Failed(failure) => {
                self.signs.monitor().counters.error();
                let delay = self.restarts.next(failure.retry_after);
                (failure, delay)
            }
        };
        match delay {
            Some(delay) => {
                self.signs.monitor().counters.restarted();
                warn!(error = %failure, restart_in = ?delay, "connector failed");
            }
            None => error!(error = %failure, "connector failed and is not started again"),
        }
        let next_attempt = delay.map(|delay| SystemTime::now() + delay);
        self.reporter.error(failure.to_string(), next_attempt);
        self.plan.failed(delay.map(|delay| Instant::now() + delay));
    }

    /// It was told to end, and failed at that.
    fn failed_while_halted(&self, end: &End) {
        let (End::Failed(failure) | End::Final(failure)) = end;
        if failure.kind == FailureKind::Cancelled {
            return;
        }
        self.signs.monitor().counters.error();
        warn!(error = %failure, "connector failed while it was being ended");
        self.reporter.note(failure.to_string());
    }

    pub(super) fn spec(&self) -> Arc<spec::Connector> {
        self.spec.borrow().clone()
    }

    /// With the streams in effect.
    pub(super) fn effective(&self) -> Arc<spec::Connector> {
        handle::effective(self.spec(), self.reporter.snapshot().streams)
    }

    /// What the next open or run works with.
    fn begin(&mut self) -> Run {
        let halt = Halt::default();
        self.halt = Some(halt.clone());
        self.signs.begin(halt)
    }

    /// Whether what was begun was told to end.
    fn has_halted(&mut self) -> bool {
        let halt = self.halt.take();
        halt.is_some_and(|halt| halt.stop.is_cancelled())
    }
}

pub(super) fn panicked(error: JoinError) -> Failure {
    let text = match error.try_into_panic() {
        Ok(panic) => panic_text(&*panic),
        Err(error) => error.to_string(),
    };
    Failure::fatal(format!(
        "the connector's task panicked, which is a bug of the runtime: {text}"
    ))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
