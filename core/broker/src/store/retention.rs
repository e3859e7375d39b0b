//! Decides what a topic's limits remove: whole sealed segments, oldest first.

use std::{io, sync::Arc};

use super::partition::Partition;

/// The limits of one topic; `None` is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Microseconds a message is kept.
    pub(crate) expiry: Option<u64>,
    /// Bytes the topic may hold.
    pub(crate) size: Option<u64>,
}

/// Applies `limits` to a topic's partitions and returns how many segments were removed.
pub(crate) fn enforce(
    partitions: &[Arc<Partition>],
    limits: Limits,
    now: u64,
) -> io::Result<usize> {
    let mut removed = 0;
    if let Some(oldest) = limits.expiry.and_then(|expiry| now.checked_sub(expiry)) {
        for partition in partitions {
            removed += partition.remove_expired(oldest)?;
        }
    }
    if let Some(size) = limits.size {
        removed += shrink(partitions, size)?;
    }
    Ok(removed)
}

fn shrink(partitions: &[Arc<Partition>], limit: u64) -> io::Result<usize> {
    let mut size: u64 = partitions
        .iter()
        .map(|partition| partition.stats().bytes)
        .sum();
    let mut removed = 0;
    while size > limit {
        let oldest =
            |partition: &Arc<Partition>| Some((partition.oldest_sealed()?, partition.clone()));
        let candidates = partitions.iter().filter_map(oldest);
        let Some(((_, freed), partition)) = candidates.min_by_key(|((newest, _), _)| *newest)
        else {
            break;
        };
        if partition.remove_segments(1)? == 0 {
            break;
        }
        size = size.saturating_sub(freed);
        removed += 1;
    }
    Ok(removed)
}
