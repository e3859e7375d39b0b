//! Random commands to a live task, whose plugin fails on request, and other versions in its place: whenever it comes to rest, its status,
//! its version, what is saved, what is open and what is connected are what a model says that they are.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use proptest::{prelude::*, test_runner::TestRunner};
use tokio::{
    runtime::{Builder, Handle},
    task::{JoinHandle, yield_now},
    time::{Instant, sleep, timeout},
};

use super::{
    acts::{Act, Candidate, trials},
    fake::{Deed, Home, Opens, PATIENCE, UNLOADABLE, UNOPENABLE, World},
    model::Model,
};
use crate::{
    config::spec,
    supervisor::{Manner, NotActivated, Refused, Request, Reset, Snapshot, Status, Target},
};

/// How often a task that is at rest is looked at before it is believed.
const LOOKS: u32 = 40;

struct Trial {
    home: Home,
    model: Model,
    is_exclusive: bool,
    /// Versions that there were so far.
    versions: u32,
    activation: Option<Activation>,
}

/// An activation that was asked for.
struct Activation {
    candidate: Candidate,
    spec: spec::Connector,
    /// Something else may have been asked meanwhile.
    is_alone: bool,
    answer: JoinHandle<Result<Snapshot, NotActivated>>,
}

impl Trial {
    fn new(is_exclusive: bool) -> Self {
        let keys = "restart.initial_backoff = \"1ms\"\nrestart.max_backoff = \"2ms\"";
        let world = Arc::<World>::default();
        world.change(|script| script.is_exclusive = is_exclusive);
        Self {
            home: Home::with(keys, world, None),
            is_exclusive,
            versions: 0,
            activation: None,
            model: Model {
                target: Target::Running,
                kept: None,
                version: 0,
                enabled: true,
                is_unopenable: false,
                held: None,
                opens: Opens::Well,
                is_open: false,
                has_closed: false,
            },
        }
    }

    async fn perform(mut self, act: Act) -> Self {
        match act {
            Act::Request(request) => self.request(request).await,
            Act::Reset => {
                let handle = self.home.handle.clone();
                tokio::spawn(async move { handle.reset(Reset::Forget, Manner::Real).await });
            }
            Act::Yield(times) => {
                for _ in 0..times {
                    yield_now().await;
                }
            }
            Act::Opens(opens) => {
                // An open that hangs is under way: what comes of it is known only when it is told to end.
                self.settle().await;
                self.home.world.change(|script| script.opens = opens);
                self.model.opens = opens;
            }
            Act::ClosesBadly(badly) => self.home.world.change(|script| script.closes_badly = badly),
            Act::Turns(turns) => self.home.world.change(|script| script.turns = turns),
            Act::Tell(deed) => self.tell(deed).await,
            Act::Activate { candidate, waits } => self.activate(candidate, waits).await,
            Act::RestartDaemon => self = self.restart_daemon().await,
            Act::Settle => self.settle().await,
        }
        self
    }

    async fn request(&mut self, request: Request) {
        let model = &mut self.model;
        match self.home.handle.request(request).await {
            Ok(snapshot) => {
                match request {
                    Request::Pause => model.target = Target::Paused,
                    Request::Stop => model.target = Target::Stopped,
                    Request::Resume if model.target == Target::Running => {}
                    // It is starting already.
                    Request::Start
                        if model.target == Target::Running
                            && model.held == Some(Status::Starting) => {}
                    Request::Resume | Request::Start | Request::Restart => {
                        model.target = Target::Running;
                        model.held = None;
                    }
                }
                model.has_closed |= matches!(request, Request::Stop | Request::Restart);
                model.kept = Some(model.target).filter(|target| *target != Target::Running);
                assert_eq!(snapshot.target, model.target, "{request:?}");
            }
            Err(Refused::Stopped) => {
                assert!(matches!(request, Request::Pause | Request::Resume));
                let snapshot = self.home.handle.snapshot();
                // Another version may have started it since.
                let is_stopped = snapshot.status == Status::Stopped;
                assert!(is_stopped || self.activation.is_some(), "{snapshot:?}");
            }
            Err(refused) => panic!("{request:?}: {refused}"),
        }
        self.check_saved();
    }

    /// Asks for another version, after the one that was asked for before has come or not.
    async fn activate(&mut self, candidate: Candidate, waits: bool) {
        // What comes of a plugin that does not open depends on what else is asked meanwhile, and so does what a disabled one becomes.
        let is_alone = waits
            || candidate == Candidate::Disabled
            || matches!(self.model.opens, Opens::Never | Opens::Hang);
        match is_alone {
            true => self.settle().await,
            false => self.conclude().await,
        }
        self.versions += 1;
        let spec = spec::Connector {
            version: self.versions,
            enabled: candidate != Candidate::Disabled,
            path: match candidate {
                Candidate::Unloadable => UNLOADABLE.to_owned(),
                Candidate::Unopenable => UNOPENABLE.to_owned(),
                _ => "fake".to_owned(),
            },
            ..self.home.spec.clone()
        };
        let (handle, wanted) = (self.home.handle.clone(), spec.clone());
        let record = async move {
            match candidate {
                Candidate::Unrecorded => Err("it is gone".to_owned()),
                _ => Ok(()),
            }
        };
        self.activation = Some(Activation {
            candidate,
            spec,
            is_alone,
            answer: tokio::spawn(async move { handle.activate(wanted, record).await }),
        });
        if is_alone {
            self.conclude().await;
        }
    }

    /// Waits for what has come of an activation, if there was one.
    async fn conclude(&mut self) {
        let Some(activation) = self.activation.take() else {
            return;
        };
        let world = &self.home.world;
        world.give_up(Some(activation.spec.version));
        let ended = timeout(PATIENCE, activation.answer).await;
        world.give_up(None);
        let answer = ended.expect("an activation is answered").unwrap();
        let candidate = activation.candidate;
        match answer {
            Ok(snapshot) => {
                let is_possible =
                    !matches!(candidate, Candidate::Unloadable | Candidate::Unrecorded);
                assert!(is_possible, "{candidate:?} was activated: {self}");
                self.home.spec = activation.spec;
                self.model.becomes(&self.home.spec);
                if activation.is_alone {
                    assert_eq!(snapshot.target, self.model.target, "{self}");
                }
            }
            Err(NotActivated::Undone { phase, .. }) => {
                let is_good = matches!(candidate, Candidate::Good | Candidate::Disabled);
                assert!(
                    !is_good || self.model.opens != Opens::Well,
                    "{phase:?}: {self}"
                );
                let runs = self.model.target == Target::Running;
                // Something else may have been asked since it was closed.
                let closed = !activation.is_alone || self.is_exclusive && runs;
                self.model.stays(phase, closed);
            }
            Err(NotActivated::Ending) => assert!(self.home.has_ended(), "{self}"),
            Err(NotActivated::Busy) => panic!("there was no other activation: {self}"),
        }
    }

    async fn tell(&mut self, deed: Deed) {
        self.settle().await;
        if self.home.world.running.load(Ordering::SeqCst) == 0 {
            return;
        }
        self.home.world.tell(deed.clone());
        match deed {
            Deed::Fail | Deed::Panic => self.model.has_closed = true,
            Deed::FailForGood => self.model.held = Some(Status::Error),
            Deed::End => self.model.held = Some(Status::Stopped),
            Deed::Reconnect => {}
            Deed::Retry(is_retrying) => {
                let wanted = match is_retrying {
                    true => Status::Retrying,
                    false => Status::Running,
                };
                let reached = self.home.until(|snapshot| snapshot.status == wanted);
                reached.await;
                // A run that retries counts as one that runs.
                self.home.world.tell(Deed::Retry(false));
            }
        }
        self.settle().await;
    }

    async fn restart_daemon(mut self) -> Self {
        self.home.stop().await;
        self.conclude().await;
        assert_ended(&self.home);
        self.home = self.home.restart().await;
        self.model.held = None;
        self.model.has_closed = true;
        self.model.target = self.model.left();
        self
    }

    /// Waits until the task has come to rest where the model says that it does.
    async fn settle(&mut self) {
        self.conclude().await;
        let deadline = Instant::now() + PATIENCE;
        let mut looks = 0;
        while looks < LOOKS {
            match self.is_as_expected() {
                true => looks += 1,
                false => {
                    looks = 0;
                    assert!(!self.home.has_ended(), "the task has ended: {self}");
                    assert!(Instant::now() < deadline, "{self}");
                    sleep(Duration::from_micros(200)).await;
                }
            }
            yield_now().await;
        }
        self.check_saved();
        let expected = self.model.expected();
        let model = &mut self.model;
        model.is_open = self.home.world.open.load(Ordering::SeqCst) > 0;
        model.has_closed = false;
        if matches!(model.opens, Opens::Badly(_)) && expected == Status::Running {
            model.opens = self.home.world.script().opens;
        }
        if model.target == Target::Running && expected != Status::Running {
            model.held = Some(expected);
        }
    }

    fn is_as_expected(&self) -> bool {
        let snapshot = self.home.handle.snapshot();
        let status = snapshot.status;
        let (open, running) = (self.open(), self.running());
        // With another attempt to come it is not at rest.
        status == self.model.expected()
            && snapshot.next_attempt.is_none()
            && self.home.handle.spec().version == self.model.version
            && (running == 0
                || self.home.world.version.load(Ordering::SeqCst) == self.model.version)
            && running == usize::from(status == Status::Running)
            && self.connections() == connections(status)
            && match status {
                Status::Running => open == 1,
                // The plugin stays open over a pause, if it was and nothing else was asked for.
                Status::Paused if self.model.keeps() => open == 1,
                Status::Paused => open <= 1,
                _ => open == 0,
            }
    }

    fn open(&self) -> usize {
        self.home.world.open.load(Ordering::SeqCst)
    }

    fn running(&self) -> usize {
        self.home.world.running.load(Ordering::SeqCst)
    }

    fn connections(&self) -> usize {
        self.home.world.connections.load(Ordering::SeqCst)
    }

    fn check_saved(&self) {
        let expected = self.model.kept.map(|kept| match kept {
            Target::Running => "running",
            Target::Paused => "paused",
            Target::Stopped => "stopped",
        });
        assert_eq!(self.home.saved().as_deref(), expected, "{self}");
    }
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?}, {} open, {} running, {} connected, saved {:?}; expected {:?} by {:?}",
            self.home.handle.snapshot(),
            self.open(),
            self.running(),
            self.connections(),
            self.home.saved(),
            self.model.expected(),
            self.model,
        )
    }
}

/// Connections of a connector that is at rest: one to read or write, or one to see how far a sink lags behind.
fn connections(status: Status) -> usize {
    match status {
        Status::Running | Status::Paused | Status::Error => 1,
        _ => 0,
    }
}

fn assert_ended(home: &Home) {
    assert_eq!(
        home.world.open.load(Ordering::SeqCst),
        0,
        "an instance is left"
    );
    assert_eq!(
        home.world.running.load(Ordering::SeqCst),
        0,
        "a run is left"
    );
    assert_eq!(
        home.world.connections.load(Ordering::SeqCst),
        0,
        "a connection is left"
    );
    assert!(
        !home.world.has_overlapped.load(Ordering::SeqCst),
        "more instances were open at once than may be"
    );
}

/// Tasks that are alive, once those that are ending have ended.
async fn tasks_left() -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let alive = Handle::current().metrics().num_alive_tasks();
        if alive == 0 || Instant::now() > deadline {
            return alive;
        }
        sleep(Duration::from_micros(200)).await;
    }
}

async fn trial(is_exclusive: bool, acts: Vec<Act>) {
    let mut trial = Trial::new(is_exclusive);
    for act in acts {
        trial = trial.perform(act).await;
    }
    trial.settle().await;
    trial.home.stop().await;
    assert_ended(&trial.home);
    assert_eq!(tasks_left().await, 0, "a task is left");
}

#[test]
fn whatever_is_asked_status_saved_state_and_instances_are_as_the_model_says() {
    let config = ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    };
    let ran = TestRunner::new(config).run(&trials(), |(is_exclusive, acts)| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(trial(is_exclusive, acts));
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}
