//! What can go wrong in a connector, and how bad it is: [`Error`] and its [`Class`].

use std::time::Duration;

use crate::Schema;

/// What the runtime does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Worth trying again: the runtime retries with backoff.
    Transient,
    /// This data can never succeed: the connector's error policy decides about the record.
    Invalid,
    /// The connector cannot go on: it stops, and its restart policy decides.
    Fatal,
}

/// Everything that a connector, a codec or a transform can report.
///
/// Each variant has a [`Class`]; in doubt it is [`Class::Transient`], since a retry loses nothing. The constructors
/// ([`Error::transient`], [`Error::invalid`], [`Error::fatal`], [`Error::failed`], [`Error::failed_from`]) say what the
/// variants cannot: an explicit class, a time to wait, which records of a batch failed.
///
/// ```
/// use iggy_connector_message::{Class, Error};
/// use std::time::Duration;
///
/// let error = Error::transient("429 from the index").with_retry_after(Duration::from_secs(3));
/// assert_eq!(error.class(), Class::Transient);
/// assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error("invalid config")]
    InvalidConfig,
    /// One value of the configuration cannot be used.
    #[error("invalid config value: {0}")]
    InvalidConfigValue(String),
    /// A record cannot be used.
    #[error("invalid record")]
    InvalidRecord,
    /// A record cannot be used, and why.
    #[error("invalid record: {0}")]
    InvalidRecordValue(String),
    /// A transform cannot be built.
    #[error("invalid transformer")]
    InvalidTransformer,
    /// An HTTP request did not get through.
    #[error("http request: {0}")]
    HttpRequestFailed(String),
    /// The connector could not be set up.
    #[error("init: {0}")]
    InitError(String),
    /// The payload is of a kind that cannot be used here.
    #[error("invalid payload type")]
    InvalidPayloadType,
    /// The payload is not JSON.
    #[error("invalid JSON payload")]
    InvalidJsonPayload,
    /// The payload is not UTF-8 text.
    #[error("invalid text payload")]
    InvalidTextPayload,
    /// The payload does not decode.
    #[error("payload does not decode as {0}")]
    CannotDecode(Schema),
    /// The store did not accept a request.
    #[error("storage: {0}")]
    Storage(String),
    /// A value could not be written as bytes.
    #[error("serialization: {0}")]
    Serialization(String),
    /// The payload is not of the Protobuf message's type.
    #[error("invalid protobuf payload")]
    InvalidProtobufPayload,
    /// The state file could not be opened.
    #[error("state file cannot be opened")]
    CannotOpenStateFile,
    /// The state file could not be read.
    #[error("state file cannot be read")]
    CannotReadStateFile,
    /// The state file could not be written.
    #[error("state file cannot be written")]
    CannotWriteStateFile,
    /// The saved state is not this connector's.
    #[error("invalid state")]
    InvalidState,
    /// The other side cannot be reached.
    #[error("connection: {0}")]
    Connection(String),
    /// The destination did not take the data.
    #[error("data not stored: {0}")]
    CannotStoreData(String),
    /// The other side refused, and will refuse again.
    #[error("permanent http error: {0}")]
    PermanentHttpError(String),
    /// The data does not fit the destination's schema.
    #[error("schema mismatch: {0}")]
    SchemaMismatch(String),
    /// A write did not succeed.
    #[error("write: {0}")]
    WriteFailure(String),
    /// A transaction could not be applied.
    #[error("transaction: {0}")]
    TransactionApplyError(String),
    /// A catalog did not accept a commit.
    #[error("catalog commit: {0}")]
    CatalogCommitError(String),
    /// Made by the constructors; read it through [`Error::class`], [`Error::scope`] and [`Error::retry_after`].
    #[error("{}", .0.message)]
    Detailed(Box<Detail>),
}

/// What the constructors of [`Error`] know beyond a variant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Detail {
    class: Class,
    message: String,
    retry_after: Option<Duration>,
    scope: Scope,
}

/// Which records of a batch an [`Error`] is about. The others were delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The batch as a whole: none of it can be relied on.
    #[default]
    Batch,
    /// These records, each for its own reason.
    Records(Vec<FailedRecord>),
    /// This record and all after it.
    From(usize),
}

/// One record that failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FailedRecord {
    /// Position in the batch, from 0.
    pub index: usize,
    /// What to do about it.
    pub class: Class,
    /// Why.
    pub message: String,
}

impl Error {
    /// An error worth trying again.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::of_class(Class::Transient, message)
    }

    /// An error of data that can never succeed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::of_class(Class::Invalid, message)
    }

    /// An error after which the connector cannot go on.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::of_class(Class::Fatal, message)
    }

    /// An error of an explicit class.
    pub fn of_class(class: Class, message: impl Into<String>) -> Self {
        Self::detailed(class, message.into(), Scope::Batch)
    }

    /// Says which records of the batch failed, by position and reason; every other record was delivered.
    ///
    /// The class of the whole is the worst of its records; the wait is the longest that a transient one asks for. Without any
    /// record it is a transient error of the batch.
    pub fn failed(records: impl IntoIterator<Item = (usize, Error)>) -> Self {
        let mut retry_after = None;
        let records: Vec<_> = records
            .into_iter()
            .map(|(index, error)| {
                if error.class() == Class::Transient {
                    retry_after = retry_after.max(error.retry_after());
                }
                FailedRecord {
                    index,
                    class: error.class(),
                    message: error.to_string(),
                }
            })
            .collect();
        let Some(worst) = records.iter().max_by_key(|record| severity(record.class)) else {
            return Self::transient("a batch failed without naming a record");
        };
        let message = format!("{} records failed: {}", records.len(), worst.message);
        Self::Detailed(Box::new(Detail {
            class: worst.class,
            message,
            retry_after,
            scope: Scope::Records(records),
        }))
    }

    /// Says that the record at `index` and all after it failed, for sinks whose order within a key matters.
    pub fn failed_from(index: usize, error: Error) -> Self {
        let retry_after = error.retry_after();
        let mut failed = Self::detailed(error.class(), error.to_string(), Scope::From(index));
        if let (Self::Detailed(detail), Some(_)) = (&mut failed, retry_after) {
            detail.retry_after = retry_after;
        }
        failed
    }

    /// Says how long to wait before trying again.
    #[must_use]
    pub fn with_retry_after(self, delay: Duration) -> Self {
        let mut detail = self.into_detail();
        detail.retry_after = Some(delay);
        Self::Detailed(Box::new(detail))
    }

    /// Adds the cause to the message, with its own causes.
    #[must_use]
    pub fn with_source(self, source: &dyn std::error::Error) -> Self {
        let mut detail = self.into_detail();
        let mut cause = Some(source);
        while let Some(error) = cause {
            detail.message = format!("{}: {error}", detail.message);
            cause = error.source();
        }
        Self::Detailed(Box::new(detail))
    }

    /// What the runtime does about it.
    pub fn class(&self) -> Class {
        match self {
            Self::InvalidConfig
            | Self::InvalidConfigValue(_)
            | Self::InitError(_)
            | Self::InvalidTransformer
            | Self::InvalidState
            | Self::CannotOpenStateFile
            | Self::CannotReadStateFile
            | Self::CannotWriteStateFile
            | Self::PermanentHttpError(_) => Class::Fatal,
            Self::InvalidRecord
            | Self::InvalidRecordValue(_)
            | Self::InvalidPayloadType
            | Self::InvalidJsonPayload
            | Self::InvalidTextPayload
            | Self::InvalidProtobufPayload
            | Self::CannotDecode(_)
            | Self::Serialization(_)
            | Self::SchemaMismatch(_) => Class::Invalid,
            Self::HttpRequestFailed(_)
            | Self::Storage(_)
            | Self::Connection(_)
            | Self::CannotStoreData(_)
            | Self::WriteFailure(_)
            | Self::TransactionApplyError(_)
            | Self::CatalogCommitError(_) => Class::Transient,
            Self::Detailed(detail) => detail.class,
        }
    }

    /// How long to wait before trying again, where the other side said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Detailed(detail) => detail.retry_after,
            _ => None,
        }
    }

    /// Which records it is about.
    pub fn scope(&self) -> &Scope {
        match self {
            Self::Detailed(detail) => &detail.scope,
            _ => &Scope::Batch,
        }
    }

    fn detailed(class: Class, message: String, scope: Scope) -> Self {
        Self::Detailed(Box::new(Detail {
            class,
            message,
            retry_after: None,
            scope,
        }))
    }

    fn into_detail(self) -> Detail {
        match self {
            Self::Detailed(detail) => *detail,
            other => Detail {
                class: other.class(),
                message: other.to_string(),
                retry_after: None,
                scope: Scope::Batch,
            },
        }
    }
}

fn severity(class: Class) -> u8 {
    match class {
        Class::Transient => 0,
        Class::Invalid => 1,
        Class::Fatal => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failed_record_keeps_its_own_class() {
        let error = Error::failed([
            (1, Error::InvalidRecord),
            (
                3,
                Error::Connection("reset".into()).with_retry_after(Duration::from_secs(60)),
            ),
        ]);
        assert_eq!(error.class(), Class::Invalid);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
        let Scope::Records(records) = error.scope() else {
            panic!("{error:?}")
        };
        assert_eq!(
            records
                .iter()
                .map(|record| (record.index, record.class))
                .collect::<Vec<_>>(),
            [(1, Class::Invalid), (3, Class::Transient)]
        );
    }

    #[test]
    fn a_failed_suffix_keeps_class_and_delay() {
        let cause = Error::Storage("full".into()).with_retry_after(Duration::from_secs(1));
        let error = Error::failed_from(2, cause);
        assert_eq!(error.class(), Class::Transient);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(error.scope(), &Scope::From(2));
        assert_eq!(error.to_string(), "storage: full");
    }

    #[test]
    fn a_source_error_is_told_with_its_causes() {
        let cause = std::io::Error::other(Error::InvalidState);
        let error = Error::InitError("cannot begin".into()).with_source(&cause);
        assert_eq!(error.class(), Class::Fatal);
        assert!(
            error
                .to_string()
                .starts_with("init: cannot begin: invalid state"),
            "{error}"
        );
    }
}
