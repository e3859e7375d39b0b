//! Where versions of connectors are kept ([`Local`]: in files): lists them, reads, stores, activates and deletes one, and tells
//! what has changed.
//!
//! `app` opens one and starts what it found; the management API works on it. Whether a document is valid is known to `config`.

mod files;
mod local;
mod watch;

use std::{fmt, io, path::PathBuf, sync::Arc};

use async_trait::async_trait;

pub use self::{
    local::Local,
    watch::{Change, News, View, Watch},
};
use crate::config::{self, Document, Loaded, Problem, Unusable, spec};

/// Keeps every version of every connector, and which one of each is active.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Every version of every connector, by direction, key and version.
    async fn list(&self) -> Result<Vec<Entry>, Error>;

    /// Every version of one connector, the oldest first; at least one.
    async fn versions(&self, id: &Id) -> Result<Vec<Entry>, Error>;

    async fn version(&self, id: &Id, version: u32) -> Result<Entry, Error>;

    async fn active(&self, id: &Id) -> Result<Entry, Error>;

    /// Stores a document, which the caller has checked, as a new version: the highest number and one, or 0 for a new connector.
    async fn create(&self, id: &Id, document: Document) -> Result<Entry, Error>;

    /// Records which version is to run, from now on and after every start.
    async fn activate(&self, id: &Id, version: u32) -> Result<(), Error>;

    /// Removes one version, which must not be the active one, or all of them once the active one is not enabled.
    async fn delete(&self, id: &Id, version: Option<u32>) -> Result<(), Error>;

    /// What there is now, to be compared with what there will be.
    async fn view(&self) -> Result<View, Error>;
}

/// Names a connector: a direction and a key that is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    direction: spec::Direction,
    key: String,
}

/// One version in a connector's history.
#[derive(Clone, Debug)]
pub struct Entry {
    pub version: config::Version,
    pub active: bool,
}

/// Why a provider did not do what it was asked, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such connector or version.
    #[error("{0}")]
    NotFound(String),
    /// Not as things are.
    #[error("{0}")]
    Conflict(String),
    /// Somebody has to mend a file.
    #[error("{0}")]
    Damaged(Problem),
    /// A file cannot be read or written.
    #[error("{doing} {path}", path = path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// The service does not answer, or only that it cannot now.
    #[error("{0}")]
    Unavailable(String),
    /// The service will not.
    #[error("{0}")]
    Refused(String),
    /// The service answers something that cannot be understood.
    #[error("{0}")]
    Reply(String),
}

/// A provider, and what is to run.
pub struct Opened {
    pub provider: Arc<dyn Provider>,
    pub connectors: Vec<spec::Connector>,
    pub unusable: Vec<Unusable>,
    pub watch: Option<Watch>,
}

impl Id {
    /// # Errors
    ///
    /// [`Error::NotFound`]: nothing can have this key.
    pub fn new(direction: spec::Direction, key: &str) -> Result<Self, Error> {
        match config::is_key(key) {
            true => Ok(Self {
                direction,
                key: key.to_owned(),
            }),
            false => Err(Error::NotFound(format!(
                "no {} can have this key: it has 1 to 128 of the letters a-z, 0-9, `_` and `-`",
                direction.name()
            ))),
        }
    }

    fn of(connector: &spec::Connector) -> Self {
        Self {
            direction: connector.direction,
            key: connector.key.clone(),
        }
    }

    pub fn direction(&self) -> spec::Direction {
        self.direction
    }

    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.direction.name(), self.key)
    }
}

/// Opens the provider that the configuration names.
///
/// # Errors
///
/// It cannot say what there is.
pub async fn open(loaded: Loaded) -> Result<Opened, Error> {
    let Loaded {
        runtime,
        inline,
        history,
        connectors,
        unusable,
        reader,
        ..
    } = loaded;
    let folder = runtime.connectors.own_versions;
    let provider: Arc<dyn Provider> = Arc::new(Local::new(folder, inline, reader));
    let seen = View::of(&history, watch::Gaps::Nothing);
    let watch = runtime
        .connectors
        .poll_interval
        .map(|every| Watch::new(provider.clone(), every, seen));
    Ok(Opened {
        provider,
        connectors,
        unusable,
        watch,
    })
}

fn no_versions(id: &Id) -> Error {
    Error::NotFound(format!("there is no {id}"))
}

fn no_version(id: &Id, version: u32) -> Error {
    Error::NotFound(format!("{id} has no version {version}"))
}
