//! Why a plugin could not be loaded: [`LoadError`]. Each message says which file, what is wrong with it, and what to do.

use std::{io, path::PathBuf};

use super::{descriptor::Refusal, image::Flaw, registry::MOST_COPIES};
use crate::config::spec::Direction;

/// Why a plugin could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("read plugin `{path}`: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "plugin `{path}` changed while it was being copied; it is tried again at the next start of the connector"
    )]
    Changed { path: PathBuf },
    #[error("copy plugin `{path}` to `{folder}`: {source}")]
    Copy {
        path: PathBuf,
        folder: PathBuf,
        source: io::Error,
    },
    #[error("plugin `{path}` cannot be loaded: {source}")]
    Image { path: PathBuf, source: Flaw },
    #[error(
        "the system's loader refused plugin `{path}`: {source} (a private copy under the state path is loaded, whose file system must \
         not be mounted noexec)"
    )]
    Open {
        path: PathBuf,
        source: dlopen2::Error,
    },
    #[error(
        "`{path}` is no connector plugin (it exports no `iggy_connector_descriptor`); build it with iggy_connector_sdk and its macro \
         sink_connector! or source_connector!"
    )]
    NoDescriptor { path: PathBuf },
    #[error(
        "`{path}` was built for another Iggy connectors runtime (it exports `{symbol}`, without a version); rebuild it with this SDK"
    )]
    OtherRuntime { path: PathBuf, symbol: &'static str },
    #[error("plugin `{path}` is refused: {source}")]
    Refused { path: PathBuf, source: Refusal },
    #[error("plugin `{path}` is refused: it exports no `{symbol}`; rebuild it with this SDK")]
    MissingSymbol { path: PathBuf, symbol: &'static str },
    #[error("plugin `{path}` is a {}, but the connector is a {}", found.name(), expected.name())]
    WrongDirection {
        path: PathBuf,
        found: Direction,
        expected: Direction,
    },
    #[error(
        "plugin `{path}` has hung in each of its {MOST_COPIES} copies; no further one is loaded until the daemon is restarted"
    )]
    Exhausted { path: PathBuf },
    #[error(
        "plugin `{path}` did not finish loading within {seconds} s; an initialiser of the library may never return"
    )]
    TimedOut { path: PathBuf, seconds: u64 },
    #[error("{reason}")]
    Probe { reason: String },
    #[error("plugin `{path}` is not loaded: the daemon is shutting down")]
    ShuttingDown { path: PathBuf },
}

impl LoadError {
    /// Whether loading the same file again may succeed without somebody doing something about it.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Read { .. }
                | Self::Changed { .. }
                | Self::Copy { .. }
                | Self::TimedOut { .. }
                | Self::Probe { .. }
        )
    }
}
