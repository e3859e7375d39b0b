//! Whenever a daemon comes to rest it is held against the model: what it shows, what it keeps on disk, who is connected to the broker
//! and which instances are open. `trial` calls it.

use std::{collections::BTreeSet, time::Duration};

use iggy_connectors::config::spec::Direction;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{acts::Opens, harness::broker::PATIENCE, subject::Subject, trial::Trial};

/// How often a daemon that is at rest is looked at before it is believed.
const LOOKS: u32 = 2;

impl Trial<'_> {
    /// Waits until both connectors have come to rest where the model says that they do.
    pub(super) async fn settle(&mut self) {
        self.concluded(Direction::Sink).await;
        self.concluded(Direction::Source).await;
        let deadline = Instant::now() + PATIENCE;
        let mut looks = 0;
        while looks < LOOKS {
            let difference = match self.difference().await {
                None if looks + 1 == LOOKS => self.choices_differ().await,
                difference => difference,
            };
            match difference {
                None => looks += 1,
                Some(difference) => {
                    looks = 0;
                    assert!(
                        Instant::now() < deadline,
                        "{difference}\n{:?}\n{}",
                        self.subjects.each_ref().map(|subject| &subject.model),
                        self.ground.log()
                    );
                    sleep(Duration::from_millis(2)).await;
                }
            }
        }
        self.has_restarted = false;
        for subject in &mut self.subjects {
            let is_told = subject.is_told("open_deed");
            let opens = match subject.model.opens {
                Opens::Badly(..) if !is_told => Opens::Well,
                opens => opens,
            };
            let open = subject.instances();
            subject.model.rests(open, opens);
        }
    }

    /// In what the daemon is not as the model says, if in anything.
    async fn difference(&self) -> Option<String> {
        for subject in &self.subjects {
            let shown = self.ground.daemon.get(&subject.path).await;
            let expected = subject.model.expected();
            let instances = subject.instances();
            let members = match subject.model.direction {
                Direction::Sink => self.ground.topic.members(&subject.key).await,
                Direction::Source => 0,
            };
            // With another attempt to come it is not at rest.
            let is_so = shown["status"] == expected.name()
                && shown.get("next_restart_at").is_none()
                && shown["config_version"] == subject.model.version
                && subject.model.instances().contains(&instances)
                && members == subject.model.members();
            if !is_so {
                return Some(format!(
                    "{} instances, {members} members, {shown}; expected {expected:?}",
                    instances
                ));
            }
        }
        let connections = self.ground.connections().await;
        let expected = self
            .subjects
            .each_ref()
            .map(|subject| subject.model.connections());
        let (least, most) = expected.iter().fold((0, 0), |(least, most), one| {
            (least + one.start(), most + one.end())
        });
        if !(least..=most).contains(&connections) {
            return Some(format!("{connections} connections; expected {expected:?}"));
        }
        None
    }

    /// The versions that there are, and which of them the next start takes, in the file and over the API.
    pub(super) async fn choices_differ(&self) -> Option<String> {
        let kept = self.ground.choices();
        for Subject { model, path, .. } in &self.subjects {
            let shown = self.ground.daemon.get(&format!("{path}/configs")).await;
            let shown = shown.as_array().unwrap();
            let number = |version: &Value| u32::try_from(version["version"].as_u64().unwrap());
            let versions: BTreeSet<_> = shown.iter().map(|one| number(one).unwrap()).collect();
            let active = shown.iter().find(|version| version["active"] == true);
            let active = active.map(|version| number(version).unwrap());
            if !model.versions.keys().eq(&versions) || active != Some(model.active()) {
                return Some(format!("versions {versions:?}, active {active:?}"));
            }
        }
        let expected = self.subjects.iter().filter_map(|subject| {
            Some(format!(
                "{}\nversion = {}",
                subject.heading(),
                subject.model.chosen?
            ))
        });
        let expected: BTreeSet<_> = expected.collect();
        (kept != expected).then(|| format!("choices {kept:?}; expected {expected:?}"))
    }

    /// What operators want is on disk when they are told that it is.
    pub(super) fn assert_kept(&self) {
        let expected = self.subjects.iter().filter_map(Subject::kept);
        assert_eq!(self.ground.lifecycle(), expected.collect::<Vec<_>>());
    }
}
