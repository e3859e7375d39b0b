//! What is done at a look about connectors that are disabled, so that no plugin is needed.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::{
    config::{self, Loaded, spec::Direction},
    plugin,
    provider::Wanted,
    state,
    supervisor::{Host, Request},
};

/// One version of the connector `k`.
pub(super) fn connector(dir: &Path, version: u32, keys: &str) -> spec::Connector {
    loaded(dir, version, keys).connectors.remove(0)
}

fn loaded(dir: &Path, version: u32, keys: &str) -> Loaded {
    let file = dir.join("config.toml");
    let text = format!(
        "[sinks.k]\npath = \"none\"\nenabled = false\nversion = {version}\n{keys}\n\
         [[sinks.k.streams]]\nstream = \"s\"\ntopics = [\"t\"]\n"
    );
    std::fs::write(&file, text).unwrap();
    config::load(Some(&file)).unwrap()
}

struct Site {
    dir: TempDir,
    follower: Follower,
    id: Id,
}

impl Site {
    /// With version 0 of the connector.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let Loaded {
            runtime,
            secrets,
            mut connectors,
            ..
        } = loaded(dir.path(), 0, "");
        let state = dir.path().join("state");
        let host = Host {
            iggy: runtime.iggy,
            state: state::Folder::open(&state).unwrap(),
            plugins: plugin::Registry::new(&state, 1).unwrap(),
            search_paths: vec![],
            secrets,
        };
        let supervisor = Supervisor::new(Arc::new(host)).unwrap();
        supervisor.add(connectors.remove(0)).unwrap();
        Self {
            dir,
            follower: Follower {
                connectors: supervisor,
                steps: Steps::default(),
                applying: JoinSet::new(),
            },
            id: Id::new(Direction::Sink, "k").unwrap(),
        }
    }

    fn version(&self, version: u32) -> spec::Connector {
        connector(self.dir.path(), version, "")
    }

    fn handle(&self) -> Handle {
        let found = self.follower.connectors.find(Direction::Sink, "k");
        found.unwrap()
    }

    /// Looks while `meanwhile` happens. Returns how many attempts were begun.
    fn looks(&mut self, wanted: Option<&spec::Connector>, meanwhile: impl FnOnce(&Self)) -> usize {
        let before = self.follower.standing();
        meanwhile(self);
        let spec = wanted.map(|spec| Wanted::Usable(Box::new(spec.clone())));
        let wanted = spec.map(|wanted| (self.id.clone(), wanted));
        let begun = self.follower.applying.len();
        self.follower.compare(&before, wanted.into_iter().collect());
        self.follower.applying.len() - begun
    }

    fn looks_twice(&mut self, wanted: Option<&spec::Connector>) -> usize {
        self.looks(wanted, |_| {}) + self.looks(wanted, |_| {})
    }
}

#[tokio::test]
async fn what_is_as_it_is_to_be_is_left_alone() {
    let mut site = Site::new();
    let same = site.version(0);
    assert_eq!(site.looks_twice(Some(&same)), 0);
    let other = site.version(1);
    assert_eq!(
        site.looks(Some(&other), |_| {}),
        0,
        "it may be being written"
    );
    assert_eq!(site.looks(Some(&same), |_| {}), 0);
    assert_eq!(site.looks(Some(&other), |_| {}), 0);
    assert_eq!(site.looks(Some(&other), |_| {}), 1);
    assert_eq!(site.looks_twice(Some(&other)), 0, "it is being applied");
}

#[tokio::test]
async fn one_that_is_not_wanted_any_more_is_removed_and_comes_back() {
    let mut site = Site::new();
    assert_eq!(site.looks_twice(None), 1);
    site.follower.applying.join_next().await.unwrap().unwrap();
    assert!(site.follower.connectors.all().is_empty());
    assert_eq!(site.looks_twice(None), 0);
    let back = site.version(0);
    assert_eq!(site.looks_twice(Some(&back)), 1);
    site.follower.applying.join_next().await.unwrap().unwrap();
    assert!(site.handle().spec().is_same_as(&back));
}

#[tokio::test]
async fn what_a_look_says_that_began_before_a_decision_is_not_applied() {
    let mut site = Site::new();
    let other = site.version(1);
    assert_eq!(site.looks(Some(&other), |_| {}), 0);
    let decides = |site: &Site| {
        let decision = site.handle().decide();
        decision.ends_with(site.version(2));
    };
    assert_eq!(site.looks(Some(&other), decides), 0);
    let decision = site.handle().decide();
    assert_eq!(site.looks_twice(Some(&other)), 0, "it is being decided");
    drop(decision);
    assert_eq!(site.looks_twice(Some(&other)), 1);
}

#[tokio::test]
async fn what_a_look_says_that_began_before_one_was_removed_or_added_is_not_applied() {
    let mut site = Site::new();
    let removed = site.follower.standing();
    let supervisor = site.follower.connectors.clone();
    supervisor.remove(Direction::Sink, "k").await.unwrap();
    let back = site.version(0);
    let wanted = |site: &Site| {
        let wanted = Wanted::Usable(Box::new(site.version(0)));
        BTreeMap::from([(site.id.clone(), wanted)])
    };
    for _ in 0..2 {
        site.follower.compare(&removed, wanted(&site));
    }
    assert!(site.follower.applying.is_empty());
    assert_eq!(site.looks(None, |_| {}), 0);
    let adds = |_: &Site| drop(supervisor.add(back.clone()).unwrap());
    assert_eq!(site.looks(None, adds), 0);
    assert_eq!(site.looks(None, |_| {}), 0);
    assert_eq!(site.looks(None, |_| {}), 1, "now nobody wants it");
}

#[tokio::test]
async fn a_recorded_choice_is_left_alone_until_something_else_is_wanted() {
    let mut site = Site::new();
    let (same, recorded) = (site.version(0), site.version(1));
    let records = |site: &Site| site.handle().decide().ends_with(site.version(1));
    // The look may have begun before it was recorded or after.
    assert_eq!(site.looks(Some(&same), records), 0);
    assert_eq!(site.looks_twice(Some(&recorded)), 0);
    assert_eq!(site.looks_twice(Some(&same)), 0);
    assert_eq!(site.looks_twice(Some(&recorded)), 1, "it was chosen anew");

    let mut site = Site::new();
    records(&site);
    let (recorded, other) = (site.version(1), site.version(2));
    assert_eq!(site.looks_twice(Some(&recorded)), 0);
    assert_eq!(site.looks_twice(Some(&other)), 1);
}

#[tokio::test]
async fn a_recorded_choice_waits_for_a_command_after_which_it_begins_anew() {
    for (request, begun) in [
        (Request::Stop, 1),
        (Request::Restart, 1),
        (Request::Start, 1),
        (Request::Pause, 0),
    ] {
        let mut site = Site::new();
        let handle = site.handle();
        if request == Request::Pause {
            // What is stopped cannot be paused.
            handle.request(Request::Start).await.unwrap();
        }
        handle.decide().ends_with(site.version(1));
        handle.request(request).await.unwrap();
        let recorded = site.version(1);
        assert_eq!(site.looks_twice(Some(&recorded)), begun, "{request:?}");
    }
}
