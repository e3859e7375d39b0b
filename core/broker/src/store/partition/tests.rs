//! A partition against a plain list: what was appended is what is read, also after the files were opened
//! anew, rolled, trimmed or torn.

use iggy_common::IggyError;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    super::{
        batch::{admit, cut, tests::encoded},
        offsets::Key,
    },
    *,
};

fn settings(directory: &Path, segment_size: u64) -> Settings {
    Settings {
        partition: 0,
        directory: directory.join("log"),
        segment_size,
        sync_appends: false,
        sync_offsets: false,
        arrivals: Arc::default(),
    }
}

fn append(partition: &Partition, payloads: &[Vec<u8>]) -> u64 {
    let mut bytes = encoded(payloads);
    partition.append(&mut admit(&mut bytes).unwrap()).unwrap()
}

fn read(partition: &Partition, start: u64, count: u32) -> Vec<(u64, usize)> {
    let plan = partition.plan(start, count);
    let mut buffer = vec![0; plan.length];
    plan.read(&mut buffer).unwrap();
    let cut = cut(&mut buffer, plan.wanted).unwrap();
    let mut body = vec![0; 16];
    body.extend_from_slice(&buffer[cut.start..cut.end]);
    let decoded =
        iggy_binary_protocol::responses::messages::PollMessagesResponse::decode(&body).unwrap();
    let message = |message: Result<
        iggy_binary_protocol::responses::messages::poll_messages::PolledMessageView<'_>,
        _,
    >| {
        let message = message.unwrap();
        (message.offset, message.payload.len())
    };
    decoded.messages.map(message).collect()
}

fn last_segment(directory: &Path) -> PathBuf {
    let bases = segment::list(&directory.join("log")).unwrap();
    directory
        .join("log")
        .join(format!("{:020}.log", bases.last().unwrap()))
}

#[test]
fn an_empty_partition_has_no_files_and_no_messages() {
    let directory = TempDir::new().unwrap();
    let partition = Partition::create(settings(directory.path(), 1000));
    assert_eq!(partition.stats(), Stats::default());
    assert_eq!(read(&partition, 0, 10), []);
    assert!(!directory.path().join("log").exists());
}

/// What a crash does to the end of a file.
type Tear = fn(&mut Vec<u8>);

#[test]
fn torn_tails_cost_only_what_is_torn() {
    let table: [(&str, Tear, u64); 4] = [
        ("junk", |content| content.extend([7; 1000]), 3),
        ("zeros", |content| content.extend([0; 5000]), 3),
        ("cut", |content| content.truncate(content.len() - 1), 2),
        (
            "flipped",
            |content| {
                let last = content.len() - 1;
                content[last] ^= 1;
            },
            2,
        ),
    ];
    for (what, tear, kept) in table {
        let directory = TempDir::new().unwrap();
        let partition = Partition::create(settings(directory.path(), 1_000_000));
        for _ in 0..3 {
            append(&partition, &[vec![1; 100], vec![2; 200]]);
        }
        drop(partition);
        let path = last_segment(directory.path());
        let mut content = fs::read(&path).unwrap();
        tear(&mut content);
        fs::write(&path, content).unwrap();
        let partition = Partition::open(settings(directory.path(), 1_000_000)).unwrap();
        assert_eq!(partition.stats().messages, kept * 2, "{what}");
        assert_eq!(append(&partition, &[vec![3; 10]]), kept * 2, "{what}");
        assert_eq!(read(&partition, kept * 2, 5), [(kept * 2, 10)], "{what}");
    }
}

#[test]
fn stored_offsets_are_kept_and_set_to_the_end_of_a_torn_log() {
    let directory = TempDir::new().unwrap();
    let partition = Partition::create(settings(directory.path(), 1_000_000));
    append(&partition, &[vec![1; 100]]);
    append(&partition, &[vec![2; 100], vec![3; 100]]);
    partition.store_offset(Key::Group(1), 2, || Ok(())).unwrap();
    partition
        .store_offset(Key::Consumer(1), 0, || Ok(()))
        .unwrap();
    let refused = partition.store_offset(Key::Consumer(1), 3, || Ok(()));
    assert_eq!(refused, Err(IggyError::InvalidOffset(3)));
    drop(partition);
    let path = last_segment(directory.path());
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() - 1]).unwrap();
    let partition = Partition::open(settings(directory.path(), 1_000_000)).unwrap();
    assert_eq!(partition.stored_offset(Key::Group(1)), Some(0));
    assert_eq!(partition.stored_offset(Key::Consumer(1)), Some(0));
    partition
        .delete_offset(Key::Consumer(1), || Ok(()))
        .unwrap();
    assert_eq!(partition.stored_offset(Key::Consumer(1)), None);
}

#[test]
fn many_stores_do_not_let_the_offsets_file_grow_without_end() {
    let directory = TempDir::new().unwrap();
    let partition = Partition::create(settings(directory.path(), 1_000_000));
    append(&partition, &vec![vec![1; 1]; 1000]);
    for round in 0..30_000u64 {
        partition
            .store_offset(Key::Consumer(1), round % 1000, || Ok(()))
            .unwrap();
    }
    let length = fs::metadata(offsets_path(&directory.path().join("log")))
        .unwrap()
        .len();
    assert!(length < 20_000 * 26, "{length}");
    drop(partition);
    let partition = Partition::open(settings(directory.path(), 1_000_000)).unwrap();
    assert_eq!(partition.stored_offset(Key::Consumer(1)), Some(999));
}

#[test]
fn a_retired_partition_takes_nothing_more() {
    let directory = TempDir::new().unwrap();
    let partition = Partition::create(settings(directory.path(), 1_000_000));
    append(&partition, &[vec![1; 100]]);
    let plan = partition.plan(0, 1);
    partition.retire().unwrap();
    let mut bytes = encoded(&[vec![1; 100]]);
    let refused = partition.append(&mut admit(&mut bytes).unwrap());
    assert!(matches!(refused, Err(AppendError::Retired)));
    let mut buffer = vec![0; plan.length];
    plan.read(&mut buffer).unwrap();
    assert!(!directory.path().join("log").exists());
}

#[test]
fn a_reader_is_not_disturbed_by_retention() {
    for sealed in [false, true] {
        let directory = TempDir::new().unwrap();
        let partition = Partition::create(settings(directory.path(), 500));
        for _ in 0..5 {
            append(&partition, &[vec![1; 300]]);
        }
        if sealed {
            partition.seal_full().unwrap();
        }
        let plan = partition.plan(0, 5);
        let removed = partition.remove_segments(10).unwrap();
        assert_eq!(removed, 4, "the last one is not full");
        let mut buffer = vec![0; plan.length];
        match plan.read(&mut buffer) {
            Ok(()) => assert_eq!(cut(&mut buffer, 0..5).unwrap().messages, 5),
            Err(error) => assert!(sealed && error.kind() == io::ErrorKind::NotFound, "{error}"),
        }
        assert_eq!(
            read(&partition, 0, 5),
            [(4, 300)],
            "what is gone is skipped"
        );
    }
}

#[test]
fn what_lies_behind_damage_is_set_aside() {
    let directory = TempDir::new().unwrap();
    let partition = Partition::create(settings(directory.path(), 1_000_000));
    for _ in 0..3 {
        append(&partition, &[vec![1; 100], vec![2; 200]]);
    }
    drop(partition);
    let path = last_segment(directory.path());
    let mut content = fs::read(&path).unwrap();
    let batch = content.len() / 3;
    content[batch + 300] ^= 1;
    fs::write(&path, &content).unwrap();
    let partition = Partition::open(settings(directory.path(), 1_000_000)).unwrap();
    assert_eq!(partition.stats().messages, 2);
    let kept = fs::read_dir(path.parent().unwrap()).unwrap();
    let kept = kept
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("damaged"));
    assert_eq!(fs::read(kept.unwrap()).unwrap(), content[batch..]);
    assert_eq!(append(&partition, &[vec![3; 10]]), 2);
}

#[test]
fn a_damaged_sealed_segment_leaves_a_gap_that_readers_cross() {
    let directory = TempDir::new().unwrap();
    let partition = Partition::create(settings(directory.path(), 1_000));
    for _ in 0..6 {
        append(&partition, &[vec![1; 300]]);
    }
    drop(partition);
    let bases = segment::list(&directory.path().join("log")).unwrap();
    let path = directory
        .path()
        .join("log")
        .join(format!("{:020}.log", bases[0]));
    let mut content = fs::read(&path).unwrap();
    let last = content.len() - 1;
    content[last] ^= 1;
    fs::write(&path, &content).unwrap();
    let partition = Partition::open(settings(directory.path(), 1_000)).unwrap();
    let lost = bases[1] - 1;
    let offsets: Vec<_> = read(&partition, 0, 10)
        .iter()
        .map(|(offset, _)| *offset)
        .collect();
    assert_eq!(
        offsets,
        (0..6).filter(|offset| *offset != lost).collect::<Vec<_>>()
    );
    assert_eq!(read(&partition, lost, 1), [(lost + 1, 300)]);
    assert_eq!(partition.stats().next, 6);
}

#[test]
fn an_expired_last_segment_goes_too_and_offsets_go_on() {
    let directory = TempDir::new().unwrap();
    let partition = Partition::create(settings(directory.path(), 1_000_000));
    append(&partition, &[vec![1; 300], vec![2; 300]]);
    assert_eq!(partition.remove_expired(1).unwrap(), 0);
    assert_eq!(partition.remove_expired(u64::MAX).unwrap(), 1);
    assert_eq!(partition.stats().messages, 0);
    assert_eq!(append(&partition, &[vec![3; 10]]), 2);
    drop(partition);
    let partition = Partition::open(settings(directory.path(), 1_000_000)).unwrap();
    assert_eq!(read(&partition, 0, 5), [(2, 10)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_appended_is_what_is_read(
        batches in prop::collection::vec(prop::collection::vec(prop_oneof![9 => 0..300usize, 1 => 0..40_000usize], 1..8), 1..60),
        segment_size in prop_oneof![Just(2_000u64), Just(20_000), Just(10_000_000)],
        polls in prop::collection::vec((0..300u64, 1..300u32), 1..30),
        seal in any::<bool>(),
        reopen in any::<bool>(),
    ) {
        let directory = TempDir::new().unwrap();
        let mut partition = Partition::create(settings(directory.path(), segment_size));
        let mut expected = Vec::new();
        for batch in &batches {
            let payloads: Vec<_> = batch.iter().map(|length| vec![1; *length]).collect();
            let base = append(&partition, &payloads);
            prop_assert_eq!(base, expected.len() as u64);
            expected.extend((base..).zip(batch.iter().copied()));
        }
        if seal {
            partition.seal_full().unwrap();
        }
        if reopen {
            let stats = partition.stats();
            partition = Partition::open(settings(directory.path(), segment_size)).unwrap();
            prop_assert_eq!(partition.stats(), stats);
        }
        for (start, count) in polls {
            let wanted: Vec<_> = expected.iter().skip(start as usize).take(count as usize).copied().collect();
            prop_assert_eq!(read(&partition, start, count), wanted);
        }
        let last = partition.last(7);
        prop_assert_eq!(last, expected.len().saturating_sub(7) as u64);
        prop_assert_eq!(partition.since(0).unwrap(), 0);
        prop_assert_eq!(partition.since(u64::MAX).unwrap(), expected.len() as u64);
    }
}
