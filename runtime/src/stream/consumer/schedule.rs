//! Which partition is polled next, and when. Pure.
//!
//! While there is backlog somewhere it is polled at once, and empty partitions take only a small share of the time: a broker may
//! hold an empty poll for a while, which would otherwise be paid in every round. When every partition was empty in a row, each
//! rests for its poll interval.

use std::time::Duration;

use tokio::time::Instant;

use super::partition::Partition;

/// Of the time beside a backlog, empty polls take at most one part in this many.
const EMPTY_SHARE: u32 = 10;

/// The next partition in turn that may be polled now.
pub(super) fn next(partitions: &[Partition], turn: usize, now: Instant) -> Option<usize> {
    let count = partitions.len();
    (0..count)
        .map(|step| (turn + step) % count)
        .find(|at| partitions[*at].is_polled() && partitions[*at].ready_at() <= now)
}

/// The partition whose gathered messages have waited longest and are due.
pub(super) fn next_due(partitions: &[Partition], now: Instant) -> Option<usize> {
    let due = partitions.iter().enumerate().filter_map(|(at, partition)| {
        let by = partition.hand_out_by(now)?;
        (by <= now).then_some((by, at))
    });
    due.min().map(|(_, at)| at)
}

/// When a partition may be polled or what it has gathered is due, if there is one.
pub(super) fn next_ready(partitions: &[Partition], now: Instant) -> Option<Instant> {
    let polled = partitions.iter().filter(|partition| partition.is_polled());
    let gathered = partitions
        .iter()
        .filter_map(|partition| partition.hand_out_by(now));
    polled.map(Partition::ready_at).chain(gathered).min()
}

/// A poll of partition `at` returned nothing after `took`.
pub(super) fn rest(
    partitions: &mut [Partition],
    at: usize,
    took: Duration,
    now: Instant,
    interval: impl Fn(&Partition) -> Duration,
) {
    partitions[at].was_empty = true;
    partitions[at].has_backlog = false;
    partitions[at].rests_until = now;
    if has_backlog(partitions) {
        let empty = partitions
            .iter()
            .filter(|partition| partition.was_empty)
            .count();
        let share = u32::try_from(empty)
            .unwrap_or(u32::MAX)
            .saturating_mul(EMPTY_SHARE - 1);
        partitions[at].rests_until = now + took.saturating_mul(share);
        return;
    }
    if partitions
        .iter()
        .all(|partition| partition.was_empty || !partition.is_polled())
    {
        partitions[at].rests_until = now + interval(&partitions[at]);
    }
    wake(partitions, now, interval);
}

/// Without a backlog nothing rests longer than its poll interval.
pub(super) fn wake(
    partitions: &mut [Partition],
    now: Instant,
    interval: impl Fn(&Partition) -> Duration,
) {
    if has_backlog(partitions) {
        return;
    }
    for partition in partitions {
        partition.rests_until = partition.rests_until.min(now + interval(partition));
    }
}

fn has_backlog(partitions: &[Partition]) -> bool {
    partitions
        .iter()
        .any(|partition| partition.has_backlog && partition.is_polled())
}

#[cfg(test)]
mod tests {
    use super::{super::partition::tests::message, *};

    const INTERVAL: Duration = Duration::from_millis(5);

    fn partitions(count: u32, now: Instant) -> Vec<Partition> {
        (0..count)
            .map(|id| Partition::new(0, id, id.into(), now))
            .collect()
    }

    /// A poll returned the message at `offset`, which is handed out.
    fn found(partition: &mut Partition, offset: u64, head: u64) {
        partition.gather(vec![message(offset)], head, Instant::now());
        partition.take();
    }

    /// Polls for a while, each poll taking 1 ms; `backlog` and `live` say which partitions have messages. Returns who was polled.
    fn polled(
        partitions: &mut [Partition],
        backlog: &[usize],
        live: &[usize],
        steps: u64,
        start: Instant,
    ) -> Vec<usize> {
        let mut order = Vec::new();
        let mut turn = 0;
        for step in 0..steps {
            let now = start + Duration::from_millis(step);
            let Some(at) = next(partitions, turn, now) else {
                continue;
            };
            turn = at + 1;
            order.push(at);
            let after = now + Duration::from_millis(1);
            if backlog.contains(&at) {
                found(&mut partitions[at], step, u64::MAX);
            } else if live.contains(&at) {
                found(&mut partitions[at], step, step);
                wake(partitions, after, |_| INTERVAL);
            } else {
                rest(partitions, at, Duration::from_millis(1), after, |_| {
                    INTERVAL
                });
            }
        }
        order
    }

    #[test]
    fn partitions_with_backlog_take_turns_without_a_pause() {
        let start = Instant::now();
        let order = polled(&mut partitions(3, start), &[0, 1, 2], &[], 7, start);
        assert_eq!(order, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn empty_partitions_rest_only_when_all_were_empty_in_a_row() {
        let start = Instant::now();
        let mut partitions = partitions(3, start);
        let order = polled(&mut partitions, &[], &[], 3, start);
        assert_eq!(order, [0, 1, 2]);
        let now = start + Duration::from_millis(3);
        // The first two were ready again at once, until the third turned out to be empty too.
        assert_eq!(next(&partitions, 0, now), Some(0));
        rest(&mut partitions, 0, INTERVAL, now, |_| INTERVAL);
        rest(&mut partitions, 1, INTERVAL, now, |_| INTERVAL);
        assert_eq!(next(&partitions, 0, now), None);
        assert_eq!(next_ready(&partitions, now), Some(now + INTERVAL));
    }

    #[test]
    fn a_partition_with_new_messages_now_and_then_delays_nobody() {
        let start = Instant::now();
        let order = polled(&mut partitions(2, start), &[], &[0], 20, start);
        assert_eq!(order.len(), 20);
        assert!(
            order.iter().filter(|at| **at == 1).count() >= 9,
            "{order:?}"
        );
    }

    #[test]
    fn beside_a_backlog_empty_partitions_take_a_small_share() {
        let start = Instant::now();
        for count in [2, 5, 20] {
            let order = polled(&mut partitions(count, start), &[0], &[], 2_000, start);
            let busy = order.iter().filter(|at| **at == 0).count();
            assert!(busy >= 1_700, "{count}: {busy}");
            for at in 0..count as usize {
                assert!(order.contains(&at), "{at} of {count} starves");
            }
        }
    }

    #[test]
    fn the_end_of_a_backlog_wakes_those_that_rested_beside_it() {
        let start = Instant::now();
        let mut partitions = partitions(2, start);
        found(&mut partitions[0], 1, 100);
        rest(&mut partitions, 1, Duration::from_secs(1), start, |_| {
            INTERVAL
        });
        assert_eq!(partitions[1].ready_at(), start + Duration::from_secs(9));
        found(&mut partitions[0], 100, 100);
        wake(&mut partitions, start, |_| INTERVAL);
        assert_eq!(partitions[1].ready_at(), start + INTERVAL);
    }

    #[test]
    fn lost_partitions_are_not_polled_and_delay_nobody() {
        let start = Instant::now();
        let mut partitions = partitions(2, start);
        partitions[0].is_leaving = true;
        partitions[0].has_backlog = true;
        rest(&mut partitions, 1, INTERVAL, start, |_| INTERVAL);
        assert_eq!(next(&partitions, 0, start), None);
        assert_eq!(next(&partitions, 0, start + INTERVAL), Some(1));
        assert_eq!(next(&[], 3, start), None);
    }

    #[test]
    fn a_partition_of_which_the_pipeline_has_enough_is_not_polled_and_delays_nobody() {
        let start = Instant::now();
        let mut partitions: Vec<_> = partitions(2, start)
            .into_iter()
            .map(|partition| partition.at_most(2))
            .collect();
        for offset in 0..2 {
            assert_eq!(next(&partitions, 0, start), Some(0));
            found(&mut partitions[0], offset, u64::MAX);
            partitions[0].hand_out(offset);
        }
        assert_eq!(next(&partitions, 0, start), Some(1));
        // Beside a backlog that is read it would rest for longer.
        rest(&mut partitions, 1, INTERVAL, start, |_| INTERVAL);
        assert_eq!(next_ready(&partitions, start), Some(start + INTERVAL));
        partitions[0].take_back();
        assert_eq!(next(&partitions, 1, start), Some(0));
    }

    #[test]
    fn gathered_messages_are_due_in_the_order_in_which_they_began_to_wait() {
        let start = Instant::now();
        let mut partitions = partitions(3, start);
        for (at, wait) in [(0, 3), (2, 1)] {
            partitions[at].rests_until = start + INTERVAL * 10;
            partitions[at].gather(vec![message(0)], 0, start + INTERVAL * wait);
        }
        partitions[1].rests_until = start + INTERVAL * 10;
        assert_eq!(next_due(&partitions, start), None);
        assert_eq!(next_ready(&partitions, start), Some(start + INTERVAL));
        assert_eq!(next_due(&partitions, start + INTERVAL * 4), Some(2));
        partitions[2].take();
        assert_eq!(next_due(&partitions, start + INTERVAL * 4), Some(0));
    }
}
