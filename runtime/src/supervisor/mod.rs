//! One task per connector: the supervisor starts them, lists them for the API, and stops them all within a deadline.

mod connector;
mod snapshot;

use std::sync::Arc;

use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info_span};

use self::{connector::Connector, snapshot::Reporter};
pub use self::{
    connector::Host,
    snapshot::{Handle, LastError, Snapshot, Status},
};
use crate::{
    config::{
        Unusable,
        spec::{self, Direction},
    },
    pipeline::Monitor,
};

/// All connectors of the daemon.
pub struct Supervisor {
    handles: Vec<Handle>,
    tasks: Vec<(Handle, JoinHandle<()>)>,
    stop: CancellationToken,
}

impl Supervisor {
    /// Starts every enabled connector. They come up side by side; none waits for another.
    pub fn start(
        host: &Arc<Host>,
        connectors: Vec<spec::Connector>,
        unusable: Vec<Unusable>,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut supervisor = Self {
            handles: Vec::new(),
            tasks: Vec::new(),
            stop,
        };
        for spec in connectors {
            supervisor.add(host.clone(), spec);
        }
        for Unusable { spec, reason } in unusable {
            let (handle, reporter) = new_handle(supervisor.next_id(), spec);
            error!(connector = handle.spec.key, %reason, "connector not started");
            reporter.error(reason, None);
            supervisor.handles.push(handle);
        }
        supervisor.handles.sort_by(|one, other| {
            (one.spec.direction, &one.spec.key).cmp(&(other.spec.direction, &other.spec.key))
        });
        supervisor
    }

    /// Every connector, by direction and key.
    pub fn handles(&self) -> Arc<[Handle]> {
        self.handles.as_slice().into()
    }

    /// Stops every connector and waits for them until `deadline`. Returns the keys of those that had to be abandoned.
    pub async fn stop(self, deadline: Instant) -> Vec<String> {
        self.stop.cancel();
        let mut abandoned = Vec::new();
        for (handle, task) in self.tasks {
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                abandoned.push(format!(
                    "{} {}",
                    handle.spec.direction.name(),
                    handle.spec.key
                ));
            }
        }
        abandoned
    }

    fn next_id(&self) -> u32 {
        self.handles.len() as u32 + 1
    }

    fn add(&mut self, host: Arc<Host>, spec: spec::Connector) {
        let (handle, reporter) = new_handle(self.next_id(), spec);
        self.handles.push(handle.clone());
        if !handle.spec.enabled {
            return;
        }
        let span = match handle.spec.direction {
            Direction::Sink => info_span!("sink", key = handle.spec.key),
            Direction::Source => info_span!("source", key = handle.spec.key),
        };
        let connector = Connector {
            spec: handle.spec.clone(),
            host,
            monitor: handle.monitor.clone(),
            reporter,
            stop: self.stop.child_token(),
        };
        let task = tokio::spawn(connector.run().instrument(span));
        self.tasks.push((handle, task));
    }
}

fn new_handle(id: u32, spec: spec::Connector) -> (Handle, Reporter) {
    let (reporter, snapshot) = Reporter::new(spec.enabled);
    let handle = Handle {
        id,
        spec: Arc::new(spec),
        snapshot,
        monitor: Arc::new(Monitor::default()),
    };
    (handle, reporter)
}
