//! What a pipeline lets others see while it runs: counts, and whether it is retrying.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::{Gauge, stopwatch::Durations};
use crate::config::spec::Direction;

/// As a lag.
const UNKNOWN: u64 = u64::MAX;

/// Running counts of one connector, since the daemon started.
#[derive(Debug, Default)]
pub struct Counters {
    produced: AtomicU64,
    sent: AtomicU64,
    consumed: AtomicU64,
    processed: AtomicU64,
    filtered: AtomicU64,
    failed: AtomicU64,
    dead_lettered: AtomicU64,
    expired: AtomicU64,
    errors: AtomicU64,
    retries: AtomicU64,
    restarts: AtomicU64,
    /// All that came from Iggy or from the plugin, what was taken back included: it only grows.
    received: AtomicU64,
    bytes: AtomicU64,
    /// `failed` by stage and code.
    failures: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

/// A reading of [`Counters`].
///
/// At rest `consumed = processed + filtered + failed` for a sink and `produced = sent + filtered + failed` for a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Polled from the plugin (sources).
    pub produced: u64,
    /// Confirmed by Iggy (sources).
    pub sent: u64,
    /// Received from Iggy (sinks).
    pub consumed: u64,
    /// Delivered (sinks).
    pub processed: u64,
    pub filtered: u64,
    /// Skipped or dead-lettered.
    pub failed: u64,
    /// Those of `failed` that stand in the dead-letter topic.
    pub dead_lettered: u64,
    /// Dropped by Iggy before they were read (sinks); not part of `consumed`.
    pub expired: u64,
    /// Attempts and batches that did not succeed.
    pub errors: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Starts after a failure.
    pub restarts: u64,
    /// What came from Iggy or from the plugin, each time that it came.
    pub received: u64,
    /// Payloads that came from Iggy or from the plugin.
    pub bytes: u64,
}

impl Counts {
    /// Whether anything has been settled since `before`.
    pub fn progressed(&self, before: &Self) -> bool {
        let settled =
            |counts: &Self| counts.sent + counts.processed + counts.filtered + counts.failed;
        settled(self) > settled(before)
    }
}

impl Counters {
    pub fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // What leaves is read before what entered, so that a reading in mid-flow never shows more out than in.
        let (sent, processed) = (read(&self.sent), read(&self.processed));
        let (filtered, failed) = (read(&self.filtered), read(&self.failed));
        Counts {
            produced: read(&self.produced),
            sent,
            consumed: read(&self.consumed),
            processed,
            filtered,
            failed,
            dead_lettered: read(&self.dead_lettered),
            expired: read(&self.expired),
            errors: read(&self.errors),
            retries: read(&self.retries),
            restarts: read(&self.restarts),
            received: read(&self.received),
            bytes: read(&self.bytes),
        }
    }

    pub(super) fn produced(&self, messages: usize) {
        add(&self.produced, messages);
        add(&self.received, messages);
    }

    pub(super) fn sent(&self, messages: usize) {
        add(&self.sent, messages);
    }

    pub(super) fn consumed(&self, messages: usize) {
        add(&self.consumed, messages);
        add(&self.received, messages);
    }

    /// Takes back what was received and given up before it was settled: it will be received again.
    pub(super) fn unconsumed(&self, messages: usize) {
        self.consumed.fetch_sub(messages as u64, Ordering::Relaxed);
    }

    /// As [`Counters::unconsumed`], for what was polled and nacked.
    pub(super) fn unproduced(&self, messages: usize) {
        self.produced.fetch_sub(messages as u64, Ordering::Relaxed);
    }

    pub(super) fn processed(&self, messages: usize) {
        add(&self.processed, messages);
    }

    pub(super) fn filtered(&self, messages: usize) {
        add(&self.filtered, messages);
    }

    pub(super) fn failed(&self, messages: usize) {
        add(&self.failed, messages);
    }

    /// Says of one message of `failed` where and why.
    pub(super) fn failed_at(&self, stage: &'static str, code: &'static str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry((stage, code)).or_default() += 1;
    }

    /// How many messages failed, by stage and code.
    pub fn failures(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let failures = self.failures.lock();
        failures.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn retried(&self) {
        add(&self.retries, 1);
    }

    /// Counted by the supervisor.
    pub fn restarted(&self) {
        add(&self.restarts, 1);
    }

    pub(super) fn bytes(&self, bytes: usize) {
        add(&self.bytes, bytes);
    }

    pub(super) fn dead_lettered(&self, messages: usize) {
        add(&self.dead_lettered, messages);
    }

    pub(super) fn expired(&self, messages: u64) {
        self.expired.fetch_add(messages, Ordering::Relaxed);
    }

    /// Also counted by the supervisor, for what goes wrong outside the loops.
    pub fn error(&self) {
        add(&self.errors, 1);
    }
}

fn add(counter: &AtomicU64, messages: usize) {
    counter.fetch_add(messages as u64, Ordering::Relaxed);
}

/// Why a pipeline is waiting to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retrying {
    pub reason: String,
    pub next_attempt: SystemTime,
}

/// What a pipeline reports to: shared with the connector's task, which alone decides what the status is.
#[derive(Debug)]
pub struct Monitor {
    pub counters: Counters,
    pub durations: Durations,
    /// Batches that have arrived and are not settled.
    pub(super) in_flight: Arc<AtomicU64>,
    /// Messages at Iggy that are not settled; [`UNKNOWN`] when that is not known.
    lag: AtomicU64,
    /// Whose it is, as traces say it.
    pub(super) key: Arc<str>,
    pub(super) direction: &'static str,
    /// What waits for another attempt, by who waits. Several steps may at the same time.
    waits: Mutex<BTreeMap<Waiter, Retrying>>,
    /// The one of `waits` that ends first.
    retrying: watch::Sender<Option<Retrying>>,
    waiters: AtomicU64,
}

/// Who waits for another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiter(u64);

impl Monitor {
    pub fn new(direction: Direction, key: Arc<str>) -> Self {
        Self {
            counters: Counters::default(),
            durations: Durations::default(),
            in_flight: Arc::default(),
            lag: AtomicU64::new(UNKNOWN),
            key,
            direction: direction.name(),
            waits: Mutex::default(),
            retrying: watch::channel(None).0,
            waiters: AtomicU64::default(),
        }
    }

    /// Changes whenever the pipeline begins or ends retrying. Of several steps that wait, it shows the one that is tried again first.
    pub fn retrying(&self) -> watch::Receiver<Option<Retrying>> {
        self.retrying.subscribe()
    }

    /// Batches that have arrived and are not settled.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Messages at Iggy that a sink has not settled, as far as it knows.
    pub fn lag(&self) -> Option<u64> {
        let lag = self.lag.load(Ordering::Relaxed);
        (lag != UNKNOWN).then_some(lag)
    }

    /// Nobody looks any more how far it lags behind. Called by the supervisor.
    pub fn forget_lag(&self) {
        self.lag.store(UNKNOWN, Ordering::Relaxed);
    }

    /// A name for a step that may have to wait.
    pub(super) fn waiter(&self) -> Waiter {
        Waiter(self.waiters.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn begin_wait(&self, waiter: Waiter, retrying: Retrying) {
        self.change_waits(|waits| drop(waits.insert(waiter, retrying)));
    }

    pub(super) fn end_wait(&self, waiter: Waiter) {
        self.change_waits(|waits| drop(waits.remove(&waiter)));
    }

    /// Nothing waits any more. Called by the supervisor when it has a connection, and when a pipeline has ended while it waited.
    pub fn end_retry(&self) {
        self.change_waits(BTreeMap::clear);
    }

    /// Tells what is shown as it changes, in the order of the changes.
    fn change_waits(&self, change: impl FnOnce(&mut BTreeMap<Waiter, Retrying>)) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut waits);
        let first = waits.values().min_by_key(|retrying| retrying.next_attempt);
        self.retrying.send_if_modified(|shown| {
            let is_other = shown.as_ref() != first;
            if is_other {
                *shown = first.cloned();
            }
            is_other
        });
    }
}

impl Gauge for Monitor {
    fn behind(&self, messages: u64) {
        self.lag.store(messages.min(UNKNOWN - 1), Ordering::Relaxed);
    }

    fn stored(&self, after: Duration) {
        self.durations.committed(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_was_received_all_the_same() {
        let counters = Counters::default();
        counters.consumed(10);
        counters.unconsumed(4);
        counters.consumed(4);
        let counts = counters.read();
        assert_eq!((counts.consumed, counts.received), (10, 14));
    }

    #[test]
    fn what_still_waits_is_shown_after_another_step_has_succeeded() {
        let monitor = Monitor::new(Direction::Sink, "a".into());
        let shown = monitor.retrying();
        let reason = || shown.borrow().as_ref().map(|wait| wait.reason.clone());
        let wait = |reason: &str, seconds| Retrying {
            reason: reason.to_owned(),
            next_attempt: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        };
        let (long, short) = (monitor.waiter(), monitor.waiter());
        monitor.begin_wait(long, wait("long", 60));
        monitor.begin_wait(short, wait("short", 1));
        assert_eq!(reason().as_deref(), Some("short"));
        monitor.end_wait(short);
        assert_eq!(reason().as_deref(), Some("long"));
        monitor.end_wait(long);
        assert_eq!(reason(), None);
        monitor.begin_wait(short, wait("short", 2));
        monitor.end_retry();
        assert_eq!(reason(), None);
    }
}
