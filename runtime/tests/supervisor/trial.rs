//! Performs a sequence on a running daemon and tells the model of it. `rest` holds the one against the other, `end` ends it.

use iggy_connectors::{
    config::spec::Direction,
    supervisor::{Request, Status, Target},
};
use proptest::sample::Index;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    acts::{Act, Candidate, Deed, End, Opens, Waits},
    ground::Ground,
    harness::broker::{PATIENCE, eventually},
    subject::{Activation, Subject},
};

pub struct Trial<'a> {
    pub(super) ground: &'a mut Ground,
    pub(super) subjects: [Subject; 2],
    /// What was in flight when the daemon was killed comes again.
    pub(super) repeats: bool,
}

impl<'a> Trial<'a> {
    /// A source and a sink that reads what it writes.
    pub async fn begin(ground: &'a mut Ground) -> Self {
        let name = ground.begin().await;
        let sink = Subject::create(ground, Direction::Sink, &name).await;
        let source = Subject::create(ground, Direction::Source, &name).await;
        Self {
            ground,
            subjects: [sink, source],
            repeats: false,
        }
    }

    pub async fn perform(&mut self, act: Act) {
        match act {
            Act::Request(of, Request::Restart) => self.restart(of).await,
            Act::Request(of, request) => self.request(of, request).await,
            Act::Opens(of, opens) => {
                // An open that hangs is under way: what comes of it is known only when it is told to end.
                self.settle().await;
                self.of(of).open(opens);
                self.of(of).model.opens = opens;
            }
            Act::Closes(of, None) => self.of(of).untell("close_deed"),
            Act::Closes(of, Some(deed)) => self.of(of).tell("close_deed", deed),
            Act::Tell(of, deed) => self.tell(of, deed).await,
            Act::Activate(of, candidate, waits) => {
                self.concluded(of).await;
                let version = self.store(of, candidate).await;
                self.activate(of, version, waits).await;
            }
            Act::Return(of, version, waits) => {
                let version = self.pick(of, version).await;
                self.activate(of, version, waits).await;
            }
            Act::Choose(of, version) => {
                let version = self.pick(of, version).await;
                self.choose(of, version).await;
            }
            Act::Delete(of, version) => self.delete(of, version).await,
            Act::Reject(of) => self.reject(of).await,
            Act::RestartDaemon(end) => self.restart_daemon(end).await,
            Act::Settle => self.settle().await,
        }
    }

    pub(super) fn of(&mut self, of: Direction) -> &mut Subject {
        match of {
            Direction::Sink => &mut self.subjects[0],
            Direction::Source => &mut self.subjects[1],
        }
    }

    pub(super) async fn request(&mut self, of: Direction, request: Request) {
        let path = format!("{}/{}", self.of(of).path, name(request));
        let (status, answer) = self.ground.daemon.post(&path).await;
        let subject = self.of(of);
        match status {
            202 => {
                subject.model.follow(request);
                let target = format!("{:?}", subject.model.target).to_lowercase();
                assert_eq!(answer["target"], target, "{request:?}: {answer}");
            }
            409 => {
                assert!(matches!(request, Request::Pause | Request::Resume));
                // Another version may have stopped or started it since.
                let is_stopped = subject.model.expected() == Status::Stopped;
                assert!(is_stopped || subject.activation.is_some(), "{answer}");
            }
            _ => panic!("{request:?}: {status} {answer}"),
        }
        self.assert_kept();
    }

    /// Restarts a connector, which then takes the active version where it has another.
    pub(super) async fn restart(&mut self, of: Direction) {
        self.concluded(of).await;
        let model = &self.of(of).model;
        let (active, version) = (model.active(), model.version);
        if active == version {
            let told = "restarted with the active version";
            let before = self.told(of, told);
            self.request(of, Request::Restart).await;
            // What becomes the active version from now on is not taken.
            return eventually(true, async || self.told(of, told) > before).await;
        }
        self.unhang(of);
        let untaken = "restarted with the version that it has";
        let before = self.told(of, untaken);
        self.request(of, Request::Restart).await;
        let mut has_taken = false;
        eventually(true, async || {
            let path = self.of(of).path.clone();
            has_taken = self.ground.daemon.get(&path).await["config_version"] == active;
            has_taken || self.told(of, untaken) > before
        })
        .await;
        let model = &mut self.of(of).model;
        let (candidate, opens) = (model.versions[&active], model.opens);
        match has_taken {
            true => model.adopt(active),
            false => assert!(
                is_unopenable(candidate) || opens != Opens::Well,
                "{model:?}"
            ),
        }
    }

    /// How often this was told of a connector.
    fn told(&mut self, of: Direction, what: &str) -> usize {
        let connector = format!("connector={} `{}` ", of.name(), self.of(of).key);
        let lines = self.ground.daemon.stderr().all();
        let told = |line: &&String| line.contains(what) && line.contains(&connector);
        lines.iter().filter(told).count()
    }

    /// An open that hangs would take until its deadline.
    fn unhang(&mut self, of: Direction) {
        let subject = self.of(of);
        if subject.model.opens == Opens::Hang {
            subject.open(Opens::Well);
            subject.model.opens = Opens::Well;
        }
    }

    pub(super) async fn store(&mut self, of: Direction, candidate: Candidate) -> u32 {
        let daemon = self.ground.daemon.clone();
        let subject = self.of(of);
        let number = subject.model.next();
        let stored = subject.store(&daemon, candidate).await;
        assert_eq!(stored, number, "versions are numbered one after another");
        subject.model.versions.insert(number, candidate);
        number
    }

    /// One of the versions that there are.
    async fn pick(&mut self, of: Direction, index: Index) -> u32 {
        self.concluded(of).await;
        let versions: Vec<_> = self.of(of).model.versions.keys().copied().collect();
        *index.get(&versions)
    }

    pub(super) async fn activate(&mut self, of: Direction, version: u32, waits: Waits) {
        let model = &self.of(of).model;
        let (candidate, opens) = (model.versions[&version], model.opens);
        // What comes of a plugin that does not open depends on what else is asked meanwhile, and so does what a disabled one becomes.
        let is_alone = waits == Waits::Yes
            || matches!(candidate, Candidate::Disabled | Candidate::Unrecorded)
            || matches!(opens, Opens::Never | Opens::Hang);
        if is_alone {
            self.settle().await;
        }
        self.unhang(of);
        if candidate == Candidate::Unrecorded {
            self.ground.refuse_choices();
        }
        let daemon = self.ground.daemon.clone();
        let answer = self.of(of).activate(&daemon, version);
        self.of(of).activation = Some(Activation {
            version,
            candidate,
            is_alone,
            answer,
        });
        if is_alone {
            self.concluded(of).await;
        }
    }

    /// Waits for what has come of an activation, if there was one.
    pub(super) async fn concluded(&mut self, of: Direction) {
        let Some(activation) = self.of(of).activation.take() else {
            return;
        };
        let Activation {
            version,
            candidate,
            is_alone,
            answer,
        } = activation;
        let answered = timeout(PATIENCE, answer).await;
        let (status, answer) = answered.expect("an activation is answered").unwrap();
        let model = &mut self.of(of).model;
        let step = answer["step"].as_str();
        match (status, step) {
            (200, _) => {
                assert_ne!(candidate, Candidate::Unrecorded, "{answer}");
                model.becomes(version);
            }
            (409, Some("open")) | (500, Some("record")) => {
                let is_good = !is_unopenable(candidate) && candidate != Candidate::Unrecorded;
                assert!(!is_good || model.opens != Opens::Well, "{answer}");
                let runs = model.target == Target::Running;
                // Something else may have been asked since it was closed.
                let closed = !is_alone || model.is_alone() && runs;
                model.stays(version, closed, step == Some("record"));
            }
            _ => panic!("{status} {answer}"),
        }
        if candidate == Candidate::Unrecorded {
            self.ground.accept_choices();
            // The one that stays is recorded again, now that it can be.
            eventually(None, async || self.choices_differ().await).await;
        }
    }

    pub(super) async fn choose(&mut self, of: Direction, version: u32) {
        let path = format!("{}/configs/active?restart=false", self.of(of).path);
        let wanted = json!({ "version": version });
        let chosen = self.ground.daemon.send(Method::PUT, &path, Some(&wanted));
        let (status, answer) = chosen.await;
        assert_eq!(status, 200, "{answer}");
        self.of(of).model.chosen = Some(version);
    }

    async fn delete(&mut self, of: Direction, version: Index) {
        let version = self.pick(of, version).await;
        let path = format!("{}/configs?version={version}", self.of(of).path);
        let (status, answer) = self.ground.daemon.send(Method::DELETE, &path, None).await;
        let model = &mut self.of(of).model;
        let expected = match version == model.version || version == model.active() {
            true => 409,
            false => 204,
        };
        assert_eq!(status, expected, "{answer}");
        if status == 204 {
            model.versions.remove(&version);
        }
    }

    async fn reject(&mut self, of: Direction) {
        let subject = self.of(of);
        let mut document = subject.document(Candidate::Good);
        document["path"] = "libnowhere".into();
        let path = format!("{}/configs", subject.path);
        let rejected = self
            .ground
            .daemon
            .send(Method::POST, &path, Some(&document));
        let (status, answer) = rejected.await;
        assert_eq!(status, 422, "{answer}");
    }

    async fn tell(&mut self, of: Direction, deed: Deed) {
        self.settle().await;
        let all_run = |subject: &Subject| subject.model.expected() == Status::Running;
        let (file, text, fails) = match (of, deed) {
            (Direction::Sink, Deed::Retry) => ("deed", "suffix", false),
            (Direction::Source, Deed::Result(text)) => ("result_deed", text, true),
            (_, Deed::Work(text)) => ("deed", text, true),
            (_, Deed::Health(text)) => ("health_deed", text, true),
            _ => return,
        };
        // Without a flow nothing is done.
        if !self.subjects.iter().all(all_run) {
            return;
        }
        let path = self.of(of).path.clone();
        let before = self.ground.daemon.get(&path).await["last_error"].clone();
        self.of(of).tell(file, &format!("1 {text}"));
        eventually(false, async || self.of(of).is_told(file)).await;
        if fails {
            // A health check that has failed is shown before the run that it ends has ended.
            let is_ending =
                |shown: &Value| shown["status"] == "running" && shown["healthy"] == false;
            let has_failed = |shown: &Value| shown["last_error"] != before && !is_ending(shown);
            self.ground.daemon.wait_for(&path, has_failed).await;
            let model = &mut self.of(of).model;
            model.fails();
            if matches!(deed, Deed::Health(_)) && model.candidate() == Candidate::Delicate {
                model.held = Some(Status::Error);
            }
        }
        self.settle().await;
    }

    async fn restart_daemon(&mut self, end: End) {
        self.concluded(Direction::Sink).await;
        self.concluded(Direction::Source).await;
        self.ground.stop(end).await;
        self.repeats |= end == End::Killed;
        for subject in &mut self.subjects {
            match end {
                End::Stopped => assert_eq!(subject.instances(), 0, "an instance is left"),
                End::Killed => subject.forget_instances(),
            }
            let active = subject.model.active();
            subject.model.begins(active);
        }
        self.ground.start().await;
    }
}

fn is_unopenable(candidate: Candidate) -> bool {
    matches!(candidate, Candidate::Unopenable(_))
}

fn name(request: Request) -> String {
    format!("{request:?}").to_lowercase()
}
