//! `start_from`: where a group begins to read the partitions that are there when it is first read. `Consumer::join` resolves it once
//! and stores it at the broker, as the offset before; from then on the stored offset alone counts, for every member of the group.
//!
//! What was resolved is saved before anything is read, so that a crash in between does not move it. A group that was begun once is
//! not resolved again: where it has nothing stored, because a partition is new or its topic was purged or made anew, it reads from
//! the first message.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{
    super::{
        client::Client,
        error::{is_cut, is_refused_offset},
    },
    extent::Extent,
    member::Member,
};
use crate::{
    config::spec::StartFrom,
    pipeline::{Failure, StateStore},
};

const VERSION: u32 = 1;
/// How long another member that has just begun the group has to store where.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Which groups a sink has begun, and where.
#[derive(Debug)]
pub struct Starts<S> {
    record: Result<Record, Failure>,
    store: S,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    groups: Vec<Begun>,
}

/// A group that was begun.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    stream: String,
    topic: String,
    group: String,
    /// By partition the first offset to read, until that is stored at the broker.
    pending: Vec<u64>,
}

impl<S: StateStore> Starts<S> {
    /// `loaded` is what `store` holds.
    pub fn new(loaded: Result<Option<Bytes>, Failure>, store: S) -> Self {
        let record = loaded.and_then(|saved| saved.map_or_else(|| Ok(Record::new()), Record::read));
        Self { record, store }
    }

    /// Whether the member's group was begun before.
    pub(super) fn has_begun(&self, member: &Member) -> bool {
        self.begun(member).is_some()
    }

    /// Where the member's group goes on in a partition of which it has stored nothing.
    pub(super) async fn place(
        &self,
        client: &Client,
        member: &Member,
        id: u32,
        extent: &Extent,
    ) -> Result<u64, Failure> {
        match self.begun(member) {
            Some(begun) => Ok(begun.pending.get(id as usize).copied().unwrap_or(0)),
            None => extent.find(client, member, id, member.start_from).await,
        }
    }

    fn begun(&self, member: &Member) -> Option<&Begun> {
        let record = self.record.as_ref().ok()?;
        record.groups.iter().find(|begun| begun.is_of(member))
    }

    /// Decides where groups begin that were not begun before; `members` come with the number of their topic's partitions. To be
    /// called before they join.
    pub(super) async fn resolve(
        &mut self,
        client: &Client,
        members: &[(&Member, u32)],
    ) -> Result<(), Failure> {
        let mut resolved = Vec::new();
        for (member, partitions) in members {
            if !self.has_begun(member) {
                resolved.push(Begun::new(
                    member,
                    begin(client, member, *partitions).await?,
                ));
            }
        }
        if resolved.is_empty() {
            return Ok(());
        }
        let from_first = |(member, _): &(&Member, u32)| member.start_from == StartFrom::First;
        match &mut self.record {
            Ok(record) => record.groups.extend(resolved),
            // Whoever reads from the first message misses nothing without it.
            Err(failure) if members.iter().all(from_first) => {
                warn!(error = %failure, "where groups began is not known; they go on where they are, or at the first message");
                return Ok(());
            }
            Err(failure) => return Err(failure.clone()),
        }
        self.save().await
    }

    /// Stores at the broker where groups begin. To be called when they are joined, before anything is polled.
    pub(super) async fn apply(
        &mut self,
        client: &Client,
        members: &[&Member],
    ) -> Result<(), Failure> {
        let Ok(record) = &mut self.record else {
            return Ok(());
        };
        let mut is_changed = false;
        for begun in &mut record.groups {
            let Some(member) = members.iter().find(|member| begun.is_of(member)) else {
                continue;
            };
            if begun.pending.is_empty() {
                continue;
            }
            let owned = owned(client, member).await?;
            for (id, start) in (0..).zip(&begun.pending) {
                if let Some(before) = start.checked_sub(1)
                    && owned.contains(&id)
                {
                    mark(client, member, id, before).await?;
                }
            }
            begun.pending.clear();
            is_changed = true;
        }
        if is_changed {
            self.save().await
        } else {
            Ok(())
        }
    }

    async fn save(&self) -> Result<(), Failure> {
        let record = self.record.as_ref().map_err(Failure::clone)?;
        let bytes = serde_json::to_vec(record)
            .map_err(|error| Failure::fatal(format!("where groups began: {error}")))?;
        self.store.save(bytes.into()).await
    }
}

impl Record {
    fn new() -> Self {
        Self {
            version: VERSION,
            groups: Vec::new(),
        }
    }

    fn read(saved: Bytes) -> Result<Self, Failure> {
        let record: Self = serde_json::from_slice(&saved)
            .map_err(|error| Failure::fatal(format!("saved state of this sink: {error}")))?;
        if record.version != VERSION {
            return Err(Failure::fatal(format!(
                "saved state of this sink has format {}, written by another version of this daemon: run that one",
                record.version
            )));
        }
        Ok(record)
    }
}

impl Begun {
    fn new(member: &Member, pending: Vec<u64>) -> Self {
        Self {
            stream: member.topic.stream.clone(),
            topic: member.topic.topic.clone(),
            group: member.group.clone(),
            pending,
        }
    }

    fn is_of(&self, member: &Member) -> bool {
        (&self.stream, &self.topic, &self.group)
            == (&member.topic.stream, &member.topic.topic, &member.group)
    }
}

/// Where each partition begins; none where all do at the first message.
async fn begin(client: &Client, member: &Member, partitions: u32) -> Result<Vec<u64>, Failure> {
    if member.start_from == StartFrom::First {
        return Ok(Vec::new());
    }
    let mut starts = Vec::new();
    for id in 0..partitions {
        starts.push(resolve(client, member, id).await?);
    }
    if member.members(client).await?.is_empty() {
        info!(%member, start_from = %member.start_from, offsets = ?starts, "reading begins");
        return Ok(starts);
    }
    // The group is not new: what its members have not stored they have found empty, or begin to read just now.
    wait_for_marks(client, member, &starts).await?;
    info!(%member, "reading goes on with the members of the group");
    Ok(Vec::new())
}

async fn resolve(client: &Client, member: &Member, id: u32) -> Result<u64, Failure> {
    let extent = Extent::of(client, member, id).await?;
    let start = extent.find(client, member, id, member.start_from).await?;
    if let StartFrom::Offset(offset) = member.start_from
        && offset > start
    {
        let next = extent.next;
        warn!(%member, partition = id, offset, next, "`start_from` lies behind the last message; reading begins with the next one");
    }
    Ok(start)
}

/// Waits a moment until the members of the group have stored where they begin.
async fn wait_for_marks(client: &Client, member: &Member, starts: &[u64]) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let begun = (0..).zip(starts).filter(|(_, start)| **start > 0);
    for (id, _) in begun {
        while Instant::now() < deadline && !has_stored(client, member, id).await? {
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

async fn has_stored(client: &Client, member: &Member, id: u32) -> Result<bool, Failure> {
    match member.stored(client, id).await {
        Ok(stored) => Ok(stored.is_some()),
        Err(error) if is_refused_offset(&error) => Ok(false),
        Err(error) => Err(member.failure(client, "look up an offset", &error)),
    }
}

/// The partitions to store for. One that another member has got meanwhile is that one's, which has looked for the same.
async fn owned(client: &Client, member: &Member) -> Result<Vec<u32>, Failure> {
    match member.assignment(client).await {
        Ok(Some(assignment)) => Ok(assignment.partitions),
        Ok(None) => Err(Failure::transient(format!(
            "no longer a member of {member}"
        ))),
        Err(error) => Err(member.failure(client, "sync", &error)),
    }
}

/// Stores the offset before the first one to read, unless there is one: what is stored wins.
async fn mark(client: &Client, member: &Member, id: u32, before: u64) -> Result<(), Failure> {
    if has_stored(client, member, id).await? {
        return Ok(());
    }
    let doing = format!("store where partition {id} begins");
    match member.store(client, id, before).await {
        Ok(()) => Ok(()),
        Err(error) if is_cut(&error) => {
            info!(%member, partition = id, before, %error, "where to begin was not stored");
            Ok(())
        }
        Err(error) => Err(member.failure(client, &doing, &error)),
    }
}
