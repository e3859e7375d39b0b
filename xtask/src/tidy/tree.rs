//! The repository's text files, read once. Everything a check looks at comes from here, so that its tests need no disk.

use std::{fs, io, path::Path};

use super::rust::Source;

/// Folders that are not the repository's own: builds, what a run leaves behind, and the repository's history.
const SKIPPED: [&str; 6] = [
    "target",
    ".git",
    "node_modules",
    "local_data",
    "local_state",
    ".venv",
];

#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: Vec<File>,
    /// Everything that exists, folders included: what a document may name.
    paths: Vec<String>,
}

#[derive(Debug)]
pub(super) struct File {
    /// From the root, with `/` on every platform.
    pub(super) path: String,
    pub(super) text: String,
}

impl Tree {
    /// # Errors
    ///
    /// A folder or file could not be read.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.walk(root, "")?;
        tree.files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(tree)
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.paths.iter().any(|known| known == path)
    }

    /// Every path, files and folders.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    pub(super) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a File> {
        self.files
            .iter()
            .filter(move |file| file.path.ends_with(end))
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = Source> {
        self.ending(".rs")
            .map(|file| Source::new(&file.path, &file.text))
    }

    fn walk(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else if is_text(&name) {
                self.files.push(File {
                    path: path.clone(),
                    text: fs::read_to_string(entry.path())?,
                });
            }
            self.paths.push(path);
        }
        Ok(())
    }
}

/// What the checks read; anything else, binary test data for one, is only known to exist.
fn is_text(name: &str) -> bool {
    [".rs", ".toml", ".md", ".lock"]
        .iter()
        .any(|end| name.ends_with(end))
}

#[cfg(test)]
impl Tree {
    /// A tree made of `(path, text)` pairs.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let paths = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).into(),
            text: (*text).into(),
        };
        Self {
            files: files.iter().map(file).collect(),
            paths,
        }
    }
}
