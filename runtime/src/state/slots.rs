//! One state file: two slots behind a header, written in turn, each with its own checksum. Whatever happens during a write, the
//! other slot still holds the state before. Blocking; `file` calls it off the async threads.
//!
//! ```text
//! 0     magic 8, version 4, capacity 8, checksum 8, zeros    never written again
//! 4096  sequence 8, length 8, checksum 8, state, zeros       slot 0, `capacity` bytes
//!       the same                                             slot 1
//! ```
//!
//! All numbers are little-endian. Slots begin on page boundaries so that a torn write of one cannot reach the other, and their
//! bytes are allocated from the start so that a save syncs data only.

use std::{
    fs::{self, File, OpenOptions},
    hash::Hasher,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use tracing::warn;
use twox_hash::XxHash3_64;

const MAGIC: [u8; 8] = *b"ICSTATE\0";
const VERSION: u32 = 1;
const PAGE: u64 = 4096;
const HEADER_LEN: usize = 28;
const SLOT_HEADER_LEN: usize = 24;
/// Larger than any state that makes sense; a capacity beyond is damage, not a reason to allocate.
const MAX_CAPACITY: u64 = 1 << 40;

/// Why a state file cannot be used.
#[derive(Debug)]
pub(super) enum Error {
    Io(io::Error),
    /// It is not what was written.
    Damaged(&'static str),
    /// Written by a later version of this program.
    Newer(u32),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// An open state file.
#[derive(Debug)]
pub(super) struct Slots {
    path: PathBuf,
    file: File,
    capacity: u64,
    newest: Slot,
    /// Reused from save to save.
    buffer: Vec<u8>,
}

/// Which slot holds the newest state, and its number in the order of saves.
#[derive(Clone, Copy, Debug)]
struct Slot {
    index: u64,
    sequence: u64,
}

/// What stands in a slot.
enum Found {
    State(Saved),
    /// It was never written.
    Nothing,
    Damage,
}

struct Saved {
    slot: Slot,
    state: Vec<u8>,
}

impl Saved {
    fn newer(self, other: Self) -> Self {
        if other.slot.sequence > self.slot.sequence {
            other
        } else {
            self
        }
    }

    fn into_parts(self) -> (Slot, Vec<u8>) {
        (self.slot, self.state)
    }
}

impl Slots {
    /// Makes a new file that holds `state`. Durable when it returns.
    pub(super) fn create(path: &Path, state: &[u8]) -> io::Result<Self> {
        let newest = Slot {
            index: 0,
            sequence: 1,
        };
        let (file, capacity) = write_whole(path, state, newest.sequence)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            capacity,
            newest,
            buffer: Vec::new(),
        })
    }

    /// Opens a file and reads its newest state, `None` when there is no such file.
    pub(super) fn open(path: &Path) -> Result<Option<(Self, Vec<u8>)>, Error> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let capacity = read_header(&file)?;
        let (saved, is_damaged) = newest(&file, capacity)?;
        if is_damaged {
            warn!(path = %path.display(), "one of two saved states is damaged, probably by a crash while saving; using the other");
        }
        let (newest, state) = saved.into_parts();
        let slots = Self {
            path: path.to_owned(),
            file,
            capacity,
            newest,
            buffer: Vec::new(),
        };
        Ok(Some((slots, state)))
    }

    /// Looks at a file that others may be writing: how often it was saved, how long its newest state is, and when it was written.
    pub(super) fn look(path: &Path) -> Result<Option<(u64, u64, SystemTime)>, Error> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // What is being written just now looks damaged, and the state before counts.
        let (saved, _) = newest(&file, read_header(&file)?)?;
        let written = file.metadata()?.modified()?;
        let (slot, state) = saved.into_parts();
        Ok(Some((slot.sequence, state.len() as u64, written)))
    }

    /// Makes `state` the newest. Durable when it returns; on an error the state before is still the newest.
    pub(super) fn save(&mut self, state: &[u8]) -> io::Result<()> {
        let next = Slot {
            index: 1 - self.newest.index,
            sequence: self.newest.sequence + 1,
        };
        if slot_len(state) > self.capacity {
            (self.file, self.capacity) = write_whole(&self.path, state, next.sequence)?;
            self.newest = Slot { index: 0, ..next };
            return Ok(());
        }
        self.buffer.clear();
        encode_slot(&mut self.buffer, next.sequence, state);
        self.file
            .write_all_at(&self.buffer, slot_offset(self.capacity, next.index))?;
        self.file.sync_data()?;
        self.newest = next;
        Ok(())
    }
}

/// Writes a file of two slots with `state` in the first, beside the one that may be there, and puts it in its place.
fn write_whole(path: &Path, state: &[u8], sequence: u64) -> io::Result<(File, u64)> {
    let capacity = slot_len(state).next_power_of_two().max(PAGE);
    let mut bytes = Vec::new();
    encode_header(&mut bytes, capacity);
    bytes.resize(PAGE as usize, 0);
    encode_slot(&mut bytes, sequence, state);
    let len = usize::try_from(slot_offset(capacity, 2)).map_err(io::Error::other)?;
    bytes.resize(len, 0);

    let beside = beside(path);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_parent(path)?;
    Ok((file, capacity))
}

/// Where a file is written before it takes the place of `path`.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// A name in a folder is durable once the folder is synced.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn slot_len(state: &[u8]) -> u64 {
    (SLOT_HEADER_LEN + state.len()) as u64
}

fn slot_offset(capacity: u64, index: u64) -> u64 {
    PAGE + capacity * index
}

fn encode_header(bytes: &mut Vec<u8>, capacity: u64) {
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&capacity.to_le_bytes());
    let checksum = XxHash3_64::oneshot(bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
}

fn encode_slot(bytes: &mut Vec<u8>, sequence: u64, state: &[u8]) {
    bytes.reserve(SLOT_HEADER_LEN + state.len());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&(state.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&checksum(sequence, state).to_le_bytes());
    bytes.extend_from_slice(state);
}

fn checksum(sequence: u64, state: &[u8]) -> u64 {
    let mut hasher = XxHash3_64::new();
    hasher.write(&sequence.to_le_bytes());
    hasher.write(&(state.len() as u64).to_le_bytes());
    hasher.write(state);
    hasher.finish()
}

/// The capacity of each slot.
fn read_header(file: &File) -> Result<u64, Error> {
    let mut header = [0; HEADER_LEN];
    if !read_at(file, &mut header, 0)? {
        return Err(Error::Damaged("it is cut"));
    }
    if header[..8] != MAGIC {
        return Err(Error::Damaged("it is no state file"));
    }
    if XxHash3_64::oneshot(&header[..20]) != number(&header, 20) {
        return Err(Error::Damaged("its header does not match its checksum"));
    }
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if version != VERSION {
        return Err(Error::Newer(version));
    }
    let capacity = number(&header, 12);
    if !(PAGE..=MAX_CAPACITY).contains(&capacity) || !capacity.is_multiple_of(PAGE) {
        return Err(Error::Damaged("its header makes no sense"));
    }
    Ok(capacity)
}

/// The newest state, and whether the other slot is damaged.
fn newest(file: &File, capacity: u64) -> Result<(Saved, bool), Error> {
    let slots = (read_slot(file, capacity, 0)?, read_slot(file, capacity, 1)?);
    Ok(match slots {
        (Found::State(first), Found::State(second)) => (first.newer(second), false),
        (Found::State(only), Found::Nothing) | (Found::Nothing, Found::State(only)) => {
            (only, false)
        }
        (Found::State(only), Found::Damage) | (Found::Damage, Found::State(only)) => (only, true),
        _ => return Err(Error::Damaged("neither of its two slots is intact")),
    })
}

fn read_slot(file: &File, capacity: u64, index: u64) -> io::Result<Found> {
    let offset = slot_offset(capacity, index);
    let mut header = [0; SLOT_HEADER_LEN];
    if !read_at(file, &mut header, offset)? {
        return Ok(Found::Damage);
    }
    if header == [0; SLOT_HEADER_LEN] {
        return Ok(Found::Nothing);
    }
    let (sequence, len) = (number(&header, 0), number(&header, 8));
    let start = offset + SLOT_HEADER_LEN as u64;
    let available = file.metadata()?.len().saturating_sub(start);
    if len > (capacity - SLOT_HEADER_LEN as u64).min(available) {
        return Ok(Found::Damage);
    }
    let mut state = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let is_whole = read_at(file, &mut state, start)?;
    if !is_whole || sequence == 0 || checksum(sequence, &state) != number(&header, 16) {
        return Ok(Found::Damage);
    }
    let slot = Slot { index, sequence };
    Ok(Found::State(Saved { slot, state }))
}

/// Whether the file had that many bytes there.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests;
