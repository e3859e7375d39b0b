//! A sparse index of one segment: where some of its batches begin, so that a poll starts reading close to
//! the first batch it wants. Pure; its persisted form belongs to `segment`.

use twox_hash::XxHash3_64;

/// Batches closer together than this share an entry; larger ones get one each.
const GAP: u64 = 16 * 1024;
/// A sealed segment keeps fewer entries, so that old data costs little memory.
const SEALED_GAP: u64 = 64 * 1024;
/// Every batch without an entry begins closer than this behind one.
pub(crate) const REACH: u64 = SEALED_GAP + GAP;
const ENTRY: usize = 24;
const MAGIC: &[u8; 8] = b"IGCXIDX1";

/// Where a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) timestamp: u64,
    pub(crate) position: u64,
}

/// Entries in the order of the file; offsets and positions rise, timestamps do not fall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// Takes note of a batch of `length` bytes. Every batch that begins less than [`GAP`] behind an entry may
    /// go without one, but a large one never does: what is read in vain stays below the gap.
    pub(crate) fn note(&mut self, entry: Entry, length: u64) {
        let far = |last: &Entry| entry.position - last.position >= GAP;
        if length >= GAP || self.entries.last().is_none_or(far) {
            self.entries.push(entry);
        }
    }

    /// The last entry at or before `offset`: the batch holding it begins there or a little later.
    pub(crate) fn at_or_before(&self, offset: u64) -> Option<Entry> {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entries[..after].last().copied()
    }

    /// The first entry at or after `offset`: batches wanted up to there end there at the latest.
    pub(crate) fn at_or_after(&self, offset: u64) -> Option<Entry> {
        let before = self.entries.partition_point(|entry| entry.offset < offset);
        self.entries.get(before).copied()
    }

    /// The first entry behind `position`.
    pub(crate) fn behind(&self, position: u64) -> Option<Entry> {
        let before = self
            .entries
            .partition_point(|entry| entry.position <= position);
        self.entries.get(before).copied()
    }

    /// The last entry at or before `position`.
    pub(crate) fn up_to(&self, position: u64) -> Option<Entry> {
        let after = self
            .entries
            .partition_point(|entry| entry.position <= position);
        self.entries[..after].last().copied()
    }

    /// The last entry older than `timestamp`, else the first: the first batch that is not older begins there
    /// or a little later.
    pub(crate) fn older_than(&self, timestamp: u64) -> Option<Entry> {
        let after = self
            .entries
            .partition_point(|entry| entry.timestamp < timestamp);
        self.entries[..after]
            .last()
            .or(self.entries.first())
            .copied()
    }

    /// Drops what a sealed segment can do without.
    pub(crate) fn thin(&mut self) {
        let mut kept: Option<u64> = None;
        let mut entries = std::mem::take(&mut self.entries).into_iter().peekable();
        while let Some(entry) = entries.next() {
            // The entry of a large batch stays, or reading up to it would read all of it.
            let large = entries
                .peek()
                .is_none_or(|next| next.position - entry.position >= SEALED_GAP);
            if large || kept.is_none_or(|kept| entry.position - kept >= SEALED_GAP) {
                kept = Some(entry.position);
                self.entries.push(entry);
            }
        }
        self.entries.shrink_to_fit();
    }

    /// The persisted form, sealed by a checksum.
    pub(crate) fn encode(&self, summary: Summary) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48 + self.entries.len() * ENTRY);
        bytes.extend_from_slice(MAGIC);
        for field in [summary.base, summary.next, summary.size, summary.newest] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        for entry in &self.entries {
            for field in [entry.offset, entry.timestamp, entry.position] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        let checksum = XxHash3_64::oneshot(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the persisted form; `None` when it is damaged, so that the segment is scanned instead.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, Summary)> {
        let (content, checksum) = bytes.split_last_chunk::<8>()?;
        if XxHash3_64::oneshot(content) != u64::from_le_bytes(*checksum) {
            return None;
        }
        let fields = content.strip_prefix(MAGIC)?;
        let (numbers, rest) = fields.as_chunks::<8>();
        if !rest.is_empty() || numbers.len() < 4 {
            return None;
        }
        let mut numbers = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let summary = Summary {
            base: numbers.next()?,
            next: numbers.next()?,
            size: numbers.next()?,
            newest: numbers.next()?,
        };
        let mut entries = Vec::with_capacity(numbers.len() / 3);
        while let Some(offset) = numbers.next() {
            entries.push(Entry {
                offset,
                timestamp: numbers.next()?,
                position: numbers.next()?,
            });
        }
        Some((Self { entries }, summary))
    }
}

/// What a sealed segment holds, without looking into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Offset of the first message.
    pub(crate) base: u64,
    /// Offset behind the last message.
    pub(crate) next: u64,
    /// Bytes of batches.
    pub(crate) size: u64,
    /// Timestamp of the last batch.
    pub(crate) newest: u64,
}

#[cfg(test)]
mod tests;
