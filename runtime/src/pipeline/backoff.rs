//! Growing waits between attempts, for whoever tries again: the two loops and the supervisor.

use std::time::Duration;

use crate::config::spec;

/// Counts attempts and says how long to wait before the next one.
#[derive(Debug)]
pub struct Backoff {
    spec: spec::Backoff,
    attempts: u32,
    /// Those of `attempts` that `max_attempts` bounds.
    counted: u32,
}

impl Backoff {
    pub fn new(spec: spec::Backoff) -> Self {
        Self {
            spec,
            attempts: 0,
            counted: 0,
        }
    }

    /// The wait before the next attempt, or `None` when there have been enough. A wait that the other side asked for is kept
    /// when it is longer.
    pub fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.spec.max_attempts > 0 && self.counted >= self.spec.max_attempts {
            return None;
        }
        self.counted = self.counted.saturating_add(1);
        Some(self.uncounted(asked))
    }

    /// As [`Backoff::next`] for an attempt that does not count: there is always another one.
    pub fn uncounted(&mut self, asked: Option<Duration>) -> Duration {
        let exponent = i32::try_from(self.attempts).unwrap_or(i32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let seconds = self.spec.initial.as_secs_f64() * self.spec.multiplier.powi(exponent);
        let bounded = Duration::try_from_secs_f64(seconds)
            .map_or(self.spec.max, |delay| delay.min(self.spec.max));
        let spread = self.spec.jitter * (2.0 * random_share() - 1.0);
        let delay = bounded.mul_f64((1.0 + spread).max(0.0)).min(self.spec.max);
        asked.map_or(delay, |asked| asked.max(delay))
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
        self.counted = 0;
    }

    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// A random number from 0 to 1, drawn from a version 4 UUID: no other part of the daemon needs a random generator.
fn random_share() -> f64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    f64::from((high >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(max_attempts: u32, jitter: f64) -> Backoff {
        Backoff::new(spec::Backoff {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(1),
            multiplier: 2.0,
            jitter,
            max_attempts,
        })
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = backoff(0, 0.0);
        let waits: Vec<_> = (0..6)
            .map(|_| backoff.next(None).unwrap().as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn attempts_end_when_they_are_counted() {
        let mut backoff = backoff(2, 0.0);
        assert!(backoff.next(None).is_some());
        assert!(backoff.next(None).is_some());
        assert_eq!(backoff.next(None), None);
        backoff.reset();
        assert!(backoff.next(None).is_some());
    }

    #[test]
    fn attempts_that_do_not_count_never_end_and_leave_the_others_theirs() {
        let mut backoff = backoff(1, 0.0);
        let waits: Vec<_> = (0..3)
            .map(|_| backoff.uncounted(None).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400]);
        assert!(backoff.next(None).is_some());
        assert_eq!(backoff.next(None), None);
        assert_eq!(backoff.uncounted(None).as_millis(), 1000);
        assert_eq!(backoff.attempts(), 5);
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept() {
        let asked = Duration::from_secs(60);
        assert_eq!(backoff(0, 0.0).next(Some(asked)), Some(asked));
    }

    #[test]
    fn jitter_stays_within_its_share() {
        for _ in 0..100 {
            let wait = backoff(0, 0.5).next(None).unwrap().as_millis();
            assert!((50..=150).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn jitter_adds_nothing_to_the_longest_wait() {
        let mut backoff = backoff(0, 0.5);
        for _ in 0..100 {
            let wait = backoff.next(None).unwrap();
            assert!(wait <= Duration::from_secs(1), "{wait:?}");
        }
    }

    #[test]
    fn very_many_attempts_do_not_overflow() {
        let mut backoff = backoff(0, 0.0);
        backoff.attempts = u32::MAX;
        assert_eq!(backoff.next(None), Some(Duration::from_secs(1)));
    }
}
