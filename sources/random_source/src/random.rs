//! Just enough randomness: [`Random`].

use std::hash::{BuildHasher, RandomState};

/// Letters and digits: 64 of them, so that six random bits choose one.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A SplitMix64 generator: quick, and random enough to look at.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// One whose numbers nobody can tell beforehand.
    pub(crate) fn new() -> Self {
        Self(RandomState::new().hash_one(0_u64))
    }

    /// The next 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `min` up to but not `max`; `min` when there is none.
    pub(crate) fn between(&mut self, min: u64, max: u64) -> u64 {
        let count = max.saturating_sub(min).max(1);
        min + self.bits() % count
    }

    /// Appends a text of so many letters.
    pub(crate) fn letters(&mut self, text: &mut String, length: usize) {
        let mut left = length;
        while left > 0 {
            let mut bits = self.bits();
            for _ in 0..left.min(10) {
                text.push(char::from(LETTERS[(bits & 63) as usize]));
                bits >>= 6;
            }
            left -= left.min(10);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_range_and_reach_all_of_it() {
        let mut random = Random::new();
        let mut seen = [false; 3];
        for _ in 0..1000 {
            seen[random.between(5, 8) as usize - 5] = true;
        }
        assert_eq!(seen, [true; 3]);
        assert_eq!(random.between(5, 6), 5);
        assert_eq!(random.between(5, 5), 5);
    }

    #[test]
    fn texts_have_their_length_and_differ() {
        let mut random = Random::new();
        for length in [0, 1, 10, 11, 100] {
            let (mut one, mut other) = (String::new(), String::new());
            random.letters(&mut one, length);
            random.letters(&mut other, length);
            assert_eq!((one.len(), other.len()), (length, length));
            assert!(length < 10 || one != other);
        }
    }
}
