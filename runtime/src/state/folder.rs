//! The folder of states: made, locked against a second daemon, and asked for stores. The daemon opens it once and keeps it as
//! long as it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::warn;

use super::{
    file::{FileStore, Known, Owner},
    index::{self, Index},
};
use crate::pipeline::Failure;

/// The folder of states, locked as long as this or one of its stores exists.
#[derive(Clone, Debug)]
pub struct Folder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Sources say so when the list is damaged; the daemon and its sinks go on.
    index: Mutex<Result<Index, Failure>>,
    /// Those that are used, by name.
    stores: Mutex<BTreeMap<String, Known>>,
    /// Locked until it is closed.
    _lock: File,
}

impl Folder {
    /// Opens the folder, which is made when missing, and locks it. Blocks shortly: called once, before anything runs.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Fatal`](crate::pipeline::FailureKind::Fatal) when it cannot be made or written, or another daemon uses it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let fatal =
            |error: io::Error| Failure::fatal(format!("state folder {}: {error}", path.display()));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(fatal)?;
        let lock = lock(path)?;
        let index = open_index(path);
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                index: Mutex::new(index),
                stores: Mutex::default(),
                _lock: lock,
            }),
        })
    }

    /// The store of a source's state. As long as it is used it is the same: what a save of before is still writing is waited for.
    pub fn source(&self, key: &str) -> FileStore {
        self.store(format!("source_{key}.state"), Owner::Source)
    }

    /// The store of where a sink's groups began.
    pub fn sink(&self, key: &str) -> FileStore {
        self.store(format!("sink_{key}.state"), Owner::Sink)
    }

    fn store(&self, name: String, owner: Owner) -> FileStore {
        let stores = self.inner.stores.lock();
        let mut stores = stores.unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&name).and_then(Known::store) {
            return store;
        }
        stores.retain(|_, known| known.store().is_some());
        let store = FileStore::new(self.clone(), name.clone(), owner);
        stores.insert(name, store.known());
        store
    }

    pub(super) fn path(&self) -> &Path {
        &self.inner.path
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Result<Index, Failure>> {
        self.inner
            .index
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work` where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Failure::transient(format!("saved state: {error}"))))
}

fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join("lock");
    let fatal =
        |error: io::Error| Failure::fatal(format!("lock state folder {}: {error}", path.display()));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fatal)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let owner = fs::read_to_string(&path).unwrap_or_default();
            return Err(Failure::fatal(format!(
                "state folder {} is in use by another daemon (process {}): stop it, or set another `[state] path`",
                folder.display(),
                owner.trim()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(fatal(error)),
    }
    // Only for people: the lock is what counts.
    let noted = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    noted.map_err(fatal)?;
    Ok(file)
}

fn open_index(folder: &Path) -> Result<Index, Failure> {
    let path = folder.join("index");
    let io = |error: io::Error| {
        Failure::fatal(format!("list of saved states {}: {error}", path.display()))
    };
    match Index::read(&path) {
        Ok(Some(index)) => Ok(index),
        Ok(None) => {
            let names = state_files(folder).map_err(io)?;
            if !names.is_empty() {
                warn!(path = %path.display(), states = names.len(), "the list of saved states is missing; made a new one of what is there");
            }
            Index::create(&path, names).map_err(io)
        }
        Err(index::Error::Io(error)) => Err(io(error)),
        Err(index::Error::Damaged) => Err(Failure::fatal(format!(
            "the list of saved states {} is damaged: check that no state file of a source is missing beside it, delete the list \
             and start again, which makes a new one of the files that are there",
            path.display()
        ))),
    }
}

fn state_files(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        if name.starts_with("source_") && name.ends_with(".state") {
            names.insert(name);
        }
    }
    Ok(names)
}
