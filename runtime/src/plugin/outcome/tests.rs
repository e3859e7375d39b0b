//! What outcomes become: whole ones, broken ones, and random ones.

use iggy_connector_abi::Slice;
use proptest::prelude::*;

use super::*;

const TEXT: &[u8] = b"because \xff of";

fn listed(index: u32, status: Status) -> abi::Failed {
    abi::Failed {
        index,
        status,
        message: Slice::of(TEXT),
    }
}

fn with_list(status: Status, failed: &[abi::Failed]) -> abi::Outcome {
    abi::Outcome {
        failed: failed.as_ptr(),
        failed_len: failed.len(),
        ..abi::Outcome::new(status, Slice::of(TEXT))
    }
}

fn read_of(outcome: &abi::Outcome, records: usize) -> Result<Outcome, String> {
    // SAFETY: every outcome of these tests points at what outlives it, or at nothing that is read.
    unsafe { read(outcome, records) }
}

#[test]
fn a_list_is_sorted_and_its_messages_made_text() {
    let failed = [
        listed(2, Status::TRANSIENT),
        listed(0, Status::INVALID_DATA),
    ];
    let outcome = read_of(&with_list(Status::OK, &failed), 3).unwrap();
    let read: Vec<_> = outcome
        .failed
        .iter()
        .map(|record| (record.index, record.kind))
        .collect();
    assert_eq!(
        read,
        [(0, FailureKind::Invalid), (2, FailureKind::Transient)]
    );
    assert_eq!(outcome.failed[0].message, "because \u{fffd} of");
    assert_eq!(outcome.message, "because \u{fffd} of");
}

#[test]
fn what_breaks_the_contract_is_said() {
    let one = [listed(0, Status::TRANSIENT)];
    let ok = with_list(Status::OK, &one);
    for (outcome, records, expected) in [
        (
            abi::Outcome { size: 8, ..ok },
            1,
            "shorter than the contract",
        ),
        (
            abi::Outcome {
                status: Status(99),
                ..ok
            },
            1,
            "status 99",
        ),
        (
            abi::Outcome {
                status: Status::FATAL,
                ..ok
            },
            1,
            "with the status fatal",
        ),
        (ok, 0, "for a batch of 0"),
        (
            abi::Outcome {
                failed_len: usize::MAX,
                ..ok
            },
            1,
            "for a batch of 1",
        ),
        (
            abi::Outcome {
                failed: std::ptr::null(),
                ..ok
            },
            1,
            "null",
        ),
        (
            abi::Outcome {
                failed: one.as_ptr().wrapping_byte_add(1),
                ..ok
            },
            1,
            "misaligned",
        ),
        (
            abi::Outcome {
                failed_stride: 4,
                ..ok
            },
            1,
            "stride",
        ),
        (
            with_list(Status::OK, &[listed(1, Status::TRANSIENT)]),
            1,
            "record 1",
        ),
        (
            with_list(
                Status::OK,
                &[listed(0, Status::FATAL), listed(0, Status::FATAL)],
            ),
            2,
            "twice",
        ),
        (
            with_list(Status::OK, &[listed(0, Status::OK)]),
            1,
            "has the status 0",
        ),
        (
            with_list(Status::OK, &[listed(0, Status(77))]),
            1,
            "has the status 77",
        ),
    ] {
        let error = read_of(&outcome, records).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let misaligned = (&raw const ok).wrapping_byte_add(1);
    for pointer in [std::ptr::null(), misaligned] {
        // SAFETY: null, or misaligned: neither is read.
        let error = unsafe { read(pointer, 1) }.unwrap_err();
        assert!(error.contains("null, not aligned"), "{error}");
    }
}

#[test]
fn a_longer_outcome_of_a_newer_plugin_is_read() {
    #[repr(C)]
    struct Newer {
        known: abi::Outcome,
        appended: u64,
    }
    let mut newer = Newer {
        known: abi::Outcome::new(Status::TRANSIENT, Slice::of(b"busy")),
        appended: 7,
    };
    newer.known.size = size_of::<Newer>() as u32;
    assert_eq!(newer.appended, 7);
    let outcome = read_of(&newer.known, 0).unwrap();
    assert_eq!(
        (outcome.status, &*outcome.message),
        (Status::TRANSIENT, "busy")
    );
}

#[test]
fn a_wait_is_bounded_and_none_is_none() {
    let outcome = |retry_after_ms| abi::Outcome {
        retry_after_ms,
        ..abi::Outcome::new(Status::TRANSIENT, Slice::EMPTY)
    };
    for (asked, kept) in [
        (0, None),
        (1500, Some(Duration::from_millis(1500))),
        (u64::MAX, Some(LONGEST_RETRY_AFTER)),
    ] {
        assert_eq!(read_of(&outcome(asked), 0).unwrap().retry_after, kept);
    }
}

#[test]
fn a_panic_is_called_one_once() {
    for (message, shown) in [
        (
            "panicked at src/lib.rs:3:5: boom",
            "panicked: at src/lib.rs:3:5: boom",
        ),
        ("panicked: boom", "panicked: boom"),
        ("boom", "panicked: boom"),
    ] {
        let outcome = abi::Outcome::new(Status::PANICKED, Slice::of(message.as_bytes()));
        let failure = read_of(&outcome, 0).unwrap().into_failure("consume");
        assert_eq!(failure.to_string(), shown);
    }
}

#[test]
fn an_unreadable_or_empty_message_still_gives_a_failure() {
    for (slice, expected) in [
        (Slice::EMPTY, "consume failed (fatal)"),
        (
            Slice {
                ptr: std::ptr::null(),
                len: 3,
            },
            "cannot be read",
        ),
        (
            Slice {
                ptr: TEXT.as_ptr(),
                len: usize::MAX,
            },
            "cannot be read",
        ),
    ] {
        let outcome = read_of(&abi::Outcome::new(Status::FATAL, slice), 0).unwrap();
        let failure = outcome.into_failure("consume");
        assert_eq!(failure.kind, FailureKind::Fatal);
        assert!(failure.message.contains(expected), "{failure}");
    }
}

/// A slice inside `TEXT`, or one that cannot be.
fn slice() -> impl Strategy<Value = Slice> {
    prop_oneof![
        (0..=TEXT.len()).prop_map(|len| Slice {
            ptr: TEXT.as_ptr(),
            len
        }),
        any::<usize>().prop_map(|len| Slice {
            ptr: std::ptr::null(),
            len
        }),
        (isize::MAX as usize + 1..=usize::MAX).prop_map(|len| Slice {
            ptr: TEXT.as_ptr(),
            len
        }),
    ]
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![4 => 0u32..8, 1 => any::<u32>()].prop_map(Status)
}

fn failed() -> impl Strategy<Value = abi::Failed> {
    let index = prop_oneof![8 => 0u32..6, 1 => any::<u32>()];
    (index, status(), slice()).prop_map(|(index, status, message)| abi::Failed {
        index,
        status,
        message,
    })
}

proptest! {
    /// Whatever a plugin writes where no address is asked for, and whatever shape of address it gives: an outcome or an error.
    #[test]
    fn any_outcome_is_read_or_refused(
        list in proptest::collection::vec(failed(), 0..6),
        (size, records) in (prop_oneof![Just(size_of::<abi::Outcome>() as u32), any::<u32>()], 0usize..6),
        (status, message, retry_after_ms) in (status(), slice(), any::<u64>()),
        (null, shift) in (any::<bool>(), 0usize..16),
        failed_len in prop_oneof![3 => 0usize..6, 1 => any::<usize>()],
        failed_stride in prop_oneof![3 => Just(size_of::<abi::Failed>() as u32), 1 => 0u32..24],
    ) {
        let first = if null { std::ptr::null() } else { list.as_ptr() };
        let outcome = abi::Outcome {
            size,
            status,
            message,
            retry_after_ms,
            // An address that is not aligned is refused before it is read.
            failed: if shift < 8 { first.wrapping_byte_add(shift) } else { first },
            // No more than there are, unless it is more than the batch has.
            failed_len: if failed_len <= records { failed_len.min(list.len()) } else { failed_len },
            failed_stride,
            reserved: 0,
        };
        let Ok(read) = read_of(&outcome, records) else { return Ok(()) };
        prop_assert_eq!(read.status, status);
        prop_assert!(read.failed.iter().all(|record| record.index < records));
        prop_assert!(read.failed.windows(2).all(|pair| pair[0].index < pair[1].index));
    }
}
