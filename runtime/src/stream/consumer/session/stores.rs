//! Storing what is settled: when, and what it means when the broker refuses.

use iggy_common::IggyError;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    super::{super::error::is_refused_offset, partition::Partition},
    Session,
};
use crate::pipeline::Failure;

/// In one generation. A broker that goes on refusing what this member stores would otherwise hand out the same messages for ever.
const MAX_REFUSALS: u32 = 10;

impl Session<'_> {
    pub(super) fn next_store(&self) -> Option<Instant> {
        let due = |partition: &Partition| partition.store_by(self.reading.commit_interval);
        self.partitions.iter().filter_map(due).min()
    }

    pub(super) async fn store_due(&mut self) -> Result<(), Failure> {
        if self.is_idle && !self.partitions.iter().any(Partition::is_outstanding) {
            return self.store_all().await;
        }
        let now = Instant::now();
        let interval = self.reading.commit_interval;
        self.store_where(|partition| partition.store_by(interval).is_some_and(|by| by <= now))
            .await
    }

    pub(super) async fn store_all(&mut self) -> Result<(), Failure> {
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
    pub(super) async fn store(&mut self, at: usize) -> Result<bool, Failure> {
        let partition = &self.partitions[at];
        let (member, id) = (partition.member, partition.id);
        let Some(offset) = partition.unstored() else {
            return Ok(true);
        };
        let since = partition.unstored_since();
        if !self.is_same_log(at).await? {
            return Ok(false);
        }
        let asked = Instant::now();
        match self.members[member].store(self.client, id, offset).await {
            Ok(()) => {
                self.members[member].refusals = 0;
                if let (Some(gauge), Some(since)) = (&self.gauge, since) {
                    gauge.stored(since.elapsed());
                }
                self.partitions[at].stored(offset);
                self.partitions[at].confirm(asked);
                Ok(true)
            }
            Err(error) => {
                self.refused(at, &error)?;
                Ok(false)
            }
        }
    }

    /// The broker refused an offset of a partition: it moved, shrank or is gone, and its owner reads on from what is stored.
    pub(super) fn refused(&mut self, at: usize, error: &IggyError) -> Result<(), Failure> {
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
}
