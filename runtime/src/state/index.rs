//! The list of state files that a folder should hold, so that one that vanished is noticed. Text, so that people can read it,
//! and checksummed, so that a damaged list is not taken for a shorter one. Blocking.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use twox_hash::XxHash3_64;

use super::slots::{beside, sync_parent};

const TITLE: &str = "iggy-connectors state index 1";

/// Why the list cannot be used.
#[derive(Debug)]
pub(super) enum Error {
    Io(io::Error),
    Damaged,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The listed file names, in memory and on disk.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    names: BTreeSet<String>,
}

impl Index {
    /// Reads the list, `None` when there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| Error::Damaged)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let names = parse(&text).ok_or(Error::Damaged)?;
        Ok(Some(Self {
            path: path.to_owned(),
            names,
        }))
    }

    /// Makes a list of `names`. Durable when it returns.
    pub(super) fn create(path: &Path, names: BTreeSet<String>) -> io::Result<Self> {
        let index = Self {
            path: path.to_owned(),
            names,
        };
        index.write(&index.names)?;
        Ok(index)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Durable when it returns.
    pub(super) fn insert(&mut self, name: &str) -> io::Result<()> {
        if self.contains(name) {
            return Ok(());
        }
        let mut names = self.names.clone();
        names.insert(name.to_owned());
        self.replace(names)
    }

    /// Durable when it returns.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        if !self.contains(name) {
            return Ok(());
        }
        let mut names = self.names.clone();
        names.remove(name);
        self.replace(names)
    }

    fn replace(&mut self, names: BTreeSet<String>) -> io::Result<()> {
        self.write(&names)?;
        self.names = names;
        Ok(())
    }

    fn write(&self, names: &BTreeSet<String>) -> io::Result<()> {
        let beside = beside(&self.path);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(format(names).as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        sync_parent(&self.path)
    }
}

fn format(names: &BTreeSet<String>) -> String {
    let mut text = format!("{TITLE}\n");
    for name in names {
        text.push_str(name);
        text.push('\n');
    }
    let checksum = XxHash3_64::oneshot(text.as_bytes());
    text.push_str(&format!("checksum {checksum:016x}\n"));
    text
}

fn parse(text: &str) -> Option<BTreeSet<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let names: BTreeSet<String> = match lines.as_slice() {
        [TITLE, names @ .., _checksum] => names.iter().map(|name| (*name).to_owned()).collect(),
        _ => return None,
    };
    (format(&names) == text).then_some(names)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn names_are_kept_until_they_are_removed() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("index");
        assert!(Index::read(&path).unwrap().is_none());
        let mut index = Index::create(&path, BTreeSet::new()).unwrap();
        index.insert("b").unwrap();
        index.insert("a").unwrap();
        index.insert("a").unwrap();
        assert!(Index::read(&path).unwrap().unwrap().contains("a"));
        index.remove("a").unwrap();
        index.remove("a").unwrap();
        let index = Index::read(&path).unwrap().unwrap();
        assert!(index.contains("b") && !index.contains("a"));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("index");
        Index::create(
            &path,
            BTreeSet::from(["source_a.state".to_owned(), "b".to_owned()]),
        )
        .unwrap();
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(Index::read(&path).is_err(), "cut at {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert!(Index::read(&path).is_err(), "changed at {at}");
        }
    }
}
