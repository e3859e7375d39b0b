//! The JSON parser's working memory, one per thread: it writes to its input, which a sink only borrows.

use std::cell::RefCell;

use simd_json::{Buffers, OwnedValue};

use crate::Error;

/// What one large message may leave allocated on each thread.
const KEPT: usize = 1024 * 1024;

#[derive(Default)]
struct Scratch {
    text: Vec<u8>,
    buffers: Buffers,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// Reads `text` as JSON without changing it.
pub(super) fn parse(text: &[u8]) -> Result<OwnedValue, Error> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.text.clear();
        scratch.text.extend_from_slice(text);
        let parsed =
            simd_json::owned::to_value_with_buffers(&mut scratch.text, &mut scratch.buffers)
                .map_err(|_| Error::InvalidJsonPayload);
        if scratch.text.capacity() > KEPT {
            *scratch = Scratch::default();
        }
        parsed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_left_alone_and_bad_text_is_refused() {
        let text = br#"{"a":"\u0041"}"#;
        assert_eq!(parse(text).unwrap(), simd_json::json!({"a": "A"}));
        assert_eq!(text, br#"{"a":"\u0041"}"#);
        for bad in [&b""[..], b"{", b"{} {}", b"\xff", &[b'['; 100_000]] {
            assert_eq!(parse(bad), Err(Error::InvalidJsonPayload));
        }
    }

    #[test]
    fn a_large_message_does_not_stay_in_memory() {
        let large = format!("\"{}\"", "x".repeat(2 * KEPT));
        parse(large.as_bytes()).unwrap();
        SCRATCH.with_borrow(|scratch| assert!(scratch.text.capacity() <= KEPT));
    }
}
