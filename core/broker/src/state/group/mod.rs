//! A consumer group: who its members are and which partition belongs to whom. Pure: the time is an argument,
//! offsets are stored elsewhere.
//!
//! Partitions move as little as possible. One that moves to a joining member is fenced for its old owner at
//! once, and the new one gets it when the old one has stored what it polled, when it leaves, or when the
//! time for that is up. Until then the old owner may still store, never afterwards.

mod balance;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A member is a connection.
pub(crate) type MemberId = u32;

#[derive(Debug, Clone)]
pub(crate) struct Group {
    generation: u64,
    members: BTreeMap<MemberId, Member>,
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Member {
    /// Its partitions changed since it last asked for them; its next poll tells it to ask.
    stale: bool,
}

/// One partition of the topic, as this group sees it.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    owner: Option<MemberId>,
    handover: Option<Handover>,
    /// The last offset the owner was given.
    polled: Option<u64>,
    /// The last offset the owner stored.
    stored: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Handover {
    to: MemberId,
    until: Instant,
}

/// What a member is told about a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    Pass,
    /// Ask for the assignment first: the partition is another member's, or something else changed.
    Resync,
}

/// A member's partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) generation: u64,
    pub(crate) partitions: Vec<u32>,
}

impl Group {
    pub(crate) fn new(partitions: u32) -> Self {
        Self {
            generation: 0,
            members: BTreeMap::new(),
            slots: vec![Slot::default(); partitions as usize],
        }
    }

    /// Adds a member; joining again changes nothing.
    pub(crate) fn join(&mut self, member: MemberId, now: Instant, patience: Duration) {
        if self.members.contains_key(&member) {
            return;
        }
        self.change(|group| {
            group.members.insert(member, Member::default());
            group.rebalance(now, patience);
        });
    }

    /// Removes a member and says whether it was one. What it held goes to the others at once.
    pub(crate) fn leave(&mut self, member: MemberId, now: Instant, patience: Duration) -> bool {
        if !self.members.contains_key(&member) {
            return false;
        }
        self.change(|group| {
            group.members.remove(&member);
            group.rebalance(now, patience);
        });
        true
    }

    /// Follows a change of the number of partitions.
    pub(crate) fn resize(&mut self, partitions: u32, now: Instant, patience: Duration) {
        self.change(|group| {
            group.slots.resize(partitions as usize, Slot::default());
            group.rebalance(now, patience);
        });
    }

    /// Forgets positions after a purge, which starts offsets anew.
    pub(crate) fn purge(&mut self) {
        for slot in &mut self.slots {
            slot.polled = None;
            slot.stored = None;
        }
        self.change(Self::settle_stored);
    }

    /// What belongs to `member`, or `None` if it is not one.
    pub(crate) fn sync(&mut self, member: MemberId, now: Instant) -> Option<Assignment> {
        self.expire(now);
        self.members.get_mut(&member)?.stale = false;
        Some(Assignment {
            generation: self.generation,
            partitions: self.partitions(member),
        })
    }

    /// Whether `member` may be given messages of `partition`.
    pub(crate) fn fence(&mut self, member: MemberId, partition: u32, now: Instant) -> Fence {
        self.expire(now);
        let Some(known) = self.members.get_mut(&member) else {
            return Fence::Resync;
        };
        // Once only: a client that names its partitions itself never asks for them.
        if std::mem::take(&mut known.stale) || !self.owns(member, partition) {
            return Fence::Resync;
        }
        Fence::Pass
    }

    /// Takes note of what `member` is about to be given, unless the partition moved while it was read.
    pub(crate) fn polled(&mut self, member: MemberId, partition: u32, last: u64) -> Fence {
        if !self.owns(member, partition) {
            return Fence::Resync;
        }
        if let Some(slot) = self.slots.get_mut(partition as usize) {
            slot.polled = Some(last);
        }
        Fence::Pass
    }

    /// Whether `member` may store an offset of `partition`. A partition that belongs to nobody is open to
    /// everybody, so that the offsets of an idle group can be set from outside.
    pub(crate) fn may_store(&mut self, member: MemberId, partition: u32, now: Instant) -> bool {
        self.expire(now);
        let slot = self.slots.get(partition as usize);
        slot.is_none_or(|slot| slot.owner.is_none_or(|owner| owner == member))
    }

    /// Takes note of a stored offset, which may complete a handover.
    pub(crate) fn stored(&mut self, member: MemberId, partition: u32, offset: u64) {
        let slot = self.slots.get_mut(partition as usize);
        let Some(slot) = slot.filter(|slot| slot.owner == Some(member)) else {
            return;
        };
        slot.stored = Some(offset);
        if slot.handover.is_some() {
            self.change(Self::settle_stored);
        }
    }

    /// The partitions `member` may poll, and the offset behind what it was last given of each.
    pub(crate) fn positions(&self, member: MemberId) -> impl Iterator<Item = (u32, Option<u64>)> {
        let owned = move |(_, slot): &(u32, &Slot)| slot.is_active_of(member);
        let position =
            |(partition, slot): (u32, &Slot)| (partition, slot.polled.map(|polled| polled + 1));
        (0..).zip(&self.slots).filter(owned).map(position)
    }

    /// The partitions `member` may poll.
    pub(crate) fn partitions(&self, member: MemberId) -> Vec<u32> {
        self.positions(member)
            .map(|(partition, _)| partition)
            .collect()
    }

    pub(crate) fn is_member(&self, member: MemberId) -> bool {
        self.members.contains_key(&member)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = MemberId> {
        self.members.keys().copied()
    }

    pub(crate) fn members_count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    fn owns(&self, member: MemberId, partition: u32) -> bool {
        let slot = self.slots.get(partition as usize);
        slot.is_some_and(|slot| slot.is_active_of(member))
    }

    /// Does something that may move partitions, and marks the members that have to be told.
    fn change(&mut self, act: impl FnOnce(&mut Self)) {
        let before: Vec<_> = self.slots.iter().map(Slot::active).collect();
        act(self);
        let after: Vec<_> = self.slots.iter().map(Slot::active).collect();
        if before == after {
            return;
        }
        self.generation += 1;
        let places = before.len().max(after.len());
        for place in 0..places {
            let (old, new) = (
                before.get(place).copied().flatten(),
                after.get(place).copied().flatten(),
            );
            if old != new {
                self.mark(old);
                self.mark(new);
            }
        }
    }

    fn mark(&mut self, member: Option<MemberId>) {
        if let Some(member) = member.and_then(|member| self.members.get_mut(&member)) {
            member.stale = true;
        }
    }

    fn expire(&mut self, now: Instant) {
        let due = |slot: &Slot| slot.handover.is_some_and(|handover| handover.until <= now);
        if self.slots.iter().any(due) {
            self.change(|group| group.settle(due));
        }
    }

    fn settle_stored(&mut self) {
        self.settle(Slot::is_stored);
    }

    /// Completes the handovers that `done` says are over.
    fn settle(&mut self, done: impl Fn(&Slot) -> bool) {
        for slot in &mut self.slots {
            if let Some(handover) = slot.handover.filter(|_| done(slot)) {
                *slot = Slot::owned_by(handover.to);
            }
        }
    }
}

impl Slot {
    fn owned_by(member: MemberId) -> Self {
        Self {
            owner: Some(member),
            ..Self::default()
        }
    }

    /// The member that may poll: the owner, unless it has to give the partition away.
    fn active(&self) -> Option<MemberId> {
        self.owner.filter(|_| self.handover.is_none())
    }

    fn is_active_of(&self, member: MemberId) -> bool {
        self.active() == Some(member)
    }

    /// Whether the owner has stored all it was given.
    fn is_stored(&self) -> bool {
        self.polled
            .is_none_or(|polled| self.stored.is_some_and(|stored| stored >= polled))
    }
}

#[cfg(test)]
mod tests;
