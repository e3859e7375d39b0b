//! What is compared: the numbers that must have arrived, and those that did. It knows nothing of how they came there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::harness::ledger::Entry;

/// How a comparison ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub ids: u64,
    pub missing: Vec<String>,
    /// How many came again.
    pub duplicated: u64,
    /// How far one death has taken the sequence of a partition back, at most; 0 where nobody has looked.
    pub at_once: u64,
}

impl Verdict {
    /// Compares what should have come with what came.
    pub fn of<T: Ord + std::fmt::Debug>(
        expected: impl IntoIterator<Item = T>,
        came: impl IntoIterator<Item = T>,
    ) -> Self {
        let (mut unique, mut total) = (BTreeSet::new(), 0_u64);
        for id in came {
            unique.insert(id);
            total += 1;
        }
        let (mut ids, mut missing) = (0, Vec::new());
        for id in expected {
            ids += 1;
            if !unique.contains(&id) {
                missing.push(format!("{id:?}"));
            }
        }
        Self {
            ids,
            missing,
            duplicated: total - unique.len() as u64,
            at_once: 0,
        }
    }

    /// With the sequences of the partitions that it was made of.
    pub fn in_partitions<S: IntoIterator<Item = u64>>(
        self,
        sequences: impl IntoIterator<Item = S>,
    ) -> Self {
        let at_once = sequences.into_iter().map(rewound).max().unwrap_or(0);
        Self { at_once, ..self }
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.ids += other.ids;
        self.missing.extend(other.missing);
        self.duplicated += other.duplicated;
        self.at_once = self.at_once.max(other.at_once);
        self
    }
}

/// How far a sequence falls back behind the furthest that came before, at most. Whoever dies and begins again where it had saved
/// falls back by what it had done since; how often it does so plays no part.
fn rewound(sequence: impl IntoIterator<Item = u64>) -> u64 {
    let (mut furthest, mut longest) = (None, 0);
    for number in sequence {
        let behind = furthest.map_or(0, |furthest: u64| (furthest + 1).saturating_sub(number));
        longest = longest.max(behind);
        furthest = furthest.max(Some(number));
    }
    longest
}

/// Fails when a partition's messages came in another order than they stand in it, repetitions left out.
pub fn assert_ordered(entries: &[Entry]) {
    let mut last: HashMap<(&str, u32), u64> = HashMap::new();
    let mut seen = BTreeSet::new();
    for entry in entries {
        let place = (&*entry.topic, entry.partition);
        if !seen.insert((place, entry.offset)) {
            continue;
        }
        let before = last.insert(place, entry.offset);
        assert!(
            before < Some(entry.offset),
            "{entry:?} came after {before:?}"
        );
    }
}

/// How far each partition was delivered without a gap: the first offset that is missing.
pub fn delivered(entries: &[Entry]) -> BTreeMap<u32, u64> {
    let mut offsets: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    for entry in entries {
        offsets
            .entry(entry.partition)
            .or_default()
            .insert(entry.offset);
    }
    let gap = |offsets: BTreeSet<u64>| {
        let mut rising = (0..).zip(offsets);
        rising
            .find(|(expected, offset)| expected != offset)
            .map(|(expected, _)| expected)
    };
    offsets
        .into_iter()
        .map(|(partition, offsets)| {
            let count = offsets.len() as u64;
            (partition, gap(offsets).unwrap_or(count))
        })
        .collect()
}

#[test]
fn the_oracle_names_what_is_missing_and_counts_what_came_twice() {
    let verdict = Verdict::of(0..5, [0, 1, 1, 1, 4]);
    assert_eq!(verdict.ids, 5);
    assert_eq!(verdict.missing, ["2", "3"]);
    assert_eq!(verdict.duplicated, 2);
}

#[test]
fn the_oracle_measures_how_much_came_again_at_once() {
    assert_eq!(rewound([0, 1, 2, 5, 6]), 0);
    assert_eq!(rewound([0, 1, 2, 2, 3]), 1);
    // Twice from the same place: the second time it had not come as far.
    assert_eq!(rewound([0, 1, 2, 3, 4, 2, 3, 2, 3, 4, 5]), 3);
    let verdict = Verdict::of(0..3, [0, 1, 2, 1, 2]).in_partitions([vec![0, 2, 2], vec![1, 1]]);
    assert_eq!((verdict.duplicated, verdict.at_once), (2, 1));
}

#[test]
#[should_panic(expected = "came after")]
fn the_oracle_notices_a_wrong_order() {
    let at = |offset| Entry {
        topic: "t".to_owned(),
        partition: 0,
        offset,
        id: offset.to_string(),
        writer: String::new(),
    };
    assert_ordered(&[at(0), at(2), at(0), at(1)]);
}
