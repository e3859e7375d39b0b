//! How a call ended, as the runtime sees it: [`Outcome`].

use std::time::Duration;

use iggy_connector_abi::Status;

use crate::export::Ended;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of the whole call.
    pub status: Status,
    /// Why; empty when there is nothing to say.
    pub message: String,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
    /// The records of a consumed batch that failed, by rising position; the others were delivered.
    pub failed: Vec<Failed>,
}

/// One record that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Position in the batch.
    pub index: u32,
    /// What to do about it.
    pub status: Status,
    /// Why.
    pub message: String,
}

/// What an instance tells about itself when it has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// [`crate::Sink::max_unsettled`], at least 1.
    pub max_unsettled: u32,
    /// [`crate::Source::max_in_flight`], at least 1.
    pub max_in_flight: u32,
    /// Whether a second instance must not run beside it.
    pub exclusive: bool,
}

impl Outcome {
    /// Whether everything went well.
    pub fn is_ok(&self) -> bool {
        self.status == Status::OK && self.failed.is_empty()
    }
}

impl<V> From<Ended<V>> for Outcome {
    fn from(ended: Ended<V>) -> Self {
        let failed = ended.failed.into_iter().map(|record| Failed {
            index: record.index,
            status: record.status,
            message: record.message,
        });
        Self {
            status: ended.status,
            message: ended.message,
            retry_after: match ended.retry_after_ms {
                0 => None,
                millis => Some(Duration::from_millis(millis)),
            },
            failed: failed.collect(),
        }
    }
}
