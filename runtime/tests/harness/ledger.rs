//! What the ledger sink and the ledger source of the tests write down, and where a source is told to end.

use std::{fs, path::Path};

/// One line of a sink's ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
    pub id: String,
    /// The token of the sink that wrote it; empty when it has none.
    pub writer: String,
}

/// Everything that a ledger sink has written. Lines that a kill has torn are left out: what they said was not delivered.
pub fn entries(path: &Path) -> Vec<Entry> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(entry).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let fields: Vec<_> = line.split(' ').collect();
    let (topic, partition, offset, id, writer) = match fields[..] {
        [topic, partition, offset, id, "."] => (topic, partition, offset, id, ""),
        [topic, partition, offset, id, writer, "."] => (topic, partition, offset, id, writer),
        _ => return None,
    };
    Some(Entry {
        topic: topic.to_owned(),
        partition: partition.parse().ok()?,
        offset: offset.parse().ok()?,
        id: id.to_owned(),
        writer: writer.to_owned(),
    })
}

/// The number up to which a ledger source's messages were acknowledged.
pub fn acked(path: &Path) -> u64 {
    acks(path).into_iter().max().unwrap_or(0)
}

/// Every number that a source has written down. A line that a kill has torn is left out.
pub fn acks(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let numbers = text.lines().filter_map(|line| line.strip_suffix(" ."));
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// The numbers that a sink has written, in the order in which it wrote them.
pub fn numbers(path: &Path) -> Vec<u64> {
    let ids = entries(path).into_iter();
    ids.map(|entry| entry.id.parse().unwrap()).collect()
}

/// The partition and offset of everything that a sink has written, in the order in which it wrote them.
pub fn places(path: &Path) -> Vec<(u32, u64)> {
    let entries = entries(path).into_iter();
    entries
        .map(|entry| (entry.partition, entry.offset))
        .collect()
}

/// Has a source end some thousand messages from where it is, by the files `acked` and `until` in its `folder`. Returns the number at
/// which it ends, which is beyond `least`.
pub fn end_soon(folder: &Path, least: u64) -> u64 {
    let acked = || acked(&folder.join("acked"));
    loop {
        let end = acked().max(least) + 3000;
        fs::write(folder.join("until"), end.to_string()).unwrap();
        // Otherwise it may have gone past it before it could read it.
        if acked() + 1000 < end {
            return end;
        }
    }
}

#[test]
fn torn_lines_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let text = "t 0 1 a .\nt 0 2 b\nt 0 2 b .\nt 0 3t 0 3 c .\n\nt 1 0 d";
    std::fs::write(&path, text).unwrap();
    let ids: Vec<_> = entries(&path).into_iter().map(|entry| entry.id).collect();
    assert_eq!(ids, ["a", "b"]);
    std::fs::write(&path, "3 .\n11\n5 .\n").unwrap();
    assert_eq!(acked(&path), 5);
}
