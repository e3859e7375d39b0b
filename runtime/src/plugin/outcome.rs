//! Reads how a call ended: [`Outcome`], copied out of the plugin's memory and checked. What breaks the contract becomes an error
//! text, never a panic.

use std::time::Duration;

use iggy_connector_abi::{self as abi, Status, Strided};

use super::text;
use crate::pipeline::{Failed, Failure, FailureKind};

/// Longest wait that a plugin can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How a call ended, in our own memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
    /// By rising index, each once and inside the batch.
    pub(super) failed: Vec<Failed>,
}

/// Reads the outcome of a call that handed over `records` records.
///
/// # Safety
///
/// - `outcome` is null, misaligned, or points at as many readable bytes as its `size` says, at least four.
/// - Its message, and with at most `records` failed records these and their messages, are null, cannot be what they claim by
///   length or alignment, or are readable and do not change during the call.
pub(super) unsafe fn read(outcome: *const abi::Outcome, records: usize) -> Result<Outcome, String> {
    // SAFETY: obligation 1.
    let outcome = unsafe { abi::read(outcome) }
        .ok_or("the outcome is null, not aligned or shorter than the contract says")?;
    if outcome.status.name() == "unknown" {
        return Err(format!("the status {} is unknown", outcome.status.0));
    }
    // SAFETY: obligation 2.
    let failed = unsafe { read_failed(&outcome, records) }?;
    // SAFETY: obligation 2.
    let message = unsafe { text::message(outcome.message, text::LONGEST_MESSAGE) };
    let retry_after = Duration::from_millis(outcome.retry_after_ms).min(LONGEST_RETRY_AFTER);
    Ok(Outcome {
        status: outcome.status,
        message,
        retry_after: (!retry_after.is_zero()).then_some(retry_after),
        failed,
    })
}

/// Whether a call ended with the status ok, even when the rest of its outcome cannot be read.
///
/// # Safety
///
/// As for [`read`], obligation 1.
pub(super) unsafe fn says_ok(outcome: *const abi::Outcome) -> bool {
    // SAFETY: the caller's promise.
    let outcome = unsafe { abi::read(outcome) };
    outcome.is_some_and(|outcome| outcome.status == Status::OK)
}

/// Reads the list of failed records.
///
/// # Safety
///
/// As for [`read`], obligation 2.
unsafe fn read_failed(outcome: &abi::Outcome, records: usize) -> Result<Vec<Failed>, String> {
    let len = outcome.failed_len;
    if len == 0 {
        return Ok(Vec::new());
    }
    if outcome.status != Status::OK {
        let status = outcome.status.name();
        return Err(format!(
            "{len} failed records are listed with the status {status}"
        ));
    }
    if len > records {
        return Err(format!(
            "{len} failed records are listed for a batch of {records}"
        ));
    }
    // SAFETY: at most `records` of them, hence readable by obligation 2 unless null or misaligned, which `new` refuses.
    let listed = unsafe { Strided::new(outcome.failed, len, outcome.failed_stride) }
        .ok_or("the list of failed records is null, misaligned or of a wrong stride")?;
    let mut failed = Vec::with_capacity(len);
    for record in listed.iter() {
        let kind = record_kind(record.status)?;
        // SAFETY: obligation 2.
        let message = unsafe { text::message(record.message, text::LONGEST_RECORD_MESSAGE) };
        failed.push(Failed {
            index: record.index as usize,
            kind,
            message,
        });
    }
    sorted(failed, records)
}

fn record_kind(status: Status) -> Result<FailureKind, String> {
    match status {
        Status::TRANSIENT => Ok(FailureKind::Transient),
        Status::INVALID_DATA => Ok(FailureKind::Invalid),
        Status::FATAL => Ok(FailureKind::Fatal),
        Status(other) => Err(format!("a failed record has the status {other}")),
    }
}

fn sorted(mut failed: Vec<Failed>, records: usize) -> Result<Vec<Failed>, String> {
    failed.sort_by_key(|record| record.index);
    if let Some(outside) = failed.iter().find(|record| record.index >= records) {
        let index = outside.index;
        return Err(format!(
            "record {index} is listed as failed in a batch of {records}"
        ));
    }
    if let Some(pair) = failed
        .windows(2)
        .find(|pair| pair[0].index == pair[1].index)
    {
        return Err(format!(
            "record {} is listed as failed twice",
            pair[0].index
        ));
    }
    Ok(failed)
}

impl Outcome {
    /// What a status other than ok and cancelled means to the pipeline.
    pub(super) fn into_failure(self, call: &str) -> Failure {
        let kind = match self.status {
            Status::TRANSIENT => FailureKind::Transient,
            Status::INVALID_DATA => FailureKind::Invalid,
            Status::FATAL => FailureKind::Fatal,
            Status::PANICKED => FailureKind::Panicked,
            Status::CANCELLED => FailureKind::Cancelled,
            _ => FailureKind::Contract,
        };
        let message = match kind {
            // A failure of this kind says so by itself when it is shown.
            FailureKind::Panicked => without_panicked(&self.message),
            _ => &self.message,
        };
        let message = if message.is_empty() {
            format!(
                "{call} failed ({}), the plugin does not say why",
                self.status.name()
            )
        } else {
            message.to_owned()
        };
        Failure {
            kind,
            message,
            retry_after: self.retry_after,
        }
    }
}

fn without_panicked(message: &str) -> &str {
    let rest = message.strip_prefix("panicked").unwrap_or(message);
    rest.trim_start_matches([':', ' '])
}

#[cfg(test)]
mod tests;
