//! The rules of a group, one by one and under random histories.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

struct Fixture {
    group: Group,
    now: Instant,
}

impl Fixture {
    fn new(partitions: u32) -> Self {
        Self {
            group: Group::new(partitions),
            now: Instant::now(),
        }
    }

    fn join(&mut self, member: MemberId) {
        self.group.join(member, self.now, PATIENCE);
    }

    fn leave(&mut self, member: MemberId) -> bool {
        self.group.leave(member, self.now, PATIENCE)
    }

    fn sync(&mut self, member: MemberId) -> Option<Vec<u32>> {
        Some(self.group.sync(member, self.now)?.partitions)
    }

    /// A poll that finds messages up to `last`.
    fn poll(&mut self, member: MemberId, partition: u32, last: u64) -> Fence {
        match self.group.fence(member, partition, self.now) {
            Fence::Pass => self.group.polled(member, partition, last),
            Fence::Resync => Fence::Resync,
        }
    }

    fn store(&mut self, member: MemberId, partition: u32, offset: u64) -> bool {
        if !self.group.may_store(member, partition, self.now) {
            return false;
        }
        self.group.stored(member, partition, offset);
        true
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
    }
}

#[test]
fn the_first_member_gets_everything() {
    let mut group = Fixture::new(3);
    group.join(1);
    assert_eq!(group.sync(1), Some(vec![0, 1, 2]));
    assert_eq!(group.sync(2), None);
}

#[test]
fn joining_again_changes_nothing() {
    let mut group = Fixture::new(3);
    group.join(1);
    let before = group.group.sync(1, group.now);
    group.join(1);
    assert_eq!(group.group.sync(1, group.now), before);
}

#[test]
fn partitions_nobody_has_read_move_at_once() {
    let mut group = Fixture::new(4);
    group.join(1);
    group.join(2);
    assert_eq!(group.sync(1), Some(vec![0, 1]));
    assert_eq!(group.sync(2), Some(vec![2, 3]));
}

#[test]
fn a_moved_partition_waits_for_its_old_owner_to_store() {
    let mut group = Fixture::new(2);
    group.join(1);
    group.sync(1);
    assert_eq!(group.poll(1, 0, 9), Fence::Pass);
    assert_eq!(group.poll(1, 1, 9), Fence::Pass);
    group.join(2);
    assert_eq!(group.sync(1), Some(vec![0]));
    assert_eq!(group.poll(1, 1, 19), Fence::Resync, "fenced at once");
    assert_eq!(group.sync(2), Some(vec![]), "not given yet");
    assert!(group.store(1, 1, 5), "accepted, but not all of it");
    assert_eq!(group.sync(2), Some(vec![]));
    assert!(group.store(1, 1, 9));
    assert_eq!(group.sync(2), Some(vec![1]));
    assert!(!group.store(1, 1, 9), "refused afterwards");
    assert_eq!(group.poll(2, 1, 12), Fence::Pass);
}

#[test]
fn an_old_owner_that_never_stores_loses_the_partition_in_time() {
    let mut group = Fixture::new(1);
    group.join(1);
    group.sync(1);
    group.poll(1, 0, 9);
    group.join(2);
    group.leave(1);
    assert_eq!(group.sync(2), Some(vec![0]), "leaving gives everything up");

    let mut group = Fixture::new(2);
    group.join(1);
    group.sync(1);
    group.poll(1, 0, 9);
    group.poll(1, 1, 9);
    group.join(2);
    group.advance(PATIENCE - Duration::from_millis(1));
    assert_eq!(group.sync(2), Some(vec![]));
    assert!(group.group.may_store(1, 1, group.now));
    group.advance(Duration::from_millis(1));
    assert!(!group.store(1, 1, 9), "too late");
    assert_eq!(group.sync(2), Some(vec![1]));
}

#[test]
fn a_change_is_told_once_and_only_to_those_it_concerns() {
    let mut group = Fixture::new(3);
    group.join(1);
    assert_eq!(group.poll(1, 0, 1), Fence::Resync, "has not asked yet");
    assert_eq!(group.poll(1, 0, 1), Fence::Pass, "told once");
    group.join(2);
    group.join(3);
    for member in 1..=3 {
        group.sync(member);
    }
    group.leave(3);
    let mut poll_own = |member: &MemberId| {
        let own = group.group.partitions(*member)[0];
        group.poll(*member, own, 1) == Fence::Resync
    };
    let told = (1..=2).filter(|member| poll_own(member)).count();
    assert_eq!(told, 1, "one of two got the partition that became free");
}

#[test]
fn a_member_that_leaves_during_a_handover_gets_nothing() {
    let mut group = Fixture::new(2);
    group.join(1);
    group.sync(1);
    group.poll(1, 0, 9);
    group.poll(1, 1, 9);
    group.join(2);
    assert!(group.leave(2));
    assert!(!group.leave(2));
    assert_eq!(group.sync(1), Some(vec![0, 1]));
    assert_eq!(group.poll(1, 1, 19), Fence::Pass);
}

#[test]
fn anybody_may_store_where_nobody_owns() {
    let mut group = Fixture::new(1);
    assert!(group.store(7, 0, 3));
    group.join(1);
    assert!(!group.store(7, 0, 3));
}

#[test]
fn a_purge_forgets_what_was_polled() {
    let mut group = Fixture::new(2);
    group.join(1);
    group.sync(1);
    group.poll(1, 1, 9);
    group.join(2);
    assert_eq!(group.sync(2), Some(vec![]));
    group.group.purge();
    assert_eq!(group.sync(2), Some(vec![1]));
}

#[derive(Debug, Clone)]
enum Step {
    Join(MemberId),
    Leave(MemberId),
    Sync(MemberId),
    Poll(MemberId, u32),
    Store(MemberId, u32),
    Resize(u32),
    Advance(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = 1..6u32;
    let partition = 0..8u32;
    let step = prop_oneof![
        2 => member.clone().prop_map(Step::Join),
        1 => member.clone().prop_map(Step::Leave),
        2 => member.clone().prop_map(Step::Sync),
        6 => (member.clone(), partition.clone()).prop_map(|(member, partition)| Step::Poll(member, partition)),
        4 => (member, partition).prop_map(|(member, partition)| Step::Store(member, partition)),
        1 => (0..8u32).prop_map(Step::Resize),
        1 => (0..40u64).prop_map(Step::Advance),
    ];
    prop::collection::vec(step, 1..120)
}

impl Fixture {
    fn step(&mut self, step: &Step, next: &mut u64) {
        match *step {
            Step::Join(member) => self.join(member),
            Step::Leave(member) => drop(self.leave(member)),
            Step::Sync(member) => drop(self.sync(member)),
            Step::Resize(partitions) => self.group.resize(partitions, self.now, PATIENCE),
            Step::Advance(seconds) => self.advance(Duration::from_secs(seconds)),
            Step::Poll(member, partition) => {
                *next += 1;
                self.poll(member, partition, *next);
            }
            Step::Store(member, partition) => {
                let polled = self
                    .group
                    .slots
                    .get(partition as usize)
                    .and_then(|slot| slot.polled);
                self.store(member, partition, polled.unwrap_or(0));
            }
        }
    }

    fn active(&self) -> Vec<Vec<u32>> {
        self.group
            .members()
            .map(|member| self.group.partitions(member))
            .collect()
    }

    /// What has to hold after every step.
    fn check(&self) {
        let mut seen = vec![false; self.group.slots.len()];
        for partition in self.active().into_iter().flatten() {
            assert!(
                !std::mem::replace(&mut seen[partition as usize], true),
                "{partition} has two owners"
            );
        }
        for slot in &self.group.slots {
            let known = |member: MemberId| self.group.is_member(member);
            assert!(slot.owner.is_none_or(known), "owned by somebody who left");
            assert!(
                slot.handover.is_none_or(|handover| known(handover.to)),
                "promised to somebody who left"
            );
            assert!(
                slot.owner.is_some() || self.group.members.is_empty(),
                "lies idle"
            );
            assert!(
                slot.handover.is_none() || !slot.is_stored(),
                "handover waits for nothing"
            );
        }
    }
}

proptest! {
    #[test]
    fn every_partition_has_one_owner_whatever_happens(partitions in 0..8u32, steps in steps()) {
        let mut group = Fixture::new(partitions);
        let mut next = 0;
        for step in &steps {
            group.step(step, &mut next);
            group.check();
        }
        // Once all handovers are over, the shares differ by one at most.
        group.advance(PATIENCE);
        let members: Vec<_> = group.group.members().collect();
        for member in members {
            group.sync(member);
        }
        let shares: Vec<_> = group.active().iter().map(Vec::len).collect();
        let (least, most) = (shares.iter().min(), shares.iter().max());
        prop_assert!(most.zip(least).is_none_or(|(most, least)| most - least <= 1), "{shares:?}");
        prop_assert_eq!(shares.iter().sum::<usize>(), if shares.is_empty() { 0 } else { group.group.slots.len() });
    }

    #[test]
    fn a_store_by_a_former_owner_never_passes(partitions in 1..8u32, steps in steps()) {
        let mut group = Fixture::new(partitions);
        let mut next = 0;
        for step in &steps {
            group.step(step, &mut next);
            for partition in 0..group.group.slots.len() as u32 {
                let now = group.now;
                let owner = { group.group.expire(now); group.group.slots[partition as usize].owner };
                for member in 1..6 {
                    let may = group.group.may_store(member, partition, now);
                    prop_assert_eq!(may, owner.is_none_or(|owner| owner == member));
                }
            }
        }
    }
}
