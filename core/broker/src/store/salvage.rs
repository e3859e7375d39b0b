//! A crash tears the last batch of a log. If sound batches lie behind a bad one, something else damaged the
//! file: then what recovery cuts off is kept in a file beside it.

use std::{
    fs::File,
    io::{self, Write},
    ops::Range,
    path::Path,
};

use iggy_binary_protocol::batch::{BATCH_HEADER_SIZE, BatchHeader, decode_batch_slice};

use super::file;

const WINDOW: u64 = 4 * 1024 * 1024;
/// Bounds the time that bytes which only look like headers can cost.
const MAX_CANDIDATES: usize = 100;

/// Copies `tail` to a file of its own if it holds a sound batch with an offset of at least `next`.
pub(crate) fn keep_batches(path: &Path, log: &File, tail: Range<u64>, next: u64) -> io::Result<()> {
    if !holds_batch(log, tail.clone(), next)? {
        return Ok(());
    }
    let kept = path.with_extension(format!("damaged-{}", crate::sync::now_micros()));
    let mut copy = File::create(&kept)?;
    for window in windows(tail, 0) {
        copy.write_all(&read(log, &window)?)?;
    }
    copy.sync_all()?;
    tracing::error!(
        path = %path.display(), kept = %kept.display(), next_offset = next,
        "a log is damaged before its end: the messages from there on are not served, their bytes were set aside"
    );
    Ok(())
}

fn holds_batch(log: &File, tail: Range<u64>, next: u64) -> io::Result<bool> {
    let mut candidates = 0;
    for window in windows(tail.clone(), BATCH_HEADER_SIZE as u64 - 1) {
        let bytes = read(log, &window)?;
        for (place, header) in bytes.windows(BATCH_HEADER_SIZE).enumerate() {
            let position = window.start + place as u64;
            let Some(length) = plausible_length(header, tail.end - position, next) else {
                continue;
            };
            candidates += 1;
            if candidates > MAX_CANDIDATES {
                return Ok(true);
            }
            if decode_batch_slice(&read(log, &(position..position + length))?).is_ok() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn plausible_length(bytes: &[u8], room: u64, next: u64) -> Option<u64> {
    // The cheap test first: a header ends in zeros.
    if bytes.ends_with(&[0; 16]) {
        let header = BatchHeader::decode(bytes).ok()?;
        let plausible =
            header.message_count > 0 && header.base_offset >= next && header.batch_length <= room;
        return plausible.then_some(header.batch_length);
    }
    None
}

/// Cuts `range` into windows, each reaching `overlap` bytes into the next.
fn windows(range: Range<u64>, overlap: u64) -> impl Iterator<Item = Range<u64>> {
    let starts = range.clone().step_by(WINDOW as usize);
    starts.map(move |start| start..(start + WINDOW + overlap).min(range.end))
}

fn read(log: &File, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file::read_at(log, &mut bytes, range.start)?;
    Ok(bytes)
}
