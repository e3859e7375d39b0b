//! The consumer's loop on one connection: take what is settled, store it when it is time, keep the memberships alive, poll.
//! One request after another, and none is begun after `stop`.

use std::time::Duration;

use iggy::prelude::SystemClient;
use iggy_common::IggyError;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    super::{
        client::Client,
        error::{is_lost, is_missing_topic, is_not_member, is_not_owner, is_refused_offset},
    },
    member::{Assignment, Member},
    partition::Partition,
    reply::{self, Reply},
    schedule,
};
use crate::pipeline::{Failure, Fetched, Message, Position};

/// Brokers drop members that are silent for 30 s, and some tell nobody of a new assignment.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// A member without partitions polls nothing, and hears of new ones only when it asks.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);
/// In one generation. A broker that goes on refusing what this member stores would otherwise hand out the same messages for ever.
const MAX_REFUSALS: u32 = 10;

pub(super) struct Session<'a> {
    client: &'a Client,
    members: Vec<Member>,
    /// Of all members.
    partitions: Vec<Partition>,
    settled: mpsc::Receiver<Position>,
    commit_interval: Duration,
    is_settling: bool,
    is_lost: bool,
    /// The last poll found nothing.
    is_idle: bool,
    epochs: u64,
    turn: usize,
    check_at: Instant,
}

/// What ended a wait.
enum Woken {
    Settled(Option<Position>),
    Other,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        client: &'a Client,
        members: Vec<Member>,
        settled: mpsc::Receiver<Position>,
        commit_interval: Duration,
    ) -> Self {
        Self {
            client,
            members,
            partitions: Vec::new(),
            settled,
            commit_interval,
            is_settling: true,
            is_lost: false,
            is_idle: false,
            epochs: 0,
            turn: 0,
            check_at: Instant::now() + STANDBY_INTERVAL,
        }
    }

    /// Hands out batches until `stop`, or until nobody takes them or settles them any more.
    pub(super) async fn consume(
        &mut self,
        batches: &mpsc::Sender<Fetched>,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        while !stop.is_cancelled() && !batches.is_closed() && self.is_settling {
            self.take_settled();
            self.check().await?;
            self.sync_stale().await?;
            self.store_due().await?;
            self.replace_left();
            // Room first: a batch that was polled is handed out, and no more than one waits there.
            let Ok(room) = batches.try_reserve() else {
                self.wait_for_room(batches, stop).await;
                continue;
            };
            match schedule::next(&self.partitions, self.turn, Instant::now()) {
                Some(at) => self.fetch(at, room).await?,
                None => self.wait_for_turn(stop).await,
            }
        }
        Ok(())
    }

    /// Stores what is still being settled, then leaves the groups.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        if self.is_lost {
            return Ok(());
        }
        while self.is_settling {
            self.take_settled();
            self.store_due().await?;
            self.ping().await?;
            self.wait(self.next_store(), None, None).await;
        }
        self.store_all().await?;
        for member in &self.members {
            member.leave(self.client).await;
        }
        Ok(())
    }

    fn take_settled(&mut self) {
        loop {
            match self.settled.try_recv() {
                Ok(position) => self.settle(&position),
                Err(mpsc::error::TryRecvError::Empty) => return,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.is_settling = false;
                    return;
                }
            }
        }
    }

    fn settle(&mut self, position: &Position) {
        let partition = self
            .partitions
            .iter_mut()
            .find(|partition| partition.epoch == position.epoch);
        match partition {
            Some(partition) => partition.settle(position.offset, Instant::now()),
            None => debug!(
                topic = ?position.topic,
                partition = position.partition_id,
                offset = position.offset,
                "settled after the partition was lost; its next owner gets it again"
            ),
        }
    }

    async fn wait_for_room(&mut self, batches: &mpsc::Sender<Fetched>, stop: &CancellationToken) {
        self.wait(self.next_store(), Some(batches), Some(stop))
            .await;
    }

    async fn wait_for_turn(&mut self, stop: &CancellationToken) {
        let ready = schedule::next_ready(&self.partitions);
        let until = ready.into_iter().chain(self.next_store()).min();
        self.wait(until, None, Some(stop)).await;
    }

    /// Waits until something can be done: until then at the latest, until there is room, until something is settled or `stop`.
    async fn wait(
        &mut self,
        until: Option<Instant>,
        room: Option<&mpsc::Sender<Fetched>>,
        stop: Option<&CancellationToken>,
    ) {
        let until = until.map_or(self.check_at, |until| until.min(self.check_at));
        let woken = tokio::select! {
            biased;
            () = stopped(stop) => Woken::Other,
            position = self.settled.recv() => Woken::Settled(position),
            () = roomy(room) => Woken::Other,
            () = sleep_until(until) => Woken::Other,
        };
        match woken {
            Woken::Settled(Some(position)) => self.settle(&position),
            Woken::Settled(None) => self.is_settling = false,
            Woken::Other => {}
        }
    }

    /// Shows that this member is alive, and asks anew what it owns.
    async fn check(&mut self) -> Result<(), Failure> {
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

    async fn ping(&mut self) -> Result<(), Failure> {
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

    /// A purge takes the stored offset along. An idle consumer would otherwise miss it when its cursor happens to fit again.
    /// Returns whether the partition is still there.
    async fn check_log(&mut self, at: usize) -> Result<bool, Failure> {
        let partition = &self.partitions[at];
        if !(partition.was_empty
            && partition.has_stored()
            && partition.is_at_rest()
            && !partition.is_leaving)
        {
            return Ok(true);
        }
        let (member, id) = (partition.member, partition.id);
        match self.members[member].stored(self.client, id).await {
            Ok(Some(_)) => Ok(true),
            Ok(None) => {
                warn!(topic = %self.members[member].name, partition = id, "the stored offset is gone; reading from the first message");
                self.partitions[at].reread();
                Ok(true)
            }
            Err(error) => self.refused(at, &error).map(|()| false),
        }
    }

    async fn sync_stale(&mut self) -> Result<(), Failure> {
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
                self.members[at].join(self.client).await?;
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
        self.assign(at, assignment);
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
                self.partitions
                    .push(Partition::new(member, id, self.epochs, Instant::now()));
            }
        }
    }

    /// Forgets lost partitions of which everything is stored. One that was given back meanwhile starts anew.
    fn replace_left(&mut self) {
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
    fn forget(&mut self, at: usize) {
        let partition = self.partitions.remove(at);
        self.members[partition.member].is_stale = true;
    }

    fn next_store(&self) -> Option<Instant> {
        let due = |partition: &Partition| partition.store_by(self.commit_interval);
        self.partitions.iter().filter_map(due).min()
    }

    async fn store_due(&mut self) -> Result<(), Failure> {
        if self.is_idle && !self.partitions.iter().any(Partition::is_outstanding) {
            return self.store_all().await;
        }
        let now = Instant::now();
        let interval = self.commit_interval;
        self.store_where(|partition| partition.store_by(interval).is_some_and(|by| by <= now))
            .await
    }

    async fn store_all(&mut self) -> Result<(), Failure> {
        self.store_where(|partition| partition.unstored().is_some())
            .await
    }

    async fn store_where(&mut self, is_due: impl Fn(&Partition) -> bool) -> Result<(), Failure> {
        let mut at = 0;
        while at < self.partitions.len() {
            if !is_due(&self.partitions[at]) || self.store(at).await? {
                at += 1;
            }
        }
        Ok(())
    }

    /// Whether the partition is still there.
    async fn store(&mut self, at: usize) -> Result<bool, Failure> {
        let partition = &self.partitions[at];
        let (member, id) = (partition.member, partition.id);
        let Some(offset) = partition.unstored() else {
            return Ok(true);
        };
        match self.members[member].store(self.client, id, offset).await {
            Ok(()) => {
                self.members[member].refusals = 0;
                self.partitions[at].stored(offset);
                Ok(true)
            }
            Err(error) => {
                self.refused(at, &error)?;
                Ok(false)
            }
        }
    }

    /// The broker refused an offset of a partition: it moved, shrank or is gone, and its owner reads on from what is stored.
    fn refused(&mut self, at: usize, error: &IggyError) -> Result<(), Failure> {
        let (member, id) = (self.partitions[at].member, self.partitions[at].id);
        self.members[member].refusals += 1;
        if !is_refused_offset(error) || self.members[member].refusals > MAX_REFUSALS {
            return Err(self.failed(
                member,
                &format!("store the offset of partition {id}"),
                error,
            ));
        }
        let topic = &self.members[member].name;
        if matches!(error, IggyError::InvalidOffset(..)) {
            warn!(%topic, partition = id, "the log was cut while it was read; reading on from what is stored");
        } else {
            info!(%topic, partition = id, %error, "an offset was not stored; the partition's owner reads on from the one before");
        }
        self.forget(at);
        Ok(())
    }

    async fn fetch(&mut self, at: usize, room: mpsc::Permit<'_, Fetched>) -> Result<(), Failure> {
        self.turn = at + 1;
        let Some(cursor) = self.cursor(at).await? else {
            return Ok(());
        };
        let started = Instant::now();
        let (member, id) = (self.partitions[at].member, self.partitions[at].id);
        let polled = self.members[member].poll(self.client, id, cursor).await;
        let reply = match polled.and_then(|bytes| reply::decode(&bytes)) {
            Ok(reply) => reply,
            Err(error) if is_not_member(&error) || is_not_owner(&error) => Reply::Fenced,
            Err(error) => return Err(self.failed(member, &format!("poll partition {id}"), &error)),
        };
        self.is_idle = false;
        match reply {
            Reply::Fenced => {
                self.partitions[at].fence(Instant::now());
                self.members[member].is_stale = true;
            }
            Reply::Polled { head, messages } if messages.is_empty() => {
                self.found_nothing(at, head, started)
            }
            Reply::Polled { head, messages } => self.hand_out(at, head, messages, room),
        }
        Ok(())
    }

    /// Where to read on; the first time behind the stored offset. `None` when the partition turned out not to be ours.
    async fn cursor(&mut self, at: usize) -> Result<Option<u64>, Failure> {
        let partition = &self.partitions[at];
        if let Some(cursor) = partition.cursor {
            return Ok(Some(cursor));
        }
        let (member, id) = (partition.member, partition.id);
        let stored = match self.members[member].stored(self.client, id).await {
            Ok(Some(info)) if info.stored_offset > info.current_offset => {
                warn!(
                    topic = %self.members[member].name,
                    partition = id,
                    stored = info.stored_offset,
                    last = info.current_offset,
                    "the log ends before the stored offset: it was cut; reading from the first message"
                );
                None
            }
            Ok(info) => info.map(|info| info.stored_offset),
            Err(error) => {
                self.refused(at, &error)?;
                return Ok(None);
            }
        };
        self.partitions[at].begin(stored);
        Ok(self.partitions[at].cursor)
    }

    fn found_nothing(&mut self, at: usize, head: u64, started: Instant) {
        let now = Instant::now();
        self.is_idle = true;
        let partition = &self.partitions[at];
        let is_cut = partition
            .cursor
            .is_some_and(|cursor| head.saturating_add(1) < cursor);
        if is_cut {
            let topic = &self.members[partition.member].name;
            warn!(%topic, partition = partition.id, cursor = partition.cursor, last = head, "the log was purged or made anew; reading on from what is stored");
            return self.forget(at);
        }
        let members = &self.members;
        let interval = |partition: &Partition| members[partition.member].poll_interval;
        schedule::rest(&mut self.partitions, at, now - started, now, interval);
    }

    fn hand_out(
        &mut self,
        at: usize,
        head: u64,
        mut messages: Vec<Message>,
        room: mpsc::Permit<'_, Fetched>,
    ) {
        let partition = &mut self.partitions[at];
        let member = &self.members[partition.member];
        let cursor = partition.cursor.unwrap_or_default();
        if messages[0].offset < cursor {
            // Whole stored batches may come back, with messages that were read before.
            messages.retain(|message| message.offset >= cursor);
        }
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            partition.rests_until = Instant::now() + member.poll_interval;
            return;
        };
        if first.offset > cursor {
            let expired = first.offset - cursor;
            warn!(topic = %member.name, partition = partition.id, expired, "messages expired before they were read");
        }
        partition.hand_out(last.offset, head);
        room.send(Fetched {
            input: member.input,
            topic: member.topic.clone(),
            partition_id: partition.id,
            current_offset: head,
            messages,
            epoch: partition.epoch,
        });
        let members = &self.members;
        let interval = |partition: &Partition| members[partition.member].poll_interval;
        schedule::wake(&mut self.partitions, Instant::now(), interval);
    }

    fn failed(&mut self, member: usize, doing: &str, error: &IggyError) -> Failure {
        self.is_lost |= is_lost(error);
        let mut failure = self.members[member].failure(self.client, doing, error);
        if is_missing_topic(error) {
            failure
                .message
                .push_str("; it was deleted while it was read");
        }
        failure
    }
}

async fn stopped(stop: Option<&CancellationToken>) {
    match stop {
        Some(stop) => stop.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Until a batch can be handed out, or nobody takes them any more.
async fn roomy(batches: Option<&mpsc::Sender<Fetched>>) {
    match batches {
        // The room is given back at once, and asked for again before the poll.
        Some(batches) => drop(batches.reserve().await),
        None => std::future::pending().await,
    }
}
