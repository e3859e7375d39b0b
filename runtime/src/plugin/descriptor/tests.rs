//! What descriptors become: good ones, refused ones, and random ones.

use iggy_connector_abi::Slice;
use proptest::prelude::*;

use super::*;

const TEXT: &[u8] = b"name \xff";

fn good() -> abi::descriptor::Descriptor {
    abi::descriptor::Descriptor {
        magic: abi::descriptor::MAGIC,
        abi_version: ABI_VERSION,
        size: size_of::<abi::descriptor::Descriptor>() as u32,
        minor: 0,
        flags: 0,
        direction: abi::descriptor::SOURCE,
        panic: abi::descriptor::PANIC_UNWIND,
        name: Slice::of(TEXT),
        version: Slice::of(b"1.2.3"),
        sdk_version: Slice::EMPTY,
        target: Slice::of(HOST_TARGET.as_bytes()),
        config_schema: Slice::of(b"{}"),
    }
}

fn read_of(descriptor: &abi::descriptor::Descriptor) -> Result<Descriptor, Refusal> {
    // SAFETY: every descriptor of these tests is whole and points at constants, or at nothing that is read.
    unsafe { read(descriptor) }
}

#[test]
fn a_good_descriptor_is_copied() {
    let descriptor = read_of(&good()).unwrap();
    assert_eq!(descriptor.direction, Direction::Source);
    assert_eq!(descriptor.name, "name \u{fffd}");
    assert_eq!(descriptor.version, "1.2.3");
    assert_eq!(descriptor.sdk_version, "");
    assert_eq!(descriptor.config_schema.as_deref(), Some("{}"));
}

#[test]
fn a_newer_plugins_descriptor_is_read_as_far_as_it_is_known() {
    #[repr(C)]
    struct Newer {
        known: abi::descriptor::Descriptor,
        appended: u64,
    }
    let newer = Newer {
        known: abi::descriptor::Descriptor {
            size: size_of::<Newer>() as u32,
            minor: 99,
            flags: u32::MAX,
            ..good()
        },
        appended: u64::MAX,
    };
    let expected = Descriptor {
        abi: format!("{ABI_VERSION}.99"),
        ..read_of(&good()).unwrap()
    };
    assert_eq!(read_of(&newer.known), Ok(expected));
    assert_eq!(newer.appended, u64::MAX);
}

#[test]
fn each_refusal_says_what_it_was() {
    let absurd = Slice {
        ptr: TEXT.as_ptr(),
        len: usize::MAX,
    };
    for (descriptor, expected) in [
        (
            abi::descriptor::Descriptor { magic: 1, ..good() },
            Refusal::Magic,
        ),
        (
            abi::descriptor::Descriptor {
                abi_version: 7,
                ..good()
            },
            Refusal::AbiVersion { found: 7 },
        ),
        (
            abi::descriptor::Descriptor {
                size: abi::descriptor::Descriptor::V1_SIZE as u32 - 1,
                ..good()
            },
            Refusal::Short {
                found: abi::descriptor::Descriptor::V1_SIZE as u32 - 1,
                expected: abi::descriptor::Descriptor::V1_SIZE,
            },
        ),
        (
            abi::descriptor::Descriptor {
                direction: 2,
                ..good()
            },
            Refusal::Direction { found: 2 },
        ),
        (
            abi::descriptor::Descriptor {
                panic: abi::descriptor::PANIC_ABORT,
                ..good()
            },
            Refusal::PanicAbort,
        ),
        (
            abi::descriptor::Descriptor { panic: 9, ..good() },
            Refusal::PanicAbort,
        ),
        (
            abi::descriptor::Descriptor {
                target: Slice::of(b"mips-unknown-none"),
                ..good()
            },
            Refusal::Target {
                found: "mips-unknown-none".to_owned(),
            },
        ),
        (
            abi::descriptor::Descriptor {
                name: absurd,
                ..good()
            },
            Refusal::Unreadable { field: "name" },
        ),
    ] {
        assert_eq!(read_of(&descriptor), Err(expected));
    }
    let good = good();
    for pointer in [std::ptr::null(), (&raw const good).wrapping_byte_add(1)] {
        // SAFETY: null, or misaligned: neither is read.
        assert_eq!(unsafe { read(pointer) }, Err(Refusal::Absent));
    }
}

#[test]
fn targets_differ_by_more_than_their_vendor() {
    for (guest, host, same) in [
        ("", "x86_64-unknown-linux-gnu", true),
        ("x86_64-unknown-linux-gnu", "x86_64-unknown-linux-gnu", true),
        (
            "x86_64-alpine-linux-musl",
            "x86_64-unknown-linux-musl",
            true,
        ),
        (
            "x86_64-unknown-linux-musl",
            "x86_64-unknown-linux-gnu",
            false,
        ),
        (
            "aarch64-unknown-linux-gnu",
            "x86_64-unknown-linux-gnu",
            false,
        ),
        ("x86_64", "x86_64-unknown-linux-gnu", false),
    ] {
        assert_eq!(same_target(guest, host), same, "{guest} {host}");
    }
}

#[test]
fn a_schema_that_is_too_long_counts_as_none() {
    let long = vec![b' '; LONGEST_SCHEMA + 1];
    let descriptor = abi::descriptor::Descriptor {
        config_schema: Slice::of(&long),
        ..good()
    };
    assert_eq!(read_of(&descriptor).unwrap().config_schema, None);
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

fn mostly(good: u32) -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(good), 1 => any::<u32>()]
}

proptest! {
    /// Whatever a library writes where no address is asked for, and whatever shape of address it gives: a descriptor or a refusal.
    #[test]
    fn any_descriptor_is_read_or_refused(
        magic in prop_oneof![3 => Just(abi::descriptor::MAGIC), 1 => any::<u64>()],
        (abi_version, size) in (mostly(ABI_VERSION), mostly(size_of::<abi::descriptor::Descriptor>() as u32)),
        (minor, flags) in (any::<u32>(), any::<u32>()),
        (direction, panic) in (mostly(abi::descriptor::SINK), mostly(abi::descriptor::PANIC_UNWIND)),
        (name, version, sdk_version) in (slice(), slice(), slice()),
        target in prop_oneof![3 => Just(Slice::EMPTY), 1 => slice()],
        config_schema in slice(),
    ) {
        let descriptor = abi::descriptor::Descriptor {
            magic, abi_version, size, minor, flags, direction, panic, name, version, sdk_version, target, config_schema,
        };
        if let Ok(read) = read_of(&descriptor) {
            prop_assert_eq!((magic, abi_version), (abi::descriptor::MAGIC, ABI_VERSION));
            prop_assert!(read.name.len() <= LONGEST_NAME + 3);
        }
    }
}
