//! A polled batch as it comes over the fence: its bytes stay the plugin's until the last of them is dropped ([`Owner`]).

use std::{ffi::c_void, sync::Arc};

use bytes::Bytes;
use iggy_connector_abi::{self as abi, Slice};
use iggy_connector_message::Schema;

use super::pending::Value;
use crate::pipeline::Produced;

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
    let mut messages = Vec::new();
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
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A struct of a plugin whose version has more.
    #[repr(C)]
    struct Newer<T> {
        known: T,
        appended: u64,
    }

    unsafe extern "C" fn release(owner: *mut c_void) {
        // SAFETY: the counter of a test, which outlives its batch.
        unsafe { &*owner.cast::<AtomicU32>() }.fetch_add(1, Ordering::Relaxed);
    }

    fn message(payload: &[u8]) -> Newer<abi::source::ProducedMessage> {
        Newer {
            known: abi::source::ProducedMessage {
                id_low: 7,
                id_high: 0,
                checksum: 0,
                timestamp: 0,
                origin_timestamp: 0,
                // Bits that this version does not know are ignored.
                present: abi::source::HAS_ID | 1 << 31,
                reserved: 9,
                payload: Slice::of(payload),
                headers: Slice::EMPTY,
                key: Slice::EMPTY,
                route: Slice::EMPTY,
                offset: Slice::EMPTY,
            },
            appended: u64::MAX,
        }
    }

    fn batch(
        messages: &[Newer<abi::source::ProducedMessage>],
        released: &AtomicU32,
    ) -> Newer<abi::source::ProducedBatch> {
        Newer {
            known: abi::source::ProducedBatch {
                size: size_of::<Newer<abi::source::ProducedBatch>>() as u32,
                stride: size_of::<Newer<abi::source::ProducedMessage>>() as u32,
                messages: messages.as_ptr().cast(),
                len: messages.len(),
                schema: abi::schema::RAW,
                flags: abi::source::ENDED | 1 << 31,
                state_present: 0,
                reserved: 9,
                state: Slice::EMPTY,
                owner: (&raw const *released).cast_mut().cast(),
                release: Some(release),
            },
            appended: u64::MAX,
        }
    }

    #[test]
    fn a_newer_plugins_batch_is_read_as_far_as_it_is_known_and_given_back_once() {
        let released = AtomicU32::new(0);
        let messages = [message(b"one"), message(b"two")];
        let batch = batch(&messages, &released);
        // SAFETY: as long as it says; all it points at outlives what is made of it.
        let read = unsafe { ProducedBatch::read(&raw const batch.known) }.unwrap();
        let payloads: Vec<_> = read
            .messages
            .iter()
            .map(|message| &message.payload[..])
            .collect();
        assert_eq!(payloads, [b"one", b"two"]);
        assert_eq!((read.messages[1].id, read.ended), (Some(7), true));
        assert_eq!(read.messages[1].key, None);
        assert_eq!((batch.appended, messages[0].appended), (u64::MAX, u64::MAX));
        assert_eq!(released.load(Ordering::Relaxed), 0);
        drop(read);
        assert_eq!(released.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_batch_that_is_shorter_than_in_the_first_version_is_refused() {
        let released = AtomicU32::new(0);
        let mut batch = batch(&[], &released);
        batch.known.size = size_of::<abi::source::ProducedBatch>() as u32 - 8;
        // SAFETY: longer than it says.
        let refused = unsafe { ProducedBatch::read(&raw const batch.known) };
        assert!(refused.is_err());
        assert_eq!(
            released.load(Ordering::Relaxed),
            0,
            "what gives it back could not be read"
        );
    }
}
