//! What the members of this connection own: kept alive, asked for, taken, given up, taken away.

use std::time::Duration;

use iggy::prelude::SystemClient;
use iggy_common::IggyError;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    super::{
        super::error::is_not_member,
        member::{Assignment, Member},
        partition::{Mark, Partition},
    },
    Session,
};
use crate::pipeline::{self, Failure};

/// Brokers drop members that are silent for 30 s, and some tell nobody of a new assignment.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// A member without partitions polls nothing, and hears of new ones only when it asks.
pub(super) const STANDBY_INTERVAL: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Shows that this member is alive, and asks anew what it owns.
    pub(super) async fn check(&mut self) -> Result<(), Failure> {
        if Instant::now() < self.check_at {
            return Ok(());
        }
        self.ping().await?;
        for member in &mut self.members {
            member.is_stale = true;
        }
        let mut at = 0;
        while at < self.partitions.len() {
            if self.check_log(at).await? {
                at += 1;
            }
        }
        Ok(())
    }

    pub(super) async fn ping(&mut self) -> Result<(), Failure> {
        if Instant::now() < self.check_at {
            return Ok(());
        }
        self.check_at = Instant::now() + self.check_interval();
        let pinged = self.client.tcp().ping().await;
        pinged.map_err(|error| self.failed(0, "ping", &error))
    }

    fn check_interval(&self) -> Duration {
        if self.members.iter().any(|member| member.assigned.is_empty()) {
            STANDBY_INTERVAL
        } else {
            CHECK_INTERVAL
        }
    }

    /// Asks of a partition that has not been polled since it was asked last, or has nothing to store. Returns whether it is still
    /// there.
    async fn check_log(&mut self, at: usize) -> Result<bool, Failure> {
        let partition = &mut self.partitions[at];
        let is_fresh = partition.take_fresh();
        let is_idle = partition.was_empty && partition.is_settled();
        if !partition.has_stored() || partition.is_leaving || (is_fresh && !is_idle) {
            return Ok(true);
        }
        self.ask(at).await
    }

    /// Before a poll or a store: asks whether the log is still the one that was read, if it may not be. Returns whether the
    /// partition is still there.
    pub(super) async fn is_same_log(&mut self, at: usize) -> Result<bool, Failure> {
        let now = Instant::now();
        if !self.partitions[at].is_doubtful(now) {
            return Ok(true);
        }
        let is_there = match self.partitions[at].mark() {
            Some(mark) => self.look(at, mark).await?,
            None => self.ask(at).await?,
        };
        if is_there {
            self.partitions[at].confirm(now);
        }
        Ok(is_there)
    }

    /// A purge takes the stored offset along. It would otherwise be missed where the new log has grown beyond the cursor: the broker
    /// takes an old offset for one of its own.
    async fn ask(&mut self, at: usize) -> Result<bool, Failure> {
        let (member, id) = (self.partitions[at].member, self.partitions[at].id);
        match self.members[member].stored(self.client, id).await {
            Ok(Some(info)) => {
                // While nothing takes what is handed out, nothing is polled, and the log grows.
                self.partitions[at].ends_with(info.current_offset);
                Ok(true)
            }
            Ok(None) => {
                warn!(topic = %self.members[member].name, partition = id, "the stored offset is gone; reading from the first message");
                self.forget(at);
                Ok(false)
            }
            Err(error) => self.refused(at, &error).map(|()| false),
        }
    }

    /// As long as nothing is stored, only what was read tells one log from another.
    async fn look(&mut self, at: usize, mark: Mark) -> Result<bool, Failure> {
        let (member, id) = (self.partitions[at].member, self.partitions[at].id);
        let is_other = self.members[member]
            .has_other(self.client, id, mark)
            .await?;
        if is_other {
            warn!(topic = %self.members[member].name, partition = id, offset = mark.offset, "the log was purged or made anew; reading from the first message");
            self.forget(at);
        }
        Ok(!is_other)
    }

    pub(super) async fn sync_stale(&mut self) -> Result<(), Failure> {
        for at in 0..self.members.len() {
            if self.members[at].is_stale {
                self.sync(at).await?;
            }
        }
        Ok(())
    }

    async fn sync(&mut self, at: usize) -> Result<(), Failure> {
        let assignment = match self.assignment(at).await? {
            Some(assignment) => assignment,
            None => {
                self.lose_all(at);
                if self.reading.exclusive {
                    // Others may have joined meanwhile. A new session looks before it joins.
                    let lost = format!("no longer a member of {}", self.members[at]);
                    return Err(Failure::transient(lost));
                }
                if self.members[at].join(self.client).await? {
                    warn!(member = %self.members[at], "the group was deleted; reading from the first message");
                }
                let Some(assignment) = self.assignment(at).await? else {
                    return Err(self.failed(
                        at,
                        "stay",
                        &IggyError::ConsumerGroupMemberNotFound(
                            0,
                            self.members[at].name.stream.clone(),
                            self.members[at].name.topic.clone(),
                        ),
                    ));
                };
                assignment
            }
        };
        self.members[at].is_stale = false;
        let before = self.members[at].generation;
        self.assign(at, assignment);
        if self.reading.exclusive && before > 0 && before != self.members[at].generation {
            self.tell_of_company(at).await?;
        }
        Ok(())
    }

    /// An exclusive member cannot keep others out that do not ask.
    async fn tell_of_company(&mut self, at: usize) -> Result<(), Failure> {
        let member = &self.members[at];
        let members = member.members(self.client).await?.len();
        if members > 1 {
            warn!(%member, members, "another member has joined the group although `consumer.exclusive` is set here; its partitions are shared");
        }
        Ok(())
    }

    async fn assignment(&mut self, at: usize) -> Result<Option<Assignment>, Failure> {
        match self.members[at].assignment(self.client).await {
            Err(error) if is_not_member(&error) => Ok(None),
            asked => asked.map_err(|error| self.failed(at, "sync", &error)),
        }
    }

    /// Not a member any more: nothing that it owned can be stored.
    fn lose_all(&mut self, member: usize) {
        let before = self.partitions.len();
        self.partitions
            .retain(|partition| partition.member != member);
        let Member {
            name,
            generation,
            assigned,
            ..
        } = &mut self.members[member];
        if *generation > 0 {
            warn!(topic = %name, partitions = before - self.partitions.len(), "no longer a member of the consumer group; joining again");
        }
        *generation = 0;
        assigned.clear();
    }

    fn assign(&mut self, member: usize, assignment: Assignment) {
        let Assignment {
            generation,
            partitions,
        } = assignment;
        let known = &mut self.members[member];
        if known.generation == generation && known.assigned == partitions && self.owns_all(member) {
            return;
        }
        let known = &mut self.members[member];
        info!(topic = %known.name, generation, ?partitions, "assigned by the consumer group");
        // Between two generations that this member knows, another one may have owned a partition and given it back.
        let has_missed_one = known.generation > 0
            && generation != known.generation
            && generation != known.generation + 1;
        if known.generation != generation {
            known.refusals = 0;
        }
        known.generation = generation;
        known.assigned = partitions;
        let assigned = &known.assigned;
        for partition in self
            .partitions
            .iter_mut()
            .filter(|partition| partition.member == member)
        {
            if !assigned.contains(&partition.id) || (has_missed_one && !partition.is_at_rest()) {
                partition.is_leaving = true;
            } else if has_missed_one && !partition.is_leaving {
                partition.reread();
            }
        }
        self.acquire(member);
        self.replace_left();
    }

    fn owns_all(&self, member: usize) -> bool {
        let assigned = self.members[member].assigned.iter();
        let mut owned = assigned.map(|id| self.find(member, *id));
        owned.all(|at| at.is_some())
    }

    fn find(&self, member: usize, id: u32) -> Option<usize> {
        let mut partitions = self.partitions.iter();
        partitions.position(|partition| partition.member == member && partition.id == id)
    }

    /// Takes what is assigned and not there yet.
    fn acquire(&mut self, member: usize) {
        for id in self.members[member].assigned.clone() {
            if self.find(member, id).is_none() {
                self.epochs += 1;
                let partition = Partition::new(member, id, self.epochs, Instant::now());
                self.partitions.push(partition.at_most(self.most));
            }
        }
    }

    /// A lost partition of which something is still on its way to the plugin, which has not been told yet.
    pub(super) fn untold_loss(&mut self) -> Option<pipeline::Partition> {
        let mut partitions = self.partitions.iter_mut();
        let lost = partitions.find(|partition| {
            partition.is_leaving
                && partition.is_outstanding()
                && partition.gathered() == 0
                && !partition.is_loss_told
        })?;
        lost.is_loss_told = true;
        Some(pipeline::Partition {
            topic: self.members[lost.member].topic.clone(),
            id: lost.id,
        })
    }

    /// Forgets lost partitions of which everything is stored. One that was given back meanwhile starts anew.
    pub(super) fn replace_left(&mut self) {
        while let Some(at) = self
            .partitions
            .iter()
            .position(|partition| partition.is_leaving && partition.is_at_rest())
        {
            let left = self.partitions.remove(at);
            debug!(topic = %self.members[left.member].name, partition = left.id, "partition given up");
            self.acquire(left.member);
        }
    }

    /// Drops a partition's cursor and what was to be stored. If it is still assigned it starts anew.
    pub(super) fn forget(&mut self, at: usize) {
        let partition = self.partitions.remove(at);
        self.members[partition.member].is_stale = true;
    }
}
