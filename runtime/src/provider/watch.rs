//! What has changed since it was last looked: [`Watch`] asks a provider at an interval and compares.
//!
//! Asking works the same for a service, a network share and a mounted secret, where a file system's notices come late, twice or
//! not at all; versions are few, and reading them is cheap.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tracing::{info, warn};

use super::{Error, Id, Provider};
use crate::config::{History, Origin, Place, Unusable, Version, spec};

/// A file that is being written looks the same twice only when its writer is done, or takes longer than this for its next piece.
const SETTLES_IN: Duration = Duration::from_secs(1);
/// What never looks the same twice is taken as it is after so many looks.
const MOST_LOOKS: u32 = 10;

/// Versions by what they hold, which of each connector is active, and what each is to be.
#[derive(Clone, Debug, Default)]
pub struct View {
    connectors: BTreeMap<Id, Seen>,
    gaps: Gaps,
    wanted: BTreeMap<Id, Wanted>,
    /// Files of which nobody can tell whose versions they hold, and why.
    unreadable: BTreeMap<PathBuf, String>,
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
    versions: BTreeMap<u32, Held>,
    active: Option<u32>,
}

/// What a version holds, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    hash: blake3::Hash,
    place: Place,
}

/// What a connector is to be.
#[derive(Clone, Debug)]
pub enum Wanted {
    Usable(Box<spec::Connector>),
    Unusable(Box<Unusable>),
    /// There is no version of it.
    Nothing,
}

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: Id,
    pub version: u32,
    pub news: News,
}

/// What is new about a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It was not there.
    Added,
    /// It holds something else than before.
    Edited,
    /// It is not there any more.
    Removed,
    /// It is the one that should run from now on.
    Activated,
    /// Its file cannot be read any more, for this reason. Nobody knows what its connector is to be.
    Unreadable(String),
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
            seen.versions.insert(version.spec.version, held(version));
        }
        Self {
            connectors,
            gaps,
            wanted: wanted(history),
            unreadable: unreadable(history),
        }
    }

    /// Whether there is nothing in one that is not in the other.
    fn shows_the_same(&self, other: &Self) -> bool {
        self.gaps == other.gaps
            && self.connectors == other.connectors
            && self.unreadable == other.unreadable
    }

    /// What there is now that was not in `before`, and the other way round.
    fn changes_since(&self, before: &Self) -> Vec<Change> {
        let nothing = Seen::default();
        let now = self.connectors.keys();
        let gone = before.connectors.keys();
        let gone = gone.filter(|id| !self.connectors.contains_key(id));
        let mut changes = vec![];
        for id in now.chain(gone) {
            let seen = self.connectors.get(id).unwrap_or(&nothing);
            let earlier = before.connectors.get(id).unwrap_or(&nothing);
            match self.misses(seen, earlier) {
                true => changes.extend(self.unreadable_of(id, seen, earlier, before)),
                false => self.changes_of(id, seen, earlier, &mut changes),
            }
        }
        changes
    }

    fn changes_of(&self, id: &Id, seen: &Seen, earlier: &Seen, changes: &mut Vec<Change>) {
        let change = |version: u32, news: News| Change {
            id: id.clone(),
            version,
            news,
        };
        for (version, held) in &seen.versions {
            let news = match earlier.versions.get(version) {
                None => News::Added,
                Some(before) if before.hash != held.hash => News::Edited,
                Some(_) => continue,
            };
            changes.push(change(*version, news));
        }
        let is_gone = seen.versions.is_empty();
        if is_gone || self.gaps != Gaps::Inactive {
            let gone = earlier.versions.keys();
            let gone = gone.filter(|version| !seen.versions.contains_key(version));
            changes.extend(gone.map(|version| change(*version, News::Removed)));
        }
        if let (Some(version), true) = (seen.active, seen.active != earlier.active) {
            changes.push(change(version, News::Activated));
        }
    }

    /// Versions whose files could be read before.
    fn unreadable_of(
        &self,
        id: &Id,
        seen: &Seen,
        earlier: &Seen,
        before: &Self,
    ) -> impl Iterator<Item = Change> {
        let missed = earlier.versions.iter();
        let missed = missed.filter(|(version, _)| !seen.versions.contains_key(version));
        missed.filter_map(move |(version, held)| {
            let Place::File(path) = &held.place else {
                return None;
            };
            let reason = self.unreadable.get(path)?;
            let is_new = before.unreadable.get(path) != Some(reason);
            is_new.then(|| Change {
                id: id.clone(),
                version: *version,
                news: News::Unreadable(reason.clone()),
            })
        })
    }

    /// Whether versions that were there before may stand in a file that cannot be read. Then nobody knows which one is active, and the
    /// connector counts as it was.
    fn misses(&self, seen: &Seen, earlier: &Seen) -> bool {
        let mut versions = earlier.versions.keys();
        self.gaps == Gaps::Files && versions.any(|version| !seen.versions.contains_key(version))
    }

    /// Keeps of `before` what this view may only have missed.
    fn completed(mut self, before: &Self) -> Self {
        for (id, earlier) in &before.connectors {
            let seen = self.connectors.get(id);
            if self.misses(seen.unwrap_or(&Seen::default()), earlier) {
                self.connectors.insert(id.clone(), earlier.clone());
            }
        }
        self
    }

    /// Says which files cannot be read and could be, or were not there, before.
    fn warn_since(&self, before: &Self) {
        for (path, reason) in &self.unreadable {
            if before.unreadable.get(path) != Some(reason) {
                warn!(%reason, "a file of connectors cannot be read; whatever it held goes on");
            }
        }
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

    /// Waits until something has changed, and until nobody is writing it any more, as far as that can be seen. A provider that cannot tell
    /// is asked again. May be cancelled: what was not returned comes with the next call.
    pub async fn changed(&mut self) -> Vec<Change> {
        loop {
            tokio::time::sleep(self.every).await;
            let Some(view) = self.look().await else {
                continue;
            };
            if view.shows_the_same(&self.seen) {
                continue;
            }
            let Some(view) = self.settled(view).await else {
                continue;
            };
            view.warn_since(&self.seen);
            let changes = view.changes_since(&self.seen);
            self.seen = view.completed(&self.seen);
            if !changes.is_empty() {
                return changes;
            }
        }
    }

    /// What a connector that has changed is to be now.
    pub fn wanted(&self, id: &Id) -> Wanted {
        let wanted = self.seen.wanted.get(id);
        wanted.cloned().unwrap_or(Wanted::Nothing)
    }

    /// What two looks in a row agree on.
    async fn settled(&mut self, mut view: View) -> Option<View> {
        for _ in 0..MOST_LOOKS {
            tokio::time::sleep(self.every.min(SETTLES_IN)).await;
            let again = self.look().await?;
            if again.shows_the_same(&view) {
                break;
            }
            view = again;
        }
        Some(view)
    }

    async fn look(&mut self) -> Option<View> {
        match self.provider.view().await {
            Ok(view) => {
                if std::mem::take(&mut self.is_failing) {
                    info!("connectors can be looked at for changes again");
                }
                Some(view)
            }
            Err(error) => {
                self.failed(&error);
                None
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
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Edited => "edited",
            Self::Removed => "removed",
            Self::Activated => "activated",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

fn held(version: &Version) -> Held {
    let values = serde_json::to_vec(version.document.values()).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&values);
    // What stands in another place can be what is wrong with it.
    for problem in &version.problems {
        hasher.update(problem.to_string().as_bytes());
    }
    Held {
        hash: hasher.finalize(),
        place: version.place.clone(),
    }
}

fn wanted(history: &History) -> BTreeMap<Id, Wanted> {
    let chosen = history.choose();
    let usable = chosen.connectors.into_iter();
    let usable = usable.map(|spec| (Id::of(&spec), Wanted::Usable(Box::new(spec))));
    let unusable = chosen.unusable.into_iter();
    let unusable = unusable.map(|it| (Id::of(&it.spec), Wanted::Unusable(Box::new(it))));
    usable.chain(unusable).collect()
}

fn unreadable(history: &History) -> BTreeMap<PathBuf, String> {
    let problems = history.unnamed.iter();
    let files = problems.filter_map(|problem| match &problem.origin {
        Origin::File { path, .. } => Some((Path::to_owned(path), problem.to_string())),
        Origin::Variable(_) => None,
    });
    files.fold(BTreeMap::new(), |mut first, (path, reason)| {
        first.entry(path).or_insert(reason);
        first
    })
}
