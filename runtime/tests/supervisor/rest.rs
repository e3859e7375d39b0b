//! Whenever a daemon comes to rest it is held against the model: what it shows, what it keeps on disk, who is connected to the broker
//! and which instances are open. `trial` calls it.

use std::time::Duration;

use iggy_connectors::config::spec::Direction;
use tokio::time::{Instant, sleep};

use super::{
    acts::Opens,
    harness::{broker::PATIENCE, daemon::Daemon},
    subject::Subject,
    trial::Trial,
};

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
                    "{instances} instances, {members} members, {shown}; expected {expected:?}"
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

    /// The versions that there are, and which of them the next start takes, on disk and over the API.
    pub(super) async fn choices_differ(&mut self) -> Option<String> {
        let (files, choices) = (self.ground.versions(), self.ground.choices());
        let expected = self.subjects.iter().flat_map(Subject::versions);
        if !expected.eq(files.iter().cloned()) {
            return Some(format!("versions {files:?}"));
        }
        let expected = self.subjects.iter().filter_map(Subject::choice);
        if !expected.eq(choices.iter().cloned()) {
            return Some(format!("choices {choices:?}"));
        }
        for subject in &mut self.subjects {
            // All documents are much to show again and again.
            let wanted = (subject.model.versions.len(), subject.model.active());
            if subject.shown != Some(wanted) {
                let shown = shown(&self.ground.daemon, &subject.path).await;
                if shown != wanted {
                    return Some(format!("{} versions, active {}", shown.0, shown.1));
                }
                subject.shown = Some(wanted);
            }
        }
        None
    }

    /// What operators want is on disk when they are told that it is.
    pub(super) fn assert_kept(&self) {
        let expected = self.subjects.iter().filter_map(Subject::kept);
        assert_eq!(self.ground.lifecycle(), expected.collect::<Vec<_>>());
    }
}

/// How many versions the API shows, and which is active.
async fn shown(daemon: &Daemon, path: &str) -> (usize, u32) {
    let shown = daemon.get(&format!("{path}/configs")).await;
    let shown = shown.as_array().unwrap();
    let active = shown.iter().find(|version| version["active"] == true);
    let active = active.and_then(|version| version["version"].as_u64());
    (shown.len(), u32::try_from(active.unwrap()).unwrap())
}
