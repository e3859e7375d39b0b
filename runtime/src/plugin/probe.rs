//! What a library is and whether it can be loaded at all, found out by a process of its own before this one loads it, or instead:
//! [`Probes`]. An initialiser that never returns keeps the system's loader for itself, and one that crashes takes its process along.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync;

use super::{Listed, survey};

/// What was found out about contents.
#[derive(Default)]
pub(super) struct Probes(Mutex<HashMap<blake3::Hash, Arc<sync::Mutex<Option<Probe>>>>>);

struct Probe {
    ended: Instant,
    found: Result<Listed, String>,
}

impl Probes {
    /// Has another process load the library, unless one has. Who `asked` before it was known to fail or to be refused shares that; later
    /// on it is tried again, as what it needs may have come.
    ///
    /// # Errors
    ///
    /// That process did not come back, or not in time.
    pub(super) async fn of(
        &self,
        path: &Path,
        hash: blake3::Hash,
        asked: Instant,
    ) -> Result<Listed, String> {
        self.of_content(path, hash, asked, survey::try_load(path))
            .await
    }

    async fn of_content(
        &self,
        path: &Path,
        hash: blake3::Hash,
        asked: Instant,
        look: impl Future<Output = Result<Listed, String>>,
    ) -> Result<Listed, String> {
        let content = self.content(hash);
        let mut probe = content.lock().await;
        if let Some(Probe { ended, found }) = &*probe
            && (is_plugin(found) || asked <= *ended)
        {
            return found.clone();
        }
        let found = look.await;
        if survey::hash(path).await != Ok(hash) {
            // The file was replaced meanwhile, and this may be about another content.
            return found;
        }
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

fn is_plugin(found: &Result<Listed, String>) -> bool {
    found.as_ref().is_ok_and(|listed| listed.reason.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_found_out_about_a_file_that_was_replaced_meanwhile_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.so");
        let old = blake3::hash(b"old");
        let probes = Probes::default();
        let listed = |content: &'static str, reason: &str| {
            std::fs::write(&path, content).unwrap();
            Ok(Listed::refused(&path, reason.to_owned()))
        };
        let asked = Instant::now();
        let cases = [
            ("new", "of the new", "of the new"),
            ("old", "of the old", "of the old"),
            ("old", "asked too early to be tried again", "of the old"),
        ];
        for (content, says, expected) in cases {
            std::fs::write(&path, "old").unwrap();
            let look = async { listed(content, says) };
            let found = probes.of_content(&path, old, asked, look).await.unwrap();
            assert_eq!(found.reason.as_deref(), Some(expected));
        }
    }
}
