//! The life of a partition, event by event.

use super::*;

const INTERVAL: Duration = Duration::from_millis(10);

fn partition(now: Instant) -> Partition {
    Partition::new(0, 3, 1, now)
}

fn messages(offsets: std::ops::RangeInclusive<u64>) -> Vec<Message> {
    offsets.map(message).collect()
}

/// A message of which only the offset counts.
pub(in crate::stream::consumer) fn message(offset: u64) -> Message {
    Message {
        id: 0,
        offset,
        checksum: 0,
        timestamp: 0,
        origin_timestamp: 0,
        headers: bytes::Bytes::new(),
        payload: bytes::Bytes::new(),
    }
}

#[test]
fn reading_begins_behind_the_stored_offset_or_at_the_first() {
    let mut partition = partition(Instant::now());
    assert_eq!(partition.cursor, None);
    partition.begin(Some(41));
    assert_eq!(partition.cursor, Some(42));
    partition.begin(None);
    assert_eq!(partition.cursor, Some(0));
    partition.begin(Some(u64::MAX));
    assert_eq!(partition.cursor, Some(u64::MAX));
}

#[test]
fn stores_coalesce_for_an_interval() {
    let start = Instant::now();
    let mut partition = partition(start);
    partition.hand_out(9);
    assert_eq!(partition.store_by(INTERVAL), None);
    partition.settle(4, start);
    partition.settle(9, start + Duration::from_millis(5));
    assert_eq!(partition.unstored(), Some(9));
    assert_eq!(partition.store_by(INTERVAL), Some(start + INTERVAL));
    partition.stored(9);
    assert_eq!(
        (partition.unstored(), partition.store_by(INTERVAL)),
        (None, None)
    );
}

#[test]
fn sixteen_settled_batches_are_stored_without_waiting() {
    let start = Instant::now();
    let mut partition = partition(start);
    partition.hand_out(100);
    for offset in 0..16 {
        assert_ne!(partition.store_by(INTERVAL), Some(start));
        partition.settle(offset, start);
    }
    assert_eq!(partition.store_by(INTERVAL), Some(start));
}

#[test]
fn a_position_behind_a_newer_one_changes_nothing() {
    let start = Instant::now();
    let mut partition = partition(start);
    partition.hand_out(9);
    partition.settle(9, start);
    partition.stored(9);
    partition.settle(9, start);
    partition.settle(3, start);
    assert_eq!(partition.unstored(), None);
}

#[test]
fn what_is_settled_during_a_store_is_still_to_be_stored() {
    let start = Instant::now();
    let mut partition = partition(start);
    partition.hand_out(9);
    partition.settle(4, start);
    partition.settle(9, start);
    partition.stored(4);
    assert_eq!(partition.unstored(), Some(9));
}

#[test]
fn a_lost_partition_is_stored_at_once_when_everything_is_settled() {
    let start = Instant::now();
    let mut partition = partition(start);
    partition.hand_out(9);
    partition.is_leaving = true;
    partition.settle(4, start);
    assert_eq!(partition.store_by(INTERVAL), Some(start + INTERVAL));
    partition.settle(9, start);
    assert_eq!(partition.store_by(INTERVAL), Some(start));
    assert!(!partition.is_at_rest());
    partition.stored(9);
    assert!(partition.is_at_rest());
}

#[test]
fn outstanding_is_what_was_handed_out_and_not_settled() {
    let start = Instant::now();
    let mut partition = partition(start);
    assert!(!partition.is_outstanding());
    partition.hand_out(9);
    assert!(partition.is_outstanding());
    partition.settle(9, start);
    assert!(!partition.is_outstanding());
}

#[test]
fn fences_in_a_row_wait_longer_and_reread_what_was_not_begun() {
    let start = Instant::now();
    let mut partition = partition(start);
    partition.begin(None);
    let mut waits = Vec::new();
    for _ in 0..8 {
        partition.fence(start);
        waits.push((partition.ready_at() - start).as_millis());
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 200, 200]);
    assert_eq!(partition.cursor, None);
    partition.begin(None);
    partition.gather(messages(0..=9), 9, start);
    partition.take();
    partition.hand_out(9);
    partition.fence(start);
    assert_eq!((partition.ready_at() - start).as_millis(), 5);
    assert_eq!(partition.cursor, Some(10));
}

#[test]
fn what_is_gathered_is_handed_out_when_the_first_of_it_has_waited() {
    let start = Instant::now();
    let mut partition = partition(start);
    partition.begin(None);
    partition.gather(messages(0..=3), 3, start + INTERVAL);
    partition.gather(messages(4..=4), 8, start + INTERVAL * 2);
    assert_eq!((partition.cursor, partition.gathered()), (Some(5), 5));
    assert!(partition.has_backlog && !partition.is_at_rest() && !partition.is_outstanding());
    assert_eq!(partition.hand_out_by(start), Some(start + INTERVAL));
    let taken = partition.take().unwrap();
    assert_eq!((taken.messages.len(), taken.head), (5, 8));
    assert_eq!(partition.hand_out_by(start), None);
}

#[test]
fn a_partition_that_may_be_lost_gathers_no_longer_and_keeps_its_cursor() {
    let start = Instant::now();
    let mut fenced = partition(start);
    fenced.begin(None);
    fenced.gather(messages(0..=3), 3, start + INTERVAL);
    fenced.fence(start);
    assert_eq!(
        (fenced.hand_out_by(start), fenced.cursor),
        (Some(start), Some(4))
    );
    let mut leaving = partition(start);
    leaving.begin(None);
    leaving.gather(messages(0..=3), 3, start + INTERVAL);
    leaving.is_leaving = true;
    assert_eq!(leaving.hand_out_by(start), Some(start));
}

#[test]
fn it_lags_by_what_is_not_settled_of_what_is_known() {
    let start = Instant::now();
    let mut partition = partition(start);
    partition.begin(None);
    assert_eq!(partition.lag(), None);
    // What is gone is not waited for.
    partition.gather(messages(5..=6), 9, start);
    assert_eq!(partition.lag(), Some(5));
    partition.take();
    partition.hand_out(6);
    partition.settle(6, start);
    assert_eq!(partition.lag(), Some(3));
    partition.ends_with(19);
    assert_eq!(partition.lag(), Some(13));
    assert!(partition.take_fresh());
    partition.ends_with(19);
    assert!(!partition.take_fresh(), "no poll has told it");
    partition.gather(messages(7..=19), 19, start);
    partition.settle(19, start);
    partition.ends_here();
    assert_eq!(partition.lag(), Some(0));
    assert!(partition.take_fresh());
    partition.begin(Some(9));
    assert_eq!(partition.lag(), Some(10));
}

#[test]
fn what_is_stored_follows_a_log_that_was_made_anew() {
    let start = Instant::now();
    let mut partition = partition(start);
    partition.begin(None);
    partition.hand_out(9);
    partition.settle(9, start);
    partition.stored(9);
    partition.reread();
    partition.begin(None);
    assert!(!partition.is_outstanding());
    partition.hand_out(4);
    assert!(partition.is_outstanding());
    partition.settle(4, start);
    assert_eq!(partition.unstored(), Some(4));
}

#[test]
fn what_is_stored_is_doubted_after_a_while_and_where_the_pipeline_had_enough() {
    let start = Instant::now();
    let mut partition = partition(start).at_most(1);
    partition.begin(None);
    let [full, empty, busy] = DOUBTED_AFTER;
    assert!(!partition.is_doubtful(start + busy), "nothing was read");
    partition.gather(messages(0..=3), 3, start);
    assert_eq!(partition.mark().unwrap().offset, 3);
    assert!(partition.is_doubtful(start + busy));
    partition.stored(3);
    assert_eq!(partition.mark(), None);
    assert!(partition.is_doubtful(start + busy));
    partition.begin(Some(3));
    assert!(!partition.is_doubtful(start + empty));
    assert!(partition.is_doubtful(start + busy));
    partition.was_empty = true;
    assert!(!partition.is_doubtful(start + full));
    assert!(partition.is_doubtful(start + empty));
    partition.hand_out(9);
    partition.confirm(start);
    assert!(!partition.is_doubtful(start));
    assert!(partition.is_doubtful(start + full));
    partition.take_back();
    assert!(partition.is_doubtful(start + full));
    partition.confirm(start);
    assert!(!partition.is_doubtful(start + full));
}

#[test]
fn a_gap_is_counted_as_expired_where_reading_went_on() {
    let start = Instant::now();
    let mut fresh = partition(start);
    fresh.begin(None);
    fresh.gather(messages(5..=6), 20, start);
    assert_eq!(fresh.take().unwrap().expired, 0);
    let mut known = partition(start);
    known.begin(Some(4));
    known.gather(messages(7..=8), 20, start);
    known.gather(messages(10..=11), 20, start);
    assert_eq!(known.take().unwrap().expired, 3);
}
