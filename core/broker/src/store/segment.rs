//! One file of batches, named after the offset of its first message. The last segment of a partition grows;
//! the others are sealed and have their index beside them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use iggy_binary_protocol::batch::{BATCH_HEADER_SIZE, BatchHeader, decode_batch_slice};

use super::{
    file,
    index::{Entry, Index, Summary},
    salvage,
};

/// Scans read this much at a time, or one batch if that is more.
const SCAN_CHUNK: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) summary: Summary,
    pub(crate) index: Index,
    pub(crate) source: Source,
    path: PathBuf,
}

/// Where a segment's bytes are. A segment is open until it is sealed: until its file is on stable storage and
/// its index beside it. Recovery trusts a sealed one.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Open(Arc<File>),
    /// Opened by each reader, so that old data does not use up file descriptors.
    Sealed(PathBuf),
}

impl Source {
    /// The file, opened if need be.
    pub(crate) fn open(&self) -> io::Result<Arc<File>> {
        match self {
            Self::Open(file) => Ok(file.clone()),
            Self::Sealed(path) => Ok(Arc::new(File::open(path)?)),
        }
    }

    /// The file if it is not sealed.
    pub(crate) fn opened(&self) -> Option<Arc<File>> {
        match self {
            Self::Open(file) => Some(file.clone()),
            Self::Sealed(_) => None,
        }
    }
}

/// An index on its way to its file.
#[derive(Debug)]
pub(crate) struct SealedIndex {
    path: PathBuf,
    content: Vec<u8>,
}

impl SealedIndex {
    pub(crate) fn save(&self) -> io::Result<()> {
        file::replace(&self.path, &self.content)
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_if_there(&self.path)
    }
}

/// What a scan found.
#[derive(Debug)]
struct Scan {
    index: Index,
    summary: Summary,
}

impl Segment {
    /// Creates an empty segment whose first message will have offset `base`.
    pub(crate) fn create(
        directory: &Path,
        base: u64,
        newest: u64,
    ) -> io::Result<(Self, Arc<File>)> {
        let path = path(directory, base);
        let file = file::open(&path)?;
        file.set_len(0)?;
        let file = Arc::new(file);
        let segment = Self {
            summary: Summary {
                base,
                next: base,
                size: 0,
                newest,
            },
            index: Index::default(),
            source: Source::Open(file.clone()),
            path,
        };
        Ok((segment, file))
    }

    /// Opens the last segment of a partition: every batch is verified, what follows the last sound one is cut off.
    pub(crate) fn recover(directory: &Path, base: u64) -> io::Result<Self> {
        let path = path(directory, base);
        let file = file::open(&path)?;
        let length = file.metadata()?.len();
        let Scan { index, summary } = scan(&file, base, length)?;
        if summary.size < length {
            salvage::keep_batches(&path, &file, summary.size..length, summary.next)?;
            tracing::warn!(path = %path.display(), bytes = length - summary.size, "torn tail cut off");
            file.set_len(summary.size)?;
            file.sync_all()?;
        }
        // An index from an interrupted seal would be wrong as soon as the segment grows.
        remove_if_there(&path.with_extension("index"))?;
        Ok(Self {
            summary,
            index,
            source: Source::Open(Arc::new(file)),
            path,
        })
    }

    /// Opens a segment that is not the last one.
    pub(crate) fn open_sealed(directory: &Path, base: u64) -> io::Result<Self> {
        let path = path(directory, base);
        let file = file::open(&path)?;
        let length = file.metadata()?.len();
        let found = fs::read(path.with_extension("index")).ok();
        let known = found
            .and_then(|bytes| Index::decode(&bytes))
            .filter(|(_, summary)| summary.base == base && summary.size == length);
        if let Some((index, summary)) = known {
            return Ok(Self {
                summary,
                index,
                source: Source::Sealed(path.clone()),
                path,
            });
        }
        let Scan { mut index, summary } = scan(&file, base, length)?;
        if summary.size < length {
            tracing::error!(
                path = %path.display(), readable = summary.size, length, next_offset = summary.next,
                "a sealed segment is damaged: the messages behind the damage are not served"
            );
        }
        index.thin();
        Ok(Self {
            summary,
            index,
            source: Source::Open(Arc::new(file)),
            path,
        })
    }

    /// Takes note of a batch that was written at the end.
    pub(crate) fn grow(&mut self, messages: u32, length: u64, timestamp: u64) {
        let entry = Entry {
            offset: self.summary.next,
            timestamp,
            position: self.summary.size,
        };
        self.index.note(entry, length);
        self.summary.next += u64::from(messages);
        self.summary.size += length;
        self.summary.newest = timestamp;
    }

    /// Whether this segment is open as `file`.
    pub(crate) fn is_open_as(&self, file: &Arc<File>) -> bool {
        matches!(&self.source, Source::Open(own) if Arc::ptr_eq(own, file))
    }

    /// Turns the segment into a sealed one, its index being saved.
    pub(crate) fn close(&mut self) {
        self.source = Source::Sealed(self.path.clone());
    }

    /// The index to save once the file is on stable storage.
    pub(crate) fn sealed_index(&self) -> SealedIndex {
        SealedIndex {
            path: self.path.with_extension("index"),
            content: self.index.encode(self.summary),
        }
    }

    /// Removes the files. Whoever still reads holds the file open and is not disturbed.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_if_there(&self.path)?;
        remove_if_there(&self.path.with_extension("index"))
    }
}

/// The base offsets of the segments in `directory`, in order.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let base = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|base| base.parse::<u64>().ok());
        bases.extend(base);
    }
    bases.sort_unstable();
    Ok(bases)
}

fn path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.log"))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Walks the sound batches from the start: headers that decode, lengths that fit, offsets that follow each
/// other, checksums that hold.
fn scan(file: &File, base: u64, length: u64) -> io::Result<Scan> {
    let mut scan = Scan {
        index: Index::default(),
        summary: Summary {
            base,
            next: base,
            size: 0,
            newest: 0,
        },
    };
    let mut chunk = Vec::new();
    let mut wanted = SCAN_CHUNK;
    while scan.summary.size < length {
        chunk.resize(wanted.min(length - scan.summary.size) as usize, 0);
        file::read_at(file, &mut chunk, scan.summary.size)?;
        match take_batches(&mut scan, &chunk) {
            Taken::Some => wanted = SCAN_CHUNK,
            Taken::NeedsMore(more) if scan.summary.size + more <= length => wanted = more,
            Taken::NeedsMore(_) | Taken::Damaged => break,
        }
    }
    Ok(scan)
}

enum Taken {
    Some,
    NeedsMore(u64),
    Damaged,
}

fn take_batches(scan: &mut Scan, chunk: &[u8]) -> Taken {
    let mut position = 0;
    loop {
        let taken = if position > 0 {
            Taken::Some
        } else {
            Taken::Damaged
        };
        let rest = &chunk[position..];
        if rest.len() < BATCH_HEADER_SIZE {
            return match position {
                0 => Taken::NeedsMore(BATCH_HEADER_SIZE as u64),
                _ => Taken::Some,
            };
        }
        let Ok(header) = BatchHeader::decode(rest) else {
            return taken;
        };
        if header.base_offset != scan.summary.next || header.message_count == 0 {
            return taken;
        }
        if header.batch_length > rest.len() as u64 {
            return match position {
                0 => Taken::NeedsMore(header.batch_length),
                _ => Taken::Some,
            };
        }
        if decode_batch_slice(rest).is_err() {
            return taken;
        }
        take(scan, &header);
        position += header.total_size();
    }
}

fn take(scan: &mut Scan, header: &BatchHeader) {
    let entry = Entry {
        offset: header.base_offset,
        timestamp: header.base_timestamp,
        position: scan.summary.size,
    };
    scan.index.note(entry, header.batch_length);
    scan.summary.next += u64::from(header.message_count);
    scan.summary.size += header.batch_length;
    scan.summary.newest = header.base_timestamp;
}
