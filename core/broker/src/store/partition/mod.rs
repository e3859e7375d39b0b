//! One partition: segments, stored offsets, and what readers may see of them.
//!
//! Appends queue on `writer`, which is held during file I/O; `log` is held for a few instructions only, so
//! readers never wait for a disk. A reader copies a plan, files and ranges, and reads without any lock.

mod commits;
mod read;
mod upkeep;

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

pub(crate) use self::read::Plan;
use super::{
    batch::Admitted,
    file,
    offsets::Offsets,
    segment::{self, Segment, Source},
};
use crate::{
    Error,
    sync::{lock, now_micros},
};

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

    /// The next offset to be read at the end.
    pub(crate) fn end(&self) -> u64 {
        lock(&self.log).visible
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
        if let Some(segment) = log.segments.back()
            && let Source::Open(file) = &segment.source
        {
            let size = segment.summary.size;
            if size == 0 || size + length <= self.settings.segment_size {
                return Ok((file.clone(), size, next, newest));
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
        let (segment, file) = Segment::create(directory, next, newest)?;
        if self.settings.sync_appends {
            file::sync_directory(directory)?;
            file::sync_parent(directory)?;
        }
        let mut log = lock(&self.log);
        if let Some(full) = log.segments.back_mut() {
            full.index.thin();
        }
        log.segments.push_back(segment);
        Ok(file)
    }

    fn publish(&self, end: u64) {
        let mut log = lock(&self.log);
        log.visible = log.visible.max(end);
        drop(log);
        self.settings.arrivals.notify_waiters();
    }
}

impl Log {
    /// The first offset that is still there.
    fn first(&self) -> u64 {
        self.segments
            .front()
            .map_or(self.next, |segment| segment.summary.base)
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
