//! What a state file gives back after saves, cuts, damage and torn writes.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(Slots::open(path)?.expect("the file exists").1)
}

fn saved(dir: &TempDir, states: &[&[u8]]) -> PathBuf {
    let path = dir.path().join("a.state");
    let mut slots = Slots::create(&path, states[0]).unwrap();
    for state in &states[1..] {
        slots.save(state).unwrap();
    }
    path
}

#[test]
fn the_newest_state_is_read_back_after_any_number_of_saves() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.state");
    assert!(Slots::open(&path).unwrap().is_none());
    drop(Slots::create(&path, b"0").unwrap());
    for number in 1..6u8 {
        let (mut slots, before) = Slots::open(&path).unwrap().unwrap();
        assert_eq!(before, (number - 1).to_string().as_bytes());
        slots.save(number.to_string().as_bytes()).unwrap();
    }
    assert_eq!(read(&path).unwrap(), b"5");
}

#[test]
fn an_empty_state_is_a_state() {
    let dir = TempDir::new().unwrap();
    let path = saved(&dir, &[b"something", b""]);
    assert_eq!(read(&path).unwrap(), b"");
}

#[test]
fn a_state_may_outgrow_its_file() {
    let dir = TempDir::new().unwrap();
    let path = saved(&dir, &[b"small"]);
    let (mut slots, _) = Slots::open(&path).unwrap().unwrap();
    for len in [4_072, 4_073, 100_000, 10, 1_000_000] {
        let state = vec![7; len];
        slots.save(&state).unwrap();
        assert_eq!(read(&path).unwrap(), state, "{len}");
    }
    assert!(!beside(&path).exists());
}

#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let path = saved(&dir, &[b"secret"]);
    assert_eq!(
        fs::metadata(path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_save_that_fails_keeps_the_state_before() {
    let dir = TempDir::new().unwrap();
    let path = saved(&dir, &[b"first", b"second"]);
    let (mut slots, _) = Slots::open(&path).unwrap().unwrap();
    slots.file = File::open(&path).unwrap();
    slots.save(b"third").unwrap_err();
    slots.save(b"fourth").unwrap_err();
    assert_eq!(read(&path).unwrap(), b"second");
    slots.file = OpenOptions::new().write(true).open(&path).unwrap();
    slots.save(b"fifth").unwrap();
    assert_eq!(read(&path).unwrap(), b"fifth");
}

#[test]
fn a_later_version_is_named() {
    let dir = TempDir::new().unwrap();
    let path = saved(&dir, &[b"x"]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    let checksum = XxHash3_64::oneshot(&bytes[..20]);
    bytes[20..28].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    assert!(matches!(read(&path), Err(Error::Newer(9))));
}

/// What may come of damage: one of the two last states, or an error.
fn check(path: &Path, states: &[&[u8]], what: impl std::fmt::Debug) {
    if let Ok(state) = read(path) {
        let last_two = &states[states.len().saturating_sub(2)..];
        assert!(last_two.contains(&&*state), "{what:?} gave {state:?}");
    }
}

const STATES: [&[u8]; 4] = [b"the first state", b"2nd", b"the third", b"4"];

#[test]
fn a_cut_at_any_byte_gives_one_of_the_last_two_states_or_an_error() {
    let dir = TempDir::new().unwrap();
    for count in [1, STATES.len()] {
        let path = saved(&dir, &STATES[..count]);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        for len in (0..file.metadata().unwrap().len()).rev() {
            file.set_len(len).unwrap();
            check(&path, &STATES[..count], len);
        }
    }
}

#[test]
fn damage_at_any_byte_gives_one_of_the_last_two_states_or_an_error() {
    let dir = TempDir::new().unwrap();
    let path = saved(&dir, &STATES);
    let bytes = fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for (at, byte) in bytes.iter().enumerate() {
        file.write_all_at(&[byte ^ 0x5a], at as u64).unwrap();
        check(&path, &STATES, at);
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
    assert_eq!(read(&path).unwrap(), STATES[3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_damage_gives_one_of_the_last_two_states_or_an_error(
        states in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6),
        at in 0usize..12_288,
        junk in proptest::collection::vec(any::<u8>(), 1..5_000),
        cut in proptest::option::of(0usize..12_288),
    ) {
        let dir = TempDir::new().unwrap();
        let states: Vec<&[u8]> = states.iter().map(Vec::as_slice).collect();
        let path = saved(&dir, &states);
        let mut bytes = fs::read(&path).unwrap();
        let end = (at + junk.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&junk[..end - at]);
        bytes.truncate(cut.unwrap_or(usize::MAX));
        fs::write(&path, bytes).unwrap();
        check(&path, &states, (at, junk.len(), cut));
    }

    #[test]
    fn a_write_torn_anywhere_gives_the_state_before_or_the_new_one(
        before in proptest::collection::vec(any::<u8>(), 0..2_000),
        after in proptest::collection::vec(any::<u8>(), 0..2_000),
        torn in 0usize..2_100,
    ) {
        let dir = TempDir::new().unwrap();
        let path = saved(&dir, &[b"oldest", &before]);
        let old = fs::read(&path).unwrap();
        let (mut slots, _) = Slots::open(&path).unwrap().unwrap();
        slots.save(&after).unwrap();
        let new = fs::read(&path).unwrap();
        let start = slot_offset(slots.capacity, slots.newest.index) as usize;
        let mut bytes = old;
        let end = (start + torn).min(bytes.len());
        bytes[start..end].copy_from_slice(&new[start..end]);
        fs::write(&path, bytes).unwrap();
        let state = read(&path).unwrap();
        prop_assert!(state == before || state == after);
    }
}
