//! A histogram that any thread may add to without waiting: fixed bounds, counts that only grow. [`super::Monitor`] holds them, the
//! metrics read them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of values up to each of `N` bounds.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    /// By bound, not cumulative.
    counts: [AtomicU64; N],
    /// Of all values, those above the last bound included.
    count: AtomicU64,
    sum: AtomicU64,
}

/// A reading of a [`Histogram`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    pub count: u64,
    pub sum: u64,
    /// Each bound with the number of values up to it and above the bound before.
    pub buckets: Vec<(u64, u64)>,
}

impl<const N: usize> Histogram<N> {
    /// `bounds` rise.
    pub const fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            counts: [const { AtomicU64::new(0) }; N],
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    pub fn add(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A reading in mid-flow may miss what is being added, and never counts more in the buckets than in all.
    pub fn read(&self) -> Distribution {
        let counts = self.counts.each_ref();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        let inside: u64 = counts.iter().sum();
        Distribution {
            count: self.count.load(Ordering::Relaxed).max(inside),
            sum: self.sum.load(Ordering::Relaxed),
            buckets: self.bounds.iter().copied().zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&[10, 100]);
        for value in [0, 10, 11, 100, 101] {
            histogram.add(value);
        }
        assert_eq!(
            histogram.read(),
            Distribution {
                count: 5,
                sum: 222,
                buckets: vec![(10, 2), (100, 2)]
            }
        );
    }
}
