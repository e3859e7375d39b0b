//! The open partitions by the id of their log. The catalog says which exist; this holds what is behind them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::partition::{Partition, Settings};
use crate::{Error, sync::lock};

#[derive(Debug, Default)]
pub(crate) struct Logs {
    open: Mutex<HashMap<u64, Arc<Partition>>>,
}

impl Logs {
    /// Opens the log of an earlier run.
    pub(crate) fn open(&self, id: u64, settings: Settings) -> Result<(), Error> {
        let partition = Partition::open(settings)?;
        lock(&self.open).insert(id, Arc::new(partition));
        Ok(())
    }

    /// Adds an empty log; nothing is written until the first append.
    pub(crate) fn create(&self, id: u64, settings: Settings) {
        lock(&self.open).insert(id, Arc::new(Partition::create(settings)));
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Partition>> {
        lock(&self.open).get(&id).cloned()
    }

    /// Forgets a log and removes its files.
    pub(crate) fn remove(&self, id: u64) {
        let Some(partition) = lock(&self.open).remove(&id) else {
            return;
        };
        if let Err(error) = partition.retire() {
            // The next start removes it.
            tracing::warn!(%error, log = id, "log of a deleted partition not removed");
        }
    }

    /// All open partitions.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        lock(&self.open).values().cloned().collect()
    }
}
