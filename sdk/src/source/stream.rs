//! Makes polls of what a streaming source sends: [`Stream`], which runs its `start`.

mod run;
mod state;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tracing::{Instrument as _, Span, warn};

pub(super) use self::{
    run::Run,
    state::{Entry, Fault},
};
use self::{
    run::{Gate, Shared},
    state::Next,
};
use super::{Settled, SourceBatch, SourceSender, Wishes};
use crate::{Source, export::guarded};

/// How long `start` may go on after the source was closed. The runtime's own deadline for a close is 10 s by default.
const END_GRACE: Duration = Duration::from_secs(5);

/// The stream of one source. Dropping it ends `start` at its next `await`.
pub(super) struct Stream {
    source: Arc<dyn Source>,
    shared: Arc<Shared>,
    task: Mutex<Option<Task>>,
}

/// A run of `start`, on the way.
type Running = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

/// Ended when it is dropped.
struct Task(JoinHandle<()>);

impl Stream {
    /// Begins `start`. `None` when the source has none and is polled, which its first step tells.
    pub(super) async fn begin(source: &Arc<dyn Source>) -> Option<Self> {
        let stream = Self {
            source: Arc::clone(source),
            shared: Arc::new(Shared::new()),
            task: Mutex::default(),
        };
        let (number, declined, mut running) = stream.run();
        match poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await {
            _ if declined.load(Ordering::Relaxed) => return None,
            Poll::Ready(result) => stream.shared.change(|state| state.returned(number, result)),
            Poll::Pending => stream.spawn(number, running),
        }
        Some(stream)
    }

    /// Returns the next batch: at most about as many messages as are wished for, or none when none came in time.
    ///
    /// It may be dropped at any time: what is not returned is there for the next poll.
    pub(super) async fn next(&self, poll: u64, wishes: Wishes) -> Result<Arc<SourceBatch>, Fault> {
        let deadline = wishes.max_wait.map(|wait| Instant::now() + wait);
        self.shared.hold(wishes.draining);
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            // What changes from here on is noticed.
            changed.as_mut().enable();
            let now = Instant::now();
            match self.shared.with(|state| state.next(poll, &wishes, now)) {
                Next::Batch(batch) => return Ok(batch),
                Next::Failed(fault) => return Err(fault),
                Next::Start => self.start_anew(),
                Next::Wait(None) if deadline.is_some_and(|deadline| deadline <= now) => {
                    return Ok(Arc::default());
                }
                Next::Wait(until) => match until.or(deadline) {
                    Some(until) => drop(timeout_at(until, changed).await),
                    // The source may have nothing for as long as it likes; the host cancels.
                    None => changed.await,
                },
            }
        }
    }

    /// Tells those who track a message of a batch what became of it. A nacked batch is offered again.
    pub(super) fn settle(&self, settled: &Settled) {
        let told = self.shared.change(|state| state.settle(settled));
        for (tracker, told) in told {
            // Whoever has stopped waiting for it does not want to know.
            let _ = tracker.send(told);
        }
    }

    /// Takes nothing any more, and lets `start` end: by itself within a few seconds, or at its next `await`.
    pub(super) async fn close(self) {
        self.shut();
        let task = self.take_task();
        let Some(mut task) = task else { return };
        if timeout(END_GRACE, &mut task.0).await.is_err() {
            warn!(
                "`start` went on for {} s after the source was closed, and is dropped",
                END_GRACE.as_secs()
            );
            task.0.abort();
            // The host's deadline for the close is the limit: what does not come to an `await` cannot be ended.
            let _ = (&mut task.0).await;
        }
    }

    fn start_anew(&self) {
        let (number, _, running) = self.run();
        self.spawn(number, running);
    }

    fn run(&self) -> (u64, Arc<AtomicBool>, Running) {
        let (number, gate) = self.shared.change(state::State::begin);
        let declined = Arc::new(AtomicBool::new(false));
        let sender = SourceSender::new(Run {
            number,
            shared: Arc::clone(&self.shared),
            gate,
            declined: Arc::clone(&declined),
        });
        let source = Arc::clone(&self.source);
        let running = guarded(async move { source.start(sender).await });
        let running = async move {
            match running.await {
                Ok(result) => result.map_err(Fault::Error),
                Err(panic) => Err(Fault::Panicked(panic)),
            }
        };
        (number, declined, Box::pin(running))
    }

    fn spawn(&self, number: u64, running: Running) {
        let shared = Arc::clone(&self.shared);
        let run = async move {
            let result = running.await;
            shared.change(|state| state.returned(number, result));
        };
        let task = Task(tokio::spawn(run.instrument(Span::current())));
        let before = self.lock_task().replace(task);
        drop(before);
    }

    fn shut(&self) {
        let left = self.shared.change(state::State::close);
        drop(left);
    }

    fn take_task(&self) -> Option<Task> {
        self.lock_task().take()
    }

    fn lock_task(&self) -> std::sync::MutexGuard<'_, Option<Task>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shut();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
