//! A loaded plugin: [`Library`]. It is never unloaded, since nobody can tell whether code of it still runs.

use std::{
    mem::ManuallyDrop,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dlopen2::raw;
use iggy_connector_abi as abi;
use tracing::warn;

use super::{
    Descriptor, LoadError, descriptor,
    symbols::{self, Entries},
};
use crate::pipeline::{Failure, FailureKind};

/// A loaded plugin. Clones are the same library.
#[derive(Clone)]
pub struct Library(Arc<Loaded>);

struct Loaded {
    descriptor: Descriptor,
    entries: Entries,
    shutdown: abi::instance::Shutdown,
    worker_threads: u32,
    /// Where it was loaded from, as the configuration has it; the private copy has another name.
    path: PathBuf,
    quarantined: AtomicBool,
    shut_down: AtomicBool,
}

impl Library {
    /// Loads `copy`, a private copy of the plugin at `path`.
    pub(super) fn load(path: &Path, copy: &Path, worker_threads: u32) -> Result<Self, LoadError> {
        let opened = raw::Library::open_with_flags(copy, Some(libc::RTLD_NOW | libc::RTLD_LOCAL));
        let image = opened.map_err(|source| LoadError::Open {
            path: path.to_owned(),
            source,
        })?;
        // A refused library stays as well: its initialisers have run and may have started anything.
        let image = ManuallyDrop::new(image);
        let describe = symbols::descriptor(&image, path)?;
        // SAFETY: the symbol carries the contract's name; the contract says that it may be called before anything is known.
        let descriptor = unsafe { describe() };
        // SAFETY: a descriptor lives as long as the library, which is for ever (`DescriptorFn`).
        let descriptor = unsafe { descriptor::read(descriptor) };
        let descriptor = descriptor.map_err(|source| LoadError::Refused {
            path: path.to_owned(),
            source,
        })?;
        let entries = Entries::of(&image, descriptor.direction, path)?;
        let shutdown = symbols::shutdown(&image, path)?;
        Ok(Self(Arc::new(Loaded {
            descriptor,
            entries,
            shutdown,
            worker_threads,
            path: path.to_owned(),
            quarantined: AtomicBool::new(false),
            shut_down: AtomicBool::new(false),
        })))
    }

    /// What the library says of itself.
    pub fn descriptor(&self) -> &Descriptor {
        &self.0.descriptor
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.0.descriptor.name
    }

    /// The plugin's version.
    pub fn version(&self) -> &str {
        &self.0.descriptor.version
    }

    /// Where it was loaded from.
    pub(super) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether both are the same loaded copy.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether an instance has hung in it, so that new ones go to another copy.
    pub fn is_quarantined(&self) -> bool {
        self.0.quarantined.load(Ordering::Acquire)
    }

    pub(super) fn entries(&self) -> &Entries {
        &self.0.entries
    }

    pub(super) fn worker_threads(&self) -> u32 {
        self.0.worker_threads
    }

    pub(super) fn quarantine(&self) {
        if !self.0.quarantined.swap(true, Ordering::AcqRel) {
            let path = self.0.path.display();
            warn!(plugin = self.name(), %path, "an instance has hung; new ones use a fresh copy of the plugin");
        }
    }

    /// Fails when no instance may be opened in it.
    pub(super) fn check_usable(&self) -> Result<(), Failure> {
        self.check_running()?;
        if self.is_quarantined() {
            let message = format!(
                "this copy of plugin `{}` has hung; it is to be loaded again",
                self.name()
            );
            return Err(Failure::new(FailureKind::Transient, message));
        }
        Ok(())
    }

    /// Fails when no call may be made into it.
    pub(super) fn check_running(&self) -> Result<(), Failure> {
        if self.0.shut_down.load(Ordering::Acquire) {
            let message = format!("plugin `{}` has been shut down", self.name());
            return Err(Failure::fatal(message));
        }
        Ok(())
    }

    /// Stops the library's threads; blocks for `timeout` at most if the plugin keeps its word. Tells whether all have stopped.
    pub(super) fn shut_down(&self, timeout: Duration) -> bool {
        if self.0.shut_down.swap(true, Ordering::AcqRel) {
            return true;
        }
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        // SAFETY: no call follows, since `check_running` fails from now on; whoever shuts down has closed or abandoned every instance.
        let stopped = unsafe { (self.0.shutdown)(timeout) };
        stopped == 1
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library")
            .field("name", &self.name())
            .field("version", &self.version())
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}
