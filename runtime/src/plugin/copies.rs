//! The private copies that libraries are loaded from: files named by their content in a folder that only this user may enter.
//!
//! Loading the original would not do: overwriting a mapped file kills the process, and for a file that it knows already the loader
//! returns the library of before. A copy is a real one, never a link, and is replaced only by a rename.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::image;

const ONLY_MINE: u32 = 0o700;
/// Nobody writes to a copy, not even its owner.
const READ_ONLY: u32 = 0o500;
const UNFINISHED: &str = "part";

/// A folder of private copies.
pub(super) struct Copies {
    folder: PathBuf,
}

/// What a copy attempt found.
pub(super) enum Copied {
    Done {
        copy: PathBuf,
    },
    /// The original was written to meanwhile.
    Changed,
    Flawed(image::Flaw),
}

impl Copies {
    /// Opens the folder, or creates it, and removes what an earlier run left behind.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(ONLY_MINE)
            .create(&folder)?;
        if !fs::symlink_metadata(&folder)?.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("`{}` is no folder", folder.display()),
            ));
        }
        fs::set_permissions(&folder, Permissions::from_mode(ONLY_MINE))?;
        // The loader resolves relative names in its own way.
        let copies = Self {
            folder: fs::canonicalize(folder)?,
        };
        copies.clean()?;
        Ok(copies)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes every copy. Another process that has one loaded keeps it: a mapped file lives on without its name.
    fn clean(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if is_copy(&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Copies `original`, whose content is `hash`, as copy number `number`, which no library of this process was loaded from.
    pub(super) fn copy(
        &self,
        original: &Path,
        hash: blake3::Hash,
        number: usize,
    ) -> io::Result<Copied> {
        let name = format!("{}-{number}", hash.to_hex());
        let unfinished = self.folder.join(format!("{name}.{UNFINISHED}"));
        remove(&unfinished)?;
        let result = self.copy_through(original, hash, &name, &unfinished);
        if !matches!(result, Ok(Copied::Done { .. })) {
            // The result says more than a file that could not be removed; the next start removes it.
            let _ = remove(&unfinished);
        }
        result
    }

    fn copy_through(
        &self,
        original: &Path,
        hash: blake3::Hash,
        name: &str,
        unfinished: &Path,
    ) -> io::Result<Copied> {
        let mut target = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(READ_ONLY)
            .open(unfinished)?;
        let read = read_through(original, |bytes| target.write_all(bytes))?;
        if read.hash != hash {
            return Ok(Copied::Changed);
        }
        if cfg!(all(unix, not(target_vendor = "apple")))
            && let Err(flaw) = image::check(&read.head, read.len)
        {
            return Ok(Copied::Flawed(flaw));
        }
        // An existing file of that name, whatever it holds, is replaced as a whole.
        let copy = self.folder.join(format!("{name}.{}", library_extension()));
        fs::rename(unfinished, &copy)?;
        Ok(Copied::Done { copy })
    }
}

/// Whether a file is named as copies are, finished or not. Anything else in the folder is somebody's own.
fn is_copy(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    let stem = path.file_stem().and_then(OsStr::to_str);
    let Some((hash, number)) = stem.and_then(|stem| stem.split_once('-')) else {
        return false;
    };
    extension.is_some_and(|found| found == library_extension() || found == UNFINISHED)
        && blake3::Hash::from_hex(hash).is_ok()
        && number.parse::<usize>().is_ok()
}

/// The hash of a file's content.
pub(super) fn hash(path: &Path) -> io::Result<blake3::Hash> {
    Ok(read_through(path, |_| Ok(()))?.hash)
}

struct Through {
    hash: blake3::Hash,
    /// The first bytes, as many as a check of the image wants.
    head: Vec<u8>,
    len: u64,
}

/// Reads a file once and hands its content on piece by piece.
fn read_through(path: &Path, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Through> {
    let mut file = open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut through = Through {
        hash: hasher.finalize(),
        head: Vec::new(),
        len: 0,
    };
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(read);
        let wanted = image::HEAD - through.head.len();
        through
            .head
            .extend_from_slice(&read[..read.len().min(wanted)]);
        through.len += read.len() as u64;
        each(read)?;
    }
    through.hash = hasher.finalize();
    Ok(through)
}

/// Opens a regular file: reading a pipe or a device might never end.
fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    File::open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn library_extension() -> &'static str {
    std::env::consts::DLL_EXTENSION
}
