//! A connector that only pretends, and the home in which its task is started again and again.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    sync::{Notify, watch},
    task::yield_now,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, spec},
    pipeline::{Failure, FailureKind, Monitor},
    state::{Folder, Lifecycle},
    supervisor::{
        Handle, Manner, Move, NotReset, Reset, Snapshot,
        launch::{Launch, launch},
        work::{End, Instance, Opener, Run},
    },
};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How opens go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opens {
    Well,
    /// So many times not, in a way that is tried again.
    Badly(u32),
    /// Never, and trying again is of no use.
    Never,
    /// They wait until they are cancelled.
    Hang,
    Panic,
}

/// What a run that is under way is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Fail,
    FailForGood,
    End,
    Panic,
    /// Lose the connection, and make another.
    Reconnect,
    /// Wait to try something again, or go on.
    Retry(bool),
}

/// Everything that the connector has done.
#[derive(Default)]
pub(super) struct World {
    script: Mutex<Script>,
    deed: Mutex<Option<Deed>>,
    told: Notify,
    pub(super) open: AtomicUsize,
    pub(super) running: AtomicUsize,
    /// What a run, a reset and the watch over a connector at rest hold, each where a real one connects to the broker.
    pub(super) connections: AtomicUsize,
    pub(super) opened: AtomicUsize,
    pub(super) pauses: AtomicUsize,
    pub(super) resets: AtomicUsize,
    /// A reset that is held ends when it is told so.
    pub(super) resetting: Notify,
    /// The version of the instance that ran last.
    pub(super) version: AtomicU32,
    /// An instance was opened beside another although it is exclusive.
    pub(super) has_overlapped: AtomicBool,
    /// What hangs while this version is opened takes too long.
    given_up: watch::Sender<Option<u32>>,
}

/// A version of this path is not opened: its configuration is refused.
pub(super) const UNOPENABLE: &str = "unopenable";
/// A version of this path is not even loaded.
pub(super) const UNLOADABLE: &str = "unloadable";

/// What the connector does when it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) opens: Opens,
    pub(super) closes_badly: bool,
    pub(super) health: Health,
    /// How often a step gives way before it is done.
    pub(super) turns: u32,
    /// What is in flight does not end when it is told to.
    pub(super) is_stuck: bool,
    pub(super) holds_resets: bool,
    pub(super) is_exclusive: bool,
    pub(super) takes: Takes,
}

/// How long steps take, whether they are told to end or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Takes {
    /// From when a run is told to end.
    pub(super) drain: Duration,
    pub(super) close: Duration,
    pub(super) open: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    Bad,
    /// It obeys no cancel, and the instance is given up.
    Hung,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            opens: Opens::Well,
            closes_badly: false,
            health: Health::Good,
            turns: 0,
            is_stuck: false,
            holds_resets: false,
            is_exclusive: false,
            takes: Takes::default(),
        }
    }
}

/// An open one. Counted until it is closed or dropped.
pub(super) struct Fake {
    world: Arc<World>,
    version: u32,
}

/// One more, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl World {
    pub(super) fn script(&self) -> Script {
        *lock(&self.script)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.script));
    }

    /// Tells the run that is under way, or the next one, what to do.
    pub(super) fn tell(&self, deed: Deed) {
        *lock(&self.deed) = Some(deed);
        self.told.notify_one();
    }

    /// Lets an open of this version that hangs take too long.
    pub(super) fn give_up(&self, version: Option<u32>) {
        self.given_up.send_replace(version);
    }

    async fn next_deed(&self) -> Deed {
        loop {
            if let Some(deed) = lock(&self.deed).take() {
                return deed;
            }
            self.told.notified().await;
        }
    }

    /// Takes a while, and may be dropped meanwhile.
    async fn connect(&self) -> Counted<'_> {
        self.turn().await;
        Counted::new(&self.connections)
    }

    async fn turn(&self) {
        for _ in 0..self.script().turns {
            yield_now().await;
        }
    }
}

impl Opener for Arc<World> {
    type Instance = Fake;

    async fn check(&self, spec: Arc<spec::Connector>) -> Result<(), End> {
        self.turn().await;
        match &*spec.path {
            UNLOADABLE => Err(End::Final(Failure::fatal("no such library"))),
            _ => Ok(()),
        }
    }

    async fn open(&self, spec: Arc<spec::Connector>, run: Run) -> Result<Fake, End> {
        self.check(spec.clone()).await?;
        if spec.path == UNOPENABLE {
            return Err(End::Final(Failure::fatal("no such table")));
        }
        match self.script().opens {
            Opens::Well => {}
            Opens::Badly(0) => self.change(|script| script.opens = Opens::Well),
            Opens::Badly(times) => {
                self.change(|script| script.opens = Opens::Badly(times - 1));
                return Err(End::Failed(Failure::fatal("not yet")));
            }
            Opens::Never => return Err(End::Final(Failure::fatal("wrong configuration"))),
            Opens::Hang => {
                let mut given_up = self.given_up.subscribe();
                tokio::select! {
                    biased;
                    () = run.halt.stop.cancelled() => {}
                    _ = given_up.wait_for(|version| *version == Some(spec.version)) => {
                        return Err(End::Failed(Failure::transient("open took too long")));
                    }
                }
                let message = "open was stopped";
                return Err(End::Failed(Failure::new(FailureKind::Cancelled, message)));
            }
            Opens::Panic => panic!("boom in open"),
        }
        let beside = self.open.fetch_add(1, Ordering::SeqCst);
        if beside > usize::from(!self.script().is_exclusive) {
            self.has_overlapped.store(true, Ordering::SeqCst);
        }
        let fake = Fake {
            world: self.clone(),
            version: spec.version,
        };
        lasts(self.script().takes.open).await;
        run.progress
            .send_modify(|progress| progress.plugin_version = Some("1.2.3".to_owned()));
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(fake)
    }

    async fn reset(
        &self,
        _spec: Arc<spec::Connector>,
        _reset: Reset,
        _manner: Manner,
    ) -> Result<Vec<Move>, NotReset> {
        self.resets.fetch_add(1, Ordering::SeqCst);
        assert_eq!(
            self.running.load(Ordering::SeqCst),
            0,
            "reset while it runs"
        );
        self.turn().await;
        let _connection = self.connect().await;
        if self.script().holds_resets {
            self.resetting.notified().await;
        }
        assert_eq!(
            self.running.load(Ordering::SeqCst),
            0,
            "run while it is reset"
        );
        Ok(Vec::new())
    }

    async fn watch(&self, _spec: Arc<spec::Connector>, _monitor: &Monitor) {
        let _connection = self.connect().await;
        std::future::pending().await
    }
}

impl Instance for Fake {
    fn is_exclusive(&self) -> bool {
        self.world.script().is_exclusive
    }

    async fn run(&self, run: &Run) -> Result<(), End> {
        let world = &self.world;
        world.version.store(self.version, Ordering::SeqCst);
        let _running = Counted::new(&world.running);
        let mut connection = world.connect().await;
        if run.halt.stop.is_cancelled() {
            return Ok(());
        }
        run.progress
            .send_modify(|progress| progress.is_connected = true);
        loop {
            let deed = tokio::select! {
                biased;
                () = run.halt.stop.cancelled() => break,
                deed = world.next_deed() => deed,
            };
            match deed {
                Deed::Fail => return Err(End::Failed(Failure::fatal("lost"))),
                Deed::FailForGood => return Err(End::Final(Failure::fatal("all refused"))),
                Deed::End => return Ok(()),
                Deed::Panic => panic!("boom in run"),
                Deed::Reconnect => {
                    drop(connection);
                    connection = world.connect().await;
                }
                Deed::Retry(true) => {
                    let retry = spec::Backoff::default();
                    let stop = CancellationToken::new();
                    let mut attempts =
                        crate::pipeline::Attempts::new("test", retry, &run.monitor, &stop);
                    let pausing = attempts.pause(Failure::transient("busy"));
                    let ended = timeout(Duration::ZERO, pausing).await;
                    assert!(ended.is_err(), "it waits: {ended:?}");
                    // As a loop that is waiting: it has neither succeeded nor given up.
                    std::mem::forget(attempts);
                }
                Deed::Retry(false) => run.monitor.end_retry(),
            }
        }
        world.turn().await;
        drop(connection);
        lasts(world.script().takes.drain).await;
        if world.script().is_stuck {
            std::future::pending::<()>().await;
        }
        if run.halt.pausing.is_cancelled() {
            world.pauses.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn health(&self, _within: Duration) -> Result<(), Failure> {
        match self.world.script().health {
            Health::Good => Ok(()),
            Health::Bad => Err(Failure::transient("no answer")),
            Health::Hung => Err(Failure::new(FailureKind::Hung, "health did not end")),
        }
    }

    async fn close(self) -> Result<(), Failure> {
        self.world.turn().await;
        lasts(self.world.script().takes.close).await;
        match self.world.script().closes_badly {
            true => Err(Failure::fatal("disk full")),
            false => Ok(()),
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.world.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One connector over several lives of the daemon.
pub(super) struct Home {
    dir: TempDir,
    pub(super) world: Arc<World>,
    pub(super) handle: Handle,
    stop: CancellationToken,
    ended: CancellationToken,
    /// What the next start of the daemon starts it with.
    pub(super) spec: spec::Connector,
}

impl Home {
    /// Its specification is a sink's with `keys` in addition.
    pub(super) fn new(keys: &str) -> Self {
        Self::with(keys, Arc::default(), None)
    }

    pub(super) fn with(keys: &str, world: Arc<World>, unusable: Option<&str>) -> Self {
        let dir = folder();
        let spec = spec(dir.path(), keys);
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let handle = launch(
            world.clone(),
            Launch {
                secrets: config::Secrets::default(),
                id: 1,
                spec: spec.clone(),
                unusable: unusable.map(str::to_owned),
                lifecycle: lifecycle(dir.path()),
                stop: stop.clone(),
                ended: ended.clone(),
            },
        );
        Self {
            dir,
            world,
            handle,
            stop,
            ended,
            spec,
        }
    }

    /// Ends the task as the daemon's end does.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        timeout(PATIENCE, self.ended.cancelled())
            .await
            .expect("the task ends");
    }

    /// Starts the daemon again.
    pub(super) async fn restart(self) -> Self {
        self.stop().await;
        let Self {
            dir, world, spec, ..
        } = self;
        drop(self.handle);
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let handle = launch(
            world.clone(),
            Launch {
                secrets: config::Secrets::default(),
                id: 2,
                spec: spec.clone(),
                unusable: None,
                lifecycle: lifecycle(dir.path()),
                stop: stop.clone(),
                ended: ended.clone(),
            },
        );
        Self {
            dir,
            world,
            handle,
            stop,
            ended,
            spec,
        }
    }

    /// Whether the task has ended, by itself or by a panic.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// What `lifecycle.json` says of the connector.
    pub(super) fn saved(&self) -> Option<String> {
        let file = self.dir.path().join("state/lifecycle.json");
        let text = std::fs::read(file).ok()?;
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let state = read["connectors"][0]["state"].as_str()?;
        Some(state.to_owned())
    }

    /// Lets no save succeed from now on.
    pub(super) fn block_saves(&self) {
        std::fs::create_dir(self.dir.path().join("state/lifecycle.json.new")).unwrap();
    }

    /// Waits for a snapshot that is as it is wanted.
    pub(super) async fn until(&self, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let mut snapshot = self.handle.snapshot.clone();
        let found = timeout(PATIENCE, snapshot.wait_for(|snapshot| wanted(snapshot))).await;
        match found {
            Ok(Ok(snapshot)) => snapshot.clone(),
            _ => panic!("not in time: {:?}", self.handle.snapshot()),
        }
    }
}

/// A folder whose syncs cost nothing, where there is one.
fn folder() -> TempDir {
    match Path::new("/dev/shm") {
        memory if memory.is_dir() => TempDir::new_in(memory).unwrap(),
        _ => TempDir::new().unwrap(),
    }
}

fn lifecycle(dir: &Path) -> Lifecycle {
    Lifecycle::open(&Folder::open(&dir.join("state")).unwrap()).unwrap()
}

fn spec(dir: &Path, keys: &str) -> spec::Connector {
    let file = dir.join("config.toml");
    let text = format!(
        "[sinks.fake]\npath = \"fake\"\n{keys}\n[[sinks.fake.streams]]\nstream = \"s\"\ntopics = [\"t\"]\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut loaded = config::load(Some(&file)).unwrap();
    loaded.connectors.remove(0)
}

/// Takes no turn when it is over at once.
async fn lasts(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
