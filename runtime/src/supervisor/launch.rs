//! Starts a connector's task: [`launch`], for the supervisor and its tests.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use super::{
    decision,
    handle::Handle,
    inbox::Inbox,
    plan::{Plan, Target},
    restarts::Restarts,
    signs::Signs,
    snapshot::Reporter,
    status::Status,
    task::Task,
    work::Opener,
};
use crate::{
    config::{
        Secrets,
        spec::{self, Direction},
    },
    pipeline::Monitor,
    state::{Kept, Lifecycle},
};

/// Commands that may wait to be taken, which a task does at once.
const COMMANDS: usize = 16;

/// What a connector's task is made of, besides what opens it.
pub(super) struct Launch {
    pub(super) id: u32,
    pub(super) spec: spec::Connector,
    pub(super) unusable: Option<String>,
    pub(super) lifecycle: Lifecycle,
    pub(super) secrets: Secrets,
    /// Ends the task.
    pub(super) stop: CancellationToken,
    /// Cancelled when the task has ended.
    pub(super) ended: CancellationToken,
}

/// Spawns a connector's task, in the state that the operator has left it in.
pub(super) fn launch<O: Opener>(opener: O, launch: Launch) -> Handle {
    let Launch {
        id,
        spec,
        unusable,
        lifecycle,
        secrets,
        stop,
        ended,
    } = launch;
    let (direction, key) = (spec.direction, Arc::<str>::from(&*spec.key));
    let target = match lifecycle.get(direction, &key) {
        Some(Kept::Paused) => Target::Paused,
        Some(Kept::Stopped) => Target::Stopped,
        None if spec.enabled || unusable.is_some() => Target::Running,
        None => Target::Stopped,
    };
    let status = match target {
        Target::Running if unusable.is_some() => Status::Error,
        Target::Running => Status::Starting,
        Target::Paused => Status::Paused,
        Target::Stopped => Status::Stopped,
    };
    let mut plan = Plan::new(target);
    let (reporter, snapshot) = Reporter::new(status, target, secrets);
    if let Some(reason) = &unusable {
        reporter.note(reason.clone());
        reporter.unusable(Some(reason));
        plan.failed(None);
    }
    let monitor = Arc::new(Monitor::new(direction, key.clone()));
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let restarts = Restarts::new(&spec.restart);
    let (spec, shown) = watch::channel(Arc::new(spec));
    let task = Task {
        opener,
        restarts,
        spec,
        unusable,
        plan,
        reporter,
        lifecycle: lifecycle.clone(),
        inbox: Inbox::new(inbox, stop),
        swap: None,
        asked: None,
        takes_another: false,
        signs: Signs::new(monitor.clone()),
        halt: None,
    };
    let span = match direction {
        Direction::Sink => info_span!("sink", key = &*key),
        Direction::Source => info_span!("source", key = &*key),
    };
    tokio::spawn(
        async move {
            // Also when the task panics.
            let _ended = ended.drop_guard();
            task.run().await;
        }
        .instrument(span),
    );
    Handle {
        id,
        direction,
        key,
        spec: shown,
        snapshot,
        monitor,
        commands,
        lifecycle,
        decided: decision::Shared::default(),
    }
}
