//! One poll of one partition, and what comes of it.

use tokio::{sync::mpsc, time::Instant};
use tracing::warn;

use super::{
    super::{
        super::error::{is_not_member, is_not_owner},
        partition::Partition,
        reply::{self, Reply},
        schedule,
    },
    Session,
};
use crate::{
    config::spec::Delivery,
    pipeline::{Failure, Fetched, Handout, Message},
};

impl Session<'_> {
    pub(super) async fn fetch(
        &mut self,
        at: usize,
        room: mpsc::Permit<'_, Handout>,
    ) -> Result<(), Failure> {
        self.turn = at + 1;
        let started = Instant::now();
        let Some(cursor) = self.cursor(at).await? else {
            return Ok(());
        };
        let (member, id) = (self.partitions[at].member, self.partitions[at].id);
        let count = self.wanted(at);
        let polled = self.members[member]
            .poll(self.client, id, cursor, count)
            .await;
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
                self.found_nothing(at, head, started);
            }
            Reply::Polled { head, messages } => self.take(at, head, messages, room).await?,
        }
        Ok(())
    }

    /// Where to read on; the first time behind the stored offset. `None` when the partition turned out not to be ours.
    async fn cursor(&mut self, at: usize) -> Result<Option<u64>, Failure> {
        let partition = &self.partitions[at];
        if let Some(cursor) = partition.cursor {
            return Ok(self.is_same_log(at).await?.then_some(cursor));
        }
        let (member, id) = (partition.member, partition.id);
        let asked = Instant::now();
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
        self.partitions[at].confirm(asked);
        Ok(self.partitions[at].cursor)
    }

    /// How many messages a batch still has room for.
    fn wanted(&self, at: usize) -> u32 {
        let partition = &self.partitions[at];
        let gathered = u32::try_from(partition.gathered()).unwrap_or(u32::MAX);
        let wanted = self.members[partition.member].batch_length;
        wanted.saturating_sub(gathered).max(1)
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
        self.partitions[at].ends_here();
        let members = &self.members;
        let interval = |partition: &Partition| members[partition.member].poll_interval;
        schedule::rest(&mut self.partitions, at, now - started, now, interval);
    }

    /// Takes what a poll returned, and hands it out unless a fuller batch is worth waiting for.
    async fn take(
        &mut self,
        at: usize,
        head: u64,
        mut messages: Vec<Message>,
        room: mpsc::Permit<'_, Handout>,
    ) -> Result<(), Failure> {
        let now = Instant::now();
        let partition = &mut self.partitions[at];
        let member = &self.members[partition.member];
        let cursor = partition.cursor.unwrap_or_default();
        if messages[0].offset < cursor {
            // Whole stored batches may come back, with messages that were read before.
            messages.retain(|message| message.offset >= cursor);
        }
        let Some(first) = messages.first() else {
            partition.rests_until = now + member.poll_interval;
            return Ok(());
        };
        let expired = partition.expired_before(first.offset);
        if expired > 0 {
            let (from, to) = (cursor, first.offset - 1);
            warn!(topic = %member.name, partition = partition.id, from, to, expired, "messages expired before they were read");
        }
        partition.gather(messages, head, now + member.batch_timeout);
        let is_full = partition.gathered() >= member.batch_length as usize;
        let members = &self.members;
        let interval = |partition: &Partition| members[partition.member].poll_interval;
        schedule::wake(&mut self.partitions, now, interval);
        if is_full
            || self.members[self.partitions[at].member]
                .batch_timeout
                .is_zero()
        {
            self.hand_out(at, room).await?;
        }
        Ok(())
    }

    /// Hands out what is gathered. At most once: only what is stored as done, so that a crash cannot repeat it.
    pub(super) async fn hand_out(
        &mut self,
        at: usize,
        room: mpsc::Permit<'_, Handout>,
    ) -> Result<(), Failure> {
        let Some(gathered) = self.partitions[at].take() else {
            return Ok(());
        };
        let last = gathered.messages.last().map_or(0, |message| message.offset);
        self.partitions[at].hand_out(last);
        let members = &self.members;
        let interval = |partition: &Partition| members[partition.member].poll_interval;
        // It may be full now and not be polled for a while; nobody rests beside it then.
        schedule::wake(&mut self.partitions, Instant::now(), interval);
        if self.reading.delivery == Delivery::AtMostOnce {
            self.partitions[at].settle(last, Instant::now());
            let stored = self.store(at).await;
            if stored.is_err() {
                let from = gathered.messages.first().map(|message| message.offset);
                let partition = &self.partitions[at];
                let topic = &self.members[partition.member].name;
                warn!(%topic, partition = partition.id, from, to = last, "not handed over: if the broker has stored their offset, these messages are lost");
                // Nor is it stored at the end, where it has not been.
                self.forget(at);
            }
            if !stored? {
                return Ok(());
            }
        }
        let partition = &self.partitions[at];
        let member = &self.members[partition.member];
        room.send(Handout::Batch(Fetched {
            input: member.input,
            topic: member.topic.clone(),
            partition_id: partition.id,
            current_offset: gathered.head,
            messages: gathered.messages,
            expired: gathered.expired,
            epoch: partition.epoch,
        }));
        Ok(())
    }
}
