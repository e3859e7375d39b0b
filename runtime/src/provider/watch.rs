//! What has changed since it was last looked: [`Watch`] asks a provider at an interval and compares.
//!
//! Asking works the same for a service, a network share and a mounted secret, where a file system's notices come late, twice or
//! not at all; versions are few, and reading them is cheap.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tracing::{info, warn};

use super::{Error, Id, Provider};
use crate::config::{History, Version};

/// Versions by what they hold, and which of each connector is active.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    connectors: BTreeMap<Id, Seen>,
    gaps: Gaps,
}

/// What a view does not show although it may be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gaps {
    #[default]
    Nothing,
    /// Versions that are not active.
    Inactive,
    /// Versions in files that cannot be read.
    Files,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    versions: BTreeMap<u32, blake3::Hash>,
    active: Option<u32>,
}

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: Id,
    pub version: u32,
    pub news: News,
}

/// What is new about a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It was not there.
    Added,
    /// It holds something else than before.
    Edited,
    /// It is not there any more.
    Removed,
    /// It is the one that should run from now on.
    Activated,
}

/// Looks at a provider again and again.
pub struct Watch {
    provider: Arc<dyn Provider>,
    every: Duration,
    seen: View,
    is_failing: bool,
}

impl View {
    pub(super) fn of(history: &History, gaps: Gaps) -> Self {
        let mut connectors = BTreeMap::<Id, Seen>::new();
        for version in &history.versions {
            let id = Id::of(&version.spec);
            let active = history.active_version(id.direction, &id.key);
            let seen = connectors.entry(id).or_default();
            seen.active = active;
            seen.versions.insert(version.spec.version, hash(version));
        }
        Self { connectors, gaps }
    }

    /// What there is now that was not in `before`, and the other way round.
    fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = vec![];
        let nothing = Seen::default();
        for (id, seen) in &self.connectors {
            let earlier = before.connectors.get(id).unwrap_or(&nothing);
            self.changes_of(id, seen, earlier, &mut changes);
        }
        if self.gaps == Gaps::Files {
            return changes;
        }
        let gone = before
            .connectors
            .iter()
            .filter(|(id, _)| !self.connectors.contains_key(id));
        for (id, earlier) in gone {
            changes.extend(earlier.versions.keys().map(|version| removed(id, *version)));
        }
        changes
    }

    fn changes_of(&self, id: &Id, seen: &Seen, earlier: &Seen, changes: &mut Vec<Change>) {
        for (version, hash) in &seen.versions {
            let news = match earlier.versions.get(version) {
                None => News::Added,
                Some(before) if before != hash => News::Edited,
                Some(_) => continue,
            };
            changes.push(Change {
                id: id.clone(),
                version: *version,
                news,
            });
        }
        if self.gaps == Gaps::Nothing {
            let gone = earlier
                .versions
                .keys()
                .filter(|version| !seen.versions.contains_key(version));
            changes.extend(gone.map(|version| removed(id, *version)));
        }
        if self.misses(seen, earlier) {
            return;
        }
        if let (Some(version), true) = (seen.active, seen.active != earlier.active) {
            changes.push(Change {
                id: id.clone(),
                version,
                news: News::Activated,
            });
        }
    }

    /// Whether versions that were there before may stand in a file that cannot be read. Then nobody knows which one is active.
    fn misses(&self, seen: &Seen, earlier: &Seen) -> bool {
        let mut versions = earlier.versions.keys();
        self.gaps == Gaps::Files && versions.any(|version| !seen.versions.contains_key(version))
    }

    /// Keeps of `before` what this view may only have missed.
    fn completed(mut self, before: &Self) -> Self {
        if self.gaps != Gaps::Files {
            return self;
        }
        for (id, earlier) in &before.connectors {
            let mut seen = self.connectors.remove(id).unwrap_or_default();
            if self.misses(&seen, earlier) {
                seen.active = earlier.active;
            }
            let seen = self.connectors.entry(id.clone()).or_insert(seen);
            for (version, hash) in &earlier.versions {
                seen.versions.entry(*version).or_insert(*hash);
            }
        }
        self
    }
}

impl Watch {
    /// Watches `provider` from `seen` on.
    pub fn new(provider: Arc<dyn Provider>, every: Duration, seen: View) -> Self {
        Self {
            provider,
            every,
            seen,
            is_failing: false,
        }
    }

    /// Waits until something has changed. A provider that cannot tell is asked again. May be cancelled: what was not returned
    /// comes with the next call.
    pub async fn changed(&mut self) -> Vec<Change> {
        loop {
            tokio::time::sleep(self.every).await;
            let view = match self.provider.view().await {
                Ok(view) => view,
                Err(error) => {
                    self.failed(&error);
                    continue;
                }
            };
            if std::mem::take(&mut self.is_failing) {
                info!("connectors can be looked at for changes again");
            }
            let changes = view.changes_since(&self.seen);
            self.seen = view.completed(&self.seen);
            if !changes.is_empty() {
                return changes;
            }
        }
    }

    /// Says so once, not every time.
    fn failed(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            warn!(%error, "connectors cannot be looked at for changes; what runs goes on");
        }
    }
}

impl News {
    /// The news in one word, for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Edited => "edited",
            Self::Removed => "removed",
            Self::Activated => "activated",
        }
    }
}

fn removed(id: &Id, version: u32) -> Change {
    Change {
        id: id.clone(),
        version,
        news: News::Removed,
    }
}

fn hash(version: &Version) -> blake3::Hash {
    let values = serde_json::to_vec(version.document.values()).unwrap_or_default();
    blake3::hash(&values)
}
