//! Finding messages in a partition: by offset, by time, from the end. A plan is made under the log's lock and
//! read without it.

use std::{io, ops::Range};

use iggy_binary_protocol::batch::BATCH_HEADER_SIZE;

use super::{
    super::{
        batch, file,
        index::REACH,
        segment::{Segment, Source},
    },
    Log, Partition,
};
use crate::sync::lock;

/// A reply holds at most this many bytes of batches, or one batch if that is larger.
const MAX_READ: u64 = 16 * 1024 * 1024;

/// Where wanted messages are.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) wanted: Range<u64>,
    /// The offset of the partition's last message, 0 if it never had one.
    pub(crate) current: u64,
    pieces: Vec<Piece>,
    /// Bytes of all pieces.
    pub(crate) length: usize,
}

#[derive(Debug)]
struct Piece {
    source: Source,
    range: Range<u64>,
}

impl Partition {
    /// Plans to read up to `count` messages from `start`, or from the first one that is still there.
    pub(crate) fn plan(&self, start: u64, count: u32) -> Plan {
        lock(&self.log).plan(start, u64::from(count))
    }

    /// The first offset of the last `count` messages.
    pub(crate) fn last(&self, count: u32) -> u64 {
        let log = lock(&self.log);
        log.visible
            .saturating_sub(u64::from(count))
            .max(log.first())
    }

    /// The offset of the first batch that is not older than `timestamp`, or the end.
    pub(crate) fn since(&self, timestamp: u64) -> io::Result<u64> {
        let log = lock(&self.log);
        let younger =
            |segment: &&Segment| segment.summary.size > 0 && segment.summary.newest >= timestamp;
        let Some(segment) = log.segments.iter().find(younger) else {
            return Ok(log.visible);
        };
        let Some(entry) = segment.index.older_than(timestamp) else {
            return Ok(segment.summary.base);
        };
        if entry.timestamp >= timestamp {
            return Ok(entry.offset);
        }
        let next = segment.index.behind(entry.position);
        let (source, summary) = (segment.source.clone(), segment.summary);
        drop(log);
        // Whoever has no entry of its own begins close behind this one.
        let end = next
            .map_or(summary.size, |next| next.position)
            .min(entry.position + REACH + BATCH_HEADER_SIZE as u64);
        let mut bytes = vec![0; (end - entry.position) as usize];
        file::read_at(&*source.open()?, &mut bytes, entry.position)?;
        let found = batch::first_since(&bytes, timestamp);
        Ok(found.unwrap_or_else(|| next.map_or(summary.next, |next| next.offset)))
    }
}

impl Log {
    fn plan(&self, start: u64, count: u64) -> Plan {
        let first = self
            .segments
            .partition_point(|segment| segment.summary.next <= start);
        // What retention removed, or damage made unreadable, is skipped.
        let start = self
            .segments
            .get(first)
            .map_or(start, |segment| segment.summary.base.max(start));
        let end = start.saturating_add(count).min(self.visible);
        let mut plan = Plan {
            wanted: start..end,
            current: self.visible.saturating_sub(1),
            pieces: Vec::new(),
            length: 0,
        };
        if start >= end {
            return plan;
        }
        for segment in self.segments.iter().skip(first) {
            if segment.summary.base >= end {
                break;
            }
            let room = MAX_READ.saturating_sub(plan.length as u64);
            let Some(range) = piece(segment, start..end, room, plan.pieces.is_empty()) else {
                break;
            };
            let whole = range.end == segment.summary.size;
            plan.length += (range.end - range.start) as usize;
            plan.pieces.push(Piece {
                source: segment.source.clone(),
                range,
            });
            if !whole {
                break;
            }
        }
        plan
    }
}

/// The bytes of `segment` to read for `wanted`: from an index entry to an index entry, so that both ends are
/// the beginning of a batch. Never more than `room`, except that the first piece of a plan is never empty.
fn piece(segment: &Segment, wanted: Range<u64>, room: u64, first: bool) -> Option<Range<u64>> {
    let start = segment
        .index
        .at_or_before(wanted.start)
        .map_or(0, |entry| entry.position);
    let size = segment.summary.size;
    let end = segment
        .index
        .at_or_after(wanted.end)
        .map_or(size, |entry| entry.position);
    if end - start <= room {
        return Some(start..end);
    }
    let capped = segment
        .index
        .up_to(start + room)
        .map_or(start, |entry| entry.position);
    if capped > start {
        return Some(start..capped);
    }
    let next = segment
        .index
        .behind(start)
        .map_or(size, |entry| entry.position);
    first.then_some(start..next.min(end))
}

impl Plan {
    /// Reads all pieces into `buffer`, which is [`Plan::length`] long. A sealed file that retention removed
    /// since the plan was made is not found; a new plan does without it.
    pub(crate) fn read(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        for piece in &self.pieces {
            let length = (piece.range.end - piece.range.start) as usize;
            let (now, later) = buffer.split_at_mut(length);
            file::read_at(&*piece.source.open()?, now, piece.range.start)?;
            buffer = later;
        }
        Ok(())
    }
}
