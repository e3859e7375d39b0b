//! The end of a sequence: everything flows once more and arrives, and nothing is left of its connectors. `main` calls it.

use std::collections::BTreeSet;

use iggy_connectors::{
    config::spec::Direction,
    supervisor::{Request, Status},
};
use reqwest::Method;
use serde_json::Value;

use super::{
    acts::{Candidate, Opens, Waits},
    harness::broker::eventually,
    subject::Subject,
    trial::Trial,
};

/// Messages that flow through everything when a sequence is over.
const MORE: u64 = 50;

impl Trial<'_> {
    /// Lets everything flow, removes the connectors, and sees that nothing of them is left.
    pub async fn end(mut self) {
        self.settle().await;
        for of in [Direction::Source, Direction::Sink] {
            self.mend(of).await;
        }
        self.settle().await;
        self.everything_arrives().await;
        self.remove().await;
        self.ground.end().await;
    }

    /// Whatever it is, it runs.
    async fn mend(&mut self, of: Direction) {
        let subject = self.of(of);
        for file in ["open_deed", "close_deed"] {
            subject.untell(file);
        }
        let model = &mut subject.model;
        model.opens = Opens::Well;
        let (version, active) = (model.version, model.active());
        match model.candidate() {
            Candidate::Unopenable(_) | Candidate::Disabled => {
                let version = self.store(of, Candidate::Good).await;
                self.activate(of, version, Waits::Yes).await;
            }
            // Nor does a restart take another.
            _ if version != active => self.choose(of, version).await,
            _ => {}
        }
        if self.of(of).model.expected() != Status::Running {
            // Also where an open hangs that was begun before.
            self.restart(of).await;
        }
    }

    /// The source ends, and what it has sent is in the ledger: once, in order, as long as no daemon was killed.
    async fn everything_arrives(&mut self) {
        // It is known only then how far it has come.
        self.request(Direction::Source, Request::Pause).await;
        self.settle().await;
        let [_, source] = &self.subjects;
        let acked = source.lines("acked");
        let last = acked.last().and_then(|line| line.split(' ').next());
        let until = last.map_or(0, |last| last.parse::<u64>().unwrap()) + MORE;
        source.tell("until", &until.to_string());
        self.request(Direction::Source, Request::Resume).await;
        let [sink, _] = &self.subjects;
        let written = || {
            let lines = sink.lines("ledger");
            let numbers = lines.iter().filter_map(|line| line.split(' ').nth(3));
            numbers
                .map(|number| number.parse().unwrap())
                .collect::<Vec<u64>>()
        };
        eventually(Some(until - 1), async || written().last().copied()).await;
        let mut written = written();
        if self.repeats {
            written.sort_unstable();
            written.dedup();
        }
        assert!(written.iter().copied().eq(0..until), "{written:?}");
    }

    /// What is to run is not removed.
    async fn remove(&mut self) {
        for of in [Direction::Source, Direction::Sink] {
            self.request(of, Request::Stop).await;
            let version = self.store(of, Candidate::Disabled).await;
            self.choose(of, version).await;
        }
        self.settle().await;
        for Subject { path, .. } in &self.subjects {
            let configs = format!("{path}/configs");
            let (status, answer) = self
                .ground
                .daemon
                .send(Method::DELETE, &configs, None)
                .await;
            assert_eq!(status, 204, "{answer}");
            let (status, _) = self.ground.daemon.send(Method::GET, path, None).await;
            assert_eq!(status, 404, "it is gone");
        }
        assert_eq!(self.ground.lifecycle(), Vec::<Value>::new());
        assert_eq!(self.ground.choices(), BTreeSet::new());
    }
}
