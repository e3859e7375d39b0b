//! What was refused of a sink's batch, by a stage or by the plugin, and what a failure means that is not tried again. A delivery keeps
//! it until the rest of the batch is delivered.

use crate::pipeline::{
    Batch, Failure, FailureKind, Produced,
    dead_letter::{Place, Reason},
    policy::{INVALID, UNCONFIRMED, Undeliverable},
};

/// A message that will not be delivered, by its offset.
pub(super) struct Refused {
    pub(super) offset: u64,
    pub(super) stage: &'static str,
    pub(super) code: &'static str,
    pub(super) error: String,
    pub(super) attempts: u32,
}

impl Refused {
    /// As the policy takes it, with the message as it was fetched.
    ///
    /// # Errors
    ///
    /// The message is not in the batch, which is a bug: nothing is settled without its original.
    pub(super) fn of<'a>(&'a self, batch: &'a Batch) -> Result<Undeliverable<'a>, Failure> {
        let Some(original) = original(batch, self.offset) else {
            let message = format!("offset {} was refused and never fetched", self.offset);
            return Err(Failure::new(FailureKind::Contract, message));
        };
        Ok(Undeliverable {
            original,
            place: Place {
                topic: &batch.topic,
                partition_and_offset: Some((batch.partition_id, self.offset)),
            },
            reason: Reason {
                stage: self.stage,
                code: self.code,
                error: &self.error,
                attempts: self.attempts,
            },
        })
    }
}

/// A message as it was fetched. The broker's offsets need not be in order.
pub(super) fn original(batch: &Batch, offset: u64) -> Option<Produced> {
    let mut messages = batch.messages.iter();
    let message = messages.find(|message| message.offset == offset)?;
    Some(Produced {
        headers: message.headers.clone(),
        payload: message.payload.clone(),
        ..Produced::default()
    })
}

/// How a failure counts when there is only one attempt.
pub(super) fn code(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Invalid => INVALID,
        _ => UNCONFIRMED,
    }
}

/// Whether the connector can go on without another attempt.
pub(super) fn unless_fatal(failure: Failure) -> Result<(), Failure> {
    match failure.kind {
        FailureKind::Invalid | FailureKind::Transient | FailureKind::Unreachable => Ok(()),
        _ => Err(failure),
    }
}
