//! The broker's state put together: catalog, metadata journal, logs, clients. Handlers call it; it starts no
//! task and knows no socket.
//!
//! Locks: `metadata` orders changes and is held while they are journaled; `catalog` is never held during
//! I/O; a partition's locks are never taken while the catalog is locked, except to add an empty one.

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use iggy_binary_protocol::WireIdentifier;
use iggy_common::{IggyError, TopicCreateOptions};

use crate::{
    Config, Error, SyncPolicy,
    session::Clients,
    state::{Added, Catalog, Change, PartitionAt},
    store::{
        directory::Directory,
        journal::{Damage, Journal},
        logs::Logs,
        partition::{Partition, Settings, Stats},
        retention,
    },
    sync::{lock, now_micros},
};

/// The journal is condensed when it holds this many times what is needed, and not before it is this long.
const CONDENSE_FACTOR: usize = 4;
const CONDENSE_FROM: usize = 1000;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) catalog: Mutex<Catalog>,
    pub(crate) clients: Mutex<Clients>,
    pub(crate) logs: Logs,
    pub(crate) started_at: u64,
    directory: Directory,
    metadata: Mutex<Journal>,
    commits: AtomicU64,
}

impl Shared {
    /// Opens the data directory and everything in it.
    pub(crate) fn open(config: Config) -> Result<Self, Error> {
        config.validate()?;
        let directory = Directory::open(&config.dir)?;
        let mut catalog = Catalog::new(config.handover_timeout);
        let now = Instant::now();
        let journal = Journal::open(&directory.journal(), Damage::Refuse, |record| {
            match serde_json::from_slice::<Change>(record) {
                Ok(change) => drop(catalog.apply(change, now)),
                Err(error) => {
                    tracing::error!(%error, "record of an unknown kind in the metadata journal")
                }
            }
        })?;
        let shared = Self {
            config,
            catalog: Mutex::new(catalog),
            clients: Mutex::new(Clients::default()),
            logs: Logs::default(),
            started_at: now_micros(),
            directory,
            metadata: Mutex::new(journal),
            commits: AtomicU64::new(0),
        };
        shared.open_logs()?;
        Ok(shared)
    }

    fn open_logs(&self) -> Result<(), Error> {
        let (partitions, next) = {
            let catalog = lock(&self.catalog);
            (catalog.partitions().collect::<Vec<_>>(), catalog.next_log())
        };
        let live: HashSet<u64> = partitions.iter().map(|partition| partition.log).collect();
        self.directory.clean(&live, next)?;
        for partition in partitions {
            self.logs.open(partition.log, self.settings(&partition))?;
        }
        Ok(())
    }

    /// A number that rises with every reply, as clients expect of it.
    pub(crate) fn next_commit(&self) -> u64 {
        self.commits.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Proposes a change, journals it, applies it. Changes are rare and go one after the other.
    pub(crate) fn change(
        &self,
        propose: impl FnOnce(&Catalog) -> Result<Change, IggyError>,
    ) -> Result<Change, IggyError> {
        let mut journal = lock(&self.metadata);
        let change = propose(&lock(&self.catalog))?;
        write(&mut journal, &change).map_err(|error| {
            tracing::error!(%error, "metadata change refused: the journal cannot be written");
            IggyError::CannotWriteToFile
        })?;
        let effect = {
            let mut catalog = lock(&self.catalog);
            let effect = catalog.apply(change.clone(), Instant::now());
            // Under the lock, so that nobody finds a partition whose log is not there yet.
            for partition in &effect.added {
                self.logs.create(partition.log, self.settings(partition));
            }
            effect
        };
        for log in effect.removed {
            self.logs.remove(log);
        }
        self.condense(&mut journal);
        Ok(change)
    }

    /// Rewrites the journal when most of it is history. Failing to do so costs nothing but its length.
    fn condense(&self, journal: &mut Journal) {
        if journal.records() < CONDENSE_FROM {
            return;
        }
        let changes = lock(&self.catalog).snapshot();
        if journal.records() < changes.len() * CONDENSE_FACTOR {
            return;
        }
        let records: Result<Vec<_>, _> = changes.iter().map(serde_json::to_vec).collect();
        let rewritten = records
            .map_err(io::Error::other)
            .and_then(|records| journal.rewrite(records.into_iter()));
        if let Err(error) = rewritten {
            tracing::warn!(%error, "metadata journal not condensed");
        }
    }

    /// The log behind a place in the catalog; a purge may have taken it away since it was looked up.
    pub(crate) fn log(&self, at: PartitionAt) -> Result<Arc<Partition>, IggyError> {
        self.logs.get(at.log).ok_or_else(crate::state::no_partition)
    }

    /// The partition that a request names.
    pub(crate) fn partition(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
        partition: u32,
    ) -> Result<(PartitionAt, Arc<Partition>), IggyError> {
        let at = lock(&self.catalog).partition(stream, topic, partition)?;
        Ok((at, self.log(at)?))
    }

    /// Sizes of a log; zero when it is gone.
    pub(crate) fn stats(&self, log: u64) -> Stats {
        self.logs
            .get(log)
            .map(|partition| partition.stats())
            .unwrap_or_default()
    }

    /// Takes a connection out of all groups and signs it out.
    pub(crate) fn sign_out(&self, connection: u32) {
        lock(&self.catalog).leave_all(connection, Instant::now());
        lock(&self.clients).signed_out(connection);
    }

    /// Forgets a connection that has ended.
    pub(crate) fn disconnected(&self, connection: u32) {
        self.sign_out(connection);
        lock(&self.clients).disconnected(connection);
    }

    /// One pass of retention over all topics.
    pub(crate) fn enforce_retention(&self) {
        let topics: Vec<_> = {
            let catalog = lock(&self.catalog);
            let topics = catalog
                .streams
                .iter()
                .flat_map(|(_, _, stream)| stream.topics.iter());
            let limited = topics.map(|(_, _, topic)| (topic.limits(), topic.partitions.clone()));
            limited.collect()
        };
        let now = now_micros();
        for (limits, entries) in topics {
            let partitions: Vec<_> = entries
                .iter()
                .filter_map(|entry| self.logs.get(entry.log))
                .collect();
            match retention::enforce(&partitions, limits, now) {
                Ok(0) => {}
                Ok(segments) => tracing::debug!(segments, "segments removed by retention"),
                Err(error) => tracing::warn!(%error, "retention: segments not removed"),
            }
        }
        self.seal();
    }

    /// Seals full segments, so that the next start need not scan them.
    pub(crate) fn seal(&self) {
        for partition in self.logs.all() {
            if let Err(error) = partition.seal_full() {
                tracing::warn!(%error, "full segment not sealed");
            }
        }
    }

    /// Forces everything written to stable storage.
    pub(crate) fn sync(&self) {
        for partition in self.logs.all() {
            if let Err(error) = partition.sync() {
                tracing::error!(%error, "data not synced to stable storage");
            }
        }
    }

    fn settings(&self, added: &Added) -> Settings {
        let every_batch = self.config.sync == SyncPolicy::EveryBatch;
        Settings {
            partition: added.partition,
            directory: self.directory.log(added.log),
            segment_size: segment_size(self.config.segment_size, &added.settings),
            sync_appends: every_batch || added.settings.durability.is_persisted(),
            sync_offsets: every_batch || added.settings.consumer_offset_durability.is_persisted(),
            arrivals: added.arrivals.clone(),
        }
    }
}

fn write(journal: &mut Journal, change: &Change) -> io::Result<()> {
    let record = serde_json::to_vec(change)?;
    journal.append(&record)?;
    journal.file().sync_data()
}

/// A topic's own segment size wins. Retention removes whole segments, so a topic with a small size limit
/// gets segments of a fraction of it.
fn segment_size(configured: u64, topic: &TopicCreateOptions) -> u64 {
    let size = topic
        .segment_size
        .map_or(configured, |size| size.as_bytes_u64());
    let limit = topic.max_topic_size.map_or(u64::MAX, u64::from);
    size.min((limit / 4).max(64 * 1024))
}
