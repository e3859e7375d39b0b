//! One partition: segments, stored offsets, and what readers may see of them.
//!
//! Appends queue on `writer`, which is held during file I/O; `log` is held for a few instructions only, so
//! readers never wait for a disk. A reader copies a plan, files and ranges, and reads without any lock;
//! removed files stay readable to whoever has them open.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use iggy_binary_protocol::batch::BATCH_HEADER_SIZE;
use iggy_common::IggyError;
use tokio::sync::Notify;

use super::{
    batch::{self, Admitted},
    file,
    index::REACH,
    offsets::{Key, Offsets, Refused},
    segment::{self, SealedIndex, Segment},
};
use crate::{
    Error,
    sync::{lock, now_micros},
};

/// A reply holds at most this many bytes of batches, or one batch if that is larger.
pub(crate) const MAX_READ: u64 = 16 * 1024 * 1024;

/// What is fixed when a partition is opened.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) partition: u32,
    pub(crate) directory: PathBuf,
    pub(crate) segment_size: u64,
    /// Whether appends are on stable storage before they are acknowledged and visible.
    pub(crate) sync_appends: bool,
    /// The same for stored offsets.
    pub(crate) sync_offsets: bool,
    /// Wakes held polls; shared by the partitions of a topic.
    pub(crate) arrivals: Arc<Notify>,
}

#[derive(Debug)]
pub(crate) struct Partition {
    settings: Settings,
    writer: Mutex<()>,
    log: Mutex<Log>,
    offsets: Mutex<Option<Offsets>>,
    /// Whether something was written since the last sync.
    unsynced: AtomicBool,
}

#[derive(Debug, Default)]
struct Log {
    segments: VecDeque<Segment>,
    /// The next offset to be given.
    next: u64,
    /// Readers see offsets below this one.
    visible: u64,
    newest: u64,
    retired: bool,
}

/// Why an append failed.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The partition was purged or deleted in the meantime.
    Retired,
    Io(io::Error),
}

/// A snapshot of sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) segments: u32,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// The next offset to be read at the end.
    pub(crate) next: u64,
}

impl Stats {
    /// The offset of the last message, 0 for a partition that never had one.
    pub(crate) fn current_offset(&self) -> u64 {
        self.next.saturating_sub(1)
    }
}

/// Where wanted messages are.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) wanted: Range<u64>,
    /// The offset of the partition's last message, 0 if it never had one.
    pub(crate) current: u64,
    pieces: Vec<Piece>,
    /// Bytes of all pieces.
    pub(crate) length: usize,
}

#[derive(Debug)]
struct Piece {
    file: Arc<File>,
    range: Range<u64>,
}

impl Partition {
    /// A partition without messages; its directory is made by the first append.
    pub(crate) fn create(settings: Settings) -> Self {
        Self {
            settings,
            writer: Mutex::new(()),
            log: Mutex::new(Log::default()),
            offsets: Mutex::new(None),
            unsynced: AtomicBool::new(false),
        }
    }

    /// Opens what an earlier run wrote.
    pub(crate) fn open(settings: Settings) -> Result<Self, Error> {
        if !settings.directory.exists() {
            return Ok(Self::create(settings));
        }
        let log = open_log(&settings.directory).map_err(Error::storage(&settings.directory))?;
        let path = offsets_path(&settings.directory);
        let offsets = match path.exists() {
            true => Some(Offsets::open(&path, log.next)?),
            false => None,
        };
        Ok(Self {
            settings,
            writer: Mutex::new(()),
            log: Mutex::new(log),
            offsets: Mutex::new(offsets),
            unsynced: AtomicBool::new(false),
        })
    }

    pub(crate) fn stats(&self) -> Stats {
        let log = lock(&self.log);
        Stats {
            segments: u32::try_from(log.segments.len()).unwrap_or(u32::MAX),
            messages: log.visible.saturating_sub(log.first()),
            bytes: log
                .segments
                .iter()
                .map(|segment| segment.summary.size)
                .sum(),
            next: log.visible,
        }
    }

    /// Writes a batch and returns the offset of its first message, once the sync policy is satisfied.
    pub(crate) fn append(&self, batch: &mut Admitted<'_>) -> Result<u64, AppendError> {
        let (base, end, file) = self.write(batch)?;
        if self.settings.sync_appends {
            // Outside the writer's lock: producers of one partition share the disk's flush.
            file.sync_data().map_err(AppendError::Io)?;
        } else {
            self.unsynced.store(true, Ordering::Relaxed);
        }
        self.publish(end);
        Ok(base)
    }

    fn write(&self, batch: &mut Admitted<'_>) -> Result<(u64, u64, Arc<File>), AppendError> {
        let _writer = lock(&self.writer);
        let length = batch.length();
        let (file, position, base, newest) = self.place(length)?;
        let timestamp = now_micros().max(newest);
        let bytes = batch.stamp(self.settings.partition, base, timestamp);
        if let Err(error) = file::write_at(&file, bytes, position) {
            // A leftover that cannot be cut off now is overwritten by the next batch or cut off at the next start.
            let _ = file.set_len(position);
            return Err(AppendError::Io(error));
        }
        let mut log = lock(&self.log);
        let messages = batch.messages();
        if let Some(segment) = log.segments.back_mut() {
            segment.grow(messages, length, timestamp);
        }
        log.next = base + u64::from(messages);
        log.newest = timestamp;
        Ok((base, log.next, file))
    }

    /// Finds the place for a batch of `length` bytes, in a new segment if the last one is full.
    fn place(&self, length: u64) -> Result<(Arc<File>, u64, u64, u64), AppendError> {
        let log = lock(&self.log);
        if log.retired {
            return Err(AppendError::Retired);
        }
        let (next, newest) = (log.next, log.newest);
        if let Some(segment) = log.segments.back() {
            let size = segment.summary.size;
            if size == 0 || size + length <= self.settings.segment_size {
                return Ok((segment.file.clone(), size, next, newest));
            }
        }
        drop(log);
        let file = self.roll().map_err(AppendError::Io)?;
        Ok((file, 0, next, newest))
    }

    /// Starts a new segment. The caller holds `writer`. The old one is sealed later, off the path of producers.
    fn roll(&self) -> io::Result<Arc<File>> {
        let directory = &self.settings.directory;
        fs::create_dir_all(directory)?;
        let (next, newest) = {
            let log = lock(&self.log);
            (log.next, log.newest)
        };
        let segment = Segment::create(directory, next, newest)?;
        if self.settings.sync_appends {
            file::sync_directory(directory)?;
            file::sync_parent(directory)?;
        }
        let file = segment.file.clone();
        let mut log = lock(&self.log);
        if let Some(full) = log.segments.back_mut() {
            full.index.thin();
        }
        log.segments.push_back(segment);
        Ok(file)
    }

    /// Seals the segments that are full, so that the next start need not scan them.
    pub(crate) fn seal_full(&self) -> io::Result<()> {
        while let Some((file, index)) = self.first_unsealed() {
            // Recovery does not look into sealed segments, so they must be whole before they count as such.
            file.sync_all()?;
            index.save()?;
            let mut log = lock(&self.log);
            let sealed = log
                .segments
                .iter_mut()
                .find(|segment| Arc::ptr_eq(&segment.file, &file));
            match sealed {
                Some(segment) => segment.sealed = true,
                // Retention removed it in the meantime.
                None => index.remove()?,
            }
        }
        Ok(())
    }

    fn first_unsealed(&self) -> Option<(Arc<File>, SealedIndex)> {
        let log = lock(&self.log);
        let full = log.segments.len().saturating_sub(1);
        let segment = log
            .segments
            .iter()
            .take(full)
            .find(|segment| !segment.sealed)?;
        Some((segment.file.clone(), segment.sealed_index()))
    }

    fn publish(&self, end: u64) {
        let mut log = lock(&self.log);
        log.visible = log.visible.max(end);
        drop(log);
        self.settings.arrivals.notify_waiters();
    }

    /// Plans to read up to `count` messages from `start`, or from the first one that is still there.
    pub(crate) fn plan(&self, start: u64, count: u32) -> Plan {
        lock(&self.log).plan(start, u64::from(count))
    }

    /// The first offset of the last `count` messages.
    pub(crate) fn last(&self, count: u32) -> u64 {
        let log = lock(&self.log);
        log.visible
            .saturating_sub(u64::from(count))
            .max(log.first())
    }

    /// The offset of the first batch that is not older than `timestamp`, or the end.
    pub(crate) fn since(&self, timestamp: u64) -> io::Result<u64> {
        let log = lock(&self.log);
        let younger =
            |segment: &&Segment| segment.summary.size > 0 && segment.summary.newest >= timestamp;
        let Some(segment) = log.segments.iter().find(younger) else {
            return Ok(log.visible);
        };
        let Some(entry) = segment.index.older_than(timestamp) else {
            return Ok(segment.summary.base);
        };
        if entry.timestamp >= timestamp {
            return Ok(entry.offset);
        }
        let next = segment.index.behind(entry.position);
        let (file, base, size) = (
            segment.file.clone(),
            segment.summary.next,
            segment.summary.size,
        );
        drop(log);
        // Whoever has no entry of its own begins close behind this one.
        let end = next
            .map_or(size, |next| next.position)
            .min(entry.position + REACH + BATCH_HEADER_SIZE as u64);
        let mut bytes = vec![0; (end - entry.position) as usize];
        file::read_at(&file, &mut bytes, entry.position)?;
        let found = batch::first_since(&bytes, timestamp);
        Ok(found.unwrap_or_else(|| next.map_or(base, |next| next.offset)))
    }

    /// The stored offset of a consumer or group.
    pub(crate) fn stored_offset(&self, key: Key) -> Option<u64> {
        lock(&self.offsets)
            .as_ref()
            .and_then(|offsets| offsets.get(key))
    }

    /// Stores an offset if `permitted` still holds at the moment of the change.
    pub(crate) fn store_offset(
        &self,
        key: Key,
        offset: u64,
        permitted: impl FnOnce() -> Result<(), IggyError>,
    ) -> Result<(), IggyError> {
        if offset >= self.stats().next {
            return Err(IggyError::InvalidOffset(offset));
        }
        let file = {
            let mut guard = lock(&self.offsets);
            permitted()?;
            let offsets = self
                .opened(&mut guard)
                .map_err(|error| self.offset_error(Refused::Io(error)))?;
            let stored = offsets.store(key, offset);
            stored.map_err(|refused| self.offset_error(refused))?;
            offsets.file()
        };
        self.sync_offsets(&file)
    }

    /// Forgets a stored offset if `permitted` still holds at the moment of the change.
    pub(crate) fn delete_offset(
        &self,
        key: Key,
        permitted: impl FnOnce() -> Result<(), IggyError>,
    ) -> Result<(), IggyError> {
        let file = {
            let mut guard = lock(&self.offsets);
            permitted()?;
            let Some(offsets) = guard.as_mut() else {
                return Err(self.offset_error(Refused::NotFound));
            };
            let deleted = offsets.delete(key);
            deleted.map_err(|refused| self.offset_error(refused))?;
            offsets.file()
        };
        self.sync_offsets(&file)
    }

    fn opened<'a>(&self, offsets: &'a mut Option<Offsets>) -> io::Result<&'a mut Offsets> {
        if offsets.is_none() {
            let path = offsets_path(&self.settings.directory);
            let opened = Offsets::open(&path, self.stats().next).map_err(io::Error::other)?;
            *offsets = Some(opened);
        }
        offsets
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_offsets(&self, file: &File) -> Result<(), IggyError> {
        if !self.settings.sync_offsets {
            self.unsynced.store(true, Ordering::Relaxed);
            return Ok(());
        }
        file.sync_data()
            .map_err(|error| self.offset_error(Refused::Io(error)))
    }

    fn offset_error(&self, refused: Refused) -> IggyError {
        match refused {
            Refused::TooMany => IggyError::TooManyConsumerOffsets,
            Refused::NotFound => IggyError::ConsumerOffsetNotFound(0),
            Refused::Io(error) => {
                tracing::error!(%error, path = %self.settings.directory.display(), "consumer offset not stored");
                IggyError::CannotWriteToFile
            }
        }
    }

    /// Forces everything to stable storage if anything was written since the last time.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if !self.unsynced.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let synced = self.sync_files();
        if synced.is_err() {
            self.unsynced.store(true, Ordering::Relaxed);
        }
        synced
    }

    fn sync_files(&self) -> io::Result<()> {
        let unsealed = |segment: &&Segment| !segment.sealed;
        let mut files: Vec<_> = {
            let log = lock(&self.log);
            log.segments
                .iter()
                .filter(unsealed)
                .map(|segment| segment.file.clone())
                .collect()
        };
        files.extend(lock(&self.offsets).as_ref().map(Offsets::file));
        files.iter().try_for_each(|file| file.sync_data())
    }

    /// Forces the log to stable storage whatever the policy, on request.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.unsynced.store(true, Ordering::Relaxed);
        self.sync()
    }

    /// Makes the partition refuse appends, and removes its files.
    pub(crate) fn retire(&self) -> io::Result<()> {
        let _writer = lock(&self.writer);
        lock(&self.log).retired = true;
        self.settings.arrivals.notify_waiters();
        match fs::remove_dir_all(&self.settings.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes sealed segments whose messages are all older than `oldest`. A last segment that has expired
    /// as a whole is sealed first, or a quiet topic would keep it forever.
    pub(crate) fn remove_expired(&self, oldest: u64) -> io::Result<usize> {
        let _writer = lock(&self.writer);
        let expired =
            |segment: &Segment| segment.summary.size > 0 && segment.summary.newest < oldest;
        if lock(&self.log).segments.back().is_some_and(expired) {
            self.roll()?;
        }
        let mut removed = 0;
        while self.remove_first(|segment| segment.summary.newest < oldest)? {
            removed += 1;
        }
        Ok(removed)
    }

    /// Removes the `count` oldest sealed segments.
    pub(crate) fn remove_segments(&self, count: u32) -> io::Result<u32> {
        let _writer = lock(&self.writer);
        let mut removed = 0;
        while removed < count && self.remove_first(|_| true)? {
            removed += 1;
        }
        Ok(removed)
    }

    /// The timestamp and the size of the oldest sealed segment.
    pub(crate) fn oldest_sealed(&self) -> Option<(u64, u64)> {
        let log = lock(&self.log);
        let segment = log.segments.front().filter(|_| log.segments.len() > 1)?;
        Some((segment.summary.newest, segment.summary.size))
    }

    /// Removes the first segment if it is sealed and `when` agrees. The caller holds `writer`.
    fn remove_first(&self, when: impl Fn(&Segment) -> bool) -> io::Result<bool> {
        let mut log = lock(&self.log);
        if log.segments.len() < 2 || !log.segments.front().is_some_and(when) {
            return Ok(false);
        }
        let removed = log.segments.pop_front();
        drop(log);
        if let Some(segment) = removed {
            segment.remove()?;
        }
        Ok(true)
    }
}

impl Log {
    /// The first offset that is still there.
    fn first(&self) -> u64 {
        self.segments
            .front()
            .map_or(self.next, |segment| segment.summary.base)
    }

    fn plan(&self, start: u64, count: u64) -> Plan {
        let first = self
            .segments
            .partition_point(|segment| segment.summary.next <= start);
        // What retention removed, or damage made unreadable, is skipped.
        let start = self
            .segments
            .get(first)
            .map_or(start, |segment| segment.summary.base.max(start));
        let end = start.saturating_add(count).min(self.visible);
        let mut plan = Plan {
            wanted: start..end,
            current: self.visible.saturating_sub(1),
            pieces: Vec::new(),
            length: 0,
        };
        if start >= end {
            return plan;
        }
        for segment in self.segments.iter().skip(first) {
            if segment.summary.base >= end {
                break;
            }
            let room = MAX_READ.saturating_sub(plan.length as u64);
            let Some(range) = piece(segment, start..end, room, plan.pieces.is_empty()) else {
                break;
            };
            let whole = range.end == segment.summary.size;
            plan.length += (range.end - range.start) as usize;
            plan.pieces.push(Piece {
                file: segment.file.clone(),
                range,
            });
            if !whole {
                break;
            }
        }
        plan
    }
}

/// The bytes of `segment` to read for `wanted`: from an index entry to an index entry, so that both ends are
/// the beginning of a batch. Never more than `room`, except that the first piece of a plan is never empty.
fn piece(segment: &Segment, wanted: Range<u64>, room: u64, first: bool) -> Option<Range<u64>> {
    let start = segment
        .index
        .at_or_before(wanted.start)
        .map_or(0, |entry| entry.position);
    let size = segment.summary.size;
    let end = segment
        .index
        .at_or_after(wanted.end)
        .map_or(size, |entry| entry.position);
    if end - start <= room {
        return Some(start..end);
    }
    let capped = segment
        .index
        .up_to(start + room)
        .map_or(start, |entry| entry.position);
    if capped > start {
        return Some(start..capped);
    }
    let next = segment
        .index
        .behind(start)
        .map_or(size, |entry| entry.position);
    first.then_some(start..next.min(end))
}

impl Plan {
    /// Reads all pieces into `buffer`, which is [`Plan::length`] long.
    pub(crate) fn read(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        for piece in &self.pieces {
            let length = (piece.range.end - piece.range.start) as usize;
            let (now, later) = buffer.split_at_mut(length);
            file::read_at(&piece.file, now, piece.range.start)?;
            buffer = later;
        }
        Ok(())
    }
}

fn offsets_path(directory: &Path) -> PathBuf {
    directory.join("offsets")
}

fn open_log(directory: &Path) -> io::Result<Log> {
    let mut log = Log::default();
    let bases = segment::list(directory)?;
    let Some((last, sealed)) = bases.split_last() else {
        return Ok(log);
    };
    for base in sealed {
        log.segments
            .push_back(Segment::open_sealed(directory, *base)?);
    }
    let newest = log
        .segments
        .back()
        .map_or(0, |segment| segment.summary.newest);
    let active = Segment::recover(directory, *last)?;
    log.next = active.summary.next;
    log.visible = log.next;
    log.newest = active.summary.newest.max(newest);
    log.segments.push_back(active);
    Ok(log)
}

#[cfg(test)]
mod tests;
