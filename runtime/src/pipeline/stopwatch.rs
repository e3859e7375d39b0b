//! How long each stage of a batch takes. One [`Stopwatch`] travels with a batch; when the batch is settled it adds to the connector's
//! [`Durations`], ends the batch's trace, and with `benchmark = true` writes an event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{Span, field, info, info_span};

use super::{
    Monitor,
    histogram::{Distribution, Histogram},
};

/// A part of a batch's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Decode,
    /// Transforms and encoding, and the choice of targets.
    Prepare,
    /// In the plugin: a sink's `consume`, a source's `poll`.
    Ffi,
    /// Until Iggy has confirmed, all attempts together.
    IggySend,
    StateSave,
    /// From the batch's arrival until it is settled.
    Total,
}

impl Stage {
    /// In the order in which [`Durations`] keeps them.
    pub const ALL: [Self; 6] = [
        Self::Decode,
        Self::Prepare,
        Self::Ffi,
        Self::IggySend,
        Self::StateSave,
        Self::Total,
    ];

    /// The stage as metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Prepare => "prepare",
            Self::Ffi => "ffi",
            Self::IggySend => "iggy_send",
            Self::StateSave => "state_save",
            Self::Total => "total",
        }
    }
}

/// Bounds of durations, in ns: 10 µs to 30 s.
static BOUNDS: [u64; 14] = [
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// Bounds of batch sizes, in messages.
static SIZES: [u64; 8] = [1, 10, 50, 100, 500, 1000, 5000, 10_000];

/// How long batches took by stage, and how large they were.
#[derive(Debug)]
pub struct Durations {
    /// In ns.
    stages: [Histogram<{ BOUNDS.len() }>; Stage::ALL.len()],
    messages: Histogram<{ SIZES.len() }>,
    /// In ns.
    commits: Histogram<{ BOUNDS.len() }>,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            stages: std::array::from_fn(|_| Histogram::new(&BOUNDS)),
            messages: Histogram::new(&SIZES),
            commits: Histogram::new(&BOUNDS),
        }
    }
}

impl Durations {
    /// What batches spent in a stage, in ns. A batch that did not pass it is not counted.
    pub fn of(&self, stage: Stage) -> Distribution {
        self.stages[stage as usize].read()
    }

    /// How long what was settled waited until its offset was stored, in ns.
    pub fn commits(&self) -> Distribution {
        self.commits.read()
    }

    pub(super) fn committed(&self, after: Duration) {
        self.commits.add(nanos(after));
    }

    /// Messages of a batch.
    pub fn messages(&self) -> Distribution {
        self.messages.read()
    }
}

/// The times of one batch so far.
pub(super) struct Stopwatch {
    started: Instant,
    spent: [Duration; Stage::ALL.len()],
    /// For traces only; it is no part of the logs.
    span: Span,
    /// Counts the batch as long as this exists.
    in_flight: Arc<AtomicU64>,
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stopwatch {
    pub(super) fn start(monitor: &Monitor) -> Self {
        let in_flight = monitor.in_flight.clone();
        in_flight.fetch_add(1, Ordering::Relaxed);
        let span = info_span!(
            target: "iggy_connectors::trace",
            "batch",
            connector.key = field::Empty,
            connector.r#type = field::Empty,
            messages = field::Empty,
            decode_us = field::Empty,
            prepare_us = field::Empty,
            ffi_us = field::Empty,
            iggy_send_us = field::Empty,
            state_save_us = field::Empty,
        );
        Self {
            started: Instant::now(),
            spent: Default::default(),
            span,
            in_flight,
        }
    }

    /// Adds to what the batch has spent in a stage.
    pub(super) fn add(&mut self, stage: Stage, spent: Duration) {
        self.spent[stage as usize] += spent;
    }

    /// The batch is settled. Returns how long it took in all.
    pub(super) fn finish(
        &mut self,
        messages: usize,
        monitor: &Monitor,
        is_benchmark: bool,
    ) -> Duration {
        let total = self.started.elapsed();
        self.add(Stage::Total, total);
        monitor.durations.messages.add(messages as u64);
        for (histogram, spent) in monitor.durations.stages.iter().zip(self.spent) {
            if !spent.is_zero() {
                histogram.add(nanos(spent));
            }
        }
        self.trace(messages, monitor);
        if is_benchmark {
            info!(
                target: "iggy_connectors::benchmark",
                messages,
                decode_us = self.micros(Stage::Decode),
                prepare_us = self.micros(Stage::Prepare),
                ffi_us = self.micros(Stage::Ffi),
                iggy_send_us = self.micros(Stage::IggySend),
                state_save_us = self.micros(Stage::StateSave),
                total_us = self.micros(Stage::Total),
                "batch"
            );
        }
        total
    }

    fn trace(&self, messages: usize, monitor: &Monitor) {
        if self.span.is_disabled() {
            return;
        }
        self.span.record("connector.key", &*monitor.key);
        self.span.record("connector.type", monitor.direction);
        self.span.record("messages", messages);
        for (field, stage) in [
            ("decode_us", Stage::Decode),
            ("prepare_us", Stage::Prepare),
            ("ffi_us", Stage::Ffi),
            ("iggy_send_us", Stage::IggySend),
            ("state_save_us", Stage::StateSave),
        ] {
            self.span.record(field, self.micros(stage));
        }
    }

    fn micros(&self, stage: Stage) -> u64 {
        u64::try_from(self.spent[stage as usize].as_micros()).unwrap_or(u64::MAX)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
