//! One topic that a source sends to: its name, how many partitions it has, which one takes the next batch without keys.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::{
        client::Client,
        topics::{self, Missing, Name},
    },
    shipment::Route,
};
use crate::{config::spec, pipeline::Failure};

const RECOUNT_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: Name,
    missing: Missing,
    batch_length: usize,
    partitions: AtomicU32,
    recount_at: Mutex<Instant>,
    /// Counts batches that have messages for it; each goes to the next partition.
    turn: AtomicU32,
    /// A send found that the topic, or a partition of it, does not exist.
    is_broken: AtomicBool,
}

impl Target {
    pub(super) async fn new(client: &Client, output: &spec::Output) -> Result<Self, Failure> {
        let name = Name::new(&output.stream, &output.topic)?;
        let missing = Missing::new(output.create, output.partitions);
        let partitions = topics::ensure(client, &name, missing).await?;
        Ok(Self {
            name,
            missing,
            batch_length: (output.batch_length as usize).max(1),
            partitions: AtomicU32::new(partitions),
            recount_at: Mutex::new(Instant::now() + RECOUNT_INTERVAL),
            turn: AtomicU32::new(0),
            is_broken: AtomicBool::new(false),
        })
    }

    /// How this batch is spread over the partitions.
    pub(super) fn route(&self) -> Route {
        let partitions = self.partitions.load(Ordering::Relaxed).max(1);
        Route {
            partitions,
            unkeyed: self.turn.load(Ordering::Relaxed) % partitions,
            batch_length: self.batch_length,
        }
    }

    /// The batch is under way: the next one's messages without keys go to the next partition.
    pub(super) fn next_turn(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_stale(&self) -> bool {
        *self
            .recount_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            <= Instant::now()
    }

    /// Counts the partitions. A topic that is missing keeps its last count.
    pub(super) async fn recount(&self, client: &Client) -> Result<(), Failure> {
        // Set first: a broker that cannot be reached is not asked again with every batch.
        self.set_recount();
        if let Some(partitions) = topics::partitions(client, &self.name).await? {
            self.partitions.store(partitions, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    pub(super) fn mark_broken(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    /// Makes the topic again if that is allowed, and counts its partitions.
    pub(super) async fn ensure(&self, client: &Client) -> Result<(), Failure> {
        let partitions = topics::ensure(client, &self.name, self.missing).await?;
        self.partitions.store(partitions, Ordering::Relaxed);
        self.set_recount();
        self.is_broken.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn set_recount(&self) {
        *self
            .recount_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now() + RECOUNT_INTERVAL;
    }
}
