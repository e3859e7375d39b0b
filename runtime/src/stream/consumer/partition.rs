//! One partition as long as this connection owns it: where to read on, what is gathered, handed out, settled and stored. Pure.
//!
//! Every time a partition is acquired it gets a new epoch and forgets everything, so that positions from before are recognised
//! as such and a cursor never survives a loss.

use std::time::Duration;

use tokio::time::Instant;

use crate::pipeline::Message;

/// Batches that may be settled and not yet stored.
const MAX_UNSTORED: u32 = 16;
/// After it the broker is asked whether the log is still the same, before the next poll or store: where the pipeline had enough, as a
/// fast one has between any two polls (more than the 10 ms after which it stores, which asks as well); where the last poll was empty;
/// and elsewhere, where asking takes time from reading.
const DOUBTED_AFTER: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_secs(1),
];
/// After a fence: doubles from the first to the second.
const FENCED: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

#[derive(Debug)]
pub(super) struct Partition {
    /// Which member owns it.
    pub(super) member: usize,
    pub(super) id: u32,
    pub(super) epoch: u64,
    /// The next offset to poll; `None` until the stored one is known.
    pub(super) cursor: Option<u64>,
    /// Lost: what was handed out is still stored, nothing more is polled.
    pub(super) is_leaving: bool,
    /// The pipeline was told to finish what it has of the lost partition.
    pub(super) is_loss_told: bool,
    /// Whether the last poll returned nothing.
    pub(super) was_empty: bool,
    /// Whether the last poll did not reach the partition's end.
    pub(super) has_backlog: bool,
    /// Not polled before.
    pub(super) rests_until: Instant,
    /// Not polled before, because the broker fenced it.
    fenced_until: Instant,
    fences: u32,
    gathered: Option<Gathered>,
    /// Batches that the pipeline has.
    out: usize,
    /// Most of them.
    most: usize,
    handed: Option<u64>,
    settled: Option<u64>,
    stored: Option<u64>,
    /// When the log was last known to be the one that is read.
    confirmed: Instant,
    /// It was not polled for a while since then, because the pipeline had enough of it.
    was_full: bool,
    /// The last message that was polled, as long as nothing is stored that would go with the log.
    mark: Option<Mark>,
    unstored: Option<Unstored>,
    /// The next offset to be settled, and the next one to come as far as is known: for figures only.
    next: u64,
    end: Option<u64>,
    /// Whether a poll has told the end since this was asked last.
    is_fresh: bool,
}

/// Polled and not handed out.
#[derive(Debug)]
pub(super) struct Gathered {
    /// At least one.
    pub(super) messages: Vec<Message>,
    /// The partition's last offset when the last of them was polled.
    pub(super) head: u64,
    /// Messages before these that the broker dropped before they were read.
    pub(super) expired: u64,
    /// Handed out by then, full or not.
    until: Instant,
}

/// What tells a message from one of another log at the same offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) id: u128,
    pub(super) origin_timestamp: u64,
    pub(super) checksum: u64,
}

#[derive(Debug)]
struct Unstored {
    since: Instant,
    batches: u32,
}

impl Partition {
    pub(super) fn new(member: usize, id: u32, epoch: u64, now: Instant) -> Self {
        Self {
            member,
            id,
            epoch,
            cursor: None,
            is_leaving: false,
            is_loss_told: false,
            was_empty: false,
            has_backlog: false,
            rests_until: now,
            fenced_until: now,
            fences: 0,
            gathered: None,
            out: 0,
            most: usize::MAX,
            handed: None,
            settled: None,
            stored: None,
            confirmed: now,
            was_full: false,
            mark: None,
            unstored: None,
            next: 0,
            end: None,
            is_fresh: false,
        }
    }

    /// Has at most so many batches with the pipeline.
    pub(super) fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Whether it is polled at all: it is not being lost, and the pipeline can take what a poll brings.
    pub(super) fn is_polled(&self) -> bool {
        !self.is_leaving && self.out < self.most
    }

    /// Begins to read behind the stored offset.
    pub(super) fn begin(&mut self, stored: Option<u64>) {
        self.stored = stored;
        self.settled = stored;
        self.mark = None;
        self.next = stored.map_or(0, |offset| offset.saturating_add(1));
        self.cursor = Some(self.next);
    }

    /// Messages were polled; the partition ends at `head`. The first of a batch says when it is handed out at the latest.
    pub(super) fn gather(&mut self, messages: Vec<Message>, head: u64, until: Instant) {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return;
        };
        let expired = self.expired_before(first.offset);
        if !self.has_position() {
            self.next = first.offset;
        }
        self.ends_with(head);
        self.is_fresh = true;
        self.cursor = Some(last.offset.saturating_add(1));
        self.was_empty = false;
        self.has_backlog = last.offset < head;
        self.fences = 0;
        if !self.has_stored() {
            self.mark = Some(Mark {
                offset: last.offset,
                id: last.id,
                origin_timestamp: last.origin_timestamp,
                checksum: last.checksum,
            });
        }
        match &mut self.gathered {
            Some(gathered) => {
                gathered.messages.extend(messages);
                gathered.head = head;
                gathered.expired += expired;
            }
            None => {
                self.gathered = Some(Gathered {
                    messages,
                    head,
                    expired,
                    until,
                });
            }
        }
    }

    /// How many messages the broker dropped between where reading was to go on and `first`. Where nothing was read yet, nothing
    /// was missed.
    pub(super) fn expired_before(&self, first: u64) -> u64 {
        match self.cursor {
            Some(cursor) if self.has_position() => first.saturating_sub(cursor),
            _ => 0,
        }
    }

    fn has_position(&self) -> bool {
        self.stored.is_some() || self.handed.is_some() || self.gathered.is_some()
    }

    /// The partition's last offset, as the broker says.
    pub(super) fn ends_with(&mut self, head: u64) {
        self.end = Some(head.saturating_add(1));
    }

    /// A poll has found nothing more.
    pub(super) fn ends_here(&mut self) {
        self.end = self.cursor;
        self.is_fresh = true;
    }

    /// Whether a poll has told where it ends since this was asked last.
    pub(super) fn take_fresh(&mut self) -> bool {
        std::mem::take(&mut self.is_fresh)
    }

    /// How many messages are not settled; `None` until the partition was polled.
    pub(super) fn lag(&self) -> Option<u64> {
        Some(self.end?.saturating_sub(self.next))
    }

    /// How many messages wait for a fuller batch.
    pub(super) fn gathered(&self) -> usize {
        self.gathered
            .as_ref()
            .map_or(0, |gathered| gathered.messages.len())
    }

    /// When what is gathered is handed out at the latest. A partition that is leaving waits for nothing.
    pub(super) fn hand_out_by(&self, now: Instant) -> Option<Instant> {
        let gathered = self.gathered.as_ref()?;
        Some(if self.is_leaving { now } else { gathered.until })
    }

    /// What is gathered, to be handed out.
    pub(super) fn take(&mut self) -> Option<Gathered> {
        self.gathered.take()
    }

    /// Messages up to `last` are being handed out.
    pub(super) fn hand_out(&mut self, last: u64) {
        self.handed = Some(last);
        self.out += 1;
        self.was_full |= self.out >= self.most;
    }

    /// The pipeline has settled a batch.
    pub(super) fn take_back(&mut self) {
        self.out = self.out.saturating_sub(1);
    }

    /// Everything up to `offset` is settled.
    pub(super) fn settle(&mut self, offset: u64, now: Instant) {
        if self.settled >= Some(offset) {
            return;
        }
        self.settled = Some(offset);
        self.next = offset.saturating_add(1);
        let unstored = self.unstored.get_or_insert(Unstored {
            since: now,
            batches: 0,
        });
        unstored.batches += 1;
    }

    /// Whether something was handed out and is not settled.
    pub(super) fn is_outstanding(&self) -> bool {
        self.handed > self.settled
    }

    /// What is settled and not stored.
    pub(super) fn unstored(&self) -> Option<u64> {
        self.unstored.as_ref().and(self.settled)
    }

    /// Since when something is settled and not stored.
    pub(super) fn unstored_since(&self) -> Option<Instant> {
        self.unstored.as_ref().map(|unstored| unstored.since)
    }

    /// When it is to be stored at the latest.
    pub(super) fn store_by(&self, interval: Duration) -> Option<Instant> {
        let Unstored { since, batches } = self.unstored.as_ref()?;
        let is_urgent = *batches >= MAX_UNSTORED || (self.is_leaving && !self.is_outstanding());
        Some(if is_urgent { *since } else { *since + interval })
    }

    pub(super) fn stored(&mut self, offset: u64) {
        self.stored = Some(offset);
        self.mark = None;
        if self.settled == Some(offset) {
            self.unstored = None;
        }
    }

    /// Whether everything that was handed out is settled and stored.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_outstanding() && self.unstored.is_none()
    }

    /// Whether nothing of it is on its way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_settled() && self.gathered.is_none()
    }

    /// Whether the broker once had an offset stored, as far as is known here.
    pub(super) fn has_stored(&self) -> bool {
        self.stored.is_some()
    }

    /// It was the log that was read, at that time.
    pub(super) fn confirm(&mut self, at: Instant) {
        self.confirmed = at;
        self.was_full = self.out >= self.most;
    }

    /// Whether the log may have been purged and have grown again since it was confirmed. Where polls and stores follow each other
    /// quickly it may not.
    pub(super) fn is_doubtful(&self, now: Instant) -> bool {
        let [full, empty, busy] = DOUBTED_AFTER;
        let after = match (self.was_full, self.was_empty) {
            (true, _) => full,
            (false, true) => empty,
            (false, false) => busy,
        };
        let is_known = self.has_stored() || self.mark.is_some();
        is_known && now - self.confirmed >= after
    }

    /// What the log can be known by while nothing is stored.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Reads the stored offset again before the next poll. What was read is settled and stored.
    pub(super) fn reread(&mut self) {
        self.cursor = None;
        self.handed = None;
    }

    /// The broker did not let it be polled. While it waits for another member's last store, the stored offset moves.
    pub(super) fn fence(&mut self, now: Instant) {
        match &mut self.gathered {
            // It may be lost, and its next owner waits for what was taken of it.
            Some(gathered) => gathered.until = now,
            None if self.handed.is_none() => self.reread(),
            None => {}
        }
        let (first, longest) = FENCED;
        self.fenced_until = now + first.saturating_mul(1 << self.fences.min(10)).min(longest);
        self.fences += 1;
        self.has_backlog = false;
    }

    /// When it may be polled.
    pub(super) fn ready_at(&self) -> Instant {
        self.rests_until.max(self.fenced_until)
    }
}

#[cfg(test)]
pub(super) mod tests;
