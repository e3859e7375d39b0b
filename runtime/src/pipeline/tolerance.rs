//! How many failures a connector may have among its last messages before it stops, whatever the policies say.

use std::collections::VecDeque;

use crate::config::spec;

/// A window over the last messages of a connector.
#[derive(Debug)]
pub struct Tolerance {
    spec: spec::Tolerance,
    /// Batches in the window, oldest first.
    batches: VecDeque<Tally>,
    sum: Tally,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    messages: u64,
    failures: u64,
}

impl Tolerance {
    pub fn new(spec: spec::Tolerance) -> Self {
        Self {
            spec,
            batches: VecDeque::new(),
            sum: Tally::default(),
        }
    }

    /// Counts a batch of `messages`, of which `failures` failed. Whether the connector may go on.
    pub fn admits(&mut self, messages: usize, failures: usize) -> bool {
        // Of empty batches there may be any number before the window moves on.
        if messages > 0 {
            let batch = Tally {
                messages: messages as u64,
                failures: failures as u64,
            };
            self.batches.push_back(batch);
            self.sum.messages += batch.messages;
            self.sum.failures += batch.failures;
            self.forget();
        }
        self.sum.failures <= self.spec.failures
    }

    /// Drops the oldest batches while the rest still fills the window.
    fn forget(&mut self) {
        while let Some(oldest) = self.batches.front().copied() {
            if self.sum.messages - oldest.messages < self.spec.of_last {
                return;
            }
            self.batches.pop_front();
            self.sum.messages -= oldest.messages;
            self.sum.failures -= oldest.failures;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tolerance() -> Tolerance {
        Tolerance::new(spec::Tolerance {
            failures: 2,
            of_last: 10,
        })
    }

    #[test]
    fn as_many_failures_as_are_allowed_are_admitted() {
        let mut tolerance = tolerance();
        assert!(tolerance.admits(5, 1));
        assert!(tolerance.admits(5, 1));
        assert!(!tolerance.admits(1, 1));
    }

    #[test]
    fn empty_batches_take_no_memory() {
        let mut tolerance = tolerance();
        for _ in 0..1_000 {
            assert!(tolerance.admits(0, 0));
        }
        assert!(tolerance.batches.is_empty());
    }

    #[test]
    fn failures_outside_the_window_are_forgotten() {
        let mut tolerance = tolerance();
        assert!(tolerance.admits(5, 2));
        assert!(tolerance.admits(5, 0));
        assert!(tolerance.admits(5, 0));
        assert!(tolerance.admits(5, 2));
    }

    #[test]
    fn one_batch_larger_than_the_window_is_judged_by_itself() {
        let mut tolerance = tolerance();
        assert!(tolerance.admits(1000, 2));
        assert!(!tolerance.admits(1000, 3));
        assert!(tolerance.admits(1000, 0));
    }
}
