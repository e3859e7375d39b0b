//! How many failures a connector may have among its last messages before it stops, whatever the policies say.

use std::collections::VecDeque;

use crate::config::spec;

/// A window over the last messages of a connector.
#[derive(Debug)]
pub struct Tolerance {
    spec: spec::Tolerance,
    /// Batches in the window, oldest first.
    batches: VecDeque<Tally>,
    /// In all of them.
    messages: u64,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    messages: u64,
    failures: u64,
}

impl Tolerance {
    pub fn new(spec: spec::Tolerance) -> Self {
        Self {
            spec,
            batches: VecDeque::new(),
            messages: 0,
        }
    }

    /// Whether the connector may go on after a batch of `messages`, of which `failures` failed. Nothing is counted yet: it may come again.
    pub fn admits(&self, messages: usize, failures: usize) -> bool {
        if failures == 0 {
            return true;
        }
        let mut sum = Tally::of(messages, failures);
        for batch in self.batches.iter().rev() {
            if sum.messages >= self.spec.of_last {
                break;
            }
            sum.messages += batch.messages;
            sum.failures += batch.failures;
        }
        sum.failures <= self.spec.failures
    }

    /// Counts a batch that is settled.
    pub fn count(&mut self, messages: usize, failures: usize) {
        // Of empty batches there may be any number before the window moves on.
        if messages > 0 {
            let batch = Tally::of(messages, failures);
            self.batches.push_back(batch);
            self.messages += batch.messages;
            self.forget();
        }
    }

    /// Drops the oldest batches while the rest still fills the window.
    fn forget(&mut self) {
        while let Some(oldest) = self.batches.front().copied() {
            if self.messages - oldest.messages < self.spec.of_last {
                return;
            }
            self.batches.pop_front();
            self.messages -= oldest.messages;
        }
    }
}

impl Tally {
    fn of(messages: usize, failures: usize) -> Self {
        Self {
            messages: messages as u64,
            failures: failures as u64,
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

    impl Tolerance {
        fn takes(&mut self, messages: usize, failures: usize) -> bool {
            let is_admitted = self.admits(messages, failures);
            self.count(messages, failures);
            is_admitted
        }
    }

    #[test]
    fn as_many_failures_as_are_allowed_are_admitted() {
        let mut tolerance = tolerance();
        assert!(tolerance.takes(5, 1));
        assert!(tolerance.takes(4, 1));
        assert!(!tolerance.takes(1, 1));
    }

    #[test]
    fn failures_that_are_not_settled_are_not_counted() {
        let tolerance = tolerance();
        for _ in 0..10 {
            assert!(tolerance.admits(5, 2));
        }
    }

    #[test]
    fn empty_batches_take_no_memory() {
        let mut tolerance = tolerance();
        for _ in 0..1_000 {
            assert!(tolerance.takes(0, 0));
        }
        assert!(tolerance.batches.is_empty());
    }

    #[test]
    fn failures_outside_the_window_are_forgotten() {
        let mut tolerance = tolerance();
        assert!(tolerance.takes(5, 2));
        assert!(tolerance.takes(5, 0));
        assert!(tolerance.takes(5, 0));
        assert!(tolerance.takes(5, 2));
        assert_eq!(tolerance.batches.len(), 2);
    }

    #[test]
    fn one_batch_larger_than_the_window_is_judged_by_itself() {
        let mut tolerance = tolerance();
        assert!(tolerance.takes(1000, 2));
        assert!(!tolerance.takes(1000, 3));
        assert!(tolerance.takes(1000, 0));
    }
}
