//! When a lane's plugin is flushed, and the flush that is under way. A consume may complete only after a flush, so none is waited for
//! without one.

use std::{future::poll_fn, pin::Pin, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::calls::Waiting;
use crate::pipeline::{Attempts, Failure, FlushReason};

/// How long a plugin that takes one batch at a time is left alone with it, and how long a flush that has changed nothing is not
/// repeated.
pub(super) const GRACE: Duration = Duration::from_millis(100);

type Flush<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// The flushes of a lane, one at a time.
pub(super) struct Flusher<'a> {
    running: Option<(FlushReason, Flush<'a>)>,
    attempts: Attempts<'a>,
    /// How many calls had been begun before the last flush.
    covered: u64,
    last: Option<FlushReason>,
    rests_until: Option<Instant>,
}

/// A flush that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) reason: FlushReason,
    /// There is no time for another one.
    pub(super) is_last: bool,
}

/// What a flusher has to tell.
pub(super) enum Flushing {
    /// It is time for a flush.
    Due(FlushReason),
    Ended(FlushReason, Result<(), Failure>),
}

impl<'a> Flusher<'a> {
    pub(super) fn new(attempts: Attempts<'a>) -> Self {
        Self {
            running: None,
            attempts,
            covered: 0,
            last: None,
            rests_until: None,
        }
    }

    /// Waits until a flush is due, or until the one under way has ended. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, due: Option<(Due, Waiting)>) -> Flushing {
        if let Some((reason, flush)) = &mut self.running {
            let ended = poll_fn(|context| flush.as_mut().poll(context)).await;
            let reason = *reason;
            self.running = None;
            self.rests_until = Some(Instant::now() + GRACE);
            return Flushing::Ended(reason, ended);
        }
        let Some((due, first)) = due else {
            return std::future::pending().await;
        };
        let is_new = due.is_last && self.last != Some(due.reason);
        let is_repeated = first.number <= self.covered && !is_new;
        let rests_until = self.rests_until.filter(|_| is_repeated);
        sleep_until(rests_until.map_or(due.at, |rested| due.at.max(rested))).await;
        // What is there already comes first.
        yield_now().await;
        Flushing::Due(due.reason)
    }

    /// Begins a flush of everything that was handed over: `covered` calls.
    pub(super) fn begin(
        &mut self,
        reason: FlushReason,
        covered: u64,
        flush: impl Future<Output = Result<(), Failure>> + Send + 'a,
    ) {
        self.covered = covered;
        self.last = Some(reason);
        self.running = Some((reason, Box::pin(flush)));
    }

    /// Something was settled, or a flush went well.
    pub(super) fn progressed(&mut self) {
        self.attempts.done();
    }

    /// The flush has failed; the next one waits.
    ///
    /// # Errors
    ///
    /// As of [`Attempts::delay`].
    pub(super) fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        let delay = self.attempts.delay(failure)?;
        self.rests_until = Some(Instant::now() + delay);
        Ok(())
    }
}
