//! Who gets which partition: shares that differ by one at most, with as few moves as possible.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Group, Handover, MemberId, Slot};

impl Group {
    /// Gives free partitions away and begins the handovers that even out the rest.
    pub(super) fn rebalance(&mut self, now: Instant, patience: Duration) {
        let orphaned = |slot: &Slot| {
            slot.owner
                .is_some_and(|owner| !self.members.contains_key(&owner))
        };
        let slots = self.slots.iter().map(|slot| {
            if orphaned(slot) {
                Slot::default()
            } else {
                *slot
            }
        });
        self.slots = slots.collect();
        let mut room = self.room();
        // A handover under way goes on, with the time it has left, if its target still has room.
        let begun: Vec<_> = self
            .slots
            .iter_mut()
            .map(|slot| slot.handover.take())
            .collect();
        for slot in &mut self.slots {
            if slot.owner.is_none()
                && let Some(member) = take_room(&mut room)
            {
                *slot = Slot::owned_by(member);
            }
        }
        let mut surplus = self.surplus(&begun);
        surplus.retain(|&place| !self.resume(place, begun[place], &mut room));
        for place in surplus {
            if let Some(to) = take_room(&mut room) {
                let until = now + patience;
                self.slots[place].handover = Some(Handover { to, until });
            }
        }
        self.settle_stored();
    }

    /// How many partitions each member may still get until all have their share. The larger shares go to
    /// those who hold most already, so that nothing moves without need.
    fn room(&self) -> BTreeMap<MemberId, usize> {
        let held = |member: MemberId| {
            self.slots
                .iter()
                .filter(|slot| slot.owner == Some(member))
                .count()
        };
        let mut held: Vec<_> = self
            .members()
            .map(|member| (member, held(member)))
            .collect();
        held.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let members = held.len().max(1);
        let (share, larger) = (self.slots.len() / members, self.slots.len() % members);
        let room = |(rank, (member, held)): (usize, (MemberId, usize))| {
            let share = share + usize::from(rank < larger);
            (member, share.saturating_sub(held))
        };
        held.into_iter().enumerate().map(room).collect()
    }

    /// The places of partitions whose owners hold more than their share; those already on the move first.
    fn surplus(&self, begun: &[Option<Handover>]) -> Vec<usize> {
        let members = self.members.len().max(1);
        let (share, mut larger) = (self.slots.len() / members, self.slots.len() % members);
        let mut by_owner: BTreeMap<MemberId, Vec<usize>> = BTreeMap::new();
        for (place, slot) in self.slots.iter().enumerate() {
            if let Some(owner) = slot.owner {
                by_owner.entry(owner).or_default().push(place);
            }
        }
        let mut owners: Vec<_> = by_owner.into_values().collect();
        owners.sort_by_key(|places| std::cmp::Reverse(places.len()));
        let mut surplus = Vec::new();
        for mut places in owners {
            let keeps = share + usize::from(larger > 0);
            larger = larger.saturating_sub(1);
            places.sort_by_key(|&place| (begun[place].is_some(), place));
            surplus.extend(places.drain(keeps.min(places.len())..));
        }
        surplus.sort_by_key(|&place| (begun[place].is_none(), place));
        surplus
    }

    fn resume(
        &mut self,
        place: usize,
        begun: Option<Handover>,
        room: &mut BTreeMap<MemberId, usize>,
    ) -> bool {
        let Some(handover) = begun else {
            return false;
        };
        let Some(left) = room.get_mut(&handover.to).filter(|left| **left > 0) else {
            return false;
        };
        *left -= 1;
        self.slots[place].handover = Some(handover);
        true
    }
}

fn take_room(room: &mut BTreeMap<MemberId, usize>) -> Option<MemberId> {
    let (member, left) = room
        .iter_mut()
        .max_by_key(|(member, left)| (**left, std::cmp::Reverse(**member)))?;
    *left = left.checked_sub(1)?;
    Some(*member)
}
