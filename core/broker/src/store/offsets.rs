//! The stored consumer offsets of one partition: a map in memory, a journal on disk.

use std::{collections::HashMap, fs::File, io, path::Path, sync::Arc};

use super::journal::{Damage, Journal};
use crate::Error;

/// The journal is rewritten when it holds this many superseded records.
const DEAD_RECORDS: usize = 10_000;
/// Bounds the memory that unbounded consumer ids could claim.
const MAX_KEYS: usize = 100_000;
const RECORD: usize = 14;

/// Whose offset it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Consumer(u32),
    Group(u32),
}

/// Why an offset was not stored or deleted.
#[derive(Debug)]
pub(crate) enum Refused {
    TooMany,
    NotFound,
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug)]
pub(crate) struct Offsets {
    stored: HashMap<Key, u64>,
    journal: Journal,
}

impl Offsets {
    /// Opens the offsets at `path`. What lies behind the end of the log, of which a crash may have cut the
    /// tail, is set to the last message: dropping it would deliver everything again.
    pub(crate) fn open(path: &Path, next: u64) -> Result<Self, Error> {
        let mut stored = HashMap::new();
        let journal = Journal::open(path, Damage::Skip, |payload| replay(&mut stored, payload))?;
        match next.checked_sub(1) {
            None => stored.clear(),
            Some(last) => stored
                .values_mut()
                .for_each(|offset| *offset = last.min(*offset)),
        }
        Ok(Self { stored, journal })
    }

    pub(crate) fn get(&self, key: Key) -> Option<u64> {
        self.stored.get(&key).copied()
    }

    pub(crate) fn store(&mut self, key: Key, offset: u64) -> Result<(), Refused> {
        if self.stored.get(&key) == Some(&offset) {
            return Ok(());
        }
        if self.stored.len() >= MAX_KEYS && !self.stored.contains_key(&key) {
            return Err(Refused::TooMany);
        }
        self.journal.append(&record(key, Some(offset)))?;
        self.stored.insert(key, offset);
        Ok(self.compact()?)
    }

    pub(crate) fn delete(&mut self, key: Key) -> Result<(), Refused> {
        if !self.stored.contains_key(&key) {
            return Err(Refused::NotFound);
        }
        self.journal.append(&record(key, None))?;
        self.stored.remove(&key);
        Ok(self.compact()?)
    }

    /// The file to sync after a change, without keeping others from the offsets meanwhile.
    pub(crate) fn file(&self) -> Arc<File> {
        self.journal.file()
    }

    fn compact(&mut self) -> io::Result<()> {
        let dead = self.journal.records() - self.stored.len().min(self.journal.records());
        if dead < DEAD_RECORDS.max(self.stored.len()) {
            return Ok(());
        }
        let live = self
            .stored
            .iter()
            .map(|(key, offset)| record(*key, Some(*offset)).to_vec());
        self.journal.rewrite(live)
    }
}

fn record(key: Key, offset: Option<u64>) -> [u8; RECORD] {
    let (kind, id) = match key {
        Key::Consumer(id) => (1, id),
        Key::Group(id) => (2, id),
    };
    let mut record = [0; RECORD];
    record[0] = kind;
    record[1] = u8::from(offset.is_some());
    record[2..6].copy_from_slice(&id.to_le_bytes());
    record[6..].copy_from_slice(&offset.unwrap_or_default().to_le_bytes());
    record
}

fn replay(stored: &mut HashMap<Key, u64>, payload: &[u8]) {
    let Ok(&[kind, set, a, b, c, d, ref offset @ ..]) = <&[u8; RECORD]>::try_from(payload) else {
        tracing::warn!(
            length = payload.len(),
            "record of an unknown kind among the stored offsets"
        );
        return;
    };
    let id = u32::from_le_bytes([a, b, c, d]);
    let key = match kind {
        1 => Key::Consumer(id),
        _ => Key::Group(id),
    };
    match set {
        0 => stored.remove(&key),
        _ => stored.insert(key, u64::from_le_bytes(*offset)),
    };
}
