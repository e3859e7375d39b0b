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
        .find(|at| !partitions[*at].is_leaving && partitions[*at].ready_at() <= now)
}

/// When a partition may be polled, if there is one.
pub(super) fn next_ready(partitions: &[Partition]) -> Option<Instant> {
    let polled = partitions.iter().filter(|partition| !partition.is_leaving);
    polled.map(Partition::ready_at).min()
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
        .all(|partition| partition.was_empty || partition.is_leaving)
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
        .any(|partition| partition.has_backlog && !partition.is_leaving)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(5);

    fn partitions(count: u32, now: Instant) -> Vec<Partition> {
        (0..count)
            .map(|id| Partition::new(0, id, id.into(), now))
            .collect()
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
                partitions[at].hand_out(step, u64::MAX);
            } else if live.contains(&at) {
                partitions[at].hand_out(step, step);
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
        assert_eq!(next_ready(&partitions), Some(now + INTERVAL));
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
        partitions[0].hand_out(1, 100);
        rest(&mut partitions, 1, Duration::from_secs(1), start, |_| {
            INTERVAL
        });
        assert_eq!(partitions[1].ready_at(), start + Duration::from_secs(9));
        partitions[0].hand_out(100, 100);
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
}
