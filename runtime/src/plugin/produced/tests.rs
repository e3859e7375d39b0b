//! What polled batches become, and that each is given back once: whole ones, broken ones, and random ones.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

const TEXT: &[u8] = b"a payload";

/// Counts its releases.
unsafe extern "C" fn release(owner: *mut c_void) {
    // SAFETY: the tests' owner is a counter that outlives the batch.
    let count = unsafe { &*owner.cast::<AtomicUsize>() };
    count.fetch_add(1, Ordering::SeqCst);
}

fn batch(
    messages: &[abi::source::ProducedMessage],
    released: &AtomicUsize,
) -> abi::source::ProducedBatch {
    abi::source::ProducedBatch {
        size: size_of::<abi::source::ProducedBatch>() as u32,
        stride: size_of::<abi::source::ProducedMessage>() as u32,
        messages: messages.as_ptr(),
        len: messages.len(),
        schema: 0,
        flags: 0,
        state_present: 0,
        reserved: 0,
        state: Slice::EMPTY,
        owner: (&raw const *released).cast_mut().cast(),
        release: Some(release),
    }
}

fn message(payload: Slice) -> abi::source::ProducedMessage {
    abi::source::ProducedMessage {
        id_low: 1,
        id_high: 2,
        checksum: 0,
        timestamp: 0,
        origin_timestamp: 3,
        present: 0,
        reserved: 0,
        payload,
        headers: Slice::EMPTY,
        key: payload,
        route: payload,
        offset: payload,
    }
}

fn read_of(batch: &abi::source::ProducedBatch) -> Result<ProducedBatch, String> {
    // SAFETY: what the tests lend lives until their end, or is refused before it is read.
    unsafe { ProducedBatch::read(batch) }
}

#[test]
fn only_fields_that_are_present_are_read() {
    let released = AtomicUsize::new(0);
    let plain = message(Slice::of(TEXT));
    let full = abi::source::ProducedMessage {
        present: abi::source::HAS_ID
            | abi::source::HAS_ORIGIN_TIMESTAMP
            | abi::source::HAS_KEY
            | abi::source::HAS_ROUTE
            | 1 << 31,
        ..plain
    };
    let read = read_of(&batch(&[plain, full], &released)).unwrap();
    let (plain, full) = (&read.messages[0], &read.messages[1]);
    assert_eq!(plain.payload, TEXT);
    assert_eq!((plain.id, plain.origin_timestamp), (None, None));
    assert_eq!((&plain.key, &plain.route), (&None, &None));
    assert_eq!(
        (full.id, full.origin_timestamp),
        (Some(2 << 64 | 1), Some(3))
    );
    assert_eq!(full.key.as_deref(), Some(TEXT));
    assert_eq!(full.route.as_deref(), Some(TEXT));
}

#[test]
fn a_batch_is_released_with_its_last_part() {
    let released = AtomicUsize::new(0);
    let mut read = read_of(&batch(&[message(Slice::of(TEXT))], &released)).unwrap();
    let payload = std::mem::take(&mut read.messages[0].payload);
    drop(read);
    assert_eq!(released.load(Ordering::SeqCst), 0);
    drop(payload);
    assert_eq!(released.load(Ordering::SeqCst), 1);
}

#[test]
fn an_empty_batch_is_released_at_once() {
    let released = AtomicUsize::new(0);
    assert!(read_of(&batch(&[], &released)).unwrap().messages.is_empty());
    assert_eq!(released.load(Ordering::SeqCst), 1);
}

/// A struct of a plugin whose version has more.
#[repr(C)]
struct Newer<T> {
    known: T,
    appended: u64,
}

#[test]
fn a_newer_plugins_batch_is_read_as_far_as_it_is_known() {
    let released = AtomicUsize::new(0);
    let messages = [&b"one"[..], b"two"].map(|payload| Newer {
        known: abi::source::ProducedMessage {
            // What this version does not know is ignored.
            present: abi::source::HAS_ID | 1 << 31,
            reserved: 9,
            ..message(Slice::of(payload))
        },
        appended: u64::MAX,
    });
    let newer = Newer {
        known: abi::source::ProducedBatch {
            size: size_of::<Newer<abi::source::ProducedBatch>>() as u32,
            stride: size_of::<Newer<abi::source::ProducedMessage>>() as u32,
            messages: messages.as_ptr().cast(),
            len: messages.len(),
            flags: abi::source::ENDED | 1 << 31,
            reserved: 9,
            ..batch(&[], &released)
        },
        appended: u64::MAX,
    };
    let read = read_of(&newer.known).unwrap();
    let payloads: Vec<_> = read
        .messages
        .iter()
        .map(|message| &message.payload[..])
        .collect();
    assert_eq!(payloads, [b"one", b"two"]);
    assert_eq!((read.messages[1].id, read.ended), (Some(2 << 64 | 1), true));
    assert_eq!(read.messages[1].key, None);
    assert_eq!((newer.appended, messages[0].appended), (u64::MAX, u64::MAX));
    drop(read);
    assert_eq!(released.load(Ordering::SeqCst), 1);
}

#[test]
fn a_batch_that_is_shorter_than_in_the_first_version_is_refused() {
    let released = AtomicUsize::new(0);
    let short = abi::source::ProducedBatch {
        size: size_of::<abi::source::ProducedBatch>() as u32 - 8,
        ..batch(&[], &released)
    };
    assert!(read_of(&short).is_err());
    assert_eq!(
        released.load(Ordering::SeqCst),
        0,
        "what gives it back could not be read"
    );
}

/// A slice inside `TEXT`, or one that cannot be.
fn slice() -> impl Strategy<Value = Slice> {
    prop_oneof![
        6 => (0..=TEXT.len()).prop_map(|len| Slice { ptr: TEXT.as_ptr(), len }),
        1 => any::<usize>().prop_map(|len| Slice { ptr: std::ptr::null(), len }),
        1 => (isize::MAX as usize + 1..=usize::MAX).prop_map(|len| Slice { ptr: TEXT.as_ptr(), len }),
    ]
}

fn any_message() -> impl Strategy<Value = abi::source::ProducedMessage> {
    (any::<u32>(), slice(), slice(), slice(), slice()).prop_map(
        |(present, payload, headers, key, route)| abi::source::ProducedMessage {
            present,
            payload,
            headers,
            key,
            route,
            ..message(Slice::EMPTY)
        },
    )
}

proptest! {
    /// Whatever a plugin writes where no address is asked for, and whatever shape of address it gives: a batch or an error, and
    /// in either case one release.
    #[test]
    fn any_batch_is_read_or_refused_and_released_once(
        messages in proptest::collection::vec(any_message(), 0..5),
        size in prop_oneof![5 => Just(size_of::<abi::source::ProducedBatch>() as u32), 1 => any::<u32>()],
        stride in prop_oneof![5 => Just(size_of::<abi::source::ProducedMessage>() as u32), 1 => 0u32..160],
        (schema, flags, state_present) in (0u32..8, any::<u32>(), 0u32..2),
        state in slice(),
        (null, shift, absurd) in (0u8..8, 0usize..40, 0u8..8),
    ) {
        let released = AtomicUsize::new(0);
        let good = batch(&messages, &released);
        let first = if null == 0 { std::ptr::null() } else { good.messages };
        let wire = abi::source::ProducedBatch {
            size, schema, flags, state_present, state,
            // A longer stride than there is memory for cannot be told from a right one.
            stride: stride.min(good.stride),
            // An address that is not aligned is refused before it is read.
            messages: if (1..8).contains(&shift) { first.wrapping_byte_add(shift) } else { first },
            len: if absurd == 0 { usize::MAX } else { good.len },
            ..good
        };
        let known = size as usize >= size_of::<abi::source::ProducedBatch>();
        if let Ok(read) = read_of(&wire) {
            prop_assert_eq!(read.messages.len(), messages.len());
        }
        prop_assert_eq!(released.load(Ordering::SeqCst), usize::from(known));
    }
}
