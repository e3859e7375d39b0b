//! What a connector's task is to do next: [`Plan`], changed by commands and by how runs end. It decides and does nothing itself.

use tokio::time::Instant;

use super::status::Status;

/// What a connector was told to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Running,
    Paused,
    Stopped,
}

/// What may be asked of a connector. Each sets a target, so repeating one changes nothing (but a restart restarts again).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Close the plugin, if it is open, and open it again.
    Restart,
    /// Let nothing move; the plugin stays open.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Close the plugin.
    Stop,
    /// Run, if it does not: after a stop, a pause or an error.
    Start,
}

/// What the task does next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Open,
    Run,
    Close,
    /// Be in this status until the next command.
    Rest(Status),
    /// Start again then, unless a command comes first.
    Wait(Instant),
}

/// What may be done about a connector that is to run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outlook {
    Go,
    Wait(Instant),
    /// It has failed for good, until somebody says otherwise.
    Failed,
    /// Its source has ended by itself.
    Ended,
}

/// The decisions of a connector's task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    target: Target,
    outlook: Outlook,
    /// An instance that is open must be closed before anything else.
    must_close: bool,
    /// The daemon stops, or the connector is removed.
    is_ending: bool,
}

impl Plan {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            outlook: Outlook::Go,
            must_close: false,
            is_ending: false,
        }
    }

    pub(super) fn target(&self) -> Target {
        self.target
    }

    /// Whether the connector is to run, and with the instance that it has.
    pub(super) fn runs_on(&self) -> bool {
        self.target == Target::Running && !self.closes()
    }

    /// Whether nothing is to be opened or run before the next command.
    pub(super) fn rests(&self) -> bool {
        !self.is_ending
            && !matches!(
                self.step(false),
                Some(Step::Open | Step::Run | Step::Wait(_))
            )
    }

    /// Whether an open instance is closed next.
    pub(super) fn closes(&self) -> bool {
        self.must_close || self.is_ending || self.target == Target::Stopped
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// `None`: the task has nothing left to do.
    pub(super) fn step(&self, is_open: bool) -> Option<Step> {
        let may_run = self.outlook == Outlook::Go;
        if is_open && (self.closes() || !may_run) {
            return Some(Step::Close);
        }
        if self.is_ending {
            return None;
        }
        let step = match (self.target, self.outlook) {
            (Target::Stopped, _) => Step::Rest(Status::Stopped),
            (Target::Paused, _) => Step::Rest(Status::Paused),
            (Target::Running, Outlook::Go) if is_open => Step::Run,
            (Target::Running, Outlook::Go) => Step::Open,
            (Target::Running, Outlook::Wait(until)) => Step::Wait(until),
            (Target::Running, Outlook::Failed) => Step::Rest(Status::Error),
            (Target::Running, Outlook::Ended) => Step::Rest(Status::Stopped),
        };
        Some(step)
    }

    /// Follows a request that came in this status. Returns whether it is accepted.
    pub(super) fn obey(&mut self, request: Request, status: Status) -> bool {
        // One that was started or paused a moment ago is not stopped any more, whatever its status.
        let is_stopped =
            status == Status::Stopped && self.target != Target::Paused && !self.may_run();
        if is_stopped && matches!(request, Request::Pause | Request::Resume) {
            return false;
        }
        match request {
            Request::Pause => self.target = Target::Paused,
            // A connector in error that was not paused has nothing to resume.
            Request::Resume if self.target == Target::Running => {}
            Request::Resume | Request::Start => self.go(),
            Request::Restart => {
                self.go();
                self.must_close = true;
            }
            Request::Stop => {
                self.target = Target::Stopped;
                // Also when it is started again before it has stopped: what was stopped is opened anew.
                self.must_close = true;
            }
        }
        true
    }

    fn may_run(&self) -> bool {
        self.target == Target::Running && self.outlook == Outlook::Go
    }

    fn go(&mut self) {
        self.target = Target::Running;
        self.outlook = Outlook::Go;
    }

    pub(super) fn end(&mut self) {
        self.is_ending = true;
    }

    /// An instance is about to be opened, so there is none to close.
    pub(super) fn opens(&mut self) {
        self.must_close = false;
    }

    pub(super) fn closed(&mut self) {
        self.must_close = false;
    }

    /// What is open now, or comes next, is of another version.
    pub(super) fn adopt(&mut self, target: Target) {
        self.target = target;
        self.outlook = Outlook::Go;
        self.must_close = false;
    }

    /// The instance cannot be used any more.
    pub(super) fn discard(&mut self) {
        self.must_close = true;
    }

    /// The wait is over.
    pub(super) fn retry(&mut self) {
        self.outlook = Outlook::Go;
    }

    /// A run has failed and is started again at `next`, if ever.
    pub(super) fn failed(&mut self, next: Option<Instant>) {
        self.outlook = next.map_or(Outlook::Failed, Outlook::Wait);
    }

    /// The source has ended by itself.
    pub(super) fn ended(&mut self) {
        self.outlook = Outlook::Ended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_started_and_paused_while_its_status_is_still_stopped_may_be_paused_again_and_resumed()
     {
        let mut plan = Plan::new(Target::Stopped);
        for (request, is_accepted) in [
            (Request::Pause, false),
            (Request::Start, true),
            (Request::Pause, true),
            (Request::Pause, true),
            (Request::Resume, true),
            (Request::Stop, true),
            (Request::Resume, false),
        ] {
            assert_eq!(
                plan.obey(request, Status::Stopped),
                is_accepted,
                "{request:?}"
            );
        }
    }
}
