//! Where versions of connectors are kept: in files ([`Local`]) or by a service ([`Http`]). Either lists them, reads, stores,
//! activates and deletes one, and tells what each
//! connector is to be.
//!
//! `app` opens one and starts what it found; the management API works on it. Whether a document is valid is known to `config`.

mod files;
mod http;
mod local;
mod watch;

use std::{fmt, io, path::PathBuf, sync::Arc};

use async_trait::async_trait;

pub use self::{
    http::Http,
    local::Local,
    watch::{View, Wanted, Watch},
};
use crate::config::{self, Chosen, Document, History, Loaded, Problem, Unusable, spec};

/// Keeps every version of every connector, and which one of each is active. What does not exist is [`Error::NotFound`], what must
/// not be done as things are [`Error::Conflict`]; nothing has changed then.
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

    /// What there is now, for [`Watch`].
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

    pub fn of(connector: &spec::Connector) -> Self {
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
/// A configuration service does not answer as it should, and nothing was kept of what it answered before.
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
    let spec::Connectors {
        service,
        own_versions,
        poll_interval,
        ..
    } = runtime.connectors;
    let watched = |provider: &Arc<dyn Provider>, seen: View| {
        poll_interval.map(|every| Watch::new(provider.clone(), every, seen))
    };
    let Some(service) = service else {
        let provider: Arc<dyn Provider> = Arc::new(Local::new(own_versions, inline, reader));
        let seen = View::of(&history);
        return Ok(Opened {
            watch: watched(&provider, seen),
            provider,
            connectors,
            unusable,
        });
    };
    let http = Http::new(&service, runtime.state.path, history, reader)?;
    let history = http.start().await?;
    let provider: Arc<dyn Provider> = Arc::new(http);
    // Warnings about what stands in files have been given.
    let Chosen {
        connectors,
        unusable,
        ..
    } = history.choose();
    Ok(Opened {
        watch: watched(&provider, View::of(&history)),
        provider,
        connectors,
        unusable,
    })
}

fn no_versions(id: &Id) -> Error {
    Error::NotFound(format!("there is no {id}"))
}

fn no_version(id: &Id, version: u32) -> Error {
    Error::NotFound(format!("{id} has no version {version}"))
}

/// Why a version cannot be removed.
fn still_active(id: &Id, version: u32) -> Error {
    Error::Conflict(format!(
        "version {version} of {id} is the active one: activate another first"
    ))
}

/// Why all versions cannot be removed.
fn still_enabled(id: &Id) -> Error {
    Error::Conflict(format!(
        "the active version of {id} is enabled: activate one with `enabled = false` first"
    ))
}

/// Versions with whether each is the active one.
fn entries(history: &History, versions: &[config::Version]) -> Vec<Entry> {
    let is_active = |spec: &spec::Connector| {
        history.active_version(spec.direction, &spec.key) == Some(spec.version)
    };
    let entry = |version: &config::Version| Entry {
        active: is_active(&version.spec),
        version: version.clone(),
    };
    versions.iter().map(entry).collect()
}
