//! All plugins that the daemon has loaded: [`Registry`]. One content is one library, whatever files hold it, and a library in which an
//! instance has hung is replaced by a fresh copy.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
    time::{self, timeout, timeout_at},
};
use tracing::warn;

use super::{
    Descriptor, Listed, LoadError,
    copies::{self, Copied, Copies},
    library::Library,
    probe::Probes,
    survey::{Survey, Surveyed},
};
use crate::config::spec::Direction;

/// How many times one content is loaded, when instances of it hang.
pub(super) const MOST_COPIES: usize = 3;
/// How long a library may take to load.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How much longer than it was told a library may take to shut down.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// The loaded plugins of a daemon.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    copies: Copies,
    worker_threads: u32,
    /// Held while one library is loaded, on a blocking thread.
    loading: Mutex<Hashes>,
    /// Every loaded copy of each content, oldest first; only the last may be usable.
    loaded: Mutex<HashMap<blake3::Hash, Vec<Library>>>,
    shutting_down: AtomicBool,
    /// Nothing is loaded that another process could not load; `None` where this program cannot be asked to.
    probes: Option<Probes>,
    survey: Survey,
    /// Surveys may be asked for by everybody, and read whole files.
    surveying: Semaphore,
}

/// What each file held when it was read last, and when that began. Who asked before then need not read it again: many connectors that
/// start at once would read the same file many times.
type Hashes = HashMap<PathBuf, (Instant, blake3::Hash)>;

impl Registry {
    /// Opens the registry; private copies stand in `{state}/plugins`. Each library's own runtime gets `worker_threads`.
    ///
    /// # Errors
    ///
    /// The folder could not be made, restricted to this user, or cleared of an earlier run's copies.
    pub fn new(state: &Path, worker_threads: u32) -> io::Result<Self> {
        Self::open(state, worker_threads, None)
    }

    /// The same for a program that has the command `plugins`: each library is first loaded by a process of its own, so that one that
    /// crashes or never returns when it is loaded does not do so here.
    ///
    /// # Errors
    ///
    /// As [`Registry::new`].
    pub fn probing(state: &Path, worker_threads: u32) -> io::Result<Self> {
        Self::open(state, worker_threads, Some(Probes::default()))
    }

    fn open(state: &Path, worker_threads: u32, probes: Option<Probes>) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            copies: Copies::open(state.join("plugins"))?,
            worker_threads,
            loading: Mutex::default(),
            loaded: Mutex::default(),
            shutting_down: AtomicBool::new(false),
            probes,
            survey: Survey::default(),
            surveying: Semaphore::new(1),
        })))
    }

    /// Tells what the library at `path` is. One that is not loaded is looked at by a process of its own, where there can be one, and stays
    /// so.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and what to do about it.
    pub async fn describe(
        &self,
        path: &Path,
        direction: Direction,
    ) -> Result<Descriptor, LoadError> {
        let descriptor = self.described(path).await?;
        right_direction(path, descriptor.direction, direction)?;
        Ok(descriptor)
    }

    async fn described(&self, path: &Path) -> Result<Descriptor, LoadError> {
        let asked = Instant::now();
        let Some(probes) = &self.0.probes else {
            return Ok(self.inspect(path).await?.descriptor().clone());
        };
        let content = self.blocking(path, move |inner, path| inner.content(path, asked));
        let hash = match content.await? {
            (_, Some(loaded)) => return Ok(loaded.descriptor().clone()),
            (hash, None) => hash,
        };
        let probed = probes.of(path, hash, asked).await;
        let described = probed.and_then(Listed::descriptor);
        described.map_err(|reason| LoadError::Probe { reason })
    }

    /// Returns the library at `path`, loading it unless the same content is loaded and has not hung.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and what to do about it.
    pub async fn load(&self, path: &Path, direction: Direction) -> Result<Library, LoadError> {
        let library = self.inspect(path).await?;
        right_direction(path, library.descriptor().direction, direction)?;
        Ok(library)
    }

    /// Loads the library at `path`, whatever its direction is, unless the same content is loaded and has not hung.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and what to do about it.
    pub async fn inspect(&self, path: &Path) -> Result<Library, LoadError> {
        let asked = Instant::now();
        self.probe(path, asked).await?;
        self.blocking(path, move |inner, path| inner.load(path, asked))
            .await
    }

    /// Finds out whether the library can be loaded, unless it is.
    async fn probe(&self, path: &Path, asked: Instant) -> Result<(), LoadError> {
        let Some(probes) = &self.0.probes else {
            return Ok(());
        };
        let content = self.blocking(path, move |inner, path| inner.content(path, asked));
        let (hash, None) = content.await? else {
            return Ok(());
        };
        // One that is refused says why when it is loaded.
        let probed = probes.of(path, hash, asked).await;
        probed
            .map(drop)
            .map_err(|reason| LoadError::Probe { reason })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&Inner, &Path) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, LoadError> {
        let (inner, original) = (self.0.clone(), path.to_owned());
        let working = spawn_blocking(move || work(&inner, &original));
        match timeout(LOAD_TIMEOUT, working).await {
            Ok(Ok(done)) => done,
            Ok(Err(panicked)) => Err(LoadError::Read {
                path: path.to_owned(),
                source: io::Error::other(panicked),
            }),
            Err(_) => Err(LoadError::TimedOut {
                path: path.to_owned(),
                seconds: LOAD_TIMEOUT.as_secs(),
            }),
        }
    }

    /// Tells what `files` are, and what is loaded beside them. Nothing of them is loaded into this process.
    pub async fn survey(&self, files: Vec<PathBuf>) -> Vec<Surveyed> {
        let newest = |(hash, copies): (&blake3::Hash, &Vec<Library>)| {
            let library = copies.last()?;
            Some((*hash, library.clone()))
        };
        let loaded = self.0.loaded().iter().filter_map(newest).collect();
        self.0.survey.of(files, loaded, &self.0.surveying).await
    }

    /// Stops the threads of every loaded library, all at once, within `timeout`. Every instance is closed or abandoned by then.
    /// Tells whether all have stopped.
    pub async fn shutdown(&self, timeout: Duration) -> bool {
        self.0.shutting_down.store(true, Ordering::Release);
        let libraries: Vec<Library> = self.0.loaded().values().flatten().cloned().collect();
        let deadline = time::Instant::now() + timeout + SHUTDOWN_GRACE;
        let stopping: Vec<_> = libraries
            .into_iter()
            .map(|library| (library.name().to_owned(), stop(library, timeout)))
            .collect();
        let mut all = true;
        for (plugin, stopped) in stopping {
            let stopped = timeout_at(deadline, stopped).await;
            if !matches!(stopped, Ok(Ok(true))) {
                warn!(
                    plugin,
                    "the plugin's threads did not stop in time; they end with the process"
                );
                all = false;
            }
        }
        all
    }
}

fn right_direction(path: &Path, found: Direction, expected: Direction) -> Result<(), LoadError> {
    match found == expected {
        true => Ok(()),
        false => Err(LoadError::WrongDirection {
            path: path.to_owned(),
            found,
            expected,
        }),
    }
}

/// Shuts a library down on a thread of its own: one that never returns then holds up nothing, not even the process's end.
fn stop(library: Library, within: Duration) -> oneshot::Receiver<bool> {
    let (sender, stopped) = oneshot::channel();
    let spawned = thread::Builder::new()
        .name("plugin-shutdown".to_owned())
        .spawn(move || sender.send(library.shut_down(within)));
    // Without a thread the sender is gone, and the library counts as one that did not stop.
    drop(spawned);
    stopped
}

fn read(path: &Path, asked: Instant, hashes: &mut Hashes) -> Result<blake3::Hash, LoadError> {
    hash(path, asked, hashes).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })
}

/// What the file holds now, or held at some time since it was `asked` for.
fn hash(path: &Path, asked: Instant, hashes: &mut Hashes) -> io::Result<blake3::Hash> {
    if let Some((began, hash)) = hashes.get(path)
        && asked <= *began
    {
        return Ok(*hash);
    }
    let began = Instant::now();
    let hash = copies::hash(path)?;
    hashes.insert(path.to_owned(), (began, hash));
    Ok(hash)
}

impl Inner {
    fn load(&self, path: &Path, asked: Instant) -> Result<Library, LoadError> {
        let mut hashes = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shutting_down.load(Ordering::Acquire) {
            return Err(LoadError::ShuttingDown {
                path: path.to_owned(),
            });
        }
        let hash = read(path, asked, &mut hashes)?;
        match self.usable(hash) {
            Some(library) => Ok(library),
            None => self.load_copy(path, hash),
        }
    }

    /// The content of the file, and the newest library of it that was loaded.
    fn content(
        &self,
        path: &Path,
        asked: Instant,
    ) -> Result<(blake3::Hash, Option<Library>), LoadError> {
        let mut hashes = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = read(path, asked, &mut hashes)?;
        let loaded = self.loaded();
        let newest = loaded.get(&hash).and_then(|copies| copies.last()).cloned();
        Ok((hash, newest))
    }

    /// The loaded copy of that content, when instances may be opened in it.
    fn usable(&self, hash: blake3::Hash) -> Option<Library> {
        let loaded = self.loaded();
        let newest = loaded.get(&hash)?.last()?;
        (!newest.is_quarantined()).then(|| newest.clone())
    }

    fn load_copy(&self, path: &Path, hash: blake3::Hash) -> Result<Library, LoadError> {
        let number = self.loaded().get(&hash).map_or(0, Vec::len);
        if number >= MOST_COPIES {
            return Err(LoadError::Exhausted {
                path: path.to_owned(),
            });
        }
        let copy = self.copy(path, hash, number + 1)?;
        let library = Library::load(path, &copy, self.worker_threads)?;
        self.loaded().entry(hash).or_default().push(library.clone());
        Ok(library)
    }

    fn copy(&self, path: &Path, hash: blake3::Hash, number: usize) -> Result<PathBuf, LoadError> {
        let path = path.to_owned();
        match self.copies.copy(&path, hash, number) {
            Ok(Copied::Done { copy }) => Ok(copy),
            Ok(Copied::Changed) => Err(LoadError::Changed { path }),
            Ok(Copied::Flawed(source)) => Err(LoadError::Image { path, source }),
            Err(source) => Err(LoadError::Copy {
                path,
                folder: self.copies.folder().to_owned(),
                source,
            }),
        }
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Vec<Library>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_for_those_who_asked_before_and_again_for_those_who_ask_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.so");
        let mut hashes = Hashes::new();
        let early = Instant::now();
        std::fs::write(&path, "old").unwrap();
        let old = hash(&path, early, &mut hashes).unwrap();
        std::fs::write(&path, "new").unwrap();
        assert_eq!(hash(&path, early, &mut hashes).unwrap(), old);
        let new = hash(&path, Instant::now(), &mut hashes).unwrap();
        assert_eq!(new, blake3::hash(b"new"));
        assert_eq!(hash(&path, early, &mut hashes).unwrap(), new);
    }
}
