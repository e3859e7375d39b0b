//! What each connector is to be: [`Watch`] asks a provider again and again, and tells what it says now. `app` compares that with what
//! runs.
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
use crate::config::{History, Origin, Place, Unusable, spec};

/// What there is of each connector, as far as it could be read.
#[derive(Clone, Debug, Default)]
pub struct View {
    connectors: BTreeMap<Id, Seen>,
    /// Files of which nobody can tell whose versions they hold, and why.
    unreadable: BTreeMap<PathBuf, String>,
    /// Why no file was read at all.
    without_files: Option<String>,
}

#[derive(Clone, Debug)]
struct Seen {
    /// Where each version stands.
    places: BTreeMap<u32, Place>,
    wanted: Wanted,
}

/// What a connector is to be.
#[derive(Clone, Debug)]
pub enum Wanted {
    Usable(Box<spec::Connector>),
    Unusable(Box<Unusable>),
    /// There is no version of it.
    Nothing,
    /// A version of it cannot be read any more, for this reason. Nobody knows which one is active.
    Unknown(String),
}

/// Looks at a provider again and again.
pub struct Watch {
    provider: Arc<dyn Provider>,
    every: Duration,
    /// As it was last, and where what is missing now was last.
    seen: View,
    /// Of the files that cannot be read those that somebody was told of.
    told: BTreeMap<PathBuf, String>,
    is_failing: bool,
}

impl Wanted {
    /// Whether both ask for the same.
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Usable(one), Self::Usable(other)) => one.is_same_as(other),
            (Self::Unusable(one), Self::Unusable(other)) => {
                one.reason == other.reason && one.spec.is_same_as(&other.spec)
            }
            (Self::Nothing, Self::Nothing) => true,
            (Self::Unknown(one), Self::Unknown(other)) => one == other,
            _ => false,
        }
    }

    /// What it asks for, whether that can be had or not.
    pub fn spec(&self) -> Option<&spec::Connector> {
        match self {
            Self::Usable(spec) => Some(spec),
            Self::Unusable(unusable) => Some(&unusable.spec),
            Self::Nothing | Self::Unknown(_) => None,
        }
    }
}

impl View {
    pub(super) fn of(history: &History) -> Self {
        let mut connectors: BTreeMap<_, _> = wanted(history)
            .map(|(id, wanted)| {
                let places = BTreeMap::new();
                (id, Seen { places, wanted })
            })
            .collect();
        for version in &history.versions {
            if let Some(seen) = connectors.get_mut(&Id::of(&version.spec)) {
                let place = version.place.clone();
                seen.places.insert(version.spec.version, place);
            }
        }
        Self {
            connectors,
            unreadable: unreadable(history),
            without_files: None,
        }
    }

    /// The same, but that no file was read, for this reason.
    #[must_use]
    pub(super) fn without_files(mut self, reason: String) -> Self {
        self.without_files = Some(reason);
        self
    }

    /// Why a connector may only be missed, or the version of it that is the active one, and was in a file before.
    fn misses(&self, id: &Id, before: &Seen) -> Option<String> {
        if self.unreadable.is_empty() && self.without_files.is_none() {
            return None;
        }
        let now = self.connectors.get(id);
        let is_there = |version: &u32| now.is_some_and(|now| now.places.contains_key(version));
        let active = now.and_then(|now| now.wanted.spec());
        let active = active
            .map(|spec| spec.version)
            .filter(|version| is_there(version));
        let mut missing = before.places.iter().filter_map(|(version, place)| {
            let Place::File(path) = place else {
                return None;
            };
            // A lower one cannot be the active one in place of one that is there.
            let matters = active.is_none_or(|active| *version > active);
            (matters && !is_there(version)).then_some((version, path))
        });
        let (version, path) = missing.next()?;
        let reason = self.unreadable.get(path).or(self.without_files.as_ref());
        Some(reason.cloned().unwrap_or_else(|| {
            format!(
                "version {version} is not in {} any more, and may be in another file, which cannot be read: mend or remove that one",
                path.display()
            )
        }))
    }
}

impl Watch {
    /// Watches `provider`, which was looked at when there was `seen`.
    pub fn new(provider: Arc<dyn Provider>, every: Duration, seen: View) -> Self {
        Self {
            provider,
            every,
            told: seen.unreadable.clone(),
            seen,
            is_failing: false,
        }
    }

    /// From one look to the next.
    pub fn interval(&self) -> Duration {
        self.every
    }

    /// What each connector that there is, or may be, is to be now; `None` when the provider cannot tell.
    pub async fn look(&mut self) -> Option<BTreeMap<Id, Wanted>> {
        let mut view = match self.provider.view().await {
            Ok(view) => view,
            Err(error) => {
                self.failed(&error);
                return None;
            }
        };
        if std::mem::take(&mut self.is_failing) {
            info!("connectors can be looked at for changes again");
        }
        self.warn_of(&view.unreadable);
        let connectors = view.connectors.iter();
        let mut wanted: BTreeMap<_, _> = connectors
            .map(|(id, seen)| (id.clone(), seen.wanted.clone()))
            .collect();
        for (id, before) in std::mem::take(&mut self.seen.connectors) {
            if let Some(reason) = view.misses(&id, &before) {
                wanted.insert(id.clone(), Wanted::Unknown(reason));
                view.connectors.insert(id, before);
            }
        }
        self.seen = view;
        Some(wanted)
    }

    /// Says once which files cannot be read: at the second look, as one that is being written is whole soon.
    fn warn_of(&mut self, unreadable: &BTreeMap<PathBuf, String>) {
        self.told
            .retain(|path, reason| unreadable.get(path) == Some(reason));
        for (path, reason) in unreadable {
            let was_so = self.seen.unreadable.get(path) == Some(reason);
            if was_so && self.told.insert(path.clone(), reason.clone()).is_none() {
                warn!(%reason, "a file of connectors cannot be read; whatever it held goes on");
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

fn wanted(history: &History) -> impl Iterator<Item = (Id, Wanted)> {
    let chosen = history.choose();
    let usable = chosen.connectors.into_iter();
    let usable = usable.map(|spec| (Id::of(&spec), Wanted::Usable(Box::new(spec))));
    let unusable = chosen.unusable.into_iter();
    let unusable = unusable.map(|it| (Id::of(&it.spec), Wanted::Unusable(Box::new(it))));
    usable.chain(unusable)
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
