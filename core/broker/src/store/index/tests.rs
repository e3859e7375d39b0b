//! The promises that readers rely on, for batches of all sizes.

use proptest::prelude::*;

use super::*;

struct Batch {
    entry: Entry,
    length: u64,
}

fn batches(lengths: &[u64]) -> Vec<Batch> {
    let mut position = 0;
    let batch = |(number, length): (u64, &u64)| {
        let entry = Entry {
            offset: number * 10,
            timestamp: number / 3,
            position,
        };
        position += length;
        Batch {
            entry,
            length: *length,
        }
    };
    (0..).zip(lengths).map(batch).collect()
}

fn index(batches: &[Batch]) -> Index {
    let mut index = Index::default();
    for batch in batches {
        index.note(batch.entry, batch.length);
    }
    index
}

fn lengths() -> impl Strategy<Value = Vec<u64>> {
    let length = prop_oneof![4 => 300..2_000u64, 2 => 2_000..30_000u64, 1 => 30_000..200_000u64];
    prop::collection::vec(length, 1..200)
}

proptest! {
    #[test]
    fn entries_lie_close_before_every_batch(lengths in lengths(), thinned in any::<bool>()) {
        let batches = batches(&lengths);
        let mut index = index(&batches);
        let gap = if thinned {
            index.thin();
            REACH
        } else {
            GAP
        };
        for batch in &batches {
            let wanted = batch.entry;
            let before = index.at_or_before(wanted.offset + 9).unwrap();
            prop_assert!(before.position <= wanted.position);
            prop_assert!(wanted.position - before.position < gap, "read in vain before {wanted:?}");
            if let Some(after) = index.at_or_after(wanted.offset + 10) {
                let end = wanted.position + batch.length;
                prop_assert!(after.position >= end);
                prop_assert!(after.position - end < 2 * gap, "read in vain behind {wanted:?}");
            }
            let older = index.older_than(wanted.timestamp).unwrap();
            prop_assert!(older.position == 0 || older.timestamp < wanted.timestamp);
        }
    }

    #[test]
    fn the_persisted_form_comes_back(lengths in lengths()) {
        let index = index(&batches(&lengths));
        let summary = Summary { base: 1, next: 2, size: 3, newest: 4 };
        let bytes = index.encode(summary);
        prop_assert_eq!(Index::decode(&bytes), Some((index, summary)));
    }

    #[test]
    fn a_damaged_persisted_form_is_refused(place in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let index = index(&batches(&[20_000, 20_000, 20_000]));
        let mut bytes = index.encode(Summary { base: 1, next: 2, size: 3, newest: 4 });
        let place = place.index(bytes.len());
        match cut {
            true => bytes.truncate(place),
            false => bytes[place] ^= 1,
        }
        prop_assert_eq!(Index::decode(&bytes), None);
    }
}
