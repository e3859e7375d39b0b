//! Versions in files: one per version, the choice between them beside them, together with those in the runtime file.
//!
//! Nothing is remembered between two calls. A folder holds few files, people edit them, and another daemon may share it.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{
    Entry, Error, Id, Provider, View, entries, files, no_version, no_versions, still_active,
    still_enabled,
};
use crate::config::{ActiveVersions, Document, History, Place, Reader, Version};

/// Keeps versions in a folder.
#[derive(Clone)]
pub struct Local {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    reader: Reader,
    inline: Vec<Version>,
    /// One change at a time; the lock in the folder keeps other processes out.
    changing: Mutex<()>,
}

impl Local {
    /// Versions in `folder`, which is made when the first is written, and those `inline` in the runtime file.
    pub fn new(folder: PathBuf, inline: Vec<Version>, reader: Reader) -> Self {
        let inner = Inner {
            folder,
            reader,
            inline,
            changing: Mutex::new(()),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(Error::Unavailable(format!("version files: {error}"))))
    }
}

#[async_trait]
impl Provider for Local {
    async fn list(&self) -> Result<Vec<Entry>, Error> {
        self.blocking(|inner| {
            let history = inner.read()?;
            Ok(entries(&history, &history.versions))
        })
        .await
    }

    async fn versions(&self, id: &Id) -> Result<Vec<Entry>, Error> {
        let id = id.clone();
        self.blocking(move |inner| inner.versions(&id)).await
    }

    async fn version(&self, id: &Id, version: u32) -> Result<Entry, Error> {
        let id = id.clone();
        self.blocking(move |inner| inner.version(&id, version))
            .await
    }

    async fn active(&self, id: &Id) -> Result<Entry, Error> {
        let id = id.clone();
        self.blocking(move |inner| inner.active(&id)).await
    }

    async fn create(&self, id: &Id, document: Document) -> Result<Entry, Error> {
        let id = id.clone();
        self.blocking(move |inner| inner.create(&id, document))
            .await
    }

    async fn activate(&self, id: &Id, version: u32) -> Result<(), Error> {
        let id = id.clone();
        self.blocking(move |inner| inner.activate(&id, version))
            .await
    }

    async fn delete(&self, id: &Id, version: Option<u32>) -> Result<(), Error> {
        let id = id.clone();
        self.blocking(move |inner| match version {
            Some(version) => inner.delete(&id, version),
            None => inner.delete_all(&id),
        })
        .await
    }

    async fn view(&self) -> Result<View, Error> {
        self.blocking(|inner| {
            let view = View::of(&inner.read()?);
            // One that is away with all files that it held is no order to remove every connector.
            Ok(match fs::read_dir(&inner.folder) {
                Ok(_) => view,
                Err(error) => view.without_files(format!(
                    "connectors cannot be read from {}: {error}",
                    inner.folder.display()
                )),
            })
        })
        .await
    }
}

impl Inner {
    fn read(&self) -> Result<History, Error> {
        let read = self.reader.folder(&self.folder, &self.inline);
        read.map_err(Error::Damaged)
    }

    fn versions(&self, id: &Id) -> Result<Vec<Entry>, Error> {
        let history = self.read()?;
        match history.of(id.direction, &id.key) {
            [] => Err(no_versions(id)),
            versions => Ok(entries(&history, versions)),
        }
    }

    fn version(&self, id: &Id, version: u32) -> Result<Entry, Error> {
        let mut found = self.versions(id)?;
        found.retain(|entry| entry.version.spec.version == version);
        match found.len() {
            0 | 1 => found.pop().ok_or_else(|| no_version(id, version)),
            _ => Err(Error::Conflict(format!(
                "version {version} of {id} is there twice, in {} and {}: remove one of them",
                found[0].version.place, found[1].version.place
            ))),
        }
    }

    fn active(&self, id: &Id) -> Result<Entry, Error> {
        let found = self.versions(id)?.into_iter().find(|entry| entry.active);
        found.ok_or_else(|| {
            Error::NotFound(format!(
                "the version of {id} that was activated is not there: put it back, or activate another"
            ))
        })
    }

    fn create(&self, id: &Id, document: Document) -> Result<Entry, Error> {
        self.changing(|| {
            let mut history = self.read()?;
            let number = self.next_number(id, &history)?;
            if history.of(id.direction, &id.key).is_empty()
                && history.active.remove(id.direction, &id.key)
            {
                // Left by a connector of that name which is gone.
                self.record(&history.active)?;
            }
            let document = document.with_identity(id.direction, &id.key, number);
            let (extension, text) = document.to_file();
            let name = format!("{}{number}.{extension}", name_before_number(id));
            files::write_new(&self.folder, &name, &text)?;
            self.version(id, number)
        })
    }

    /// Counts files by their names too: one that cannot be read may still be mended.
    fn next_number(&self, id: &Id, history: &History) -> Result<u32, Error> {
        let versions = history.of(id.direction, &id.key).iter();
        let start = name_before_number(id);
        let names = files::names(&self.folder)?;
        let of_names = names.iter().filter_map(|name| {
            let (number, _) = name.strip_prefix(&start)?.split_once('.')?;
            number.parse().ok()
        });
        let highest = versions
            .map(|version| version.spec.version)
            .chain(of_names)
            .max();
        highest
            .map_or(Some(0), |highest| highest.checked_add(1))
            .ok_or_else(|| {
                Error::Conflict(format!("{id} has the highest version that there can be"))
            })
    }

    fn activate(&self, id: &Id, version: u32) -> Result<(), Error> {
        self.version(id, version)?;
        self.changing(|| {
            self.version(id, version)?;
            let mut active = self.read()?.active;
            active.set(id.direction, &id.key, version);
            self.record(&active)
        })
    }

    fn delete(&self, id: &Id, version: u32) -> Result<(), Error> {
        self.version(id, version)?;
        self.changing(|| {
            let entry = self.version(id, version)?;
            if entry.active {
                return Err(still_active(id, version));
            }
            remove(&entry)
        })
    }

    fn delete_all(&self, id: &Id) -> Result<(), Error> {
        self.versions(id)?;
        self.changing(|| {
            let mut history = self.read()?;
            let (active, others): (Vec<_>, Vec<_>) = self
                .versions(id)?
                .into_iter()
                .partition(|entry| entry.active);
            if active.iter().any(|entry| entry.version.spec.enabled) {
                return Err(still_enabled(id));
            }
            // The active one last: whenever this ends, nothing runs that was not chosen.
            let all: Vec<_> = others.into_iter().chain(active).collect();
            all.iter().try_for_each(removable)?;
            all.iter().try_for_each(remove)?;
            if history.active.remove(id.direction, &id.key) {
                self.record(&history.active)?;
            }
            Ok(())
        })
    }

    fn record(&self, active: &ActiveVersions) -> Result<(), Error> {
        files::replace(&self.folder, ActiveVersions::FILE, &active.to_text())
    }

    fn changing<T>(&self, change: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // Where connectors stand in the runtime file only there may be none yet.
        files::make_folder(&self.folder)?;
        let _locked = files::lock(&self.folder)?;
        change()
    }
}

/// The conventional name of a version's file, up to its number.
fn name_before_number(id: &Id) -> String {
    format!("{}_{}_v", id.key, id.direction.name())
}

fn removable(entry: &Entry) -> Result<(), Error> {
    match &entry.version.place {
        Place::File(_) => Ok(()),
        place => Err(Error::Conflict(format!(
            "version {} of {} stands in {place}: remove it there",
            entry.version.spec.version,
            Id::of(&entry.version.spec)
        ))),
    }
}

fn remove(entry: &Entry) -> Result<(), Error> {
    removable(entry)?;
    match &entry.version.place {
        Place::File(path) => files::remove(path),
        _ => Ok(()),
    }
}
