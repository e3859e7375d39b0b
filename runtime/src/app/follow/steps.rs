//! When something is due about connectors that are not what they are to be: [`Steps`]. It decides and does nothing itself.

use std::{collections::BTreeMap, time::Duration};

use tokio::{task, time::Instant};

use super::apply::Applied;
use crate::{
    config::spec::Restart,
    pipeline::Backoff,
    provider::{Id, Wanted},
};

/// What never looks the same twice is taken as it is after so many looks.
const MOST_LOOKS: u32 = 10;
/// An attempt may hold up what runs: a pause lasts at least so many times as long.
const PAUSE_PER_ATTEMPT: u32 = 10;

/// By connector, as long as it is not what it is to be.
#[derive(Default)]
pub(super) struct Steps(BTreeMap<Id, Step>);

struct Step {
    wanted: Wanted,
    /// How many looks in a row each wanted something else.
    looks: u32,
    stage: Stage,
    tries: Tries,
}

enum Stage {
    /// It may be in the middle of being written.
    Seen,
    Applying(task::Id),
    /// It cannot be applied. It is tried again then; `None`: when something else is wanted.
    Refused(Option<Instant>),
}

/// What is to be applied now.
pub(super) struct Attempt {
    pub(super) wanted: Wanted,
    pub(super) tries: Tries,
}

/// The attempts at applying one thing.
pub(super) struct Tries {
    /// `None`: there is one.
    backoff: Option<Backoff>,
    /// What was said last about why it could not be applied.
    told: String,
}

impl Steps {
    /// Whether everything that was seen looks the same again, so that the next look has time.
    pub(super) fn are_settled(&self) -> bool {
        let mut steps = self.0.values();
        !steps.any(|step| matches!(step.stage, Stage::Seen))
    }

    pub(super) fn retain(&mut self, is_there: impl Fn(&Id) -> bool) {
        self.0.retain(|id, _| is_there(id));
    }

    /// The connector is what it is to be, or is to stay as it is.
    pub(super) fn forget(&mut self, id: &Id) {
        self.0.remove(id);
    }

    /// A look has found a connector that is not what is `wanted`. Returns what is to be applied now.
    pub(super) fn next(&mut self, id: &Id, wanted: Wanted, now: Instant) -> Option<Attempt> {
        let known = self.0.get_mut(id);
        let is_known = known
            .as_ref()
            .is_some_and(|step| step.wanted.is_same_as(&wanted));
        match known {
            Some(Step {
                stage: Stage::Applying(_),
                ..
            }) => None,
            Some(step) if is_known => step.is_due(now).then(|| step.attempt()),
            known => {
                let step = Step::seen(wanted, known);
                let is_restless = step.looks >= MOST_LOOKS;
                self.0.insert(id.clone(), step);
                let step = self.0.get_mut(id).filter(|_| is_restless);
                step.map(Step::attempt)
            }
        }
    }

    /// What was returned is being applied.
    pub(super) fn begun(&mut self, id: &Id, task: task::Id) {
        if let Some(step) = self.0.get_mut(id) {
            step.stage = Stage::Applying(task);
        }
    }

    pub(super) fn ended(&mut self, task: task::Id, applied: Applied) {
        let mut steps = self.0.iter_mut();
        let found = steps
            .find(|(_, step)| matches!(step.stage, Stage::Applying(of) if of == task))
            .map(|(id, step)| (id.clone(), step));
        let Some((id, step)) = found else {
            return;
        };
        match applied {
            Applied::Done => {
                self.0.remove(&id);
            }
            Applied::Later { tries, at } => {
                step.tries = tries;
                step.stage = Stage::Refused(Some(at));
            }
            Applied::Never => step.stage = Stage::Refused(None),
        }
    }
}

impl Step {
    fn seen(wanted: Wanted, before: Option<&mut Self>) -> Self {
        let looks = match before {
            Some(Self {
                stage: Stage::Seen,
                looks,
                ..
            }) => *looks,
            _ => 0,
        };
        Self {
            tries: Tries::of(&wanted),
            looks: looks + 1,
            stage: Stage::Seen,
            wanted,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Seen => true,
            Stage::Applying(_) | Stage::Refused(None) => false,
            Stage::Refused(Some(at)) => at <= now,
        }
    }

    fn attempt(&mut self) -> Attempt {
        let none = Tries {
            backoff: None,
            told: String::new(),
        };
        Attempt {
            wanted: self.wanted.clone(),
            tries: std::mem::replace(&mut self.tries, none),
        }
    }
}

impl Tries {
    fn of(wanted: &Wanted) -> Self {
        let backoff = match wanted {
            Wanted::Usable(spec) => match spec.restart {
                Restart::OnFailure(backoff) => Some(Backoff::new(backoff)),
                Restart::Never => None,
            },
            _ => None,
        };
        Self {
            backoff,
            told: String::new(),
        }
    }

    pub(super) fn is_first(&self) -> bool {
        self.told.is_empty()
    }

    /// How long to wait after an attempt that took so long has failed; `None`: it was the last.
    pub(super) fn pause(&mut self, took: Duration) -> Option<Duration> {
        let pause = self.backoff.as_mut()?.next(None)?;
        Some(pause.max(took * PAUSE_PER_ATTEMPT))
    }

    /// Whether this reason is another than last time.
    pub(super) fn is_news(&mut self, reason: &str) -> bool {
        let is_news = self.told != reason;
        reason.clone_into(&mut self.told);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::follow::tests::connector, config::spec::Direction};

    const SECOND: Duration = Duration::from_secs(1);

    struct Site {
        dir: tempfile::TempDir,
        steps: Steps,
        id: Id,
        now: Instant,
    }

    impl Site {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().unwrap(),
                steps: Steps::default(),
                id: Id::new(Direction::Sink, "k").unwrap(),
                now: Instant::now(),
            }
        }

        fn wanted(&self, version: u32, keys: &str) -> Wanted {
            Wanted::Usable(Box::new(connector(self.dir.path(), version, keys)))
        }

        fn next(&mut self, wanted: &Wanted) -> Option<Attempt> {
            self.steps.next(&self.id, wanted.clone(), self.now)
        }

        /// Fails at an attempt that took so long. Returns the pause until the next.
        fn fails(&mut self, attempt: Attempt, took: Duration) -> Option<Duration> {
            let task = tokio::spawn(async {}).id();
            self.steps.begun(&self.id, task);
            assert!(self.steps.are_settled());
            let mut tries = attempt.tries;
            let pause = tries.pause(took);
            let applied = match pause {
                Some(pause) => Applied::Later {
                    tries,
                    at: self.now + pause,
                },
                None => Applied::Never,
            };
            self.steps.ended(task, applied);
            pause
        }
    }

    #[tokio::test]
    async fn what_looks_the_same_twice_is_due_and_what_never_does_is_after_so_many_looks() {
        let mut site = Site::new();
        let wanted = site.wanted(1, "");
        assert!(site.next(&wanted).is_none() && !site.steps.are_settled());
        assert!(site.next(&wanted).is_some());

        let mut site = Site::new();
        let due = (1..).find(|version| {
            let wanted = site.wanted(*version, "");
            site.next(&wanted).is_some()
        });
        assert_eq!(due, Some(MOST_LOOKS));
    }

    #[tokio::test]
    async fn nothing_else_is_begun_while_something_is_applied() {
        let mut site = Site::new();
        let (wanted, other) = (site.wanted(1, ""), site.wanted(2, ""));
        site.next(&wanted);
        assert!(site.next(&wanted).is_some());
        let task = tokio::spawn(async {}).id();
        site.steps.begun(&site.id, task);
        for wanted in [&wanted, &other, &other, &Wanted::Nothing] {
            assert!(site.next(wanted).is_none());
        }
        site.steps.ended(task, Applied::Done);
        assert!(site.next(&other).is_none());
        assert!(site.next(&other).is_some());
    }

    #[tokio::test]
    async fn what_has_failed_is_tried_again_with_growing_pauses_as_its_restarts_are() {
        let mut site = Site::new();
        let keys = "restart.initial_backoff = \"1s\"\nrestart.max_backoff = \"4s\"\nrestart.max_restarts = 4";
        let wanted = site.wanted(1, keys);
        site.next(&wanted);
        let mut least = SECOND;
        for took in [Duration::ZERO, Duration::ZERO, SECOND, Duration::ZERO] {
            let attempt = site.next(&wanted).unwrap();
            let pause = site.fails(attempt, took).unwrap();
            assert!(
                pause >= (least / 2).max(took * PAUSE_PER_ATTEMPT),
                "{pause:?}"
            );
            assert!(
                pause <= (SECOND * 4).max(took * PAUSE_PER_ATTEMPT),
                "{pause:?}"
            );
            assert!(site.next(&wanted).is_none());
            site.now += pause;
            least = (least * 2).min(SECOND * 4);
        }
        let attempt = site.next(&wanted).unwrap();
        assert_eq!(site.fails(attempt, SECOND), None, "these were all");
        site.now += SECOND * 3600;
        assert!(site.next(&wanted).is_none() && site.steps.are_settled());
        // Another one begins a new count.
        let other = site.wanted(2, keys);
        site.next(&other);
        let attempt = site.next(&other).unwrap();
        assert!(site.fails(attempt, SECOND).is_some());
    }

    #[tokio::test]
    async fn what_is_not_to_be_restarted_is_tried_once() {
        let mut site = Site::new();
        let wanted = site.wanted(1, "restart.policy = \"never\"");
        site.next(&wanted);
        let attempt = site.next(&wanted).unwrap();
        assert_eq!(site.fails(attempt, SECOND), None);
        site.now += SECOND * 3600;
        assert!(site.next(&wanted).is_none());
    }

    #[test]
    fn a_reason_is_news_once() {
        let mut tries = Tries::of(&Wanted::Nothing);
        assert!(tries.is_first());
        for (reason, is_news) in [("a", true), ("a", false), ("b", true), ("a", true)] {
            assert_eq!(tries.is_news(reason), is_news);
        }
        assert!(!tries.is_first());
    }
}
