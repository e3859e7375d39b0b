//! Borrowed memory: bytes ([`Slice`]) and arrays of records ([`Strided`]). The rules for null, length and alignment live here.

use std::marker::PhantomData;

use crate::grows::{self, Grows};

/// Borrowed bytes. The address of an empty slice means nothing: it may be null, or dangle.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// First byte; anything when `len` is 0.
    pub ptr: *const u8,
    /// Number of bytes.
    pub len: usize,
}

// SAFETY: a slice is an address and a length; whoever reads through it states in an unsafe block that the memory is
// alive and not written to (rules 2 and 3 of the crate).
unsafe impl Send for Slice {}
// SAFETY: as for `Send`; the type has no interior mutability.
unsafe impl Sync for Slice {}

impl Slice {
    /// No bytes.
    pub const EMPTY: Self = Self {
        ptr: std::ptr::null(),
        len: 0,
    };

    /// Borrows `bytes` without their lifetime; the caller keeps them alive as long as the contract asks.
    pub const fn of(bytes: &[u8]) -> Self {
        Self {
            ptr: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    /// Returns the bytes, or `None` when the slice cannot be one (null with a length, or longer than memory).
    ///
    /// # Safety
    ///
    /// - `ptr` points at `len` initialised bytes, or `len` is 0, or `ptr` is null.
    /// - The bytes live and are not written to for `'a`.
    pub const unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        if self.len == 0 {
            return Some(&[]);
        }
        if self.ptr.is_null() || self.len > isize::MAX as usize {
            return None;
        }
        // SAFETY: not null and not longer than memory (checked above); initialised and alive by the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(self.ptr, self.len) })
    }
}

/// An array of records whose size the writer chose: `stride` bytes apart. The reader gets copies, as with [`grows::read`]: what
/// an older writer did not know is zero, what a newer one appended is left out.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a, T> {
    first: *const T,
    len: usize,
    stride: usize,
    lifetime: PhantomData<&'a T>,
}

// SAFETY: it is a `&'a [T]` with gaps: sharing it is sharing `&T`.
unsafe impl<T: Sync> Send for Strided<'_, T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Sync> Sync for Strided<'_, T> {}

impl<'a, T: Grows> Strided<'a, T> {
    /// Returns the records, or `None` when they cannot be an array: null with a length, a stride shorter than `T` in version 1 or
    /// not a multiple of its alignment, a misaligned start, or longer than memory.
    ///
    /// # Safety
    ///
    /// - `first` points at `len` records of `stride` bytes, each a `T` of the writer's version, or `len` is 0, or `first` is null.
    /// - The records live and are not written to for `'a`.
    pub unsafe fn new(first: *const T, len: usize, stride: u32) -> Option<Self> {
        let stride = stride as usize;
        let fits = stride >= T::V1_SIZE
            && stride.is_multiple_of(align_of::<T>())
            && len
                .checked_mul(stride)
                .is_some_and(|bytes| bytes <= isize::MAX as usize);
        if len > 0 && (first.is_null() || !first.is_aligned() || !fits) {
            return None;
        }
        Some(Self {
            first,
            len,
            stride,
            lifetime: PhantomData,
        })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The record at `index`, if there is one.
    #[inline]
    pub fn get(&self, index: usize) -> Option<T> {
        if index >= self.len {
            return None;
        }
        // SAFETY: `index` is in bounds, and `len * stride` bytes are one readable allocation (`new`, obligation 1).
        let record = unsafe { self.first.byte_add(index * self.stride) };
        // SAFETY: aligned and not shorter than in version 1, since the start and the stride are (checked in `new`); initialised and
        // alive for `'a` by the promise made to `new`.
        Some(unsafe { grows::copy(record, self.stride) })
    }

    /// The records in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = T> + use<'a, T> {
        (0..self.len).map(move |index| self.get(index).expect("index is below len"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_slice_may_be_null() {
        // SAFETY: the length is 0.
        assert_eq!(unsafe { Slice::EMPTY.bytes() }, Some(&[][..]));
    }

    #[test]
    fn null_with_a_length_and_absurd_lengths_are_refused() {
        for slice in [
            Slice {
                ptr: std::ptr::null(),
                len: 1,
            },
            Slice {
                ptr: b"x".as_ptr(),
                len: usize::MAX,
            },
        ] {
            // SAFETY: the first pointer is null; the second is refused for its length before it is read.
            assert_eq!(unsafe { slice.bytes() }, None);
        }
    }

    /// A record as version 1 had it, as it is known here, and as a later version has it.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Old {
        first: u64,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Known {
        first: u64,
        appended: u64,
    }

    #[repr(C)]
    struct New {
        known: Known,
        unknown: u64,
    }

    // SAFETY: `repr(C)`, only `u64`.
    unsafe impl Grows for Known {
        const V1_SIZE: usize = size_of::<Old>();
    }

    #[test]
    fn records_of_an_older_writer_are_filled_up_with_zeros() {
        let records = [Old { first: 1 }, Old { first: 2 }];
        // SAFETY: `records` outlives the use below.
        let read =
            unsafe { Strided::<Known>::new(records.as_ptr().cast(), 2, size_of::<Old>() as u32) };
        let read: Vec<_> = read.unwrap().iter().collect();
        let expected = [1, 2].map(|first| Known { first, appended: 0 });
        assert_eq!(read, expected);
    }

    #[test]
    fn records_of_a_newer_writer_are_read_at_its_stride() {
        let record = |first| New {
            known: Known { first, appended: 8 },
            unknown: 9,
        };
        let records = [record(1), record(2)];
        // SAFETY: `records` outlives the use below.
        let read =
            unsafe { Strided::<Known>::new(records.as_ptr().cast(), 2, size_of::<New>() as u32) };
        let read = read.unwrap();
        assert_eq!(
            read.iter().map(|known| known.first).collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(read.get(1), Some(records[1].known));
        assert_eq!(read.get(2), None);
        assert!(records.iter().all(|record| record.unknown == 9));
    }

    #[test]
    fn arrays_that_cannot_be_are_refused() {
        let records = [Known {
            first: 0,
            appended: 0,
        }; 2];
        let first = records.as_ptr();
        for (first, len, stride) in [
            (std::ptr::null(), 1, 16),
            (first, 2, 4),
            (first, 2, 12),
            (first, usize::MAX, 16),
            (first.wrapping_byte_add(1), 1, 16),
        ] {
            // SAFETY: each is refused before anything is read.
            assert!(unsafe { Strided::<Known>::new(first, len, stride) }.is_none());
        }
    }
}
