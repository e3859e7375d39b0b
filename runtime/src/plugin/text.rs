//! Text that a plugin lends: bounded, made valid UTF-8, never trusted.

use iggy_connector_abi::Slice;

/// Longest message of a call that is kept.
pub(super) const LONGEST_MESSAGE: usize = 4096;
/// Longest message of one failed record that is kept.
pub(super) const LONGEST_RECORD_MESSAGE: usize = 1024;

/// The text of a slice, cut to `longest` bytes, with what is no UTF-8 replaced; `None` when the slice cannot be one.
///
/// # Safety
///
/// `slice` is null, empty, longer than memory, or its bytes are readable and do not change during the call.
pub(super) unsafe fn read(slice: Slice, longest: usize) -> Option<String> {
    if slice.len > isize::MAX as usize {
        return None;
    }
    // One more than is kept tells whether something was cut.
    let start = Slice {
        ptr: slice.ptr,
        len: slice.len.min(longest + 1),
    };
    // SAFETY: a part of what the caller promises to be readable.
    let bytes = unsafe { start.bytes() }?;
    Some(lossy(bytes, longest))
}

/// A message that a plugin lends, as far as it can be read.
///
/// # Safety
///
/// As for [`read`].
pub(super) unsafe fn message(slice: Slice, longest: usize) -> String {
    // SAFETY: the caller's obligations are the same.
    let message = unsafe { read(slice, longest) };
    message.unwrap_or_else(|| "(a message that cannot be read)".to_owned())
}

fn lossy(bytes: &[u8], longest: usize) -> String {
    if bytes.len() <= longest {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut text = String::from_utf8_lossy(&bytes[..longest]).into_owned();
    // A character that was cut in two has become a replacement mark.
    if text.ends_with(char::REPLACEMENT_CHARACTER) {
        text.pop();
    }
    text.push('…');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8], longest: usize) -> String {
        // SAFETY: `bytes` outlives the call.
        unsafe { message(Slice::of(bytes), longest) }
    }

    #[test]
    fn text_is_kept_cut_and_repaired() {
        for (bytes, longest, expected) in [
            (&b""[..], 4, ""),
            (b"abcd", 4, "abcd"),
            (b"abcde", 4, "abcd…"),
            ("abcé".as_bytes(), 4, "abc…"),
            (b"a\xffb", 4, "a\u{fffd}b"),
        ] {
            assert_eq!(shown(bytes, longest), expected);
        }
    }

    #[test]
    fn a_slice_that_cannot_be_one_is_said_to_be_unreadable() {
        for (ptr, len) in [(std::ptr::null(), 1), (b"x".as_ptr(), usize::MAX)] {
            // SAFETY: null, and longer than memory.
            let text = unsafe { message(Slice { ptr, len }, 4) };
            assert!(text.contains("cannot be read"), "{text}");
        }
    }
}
