//! The data directory: one broker at a time, one format, no leftovers of deleted partitions.

use std::{
    collections::HashSet,
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::file;
use crate::Error;

const FORMAT: &str = "iggy-connectors broker 1";

/// A locked data directory; the lock goes with the process or with this value.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Drop for Directory {
    /// Closing the file would not do while a process that is just being started still shares it.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Directory {
    /// Creates or opens the directory, locks it and checks its format.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path.join("logs")).map_err(Error::storage(path))?;
        let lock = lock(path)?;
        check_format(path)?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("metadata")
    }

    pub(crate) fn log(&self, id: u64) -> PathBuf {
        self.path.join("logs").join(format!("{id:010}"))
    }

    /// Removes the logs of partitions that were deleted just before a crash. Logs with an id that was never
    /// given are not known to be deleted: they are set aside under another name, since the id will be used.
    pub(crate) fn clean(&self, live: &HashSet<u64>, next: u64) -> Result<(), Error> {
        let logs = self.path.join("logs");
        for entry in fs::read_dir(&logs).map_err(Error::storage(&logs))? {
            let path = entry.map_err(Error::storage(&logs))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(id) = name.and_then(|name| name.parse::<u64>().ok()) else {
                continue;
            };
            if !live.contains(&id) {
                discard(&path, id < next).map_err(Error::storage(&path))?;
            }
        }
        Ok(())
    }
}

fn discard(path: &Path, deleted: bool) -> io::Result<()> {
    if deleted {
        return fs::remove_dir_all(path);
    }
    let aside = path.with_extension(format!("unknown-{}", crate::sync::now_micros()));
    tracing::warn!(from = %path.display(), to = %aside.display(), "log of an unknown partition set aside");
    fs::rename(path, aside)
}

fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let mut file = file::open(&path).map_err(Error::storage(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Locked {
                path: directory.to_owned(),
                owner: owner(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => return Err(Error::Storage { path, source }),
    }
    let pid = std::process::id().to_string();
    let written = file
        .set_len(0)
        .and_then(|()| file.write_all(pid.as_bytes()));
    written.map_err(Error::storage(&path))?;
    Ok(file)
}

fn owner(file: &mut File) -> String {
    let mut pid = String::new();
    match file.take(20).read_to_string(&mut pid) {
        Ok(read) if read > 0 => pid,
        _ => "unknown".to_owned(),
    }
}

fn check_format(directory: &Path) -> Result<(), Error> {
    let path = directory.join("format");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim_end() == FORMAT => Ok(()),
        Ok(found) => Err(Error::Format {
            path: directory.to_owned(),
            found: found.trim_end().to_owned(),
            expected: FORMAT,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            file::replace(&path, format!("{FORMAT}\n").as_bytes()).map_err(Error::storage(&path))
        }
        Err(error) => Err(Error::storage(&path)(error)),
    }
}
