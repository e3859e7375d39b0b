//! The two kinds of failure: [`Error`] ends a start, [`Failure`] ends one request.

use std::{io, net::SocketAddr, path::PathBuf};

use iggy_binary_protocol::{EvictionReason, WireError};
use iggy_common::IggyError;

/// Why a broker could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of bounds.
    #[error("`{setting}` must be {allowed}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// The data directory could not be read or written.
    #[error("use data directory `{path}`")]
    Storage {
        /// The file or directory concerned.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process holds the lock file.
    #[error(
        "data directory `{path}` is in use by another broker (process {owner}): stop it, or give this one a directory of its own"
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process id written in the lock file, or `unknown`.
        owner: String,
    },
    /// The directory was written in a format this version does not know.
    #[error(
        "data directory `{path}` has format `{found}`, this version reads `{expected}`: use the version that wrote it, or another directory"
    )]
    Format {
        /// The data directory.
        path: PathBuf,
        /// What its marker says.
        found: String,
        /// What this version understands.
        expected: &'static str,
    },
    /// A file is damaged in a way that a crash does not explain.
    #[error(
        "`{path}` is damaged at byte {position}: restore it from a backup, or start with an empty directory"
    )]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// Where the damage begins.
        position: u64,
    },
    /// The address could not be bound.
    #[error("listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn storage(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Storage { path, source }
    }
}

/// How a request is turned down.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// An empty reply whose status carries the error code.
    Status(IggyError),
    /// An eviction frame: the session is over, the connection stays.
    Evict(EvictionReason),
}

impl From<IggyError> for Failure {
    fn from(error: IggyError) -> Self {
        Self::Status(error)
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Status(wire_error(&error))
    }
}

/// The one place that says which error code a malformed body gets.
pub(crate) fn wire_error(error: &WireError) -> IggyError {
    match error {
        WireError::InvalidUtf8 { .. } => IggyError::InvalidUtf8,
        WireError::UnknownCommand(_) => IggyError::FeatureUnavailable,
        WireError::InvalidBatchChecksum {
            stored,
            computed,
            base_offset,
        } => IggyError::InvalidBatchChecksum(*stored, *computed, *base_offset),
        WireError::InvalidMessageChecksum {
            stored,
            computed,
            offset,
        } => IggyError::InvalidMessageChecksum(*stored, *computed, *offset),
        WireError::InvalidMessageTimestampDelta(delta) => {
            IggyError::InvalidMessageTimestampDelta(*delta)
        }
        WireError::UnexpectedEof { .. }
        | WireError::UnknownDiscriminant { .. }
        | WireError::PayloadTooLarge { .. }
        | WireError::Validation(_) => IggyError::InvalidCommand,
    }
}
