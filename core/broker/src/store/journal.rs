//! A log of checksummed records: the metadata journal and the stored offsets are both kept in one.
//!
//! Record: length u32, XXH3-64 of length and payload u64, payload; little-endian. A torn tail, which a crash
//! leaves behind, is cut off; damage with sound records behind it is refused or skipped, as the owner says.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use twox_hash::XxHash3_64;

use super::file;
use crate::Error;

const RECORD_HEADER: usize = 12;
const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// What to do about a bad record with sound ones behind it. A crash tears the last record only, if every
/// record is synced before the next is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Stop: what was acknowledged must not be dropped silently.
    Refuse,
    /// Go on behind it: a power loss may leave holes in what was not synced, and records stand for themselves.
    Skip,
}

/// An open journal, positioned behind its last sound record.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Arc<File>,
    end: u64,
    records: usize,
}

impl Journal {
    /// Opens or creates the journal at `path` and hands every record to `replay`, oldest first.
    pub(crate) fn open(
        path: &Path,
        damage: Damage,
        mut replay: impl FnMut(&[u8]),
    ) -> Result<Self, Error> {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::storage(path)(error)),
        };
        let mut end = 0;
        let mut records = 0;
        loop {
            while let Some(payload) = record_at(&content, end) {
                replay(payload);
                end += RECORD_HEADER + payload.len();
                records += 1;
            }
            let Some(next) = next_record(&content, end) else {
                break;
            };
            if damage == Damage::Refuse {
                return Err(Error::Damaged {
                    path: path.to_owned(),
                    position: end as u64,
                });
            }
            tracing::error!(path = %path.display(), from = end, to = next, "damaged records skipped");
            end = next;
        }
        let file = file::open(path).map_err(Error::storage(path))?;
        if end < content.len() {
            tracing::warn!(path = %path.display(), bytes = content.len() - end, "torn tail cut off");
            file.set_len(end as u64).map_err(Error::storage(path))?;
            file.sync_all().map_err(Error::storage(path))?;
        }
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            end: end as u64,
            records,
        })
    }

    /// How many records the file holds, superseded ones included.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Appends one record; after a failed write the file ends where it ended before.
    pub(crate) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let record = record(payload);
        if let Err(error) = file::write_at(&self.file, &record, self.end) {
            // A leftover that cannot be cut off now is overwritten by the next record or cut off at the next start.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        self.end += record.len() as u64;
        self.records += 1;
        Ok(())
    }

    /// The file, for syncing it.
    pub(crate) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Replaces the whole content by `payloads`, durably; a crash leaves the old or the new content.
    pub(crate) fn rewrite(&mut self, payloads: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
        let mut content = Vec::new();
        let mut records = 0;
        for payload in payloads {
            content.extend_from_slice(&record(&payload));
            records += 1;
        }
        file::replace(&self.path, &content)?;
        self.file = Arc::new(file::open(&self.path)?);
        self.end = content.len() as u64;
        self.records = records;
        Ok(())
    }
}

fn record(payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(RECORD_HEADER + payload.len());
    // Payloads are a few bytes to a few kilobytes; `record_at` refuses what would not fit.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&checksum(length, payload).to_le_bytes());
    record.extend_from_slice(payload);
    record
}

fn record_at(content: &[u8], position: usize) -> Option<&[u8]> {
    let header = content.get(position..position + RECORD_HEADER)?;
    let (length, stored) = header.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?);
    let stored = u64::from_le_bytes(stored.try_into().ok()?);
    if length as usize > MAX_PAYLOAD {
        return None;
    }
    let start = position + RECORD_HEADER;
    let payload = content.get(start..start + length as usize)?;
    (checksum(length, payload) == stored).then_some(payload)
}

fn checksum(length: u32, payload: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(u64::from(length), payload)
}

/// The next sound record behind a bad one at `end`.
fn next_record(content: &[u8], end: usize) -> Option<usize> {
    let tail = content.len().saturating_sub(end);
    let search = end + 1..end + tail.saturating_sub(RECORD_HEADER).min(MAX_PAYLOAD);
    // An empty payload has a constant checksum; only records with content count.
    let sound =
        |position: &usize| record_at(content, *position).is_some_and(|payload| !payload.is_empty());
    search.into_iter().find(sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replayed(path: &Path) -> Result<Vec<Vec<u8>>, Error> {
        let mut records = Vec::new();
        Journal::open(path, Damage::Refuse, |payload| {
            records.push(payload.to_vec())
        })?;
        Ok(records)
    }

    fn written(directory: &Path, payloads: &[&[u8]]) -> PathBuf {
        let path = directory.join("journal");
        let mut journal =
            Journal::open(&path, Damage::Refuse, |_| panic!("a new journal is empty")).unwrap();
        for payload in payloads {
            journal.append(payload).unwrap();
        }
        path
    }

    #[test]
    fn records_come_back_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path(), &[b"one", b"two", b"three"]);
        assert_eq!(replayed(&path).unwrap(), [&b"one"[..], b"two", b"three"]);
    }

    #[test]
    fn every_torn_tail_costs_the_last_record_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path(), &[b"one", b"two", b"three"]);
        let whole = fs::read(&path).unwrap();
        let last = whole.len() - RECORD_HEADER - 5;
        for length in last..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(
                replayed(&path).unwrap(),
                [&b"one"[..], b"two"],
                "cut at {length}"
            );
        }
    }

    #[test]
    fn a_flipped_byte_in_the_last_record_costs_that_record() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path(), &[b"one", b"two"]);
        let whole = fs::read(&path).unwrap();
        for position in RECORD_HEADER + 3..whole.len() {
            let mut content = whole.clone();
            content[position] ^= 1;
            fs::write(&path, &content).unwrap();
            assert_eq!(replayed(&path).unwrap(), [b"one"], "flipped at {position}");
        }
    }

    #[test]
    fn damage_before_sound_records_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path(), &[b"one", b"two", b"three"]);
        let mut content = fs::read(&path).unwrap();
        content[RECORD_HEADER] ^= 1;
        fs::write(&path, &content).unwrap();
        assert!(matches!(
            replayed(&path),
            Err(Error::Damaged { position: 0, .. })
        ));
    }

    #[test]
    fn damage_is_skipped_where_records_stand_for_themselves() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path(), &[b"one", b"two", b"three"]);
        let mut content = fs::read(&path).unwrap();
        content[RECORD_HEADER] ^= 1;
        fs::write(&path, &content).unwrap();
        let mut records = Vec::new();
        Journal::open(&path, Damage::Skip, |payload| {
            records.push(payload.to_vec())
        })
        .unwrap();
        assert_eq!(records, [&b"two"[..], b"three"]);
    }

    #[test]
    fn appending_continues_behind_a_cut_tail() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path(), &[b"one"]);
        let mut content = fs::read(&path).unwrap();
        content.extend_from_slice(&[7; 1000]);
        fs::write(&path, &content).unwrap();
        let mut journal = Journal::open(&path, Damage::Refuse, |_| ()).unwrap();
        journal.append(b"two").unwrap();
        assert_eq!(replayed(&path).unwrap(), [b"one", b"two"]);
    }

    #[test]
    fn rewriting_keeps_only_the_new_records() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path(), &[b"one", b"two"]);
        let mut journal = Journal::open(&path, Damage::Refuse, |_| ()).unwrap();
        journal.rewrite([b"both".to_vec()].into_iter()).unwrap();
        journal.append(b"three").unwrap();
        assert_eq!(journal.records(), 2);
        assert_eq!(replayed(&path).unwrap(), [&b"both"[..], b"three"]);
    }
}
