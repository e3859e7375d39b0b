//! Trying again: what a failed attempt costs, told to whoever watches. Used by both loops and by the supervisor.

use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Backoff, Failure, FailureKind, Monitor, Retrying, monitor::Waiter};
use crate::config::spec;

/// How long an attempt that is under way may take after a stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long an attempt may take before whoever watches is told that it does, where it has no deadline of its own.
const LATE: Duration = Duration::from_secs(10);

/// The attempts at one step.
pub struct Attempts<'a> {
    step: &'static str,
    backoff: Backoff,
    monitor: &'a Monitor,
    /// Since there was something to wait for.
    waiter: Option<Waiter>,
    stop: &'a CancellationToken,
}

impl<'a> Attempts<'a> {
    /// `step` says in logs what is being tried, for example `send`.
    pub fn new(
        step: &'static str,
        backoff: spec::Backoff,
        monitor: &'a Monitor,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            step,
            backoff: Backoff::new(backoff),
            monitor,
            waiter: None,
            stop,
        }
    }

    /// Makes one attempt. After a stop it gets a moment more: who does not answer must not hold up the end.
    ///
    /// # Errors
    ///
    /// As the attempt, or [`FailureKind::Cancelled`].
    pub async fn make<T>(
        &self,
        attempt: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let over = async {
            self.stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        // On the heap: the loops are large futures already.
        let attempt = Box::pin(attempt);
        tokio::select! {
            biased;
            made = attempt => made,
            () = over => Err(Failure::new(FailureKind::Cancelled, format!("{}: no answer until the stop", self.step))),
        }
    }

    /// As [`Attempts::make`], for what must not be begun a second time while it may still be under way: after a while it tells what
    /// `is_late`, and goes on waiting.
    ///
    /// # Errors
    ///
    /// As of [`Attempts::make`].
    pub async fn make_patiently<T>(
        &self,
        attempt: impl Future<Output = Result<T, Failure>>,
        is_late: &str,
    ) -> Result<T, Failure> {
        let mut making = pin!(self.make(attempt));
        if let Ok(made) = timeout(LATE, &mut making).await {
            return made;
        }
        let _told = Late::tell(self.monitor, self.step, is_late);
        making.await
    }

    /// Waits until the next attempt.
    ///
    /// # Errors
    ///
    /// As of [`Attempts::delay`]; [`FailureKind::Cancelled`] when the connector is being stopped.
    pub async fn pause(&mut self, failure: Failure) -> Result<(), Failure> {
        let delay = self.delay(failure)?;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Failure::new(FailureKind::Cancelled, "stopped while trying again")),
            () = tokio::time::sleep(delay) => Ok(()),
        }
    }

    /// How long to wait before the next attempt. One that did not reach Iggy does not count.
    ///
    /// # Errors
    ///
    /// The failure itself when trying again is of no use; [`FailureKind::Exhausted`] after enough attempts.
    pub fn delay(&mut self, failure: Failure) -> Result<Duration, Failure> {
        if failure.kind == FailureKind::Cancelled {
            return Err(failure);
        }
        self.monitor.counters.error();
        let delay = match failure.kind {
            FailureKind::Transient => self.backoff.next(failure.retry_after),
            FailureKind::Unreachable => Some(self.backoff.uncounted(failure.retry_after)),
            _ => return Err(failure),
        };
        let Some(delay) = delay else {
            let message = format!(
                "given up after {} attempts: {}",
                self.count(),
                failure.message
            );
            return Err(Failure::new(FailureKind::Exhausted, message));
        };
        self.monitor.counters.retried();
        warn!(step = self.step, error = %failure, attempt = self.backoff.attempts(), retry_in = ?delay, "trying again");
        let waiter = *self.waiter.get_or_insert_with(|| self.monitor.waiter());
        let retrying = Retrying {
            reason: failure.message,
            next_attempt: SystemTime::now() + delay,
        };
        self.monitor.begin_wait(waiter, retrying);
        Ok(delay)
    }

    /// How many there have been, the one under way included.
    pub fn count(&self) -> u32 {
        self.backoff.attempts().saturating_add(1)
    }

    /// The step has succeeded.
    pub fn done(&mut self) {
        self.backoff.reset();
        if let Some(waiter) = self.waiter.take() {
            self.monitor.end_wait(waiter);
        }
    }
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        self.done();
    }
}

/// An attempt that takes long is shown until this is dropped.
struct Late<'a> {
    monitor: &'a Monitor,
    waiter: Waiter,
}

impl<'a> Late<'a> {
    fn tell(monitor: &'a Monitor, step: &'static str, is_late: &str) -> Self {
        let reason = format!(
            "{is_late}: no answer for {}",
            humantime::format_duration(LATE)
        );
        warn!(step, "{reason}");
        let waiter = monitor.waiter();
        // The attempt that is waited for is under way.
        let next_attempt = SystemTime::now();
        monitor.begin_wait(
            waiter,
            Retrying {
                reason,
                next_attempt,
            },
        );
        Self { monitor, waiter }
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.monitor.end_wait(self.waiter);
    }
}
