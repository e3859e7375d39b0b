//! Looks at a library's file before the system's loader maps it: [`check`].
//!
//! The loader believes what the headers say: it maps segments that a truncated file does not have, and reading them kills the process
//! (`SIGBUS`). Everything else that may be wrong with a file the loader reports by itself.

/// Why a file cannot be loaded as a library.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it is not a shared library (no ELF file)")]
    NotElf,
    #[error(
        "it is an ELF file but not a shared library; a plugin is built with crate-type = [\"cdylib\"]"
    )]
    NotShared,
    #[error("it is built for another kind of processor; build it for this one")]
    OtherMachine,
    #[error("its headers contradict each other; build or copy it again")]
    Malformed,
    #[error("it is cut short: {expected} bytes are announced, {found} are there; copy it again")]
    Truncated { expected: u64, found: u64 },
}

const MAGIC: &[u8] = b"\x7fELF";
const TYPE_SHARED: u16 = 3;
const SEGMENT_LOAD: u32 = 1;
/// Most program headers that are believed; real libraries have about ten.
const MOST_SEGMENTS: u16 = 1024;

/// Tells whether every part of the file that the loader will map is there.
///
/// `head` is the start of the file, at least [`HEAD`] bytes unless the file is shorter; `len` the length of the whole.
pub(super) fn check(head: &[u8], len: u64) -> Result<(), Flaw> {
    if !head.starts_with(MAGIC) {
        return Err(Flaw::NotElf);
    }
    let truncated = || Flaw::Truncated {
        expected: HEAD as u64,
        found: len,
    };
    let elf = Elf::read(head).ok_or_else(truncated)??;
    reaches(elf.headers_end.ok_or(Flaw::Malformed)?, len)?;
    for number in 0..elf.segments {
        reaches(elf.segment_end(head, number)?, len)?;
    }
    Ok(())
}

fn reaches(expected: u64, found: u64) -> Result<(), Flaw> {
    if expected > found {
        return Err(Flaw::Truncated { expected, found });
    }
    Ok(())
}

/// How many bytes of a file [`check`] wants to see: its header and its program headers, which linkers put behind it.
pub(super) const HEAD: usize = 64 * 1024;

/// What matters of an ELF header.
struct Elf {
    wide: bool,
    segments_at: u64,
    segments: u16,
    segment_size: u16,
    /// Where the later of the two tables of headers ends; that of the sections usually ends the file. `None` when it cannot be.
    headers_end: Option<u64>,
}

impl Elf {
    /// Reads the header; `None` when the file is shorter than one.
    fn read(head: &[u8]) -> Option<Result<Self, Flaw>> {
        let wide = *head.get(4)? == 2;
        let little = *head.get(5)? == 1;
        if wide != cfg!(target_pointer_width = "64") || little != cfg!(target_endian = "little") {
            return Some(Err(Flaw::OtherMachine));
        }
        let kind = half(head, 16)?;
        let machine = half(head, 18)?;
        // Offsets of the fields that are as wide as an address, and of those behind them.
        let (segments_at, sections_at, counts) = if wide {
            (long(head, 32)?, long(head, 40)?, 54)
        } else {
            (word(head, 28)?.into(), word(head, 32)?.into(), 42)
        };
        let segment_size = half(head, counts)?;
        let segments = half(head, counts + 2)?;
        let section_size = half(head, counts + 4)?;
        let sections = half(head, counts + 6)?;
        if kind != TYPE_SHARED {
            return Some(Err(Flaw::NotShared));
        }
        if MACHINE.is_some_and(|expected| machine != expected) {
            return Some(Err(Flaw::OtherMachine));
        }
        let least = if wide { 56 } else { 32 };
        if segments == 0 || segments > MOST_SEGMENTS || segment_size < least {
            return Some(Err(Flaw::Malformed));
        }
        let segments_end = table_end(segments_at, segment_size, segments);
        let sections_end = table_end(sections_at, section_size, sections);
        Some(Ok(Self {
            wide,
            segments_at,
            segments,
            segment_size,
            headers_end: segments_end
                .zip(sections_end)
                .map(|(one, other)| one.max(other)),
        }))
    }

    /// Where segment `number` ends in the file; 0 when it is not one that is mapped.
    fn segment_end(&self, head: &[u8], number: u16) -> Result<u64, Flaw> {
        let skipped = u64::from(self.segment_size) * u64::from(number);
        let at = self
            .segments_at
            .checked_add(skipped)
            .and_then(|at| usize::try_from(at).ok())
            .ok_or(Flaw::Malformed)?;
        // Program headers beyond the part that was read: no linker does that.
        let kind = word(head, at).ok_or(Flaw::Malformed)?;
        if kind != SEGMENT_LOAD {
            return Ok(0);
        }
        let (offset, size) = if self.wide {
            (long(head, at + 8), long(head, at + 32))
        } else {
            (
                word(head, at + 4).map(u64::from),
                word(head, at + 16).map(u64::from),
            )
        };
        offset
            .zip(size)
            .and_then(|(offset, size)| offset.checked_add(size))
            .ok_or(Flaw::Malformed)
    }
}

/// The number that ELF gives to this processor, where it is known here; otherwise the loader compares.
const MACHINE: Option<u16> = if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else if cfg!(target_arch = "riscv64") {
    Some(243)
} else {
    None
};

fn table_end(start: u64, entry: u16, entries: u16) -> Option<u64> {
    start.checked_add(u64::from(entry) * u64::from(entries))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    field(bytes, at).map(u16::from_ne_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(u32::from_ne_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(u64::from_ne_bytes)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The test's own executable, which is position independent: the same kind of file as a library.
    fn library() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    fn checked(file: &[u8]) -> Result<(), Flaw> {
        check(&file[..file.len().min(HEAD)], file.len() as u64)
    }

    #[test]
    fn a_whole_file_passes() {
        assert_eq!(checked(&library()), Ok(()));
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let library = library();
        for keep in [
            0,
            1,
            4,
            5,
            16,
            40,
            63,
            64,
            100,
            1000,
            library.len() / 2,
            library.len() - 1,
        ] {
            let cut = checked(&library[..keep]);
            assert!(
                matches!(cut, Err(Flaw::Truncated { .. } | Flaw::NotElf)),
                "{keep}: {cut:?}"
            );
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        assert_eq!(checked(b"#!/bin/sh\n"), Err(Flaw::NotElf));
        let mut executable = library();
        executable[16] = 2;
        assert_eq!(checked(&executable), Err(Flaw::NotShared));
        let mut foreign = library();
        foreign[18..20].copy_from_slice(&8u16.to_ne_bytes());
        assert_eq!(checked(&foreign), Err(Flaw::OtherMachine));
        let mut narrow = library();
        narrow[4] = 1;
        assert_eq!(checked(&narrow), Err(Flaw::OtherMachine));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(mut file in proptest::collection::vec(any::<u8>(), 0..400), kind in 0u16..4, len in any::<u64>()) {
            for (at, byte) in MAGIC.iter().chain(&[2, 1]).enumerate() {
                if let Some(place) = file.get_mut(at) {
                    *place = *byte;
                }
            }
            if let Some(place) = file.get_mut(16..20) {
                place[..2].copy_from_slice(&kind.to_ne_bytes());
                place[2..].copy_from_slice(&MACHINE.unwrap_or(0).to_ne_bytes());
            }
            let _ = check(&file, len);
        }
    }
}
