//! A folder for the private copies of plugins that a command looks at: [`Scratch`]. The daemon's own stays as it is.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::plugin::Registry;

/// A folder of this process alone, removed at the end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> io::Result<Self> {
        let name = format!("iggy-connectors-{}", uuid::Uuid::new_v4());
        let folder = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }

    /// Plugins loaded from here.
    pub(super) fn registry(&self) -> Result<Registry, String> {
        let registry = Registry::new(self.path(), 1);
        registry.map_err(|error| self.unusable(&error))
    }

    /// Plugins that are looked at by processes of their own, which are this program's command `plugins`.
    pub(super) fn probing(&self) -> Result<Registry, String> {
        let registry = Registry::probing(self.path(), 1);
        registry.map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, error: &io::Error) -> String {
        format!("copies of plugins in {}: {error}", self.path().display())
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in a folder for temporary files is its owner's to clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The runtime that loading a library needs, or waiting for a process that does.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}
