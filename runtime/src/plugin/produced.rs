//! A polled batch as it comes over the fence: its bytes stay the plugin's until the last of them is dropped ([`Owner`]).

use std::{ffi::c_void, sync::Arc};

use bytes::Bytes;
use iggy_connector_abi::{self as abi, Slice};
use iggy_connector_message::Schema;

use super::pending::Value;
use crate::pipeline::Produced;

/// Room is made for so many messages at once, whatever a batch claims to have.
const MOST_AT_ONCE: usize = 10_000;

/// What a poll brought.
pub(super) struct ProducedBatch {
    pub(super) schema: Schema,
    pub(super) messages: Vec<Produced>,
    pub(super) state: Option<Bytes>,
    pub(super) ended: bool,
}

impl Value for ProducedBatch {
    type Wire = abi::source::ProducedBatch;

    unsafe fn read(wire: *const abi::source::ProducedBatch) -> Result<Self, String> {
        // SAFETY: lent for the completion.
        let wire = unsafe { abi::read(wire) }
            .ok_or("the batch is null, not aligned or shorter than the contract says")?;
        let release = wire.release.ok_or("the batch has no release function")?;
        // From here on the batch is given back, whatever is wrong with it.
        let owner = Arc::new(Owner {
            owner: wire.owner,
            release,
        });
        // SAFETY: it came with a completion and is not released before `owner` is dropped.
        unsafe { read(&wire, &owner) }
    }
}

/// Reads a batch.
///
/// # Safety
///
/// `batch` came with the completion of a poll, and `owner` is what gives it back.
unsafe fn read(
    batch: &abi::source::ProducedBatch,
    owner: &Arc<Owner>,
) -> Result<ProducedBatch, String> {
    let number = batch.schema;
    let schema =
        Schema::from_code(number).ok_or_else(|| format!("the schema {number} is unknown"))?;
    // SAFETY: not released while `owner` lives.
    let listed = unsafe { batch.messages() };
    let listed = listed.ok_or("the list of messages is null, misaligned or of a wrong stride")?;
    if listed.len() > u32::MAX as usize {
        return Err(format!(
            "{} messages are too many for one batch",
            listed.len()
        ));
    }
    let mut messages = Vec::with_capacity(listed.len().min(MOST_AT_ONCE));
    for (position, message) in listed.iter().enumerate() {
        // SAFETY: the batch's own message, whose bytes live until `owner` is dropped.
        let message = unsafe { read_message(&message, owner) };
        let message =
            message.ok_or_else(|| format!("message {position} has bytes that cannot be read"))?;
        messages.push(message);
    }
    let state = if batch.state_present == 0 {
        None
    } else {
        // SAFETY: not released while `owner` lives. It is copied, since it outlives its batch.
        let bytes = unsafe { batch.state.bytes() };
        Some(Bytes::copy_from_slice(
            bytes.ok_or("the state cannot be read")?,
        ))
    };
    Ok(ProducedBatch {
        schema,
        messages,
        state,
        ended: batch.flags & abi::source::ENDED != 0,
    })
}

/// Reads one message, or `None` when a slice of it cannot be one.
///
/// # Safety
///
/// The message's bytes live, unchanged, until `owner` is dropped.
unsafe fn read_message(
    message: &abi::source::ProducedMessage,
    owner: &Arc<Owner>,
) -> Option<Produced> {
    let has = |flag| message.present & flag != 0;
    let part = |slice| {
        // SAFETY: the caller's promise.
        unsafe { Part::of(slice, owner) }
    };
    Some(Produced {
        id: has(abi::source::HAS_ID)
            .then(|| u128::from(message.id_high) << 64 | u128::from(message.id_low)),
        origin_timestamp: has(abi::source::HAS_ORIGIN_TIMESTAMP)
            .then_some(message.origin_timestamp),
        headers: part(message.headers)?,
        payload: part(message.payload)?,
        key: match has(abi::source::HAS_KEY) {
            true => Some(part(message.key)?),
            false => None,
        },
        route: match has(abi::source::HAS_ROUTE) {
            true => Some(part(message.route)?),
            false => None,
        },
    })
}

/// Gives a batch back to the plugin when it is dropped.
struct Owner {
    owner: *mut c_void,
    release: unsafe extern "C" fn(owner: *mut c_void),
}

// SAFETY: the host never looks behind `owner`; the contract lets `release` be called from any thread (`ProducedBatch`).
unsafe impl Send for Owner {}
// SAFETY: as for `Send`; a shared `Owner` offers nothing.
unsafe impl Sync for Owner {}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: once, since this is the only call and an `Owner` is never copied; the library is never unloaded.
        unsafe { (self.release)(self.owner) }
    }
}

/// Some of a batch's bytes, with a share of its owner.
struct Part {
    slice: Slice,
    _owner: Arc<Owner>,
}

impl Part {
    /// `None` when the slice cannot be one.
    ///
    /// # Safety
    ///
    /// The slice's bytes live, unchanged, until `owner` is dropped; or it is null or longer than memory.
    unsafe fn of(slice: Slice, owner: &Arc<Owner>) -> Option<Bytes> {
        // SAFETY: the caller's promise.
        let bytes = unsafe { slice.bytes() }?;
        if bytes.is_empty() {
            return Some(Bytes::new());
        }
        Some(Bytes::from_owner(Self {
            slice,
            _owner: owner.clone(),
        }))
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: alive and unchanged until `_owner` is dropped, which is not before `self` (`of`).
        let bytes = unsafe { self.slice.bytes() };
        bytes.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
