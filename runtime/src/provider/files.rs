//! Files that are there whole or not at all: written beside their place, forced to disk, then moved into it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::Error;

/// Names of files that are being written begin and end so. They are hidden: nobody takes them for a version.
const UNFINISHED: (&str, &str) = (".unfinished-", ".tmp");

/// Held while a folder is changed.
const LOCK: &str = ".lock";

/// Another process holds the lock for some writes.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Makes a folder and those around it.
pub(super) fn make_folder(folder: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|cause| failed("make the folder", folder, cause))
}

/// Keeps other processes from changing the folder as long as the file is open, and clears what a killed one left.
pub(super) fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let error = |cause| failed("lock", &path, cause);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(error)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(cause)) => return Err(error(cause)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Unavailable(format!(
                    "another process holds {}: try again when it is done",
                    path.display()
                )));
            }
        }
    }
    clear_unfinished(folder)?;
    Ok(file)
}

/// Writes a file that must not be there yet.
pub(super) fn write_new(folder: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let (path, unfinished) = (folder.join(name), write_unfinished(folder, name, text)?);
    // Unlike a rename, a link never takes the place of what is there.
    let linked = fs::hard_link(&unfinished, &path);
    let removed = fs::remove_file(&unfinished);
    linked
        .and(removed)
        .and_then(|()| sync_folder(folder))
        .map_err(|cause| failed("write", &path, cause))?;
    Ok(path)
}

/// Writes a file in place of the one that is there.
pub(super) fn replace(folder: &Path, name: &str, text: &str) -> Result<(), Error> {
    let (path, unfinished) = (folder.join(name), write_unfinished(folder, name, text)?);
    fs::rename(&unfinished, &path)
        .and_then(|()| sync_folder(folder))
        .map_err(|cause| failed("write", &path, cause))
}

/// Removes a file; one that is gone is no error.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => path.parent().map_or(Ok(()), sync_folder),
    }
    .map_err(|cause| failed("remove", path, cause))
}

/// Every name in a folder, which need not be there.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(cause) => return Err(failed("read the folder", folder, cause)),
    };
    entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(|cause| failed("read the folder", folder, cause))
}

fn write_unfinished(folder: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let (start, end) = UNFINISHED;
    let path = folder.join(format!("{start}{name}{end}"));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|cause| failed("write", &path, cause))?;
    Ok(path)
}

fn clear_unfinished(folder: &Path) -> Result<(), Error> {
    let (start, end) = UNFINISHED;
    let unfinished = names(folder)?
        .into_iter()
        .filter(|name| name.starts_with(start) && name.ends_with(end));
    for name in unfinished {
        remove(&folder.join(name))?;
    }
    Ok(())
}

/// What a folder lists is on disk only when the folder itself is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    File::open(folder)?.sync_all()
}

fn failed(doing: &'static str, path: &Path, cause: io::Error) -> Error {
    Error::File {
        doing,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        write_new(folder.path(), "a", "first").unwrap();
        let error = write_new(folder.path(), "a", "second").unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error:?}");
        assert_eq!(
            fs::read_to_string(folder.path().join("a")).unwrap(),
            "first"
        );
        assert_eq!(names(folder.path()).unwrap(), ["a"]);
        replace(folder.path(), "a", "second").unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join("a")).unwrap(),
            "second"
        );
    }

    #[test]
    fn only_the_owner_reads_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        make_folder(&inner).unwrap();
        let path = write_new(&inner, "a", "x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&path)), (0o700, 0o600));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&inner, "a", "y").unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn what_a_killed_writer_left_is_cleared_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            ".unfinished-a.toml.tmp",
            ".hidden",
            "a.toml",
            ".unfinished-b",
        ] {
            fs::write(folder.path().join(name), "[sin").unwrap();
        }
        lock(folder.path()).unwrap();
        let mut left = names(folder.path()).unwrap();
        left.sort();
        assert_eq!(left, [".hidden", LOCK, ".unfinished-b", "a.toml"]);
    }

    #[test]
    fn a_lock_keeps_others_out_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let other = OpenOptions::new()
            .write(true)
            .open(folder.path().join(LOCK))
            .unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        other.try_lock().unwrap();
    }
}
