//! Random commands to a live task, whose plugin fails on request: whenever it comes to rest, its status, what is saved and what is open
//! are what a model says that they are.

use std::{sync::atomic::Ordering, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use tokio::{
    runtime::{Builder, Handle},
    task::yield_now,
    time::{Instant, sleep},
};

use super::fake::{Deed, Home, Opens, PATIENCE};
use crate::supervisor::{Manner, Refused, Request, Reset, Status, Target};

/// How often a task that is at rest is looked at before it is believed.
const LOOKS: u32 = 40;

#[derive(Clone, Debug)]
enum Act {
    Request(Request),
    /// Changes nothing of what the model knows, whether it is done or refused.
    Reset,
    /// Lets the task work for a while.
    Yield(u32),
    /// How opens go from now on.
    Opens(Opens),
    ClosesBadly(bool),
    Turns(u32),
    /// What the run that is under way, if there is one, does.
    Tell(Deed),
    RestartDaemon,
    Settle,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let requests = prop::sample::select(vec![
        Request::Restart,
        Request::Pause,
        Request::Resume,
        Request::Stop,
        Request::Start,
    ]);
    let opens = prop_oneof![
        6 => Just(Opens::Well),
        2 => (1..4_u32).prop_map(Opens::Badly),
        1 => Just(Opens::Never),
        2 => Just(Opens::Hang),
    ];
    let deeds = prop::sample::select(vec![
        Deed::Fail,
        Deed::FailForGood,
        Deed::End,
        Deed::Panic,
        Deed::Retry(true),
        Deed::Retry(false),
    ]);
    let act = prop_oneof![
        12 => requests.prop_map(Act::Request),
        2 => Just(Act::Reset),
        3 => (0..30_u32).prop_map(Act::Yield),
        2 => opens.prop_map(Act::Opens),
        1 => any::<bool>().prop_map(Act::ClosesBadly),
        1 => (0..12_u32).prop_map(Act::Turns),
        3 => deeds.prop_map(Act::Tell),
        1 => Just(Act::RestartDaemon),
        2 => Just(Act::Settle),
    ];
    prop::collection::vec(act, 1..30)
}

/// What the connector ought to be.
#[derive(Debug)]
struct Model {
    target: Target,
    /// Why it does not run although it is to.
    held: Option<Status>,
    opens: Opens,
    is_open: bool,
    /// An instance that was open must have been closed since.
    has_closed: bool,
}

struct Trial {
    home: Home,
    model: Model,
}

impl Trial {
    fn new() -> Self {
        let keys = "restart.initial_backoff = \"1ms\"\nrestart.max_backoff = \"2ms\"";
        Self {
            home: Home::new(keys),
            model: Model {
                target: Target::Running,
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
                assert_eq!(snapshot.target, model.target, "{request:?}");
            }
            Err(Refused::Stopped) => {
                assert!(matches!(request, Request::Pause | Request::Resume));
                let snapshot = self.home.handle.snapshot();
                assert_eq!(snapshot.status, Status::Stopped, "{snapshot:?}");
            }
            Err(refused) => panic!("{request:?}: {refused}"),
        }
        self.check_saved();
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

    async fn restart_daemon(self) -> Self {
        let Self { home, mut model } = self;
        home.stop().await;
        assert_ended(&home);
        let home = home.restart().await;
        model.held = None;
        model.has_closed = true;
        Self { home, model }
    }

    /// Waits until the task has come to rest where the model says that it does.
    async fn settle(&mut self) {
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
            && running == usize::from(status == Status::Running)
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

    fn check_saved(&self) {
        let expected = match self.model.target {
            Target::Running => None,
            Target::Paused => Some("paused"),
            Target::Stopped => Some("stopped"),
        };
        assert_eq!(self.home.saved().as_deref(), expected, "{self}");
    }
}

impl Model {
    fn keeps(&self) -> bool {
        self.is_open && !self.has_closed && self.held.is_none()
    }

    fn expected(&self) -> Status {
        match (self.target, self.held, self.opens) {
            (Target::Stopped, ..) => Status::Stopped,
            (Target::Paused, ..) => Status::Paused,
            (_, Some(held), _) => held,
            _ if self.keeps() => Status::Running,
            (_, _, Opens::Never) => Status::Error,
            (_, _, Opens::Hang) => Status::Starting,
            _ => Status::Running,
        }
    }
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?}, {} open, {} running, saved {:?}; expected {:?} by {:?}",
            self.home.handle.snapshot(),
            self.open(),
            self.running(),
            self.home.saved(),
            self.model.expected(),
            self.model,
        )
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

async fn trial(acts: Vec<Act>) {
    let mut trial = Trial::new();
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
        cases: 3_000,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    };
    let ran = TestRunner::new(config).run(&acts(), |acts| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(trial(acts));
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}
