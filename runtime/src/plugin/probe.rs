//! Whether a library can be loaded at all, found out by a process of its own before this one loads it: [`Probes`]. An initialiser that
//! never returns keeps the system's loader for itself, and one that crashes takes its process along.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync;

use super::survey;

/// What was found out about contents.
#[derive(Default)]
pub(super) struct Probes(Mutex<HashMap<blake3::Hash, Arc<sync::Mutex<Option<Probe>>>>>);

struct Probe {
    ended: Instant,
    found: Result<(), String>,
}

impl Probes {
    /// Has another process load the library, unless one has. Who `asked` before a failure was known shares it; later on it is tried again.
    ///
    /// # Errors
    ///
    /// That process did not come back, or not in time.
    pub(super) async fn of(
        &self,
        path: &Path,
        hash: blake3::Hash,
        asked: Instant,
    ) -> Result<(), String> {
        let content = self.content(hash);
        let mut probe = content.lock().await;
        if let Some(Probe { ended, found }) = &*probe
            && (found.is_ok() || asked <= *ended)
        {
            return found.clone();
        }
        let found = survey::try_load(path).await;
        let ended = Instant::now();
        *probe = Some(Probe {
            ended,
            found: found.clone(),
        });
        found
    }

    fn content(&self, hash: blake3::Hash) -> Arc<sync::Mutex<Option<Probe>>> {
        let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        contents.entry(hash).or_default().clone()
    }
}
