//! How long an activation may take, and what each part of it gets of that: [`Budget`]. The connector's task holds to it, and so does
//! whoever waits for its answer.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::spec::Deadlines;

/// No sum of deadlines is longer.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What is kept for the last parts, from the end: the most of each, and the part of the whole that it is at most.
const REPLY: (Duration, u32) = (Duration::from_millis(200), 20);
const SETTLE: (Duration, u32) = (Duration::from_secs(1), 10);
const RECORD: (Duration, u32) = (Duration::from_secs(2), 5);
const SWAP: (Duration, u32) = (Duration::from_millis(500), 10);

/// The most that the recording of a choice gets, however much is left: the connector stands still meanwhile, and who keeps the choice
/// cannot hold up the flow.
const RECORD_MOST: Duration = Duration::from_secs(5);

/// The time from a request to its answer: as long as the version that a connector has may take to close, and the other to open.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    asked: Instant,
    whole: Duration,
}

impl Budget {
    pub fn new(asked: Instant, old: &Deadlines, new: &Deadlines) -> Self {
        let whole = old.close.saturating_add(new.open);
        Self {
            asked,
            whole: whole.min(LONGEST),
        }
    }

    /// The whole, in words.
    pub fn in_words(&self) -> String {
        format!(
            "{}, its `close_timeout` and `open_timeout`",
            humantime::format_duration(self.whole)
        )
    }

    /// The answer is on its way.
    pub fn replies(&self) -> Instant {
        self.before_the_end(&[REPLY])
    }

    /// Until then the answer waits for what was recorded in vain to be taken back, when that begins now. It is gone on with in any case.
    pub fn settled(&self) -> Instant {
        self.replies().min(Instant::now() + SETTLE.0)
    }

    /// The version is activated or not, for good.
    pub(super) fn decided(&self) -> Instant {
        self.before_the_end(&[REPLY, SETTLE])
    }

    /// The other version is open, and nothing of the old one is in flight.
    pub fn ready(&self) -> Instant {
        self.before_the_end(&[REPLY, SETTLE, RECORD])
    }

    /// What is in flight has ended, or is given up, when this is to begin now.
    pub(super) fn drained(&self, close: Duration) -> Instant {
        let now = Instant::now();
        let latest = self.before_the_end(&[REPLY, SETTLE, RECORD, SWAP]);
        now.checked_add(close)
            .map_or(latest, |drained| drained.min(latest))
    }

    /// How long the choice may take to be recorded, in whole milliseconds, for people.
    pub(super) fn recording(&self) -> Duration {
        let left = self.decided().saturating_duration_since(Instant::now());
        let left = left.min(RECORD_MOST);
        left - Duration::from_nanos(u64::from(left.subsec_nanos() % 1_000_000))
    }

    fn before_the_end(&self, kept: &[(Duration, u32)]) -> Instant {
        let kept = kept.iter();
        let kept: Duration = kept
            .map(|(most, part)| (*most).min(self.whole / *part))
            .sum();
        self.asked + (self.whole - kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whatever_the_deadlines_are_each_part_has_time_and_all_of_them_together_no_more_than_the_sum()
     {
        let asked = Instant::now();
        for close in [1, 100, 1_000, 10_000, 3_600_000, u64::MAX] {
            for open in [1, 100, 1_000, 30_000, 3_600_000, u64::MAX] {
                let [old, new] = [close, open].map(|time| Deadlines {
                    close: Duration::from_millis(time),
                    open: Duration::from_millis(time),
                    ..Deadlines::default()
                });
                let budget = Budget::new(asked, &old, &new);
                let sum = old.close.saturating_add(new.open);
                let parts = [
                    asked,
                    budget.drained(Duration::MAX),
                    budget.ready(),
                    budget.decided(),
                    budget.replies(),
                    asked + sum.min(LONGEST),
                ];
                assert!(
                    parts.windows(2).all(|two| two[0] < two[1]),
                    "{budget:?}: {parts:?}"
                );
                assert!(budget.recording() <= RECORD_MOST);
            }
        }
    }
}
