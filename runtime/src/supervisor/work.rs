//! What a connector's task needs of whatever it drives: [`Opener`] and [`Instance`], implemented by `open` for plugins and by fakes in
//! tests; and [`work`], one run of an instance with its health checks beside it.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{SetOnce, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    health,
    offsets::{Manner, Move, NotReset, Reset},
};
use crate::{
    config::spec,
    pipeline::{Failure, FailureKind, Monitor},
};

/// Opens instances of connectors.
pub(super) trait Opener: Clone + Send + Sync + 'static {
    type Instance: Instance;

    /// Loads the plugin and checks what can be checked without opening it.
    fn check(&self, spec: Arc<spec::Connector>) -> impl Future<Output = Result<(), End>> + Send;

    /// Loads the plugin and opens an instance in it. Ends soon after `run.halt.stop`, with an instance or without.
    fn open(
        &self,
        spec: Arc<spec::Connector>,
        run: Run,
    ) -> impl Future<Output = Result<Self::Instance, End>> + Send;

    /// Has a connector that is at rest go on elsewhere. Nothing of it runs meanwhile, and no instance of a source is open.
    fn reset(
        &self,
        spec: Arc<spec::Connector>,
        reset: Reset,
        manner: Manner,
    ) -> impl Future<Output = Result<Vec<Move>, NotReset>> + Send;

    /// Tells the monitor now and then how a connector that is at rest stands. Does not end; is dropped at any time.
    fn watch(
        &self,
        spec: Arc<spec::Connector>,
        monitor: &Monitor,
    ) -> impl Future<Output = ()> + Send;
}

/// An open instance and what it works with.
pub(super) trait Instance: Send + Sync + 'static {
    /// Whether no second instance may be open beside it.
    fn is_exclusive(&self) -> bool;

    /// What it reads or writes, as its plugin and its configuration have it.
    fn streams(&self) -> Option<spec::Streams> {
        None
    }

    /// Moves messages until `run.halt.stop`, until the source ends by itself, or until something fails. May be called again.
    fn run(&self, run: &Run) -> impl Future<Output = Result<(), End>> + Send;

    /// One health check.
    fn health(&self, within: Duration) -> impl Future<Output = Result<(), Failure>> + Send;

    fn close(self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What an open or a run works with.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) halt: Halt,
    pub(super) monitor: Arc<Monitor>,
    pub(super) progress: Arc<watch::Sender<Progress>>,
}

/// How a run is told to end.
#[derive(Clone, Default)]
pub(super) struct Halt {
    /// It goes on later; cancelled before `stop`.
    pub(super) pausing: CancellationToken,
    pub(super) stop: CancellationToken,
    /// Another instance is to take its place, and waits for it until then; set before `stop`.
    pub(super) leaving: Arc<SetOnce<Instant>>,
}

/// How far a run has come. The task makes the status of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) is_connected: bool,
    pub(super) plugin_version: Option<String>,
    /// Why the health checks count as failed.
    pub(super) unhealthy: Option<String>,
}

/// Why a run ended other than by being stopped.
#[derive(Debug)]
pub(super) enum End {
    /// The restart policy decides.
    Failed(Failure),
    /// Starting again would change nothing.
    Final(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            FailureKind::Invalid | FailureKind::Exhausted => Self::Final(failure),
            _ => Self::Failed(failure),
        }
    }
}

impl Halt {
    /// Follows this one, and can be stopped alone.
    fn child(&self) -> Self {
        Self {
            pausing: self.pausing.clone(),
            stop: self.stop.child_token(),
            leaving: self.leaving.clone(),
        }
    }

    /// It is to leave, and has not in time.
    async fn overdue(&self) {
        sleep_until(*self.leaving.wait().await).await;
    }
}

/// Runs an instance and checks its health meanwhile. An unhealthy one that is not only to be reported is told to end. It gets
/// `close_timeout` for it, as does one that another is to replace, unless there is less time: what it has not finished then is delivered
/// again.
pub(super) async fn work<I: Instance>(
    instance: I,
    spec: Arc<spec::Connector>,
    run: Run,
) -> (I, Result<(), End>) {
    let mine = Run {
        halt: run.halt.child(),
        ..run
    };
    let ended = {
        let running = instance.run(&mine);
        tokio::pin!(running);
        let verdict = tokio::select! {
            biased;
            ended = &mut running => Ok(ended),
            verdict = health::watch(&instance, &spec.health, &mine.progress) => Err(verdict),
            () = mine.halt.overdue() => Ok(Ok(())),
        };
        match verdict {
            Ok(ended) => ended,
            Err(verdict) => {
                mine.halt.stop.cancel();
                if timeout(spec.deadlines.close, running).await.is_err() {
                    warn!("what was in flight did not end; it is delivered again");
                }
                Err(verdict)
            }
        }
    };
    (instance, ended)
}
