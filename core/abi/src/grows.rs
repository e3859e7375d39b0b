//! Structs that later versions append fields to, read by a side that may be older or newer than the writer: [`read`].

use std::mem::MaybeUninit;

/// A struct of the contract that may be longer or shorter than its reader knows, but never shorter than in version 1.
///
/// The reader gets a copy: as much of the struct as both sides know, and zeros for the rest. A reference to the original is
/// never formed, since it may be shorter than the type.
///
/// # Safety
///
/// - The type is `#[repr(C)]` and has no padding at its end, so that an appended field never lies in what an older writer left undefined.
/// - Zeros are a value of every field after the first [`Grows::V1_SIZE`] bytes, and mean that the field is absent.
pub unsafe trait Grows: Copy {
    /// Size of the struct in version 1. It stays when fields are appended.
    const V1_SIZE: usize;
}

/// A struct that says in a member `size` how long it is.
///
/// # Safety
///
/// The `u32` at [`Measured::SIZE_AT`] is the number of bytes that the writer has made.
pub unsafe trait Measured: Grows {
    /// Where `size` stands, in bytes from the start.
    const SIZE_AT: usize = 0;
}

/// Copies what the other side lends. `None` when it is null, misaligned or shorter than in version 1.
///
/// # Safety
///
/// `at` is null, misaligned, or points at as many readable bytes as its `size` says, at least those up to and including `size`,
/// which are not written to during the call.
pub unsafe fn read<T: Measured>(at: *const T) -> Option<T> {
    if at.is_null() || !at.is_aligned() {
        return None;
    }
    // SAFETY: the bytes up to and including `size` are there in every version.
    let size = unsafe { at.byte_add(T::SIZE_AT) }.cast::<u32>();
    // SAFETY: there, as above, and aligned: `size` is a `u32` in an aligned struct (`Measured`).
    let size = unsafe { size.read() } as usize;
    if size < T::V1_SIZE {
        return None;
    }
    // SAFETY: `size` bytes are readable by the caller's promise; aligned and long enough, checked above.
    Some(unsafe { copy(at, size) })
}

/// Copies a struct of `size` bytes.
///
/// # Safety
///
/// - `at` is aligned and points at `size` readable bytes that are not written to during the call, and that the contract's other side
///   wrote as a `T` of its version.
/// - `size` is at least [`Grows::V1_SIZE`].
pub(crate) unsafe fn copy<T: Grows>(at: *const T, size: usize) -> T {
    if size >= size_of::<T>() {
        // SAFETY: aligned, and as long as the type or longer.
        return unsafe { at.read() };
    }
    let mut known = MaybeUninit::<T>::zeroed();
    // SAFETY: `size` bytes are readable by the caller's promise, and `known` has more; they do not overlap, since `known` is new.
    unsafe { std::ptr::copy_nonoverlapping(at.cast::<u8>(), known.as_mut_ptr().cast(), size) }
    // SAFETY: the fields of version 1 were written by the other side, and zeros are a value of every later one (`Grows`).
    unsafe { known.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 of a struct, its present form, and one of the future.
    #[repr(C, align(8))]
    #[derive(Clone, Copy)]
    struct Old {
        size: u32,
        first: u32,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Known {
        size: u32,
        first: u32,
        appended: u64,
        function: Option<extern "C" fn()>,
    }

    #[repr(C)]
    struct New {
        known: Known,
        unknown: u64,
    }

    // SAFETY: `repr(C)`, two `u32` and two members of eight bytes; zero is a value of both that were appended.
    unsafe impl Grows for Known {
        const V1_SIZE: usize = size_of::<Old>();
    }
    // SAFETY: `size` is the first member.
    unsafe impl Measured for Known {}

    #[test]
    fn what_an_older_writer_left_out_is_zero() {
        let old = Old {
            size: size_of::<Old>() as u32,
            first: 7,
        };
        // SAFETY: as long as it says.
        let known = unsafe { read((&raw const old).cast::<Known>()) }.unwrap();
        assert_eq!((known.first, known.appended), (7, 0));
        assert!(known.function.is_none());
    }

    #[test]
    fn a_writer_half_way_between_is_read_as_far_as_it_goes() {
        let whole = Known {
            size: 16,
            first: 7,
            appended: 8,
            function: Some(nothing),
        };
        // SAFETY: longer than it says.
        let read = unsafe { read(&raw const whole) }.unwrap();
        assert_eq!((read.first, read.appended), (7, 8));
        assert!(read.function.is_none(), "it is beyond what was written");
    }

    #[test]
    fn what_a_newer_writer_appended_is_left_alone() {
        let new = New {
            known: Known {
                size: size_of::<New>() as u32,
                first: 7,
                appended: 8,
                function: Some(nothing),
            },
            unknown: 9,
        };
        // SAFETY: as long as it says.
        let read = unsafe { read(&raw const new.known) }.unwrap();
        assert_eq!((read.first, read.appended), (7, 8));
        assert!(read.function.is_some());
        assert_eq!(new.unknown, 9);
    }

    #[test]
    fn null_misaligned_and_shorter_than_the_first_version_are_refused() {
        let whole = Known {
            size: 7,
            first: 0,
            appended: 0,
            function: None,
        };
        for at in [
            std::ptr::null(),
            (&raw const whole).wrapping_byte_add(1),
            &raw const whole,
        ] {
            // SAFETY: null and misaligned are not read, and of the last only `size`.
            assert!(unsafe { read(at) }.is_none());
        }
    }

    extern "C" fn nothing() {}
}
