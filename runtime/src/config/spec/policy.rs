//! What a connector does about slow calls and failures, resolved: deadlines, attempts, restarts, checks, and what becomes of messages that
//! cannot be delivered.

use std::time::Duration;

/// How long each call into a plugin may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    pub open: Duration,
    pub consume: Duration,
    /// `None`: a poll may wait; it is cancelled on stop.
    pub poll: Option<Duration>,
    pub close: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(30),
            consume: Duration::from_secs(5 * 60),
            poll: None,
            close: Duration::from_secs(10),
        }
    }
}

/// Growing waits between attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
    pub multiplier: f64,
    /// Share of each wait that is random, 0 to 1.
    pub jitter: f64,
    /// 0 = for ever. Of `[retry]` this bounds how often the other side may refuse the same messages: the plugin of a sink, Iggy for a
    /// source's messages and for dead letters. A broker out of reach, a poll, a save and a commit have no end.
    pub max_attempts: u32,
}

/// `[retry]`: 500ms to 30s, for ever.
impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            max: Duration::from_secs(30),
            multiplier: 2.0,
            jitter: 0.5,
            max_attempts: 0,
        }
    }
}

impl Backoff {
    /// The same waits, for what is never given up: the broker, the outside of a source, its state.
    pub fn without_end(self) -> Self {
        Self {
            max_attempts: 0,
            ..self
        }
    }
}

/// What happens after a connector failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Restart {
    /// `policy = "never"`: it stays in `error`.
    Never,
    /// `policy = "on_failure"`, the default: 1s to 1m, for ever.
    OnFailure(Backoff),
}

/// How a connector's health is checked: `[health]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// From the end of one check to the next.
    pub interval: Duration,
    /// A check that has not ended by then has failed.
    pub timeout: Duration,
    /// So many in a row make the connector unhealthy.
    pub failures: u32,
    pub action: HealthAction,
}

/// What is done about an unhealthy connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthAction {
    /// It is shown, and goes on.
    Report,
    /// It has failed: `[restart]` decides.
    Restart,
    /// It has failed for good.
    Stop,
}

/// What happens to messages that cannot be delivered: `[errors]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// That can never succeed. `Dlq` by default where there is a `[dlq]`.
    pub on_invalid: OnFailure,
    /// That were tried as often as `[retry]` allows.
    pub on_exhausted: OnFailure,
    pub tolerance: Tolerance,
}

/// What happens to one message that cannot be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The connector stops with its position kept.
    #[default]
    Stop,
    /// It is written to the dead-letter topic.
    Dlq,
    /// It is counted, logged and left behind.
    Skip,
}

/// Most failures among the last messages; beyond it the connector stops, whatever the policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    pub failures: u64,
    pub of_last: u64,
}

/// 100 of the last 1000.
impl Default for Tolerance {
    fn default() -> Self {
        Self {
            failures: 100,
            of_last: 1000,
        }
    }
}

/// Where dead letters go: `[dlq]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dlq {
    pub stream: String,
    pub topic: String,
}
