//! The loop of a source against fakes: what is sent, saved, settled and counted, in which order.

mod at_most_once;
mod attempts;
mod invalid;
mod order;
mod polls;
mod routes;

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use bytes::Bytes;
use iggy_connector_message::Schema;
use iggy_connector_transform::Chain;
use tokio_util::sync::CancellationToken;

use super::{DRAIN, Output, Source, save};
use crate::{
    config::spec::{self, Delivery, Direction},
    pipeline::{
        Counts, Failure, FailureKind, Monitor, Polled, Produced, Settlement, SourcePlugin, Stages,
        StateStore,
        fakes::{Journal, Topics, dead_letter_topic, note, policy, topic},
    },
};

/// Offers batches from a script, then waits for the stop.
struct Script {
    polls: Mutex<VecDeque<Result<Polled, Failure>>>,
    /// After these a drain waits.
    drains: Mutex<VecDeque<Result<Polled, Failure>>>,
    settle_failures: Mutex<VecDeque<Failure>>,
    journal: Journal,
    stop: CancellationToken,
}

impl SourcePlugin for Script {
    async fn poll(&self, stop: &CancellationToken) -> Result<Polled, Failure> {
        let next = self.polls.lock().unwrap().pop_front();
        match next {
            Some(polled) => polled,
            None => {
                self.stop.cancel();
                stop.cancelled().await;
                Err(Failure::new(FailureKind::Cancelled, "stopped"))
            }
        }
    }

    async fn drain(&self, stop: &CancellationToken) -> Result<Polled, Failure> {
        assert!(self.stop.is_cancelled(), "it is drained after the stop");
        note(&self.journal, "drain");
        let next = self.drains.lock().unwrap().pop_front();
        // What goes on for ever takes time.
        tokio::time::sleep(Duration::from_millis(10)).await;
        match next {
            Some(polled) => polled,
            None => {
                stop.cancelled().await;
                Err(Failure::new(FailureKind::Cancelled, "stopped"))
            }
        }
    }

    async fn settle(&self, poll: u64, settlement: Settlement) -> Result<(), Failure> {
        note(&self.journal, format!("settle {poll} {settlement:?}"));
        self.settle_failures
            .lock()
            .unwrap()
            .pop_front()
            .map_or(Ok(()), Err)
    }
}

struct Saved {
    /// A hung one never ends.
    failures: Mutex<VecDeque<Failure>>,
    journal: Journal,
}

impl StateStore for Saved {
    async fn save(&self, state: Bytes) -> Result<(), Failure> {
        note(
            &self.journal,
            format!("save {}", String::from_utf8_lossy(&state)),
        );
        let failure = self.failures.lock().unwrap().pop_front();
        match failure {
            Some(failure) if failure.kind == FailureKind::Hung => std::future::pending().await,
            failure => failure.map_or(Ok(()), Err),
        }
    }
}

fn polled(poll: u64, payloads: &[&'static str]) -> Polled {
    let message = |payload: &&'static str| Produced {
        payload: Bytes::from_static(payload.as_bytes()),
        ..Produced::default()
    };
    Polled {
        poll,
        schema: Schema::Json,
        messages: payloads.iter().map(message).collect(),
        state: Some(Bytes::from(format!("after {poll}"))),
        ended: false,
    }
}

#[derive(Default)]
struct Case {
    polls: Vec<Result<Polled, Failure>>,
    /// What it holds after the stop, if it can be drained.
    drains: Option<Vec<Result<Polled, Failure>>>,
    /// With how many messages are confirmed before each.
    send_failures: Vec<(usize, Failure)>,
    /// Payloads that Iggy would not take.
    refused: Vec<&'static str>,
    /// Payloads that it does not take, as it turns out.
    refused_when_sent: Vec<&'static str>,
    more_outputs: Vec<Output>,
    save_failures: Vec<Failure>,
    settle_failures: Vec<Failure>,
    dead_letter_failures: Vec<Failure>,
    transforms: Chain,
    errors: spec::Errors,
    max_attempts: u32,
    max_in_flight: u32,
    is_tried_once: bool,
}

/// Failures of sends that confirm nothing.
fn at_once(failures: impl IntoIterator<Item = Failure>) -> Vec<(usize, Failure)> {
    failures.into_iter().map(|failure| (0, failure)).collect()
}

async fn run(case: Case) -> (Result<(), Failure>, Vec<String>, Counts) {
    let journal = Journal::default();
    let stop = CancellationToken::new();
    let drains = case.drains.is_some();
    let plugin = Script {
        polls: Mutex::new(case.polls.into()),
        drains: Mutex::new(case.drains.into_iter().flatten().collect()),
        settle_failures: Mutex::new(case.settle_failures.into()),
        journal: journal.clone(),
        stop: stop.clone(),
    };
    let producer = Topics::confirming("send", case.send_failures, &journal)
        .refusing(case.refused, case.refused_when_sent);
    let store = Saved {
        failures: Mutex::new(case.save_failures.into()),
        journal: journal.clone(),
    };
    let monitor = Monitor::new(Direction::Source, "tested".into());
    let first = Output {
        topic: topic(),
        route: None,
        stages: Stages::of_source(Schema::Json, case.transforms).unwrap(),
    };
    let outputs: Vec<_> = [first].into_iter().chain(case.more_outputs).collect();
    let dead_letters = dead_letter_topic(case.dead_letter_failures, &journal);
    let mut source = Source {
        plugin: &plugin,
        state: &store,
        outputs: &outputs,
        delivery: match case.is_tried_once {
            true => Delivery::AtMostOnce,
            false => Delivery::AtLeastOnce,
        },
        poll_interval: Duration::from_millis(100),
        max_in_flight: case.max_in_flight,
        drains,
        policy: policy(case.errors, case.max_attempts, &dead_letters, &monitor),
        verbose: false,
        benchmark: false,
        monitor: &monitor,
    };
    let result = source.run(&producer, &stop).await;
    let counts = monitor.counters.read();
    assert_eq!(
        counts.produced,
        counts.sent + counts.filtered + counts.failed,
        "{counts:?}"
    );
    let journal = journal.lock().unwrap().clone();
    (result, journal, counts)
}
