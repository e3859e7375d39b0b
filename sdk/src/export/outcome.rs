//! How a call ended, in the guest's own terms: [`Ended`].

use iggy_connector_abi::Status;

use crate::{Class, Error, FailedRecord, Scope};

/// How a call ended, with its value when it went well.
#[derive(Debug)]
pub(crate) struct Ended<V> {
    pub(crate) status: Status,
    pub(crate) message: String,
    pub(crate) retry_after_ms: u64,
    pub(crate) failed: Vec<Failed>,
    pub(crate) value: Option<V>,
}

/// One record that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) index: u32,
    pub(crate) status: Status,
    pub(crate) message: String,
}

impl<V> Ended<V> {
    pub(crate) fn well(value: V) -> Self {
        Self {
            value: Some(value),
            ..Self::badly(Status::OK, String::new())
        }
    }

    pub(crate) fn badly(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_after_ms: 0,
            failed: Vec::new(),
            value: None,
        }
    }

    pub(crate) fn cancelled() -> Self {
        Self::badly(Status::CANCELLED, "cancelled")
    }

    pub(crate) fn map<W>(self, change: impl FnOnce(V) -> W) -> Ended<W> {
        Ended {
            status: self.status,
            message: self.message,
            retry_after_ms: self.retry_after_ms,
            failed: self.failed,
            value: self.value.map(change),
        }
    }

    /// How a call that is not about single records ended.
    pub(crate) fn of(result: Result<V, Error>) -> Self {
        match result {
            Ok(value) => Self::well(value),
            Err(error) => Self {
                retry_after_ms: retry_after_ms(&error),
                ..Self::badly(status(error.class()), error.to_string())
            },
        }
    }
}

impl Ended<()> {
    /// How the consuming of a batch of `len` messages ended.
    pub(crate) fn of_batch(result: Result<(), Error>, len: usize) -> Self {
        let Err(error) = &result else {
            return Self::of(result);
        };
        let failed = match error.scope() {
            Scope::Batch => return Self::of(result),
            Scope::Records(records) => records.iter().map(Failed::of).collect(),
            Scope::From(first) => suffix(*first, len, error),
        };
        Self {
            retry_after_ms: retry_after_ms(error),
            failed: worst_of_each(failed),
            ..Self::badly(Status::OK, error.to_string())
        }
    }
}

impl Failed {
    fn of(record: &FailedRecord) -> Self {
        Self {
            index: number(record.index),
            status: status(record.class),
            message: record.message.clone(),
        }
    }
}

fn suffix(first: usize, len: usize, error: &Error) -> Vec<Failed> {
    // A suffix that begins outside the batch breaks the contract; naming the position lets the host say so.
    let end = len.max(first.saturating_add(1));
    (first..end)
        .map(|index| Failed {
            index: number(index),
            status: status(error.class()),
            message: error.to_string(),
        })
        .collect()
}

/// Sorts by position; of a record that was named twice the worse status stays.
fn worst_of_each(mut failed: Vec<Failed>) -> Vec<Failed> {
    // The numbers of the three statuses that a record can have rise with their severity.
    failed.sort_by_key(|record| (record.index, std::cmp::Reverse(record.status.0)));
    failed.dedup_by_key(|record| record.index);
    failed
}

/// A position beyond 32 bits is outside of every batch, and stays so.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn retry_after_ms(error: &Error) -> u64 {
    let delay = error.retry_after().unwrap_or_default();
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}

fn status(class: Class) -> Status {
    match class {
        Class::Transient => Status::TRANSIENT,
        Class::Invalid => Status::INVALID_DATA,
        Class::Fatal => Status::FATAL,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failure_of_the_whole_batch_keeps_class_and_delay() {
        let error = Error::transient("busy").with_retry_after(Duration::from_millis(1500));
        let ended = Ended::of_batch(Err(error), 3);
        assert_eq!(ended.status, Status::TRANSIENT);
        assert_eq!(ended.message, "busy");
        assert_eq!(ended.retry_after_ms, 1500);
        assert!(ended.failed.is_empty());
    }

    #[test]
    fn named_records_make_the_call_ok_with_a_list() {
        let error = Error::failed([
            (2, Error::transient("busy")),
            (0, Error::invalid("bad")),
            (2, Error::invalid("worse")),
        ]);
        let ended = Ended::of_batch(Err(error), 3);
        assert_eq!(ended.status, Status::OK);
        let failed: Vec<_> = ended.failed.iter().map(|f| (f.index, f.status)).collect();
        assert_eq!(
            failed,
            [(0, Status::INVALID_DATA), (2, Status::INVALID_DATA)]
        );
        assert_eq!(ended.failed[1].message, "worse");
    }

    #[test]
    fn a_failed_suffix_is_listed() {
        let error = Error::failed_from(1, Error::transient("busy"));
        let ended = Ended::of_batch(Err(error), 3);
        let failed: Vec<_> = ended.failed.iter().map(|f| (f.index, f.status)).collect();
        assert_eq!(failed, [(1, Status::TRANSIENT), (2, Status::TRANSIENT)]);
        let outside = Error::failed_from(3, Error::transient("busy"));
        assert_eq!(Ended::of_batch(Err(outside), 3).failed[0].index, 3);
    }
}
