//! The state of one connector in a file: the pipeline's `StateStore`, and what the supervisor needs to load it and start over.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::SystemTime,
};

use bytes::Bytes;

use super::{
    folder::{Folder, blocking},
    slots::{self, Slots},
};
use crate::pipeline::{Failure, StateStore};

/// The state of one connector.
#[derive(Clone, Debug)]
pub struct FileStore {
    inner: Arc<Inner>,
}

/// A store that may not be used any more.
#[derive(Debug)]
pub(super) struct Known(Weak<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Folder,
    /// In the folder and in its index.
    name: String,
    owner: Owner,
    open: Mutex<Option<Open>>,
}

/// What is known of a saved state without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Rises by one with every save.
    pub version: u64,
    /// In bytes.
    pub size: u64,
    pub at: SystemTime,
}

/// Whose state it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Without it the source would start over: the folder's index lists it, and a missing one is an error.
    Source,
    /// Without it `start_from` is resolved once more, for what the group has not stored at the broker.
    Sink,
}

#[derive(Debug)]
struct Open {
    slots: Slots,
    /// Whether the folder's index is known to list it.
    listed: bool,
}

impl FileStore {
    pub(super) fn new(folder: Folder, name: String, owner: Owner) -> Self {
        Self {
            inner: Arc::new(Inner {
                folder,
                name,
                owner,
                open: Mutex::new(None),
            }),
        }
    }

    pub(super) fn known(&self) -> Known {
        Known(Arc::downgrade(&self.inner))
    }

    /// The saved state, `None` when none was ever saved (or it was deleted).
    ///
    /// # Errors
    ///
    /// There is or was one that cannot be read. It is never taken for an empty one.
    pub async fn load(&self) -> Result<Option<Bytes>, Failure> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.load()).await
    }

    /// What is saved, also while the connector goes on saving; `None` as for [`FileStore::load`].
    ///
    /// # Errors
    ///
    /// As of [`FileStore::load`].
    pub async fn saved(&self) -> Result<Option<Saved>, Failure> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.saved()).await
    }

    /// Forgets the saved state, damaged or not: the source starts over.
    ///
    /// # Errors
    ///
    /// It could not be removed.
    pub async fn delete(&self) -> Result<(), Failure> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.delete()).await
    }
}

impl Known {
    pub(super) fn store(&self) -> Option<FileStore> {
        let inner = self.0.upgrade()?;
        Some(FileStore { inner })
    }
}

impl StateStore for FileStore {
    async fn save(&self, state: Bytes) -> Result<(), Failure> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.save(&state)).await
    }
}

impl Inner {
    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> Result<Option<Bytes>, Failure> {
        let mut open = self.open();
        let Some((slots, state)) = self.read()? else {
            return Ok(None);
        };
        *open = Some(Open {
            slots,
            listed: false,
        });
        Ok(Some(state.into()))
    }

    fn saved(&self) -> Result<Option<Saved>, Failure> {
        let looked = self.found(Slots::look(&self.path()))?;
        Ok(looked.map(|(version, size, at)| Saved { version, size, at }))
    }

    fn save(&self, state: &[u8]) -> Result<(), Failure> {
        let mut open = self.open();
        let file = match open.take() {
            Some(mut file) => {
                let saved = file.slots.save(state);
                let file = open.insert(file);
                saved.map_err(|error| self.unsaved(&error))?;
                file
            }
            None => open.insert(Open {
                slots: self.first_save(state)?,
                listed: false,
            }),
        };
        if !file.listed {
            self.list()?;
            file.listed = true;
        }
        Ok(())
    }

    /// Without a load before it, a save must not replace what is there unread.
    fn first_save(&self, state: &[u8]) -> Result<Slots, Failure> {
        let unsaved = |error: io::Error| self.unsaved(&error);
        match self.read()? {
            Some((mut slots, _)) => slots.save(state).map(|()| slots).map_err(unsaved),
            None => Slots::create(&self.path(), state).map_err(unsaved),
        }
    }

    fn delete(&self) -> Result<(), Failure> {
        let mut open = self.open();
        self.unlist()?;
        *open = None;
        let path = self.path();
        match fs::remove_file(&path) {
            Ok(()) => slots::sync_parent(&path).map_err(|error| self.undeleted(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.undeleted(&error)),
        }
    }

    fn read(&self) -> Result<Option<(Slots, Vec<u8>)>, Failure> {
        self.found(Slots::open(&self.path()))
    }

    /// Says what it means that a file could not be read, or is not there.
    fn found<T>(&self, found: Result<Option<T>, slots::Error>) -> Result<Option<T>, Failure> {
        let path = self.path();
        match found {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) if self.is_listed()? => Err(Failure::fatal(format!(
                "saved state {} is missing: put it back, or {}",
                path.display(),
                self.owner.start_over()
            ))),
            Ok(None) => Ok(None),
            Err(slots::Error::Io(error)) => Err(Failure::fatal(format!(
                "saved state {} cannot be read: {error}",
                path.display()
            ))),
            Err(slots::Error::Damaged(how)) => Err(Failure::fatal(format!(
                "saved state {} is damaged ({how}): restore it from a backup, or {}",
                path.display(),
                self.owner.start_over()
            ))),
            Err(slots::Error::Newer(version)) => Err(Failure::fatal(format!(
                "saved state {} has format {version}, written by a later version of this daemon: run that one, or {}",
                path.display(),
                self.owner.start_over()
            ))),
        }
    }

    fn is_listed(&self) -> Result<bool, Failure> {
        if self.owner == Owner::Sink {
            return Ok(false);
        }
        let index = self.folder.index();
        let index = index.as_ref().map_err(|failure| failure.clone())?;
        Ok(index.contains(&self.name))
    }

    /// After the file exists: a crash in between leaves a file that is not listed, which is read all the same.
    fn list(&self) -> Result<(), Failure> {
        if self.owner == Owner::Sink {
            return Ok(());
        }
        let mut index = self.folder.index();
        let index = index.as_mut().map_err(|failure| failure.clone())?;
        index
            .insert(&self.name)
            .map_err(|error| self.unsaved(&error))
    }

    fn unlist(&self) -> Result<(), Failure> {
        if self.owner == Owner::Sink {
            return Ok(());
        }
        let mut index = self.folder.index();
        let index = index.as_mut().map_err(|failure| failure.clone())?;
        index
            .remove(&self.name)
            .map_err(|error| self.undeleted(&error))
    }

    fn unsaved(&self, error: &io::Error) -> Failure {
        Failure::transient(format!("save state {}: {error}", self.path().display()))
    }

    fn undeleted(&self, error: &io::Error) -> Failure {
        Failure::transient(format!(
            "delete saved state {}: {error}",
            self.path().display()
        ))
    }
}

impl Owner {
    /// What else can be done about a state that cannot be used.
    const fn start_over(self) -> &'static str {
        match self {
            Self::Source => "stop the source and `DELETE /sources/{key}/offsets` to start over",
            Self::Sink => {
                "delete it, after which `start_from` is resolved again where nothing is stored"
            }
        }
    }
}
