//! Callsites made while running: [`Site`].
//!
//! `tracing` wants each callsite to be static, with its target and the names of its fields; that is what filters such as `RUST_LOG` and
//! what formatters work with. So each place in a plugin that logs gets one of its own here, the first time, for ever. A plugin has
//! few of them; one that makes up targets without end is bounded by [`MOST_SITES`].

use std::{
    collections::HashMap,
    sync::{
        OnceLock, PoisonError, RwLock,
        atomic::{AtomicU8, Ordering},
    },
};

use tracing::{
    Callsite, Level, Metadata,
    callsite::{self, Identifier},
    dispatcher,
    field::FieldSet,
    metadata::Kind,
    subscriber::Interest,
};

/// Most callsites that are made for plugins; further ones share one for each level and set of fields.
const MOST_SITES: usize = 4096;
/// The target of lines that share a callsite.
pub(super) const SHARED_TARGET: &str = "iggy_connectors::plugin";

static SITES: RwLock<Option<HashMap<Key<'static>, &'static Site>>> = RwLock::new(None);

/// What tells callsites apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) file: &'a str,
    pub(super) line: u32,
    pub(super) names: &'a [&'a str],
}

/// A callsite.
pub(super) struct Site {
    /// Set before anybody else sees the site: the metadata refers to the site itself.
    metadata: OnceLock<Metadata<'static>>,
    interest: AtomicU8,
}

const NEVER: u8 = 0;
const SOMETIMES: u8 = 1;
const ALWAYS: u8 = 2;

impl Site {
    /// The callsite for `key`, or `None` when there are too many to make another.
    pub(super) fn get(key: &Key<'_>) -> Option<&'static Self> {
        if let Some(site) = find(key) {
            return Some(site);
        }
        let full = count() >= MOST_SITES && key.target != SHARED_TARGET;
        (!full).then(|| Self::make(key))
    }

    /// The callsite that stands for everything of a level and target, to ask whether it is enabled.
    pub(super) fn of_target(level: Level, target: &str) -> &'static Self {
        let key = |target| Key {
            level,
            target,
            file: "",
            line: 0,
            names: &[],
        };
        Self::get(&key(target)).unwrap_or_else(|| Self::make(&key(SHARED_TARGET)))
    }

    /// Makes a callsite and lets every subscriber know it. Two threads may make the same one; then the first is kept.
    fn make(key: &Key<'_>) -> &'static Self {
        if let Some(site) = find(key) {
            return site;
        }
        let key = Key {
            level: key.level,
            target: leak(key.target),
            file: leak(key.file),
            line: key.line,
            names: key
                .names
                .iter()
                .map(|name| leak(name))
                .collect::<Vec<_>>()
                .leak(),
        };
        let site: &'static Self = Box::leak(Box::new(Self {
            metadata: OnceLock::new(),
            interest: AtomicU8::new(NEVER),
        }));
        site.metadata.get_or_init(|| {
            Metadata::new(
                "plugin event",
                key.target,
                key.level,
                (!key.file.is_empty()).then_some(key.file),
                (key.line > 0).then_some(key.line),
                None,
                FieldSet::new(key.names, Identifier(site)),
                Kind::EVENT,
            )
        });
        // Subscribers are asked about the site here, hence before the lock.
        callsite::register(site);
        let mut sites = SITES.write().unwrap_or_else(PoisonError::into_inner);
        sites.get_or_insert_default().entry(key).or_insert(site)
    }

    /// Whether a line of this site would be logged by somebody.
    pub(super) fn is_enabled(&'static self) -> bool {
        match self.interest.load(Ordering::Relaxed) {
            NEVER => false,
            ALWAYS => true,
            _ => dispatcher::get_default(|subscriber| subscriber.enabled(self.metadata())),
        }
    }

    pub(super) fn metadata(&'static self) -> &'static Metadata<'static> {
        self.metadata
            .get()
            .expect("it is set before the site is shared")
    }
}

impl Callsite for Site {
    fn set_interest(&self, interest: Interest) {
        let interest = match () {
            () if interest.is_never() => NEVER,
            () if interest.is_always() => ALWAYS,
            () => SOMETIMES,
        };
        self.interest.store(interest, Ordering::Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata
            .get()
            .expect("it is set before the site is shared")
    }
}

fn find(key: &Key<'_>) -> Option<&'static Site> {
    let sites = SITES.read().unwrap_or_else(PoisonError::into_inner);
    // A map of keys that live for ever is as well one of keys that live as long as this one.
    let sites: &HashMap<Key<'_>, &'static Site> = sites.as_ref()?;
    sites.get(key).copied()
}

fn count() -> usize {
    let sites = SITES.read().unwrap_or_else(PoisonError::into_inner);
    sites.as_ref().map_or(0, HashMap::len)
}

fn leak(text: &str) -> &'static str {
    String::from(text).leak()
}
