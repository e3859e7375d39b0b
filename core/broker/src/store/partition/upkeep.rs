//! What happens to a partition's files besides reading and writing: sync, seal, trim, remove.

use std::{
    fs::{self, File},
    io,
    sync::{Arc, atomic::Ordering},
};

use super::{
    super::{
        offsets::Offsets,
        segment::{SealedIndex, Segment},
    },
    Partition,
};
use crate::sync::lock;

impl Partition {
    /// Seals the segments that are full: the next start need not scan them, and their files are closed.
    pub(crate) fn seal_full(&self) -> io::Result<()> {
        while let Some((file, index)) = self.first_unsealed() {
            // Recovery does not look into sealed segments, so they must be whole before they count as such.
            file.sync_all()?;
            index.save()?;
            let mut log = lock(&self.log);
            let sealed = log
                .segments
                .iter_mut()
                .find(|segment| segment.is_open_as(&file));
            match sealed {
                Some(segment) => segment.close(),
                // Retention removed it in the meantime.
                None => index.remove()?,
            }
        }
        Ok(())
    }

    fn first_unsealed(&self) -> Option<(Arc<File>, SealedIndex)> {
        let log = lock(&self.log);
        let full = log.segments.len().saturating_sub(1);
        log.segments.iter().take(full).find_map(|segment| {
            let file = segment.source.opened()?;
            Some((file, segment.sealed_index()))
        })
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
        let mut files: Vec<_> = {
            let log = lock(&self.log);
            let open = log
                .segments
                .iter()
                .filter_map(|segment| segment.source.opened());
            open.collect()
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
