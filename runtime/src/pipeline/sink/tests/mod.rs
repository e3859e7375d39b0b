//! The loop of a sink against fakes: what is handed over, flushed, settled, stored and counted, in which order.

mod at_most_once;
mod attempts;
mod flushes;
mod lanes;
mod order;
mod policy;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use iggy_connector_message::Schema;
use iggy_connector_transform::Chain;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Input, Sink, refused::original};
use crate::{
    config::spec::{self, Delivery, Direction, OnFailure},
    pipeline::{
        Batch, Consumed, Consumer, Counts, Failed, Failure, FailureKind, Fetched, FlushRequest,
        Handout, Message, Monitor, Partition, Position, Rank, SinkPlugin, Stages,
        fakes::{Journal, add_hello, dead_letter_topic, note, on_invalid, policy, topic},
    },
};

type Outcome = Result<Consumed, Failure>;

/// What the consumer does, one after another.
enum Step {
    /// A batch of this partition.
    Batch(u32, Vec<&'static str>),
    Lost(u32),
    Wait(Duration),
    /// Writes into the journal.
    Note(&'static str),
    Pause,
    Stop,
}

/// Does what its steps say, and journals what is stored.
struct Script {
    steps: Vec<Step>,
    journal: Journal,
    pausing: CancellationToken,
    /// Ends with this instead of waiting for the stop.
    ends_with: Option<Failure>,
}

impl Consumer for Script {
    async fn run(
        self,
        batches: mpsc::Sender<Handout>,
        mut settled: mpsc::Receiver<Position>,
        _most: usize,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let mut offsets: BTreeMap<u32, u64> = BTreeMap::new();
        for step in self.steps {
            let done = async {
                let handout = match step {
                    Step::Batch(partition, payloads) => {
                        let offset = offsets.entry(partition).or_default();
                        Handout::Batch(fetched(partition, offset, &payloads))
                    }
                    Step::Lost(id) => Handout::Lost(Partition { topic: topic(), id }),
                    Step::Wait(time) => return sleep(time).await,
                    Step::Note(what) => return note(&self.journal, what),
                    Step::Pause => return self.pausing.cancel(),
                    Step::Stop => return stop.cancel(),
                };
                drop(batches.send(handout).await);
            };
            storing(&self.journal, &mut settled, done).await;
        }
        if let Some(failure) = self.ends_with {
            return Err(failure);
        }
        let ended = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = batches.closed() => {}
            }
        };
        storing(&self.journal, &mut settled, ended).await;
        drop(batches);
        while let Some(position) = settled.recv().await {
            store(&self.journal, &position);
        }
        Ok(())
    }
}

/// Journals what is stored until `done`.
async fn storing(
    journal: &Journal,
    settled: &mut mpsc::Receiver<Position>,
    done: impl Future<Output = ()>,
) {
    let mut done = std::pin::pin!(done);
    loop {
        tokio::select! {
            biased;
            Some(position) = settled.recv() => store(journal, &position),
            () = &mut done => return,
        }
    }
}

fn store(journal: &Journal, position: &Position) {
    let of = of(position.partition_id);
    note(journal, format!("store{of} {}", position.offset));
}

fn fetched(partition_id: u32, offset: &mut u64, payloads: &[&'static str]) -> Fetched {
    let messages = payloads.iter().map(|payload| {
        *offset += 1;
        message(*offset - 1, payload)
    });
    Fetched {
        input: 0,
        topic: topic(),
        partition_id,
        current_offset: 99,
        messages: messages.collect(),
        expired: 0,
        epoch: 1,
    }
}

fn message(offset: u64, payload: &'static str) -> Message {
    Message {
        id: u128::from(offset),
        offset,
        checksum: 0,
        timestamp: 1,
        origin_timestamp: 1,
        headers: Bytes::new(),
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

/// How a partition is journaled: the first one not at all.
fn of(partition: u32) -> String {
    match partition {
        0 => String::new(),
        partition => format!("@{partition}"),
    }
}

/// How a consume goes.
enum Answer {
    Now(Outcome),
    After(Duration, Outcome),
    /// When it is flushed.
    Flushed(Outcome),
    /// Only by being cancelled.
    Never,
}

/// Each at once.
fn answers(outcomes: Vec<Outcome>) -> Vec<Answer> {
    outcomes.into_iter().map(Answer::Now).collect()
}

/// Answers from a script, then always with success: at once, or when it is flushed. Stops the run after as many calls as it is told.
struct Plugin {
    answers: Mutex<VecDeque<Answer>>,
    buffers: bool,
    held: Mutex<Vec<(u32, Outcome, oneshot::Sender<Outcome>)>>,
    flushes: Mutex<VecDeque<Result<(), Failure>>>,
    flushed_at: Mutex<Vec<Instant>>,
    /// How each consume was said to stand.
    ranks: Mutex<Vec<Rank>>,
    has_cancelled: Mutex<bool>,
    journal: Journal,
    stop: CancellationToken,
    stop_after: Mutex<usize>,
}

/// Journals a call that is dropped before it has ended.
struct Cancelled<'a>(&'a Plugin, String, bool);

impl Drop for Cancelled<'_> {
    fn drop(&mut self) {
        if !self.2 {
            note(&self.0.journal, format!("cancel{}", self.1));
            *self.0.has_cancelled.lock().unwrap() = true;
        }
    }
}

impl Plugin {
    fn next(&self) -> Answer {
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or(match self.buffers {
            true => Answer::Flushed(Ok(Consumed::default())),
            false => Answer::Now(Ok(Consumed::default())),
        })
    }

    fn count(&self) {
        let mut left = self.stop_after.lock().unwrap();
        *left -= 1;
        if *left == 0 {
            self.stop.cancel();
        }
    }
}

impl SinkPlugin for Plugin {
    async fn consume(&self, batch: Arc<Batch>, rank: Rank) -> Outcome {
        self.ranks.lock().unwrap().push(rank);
        let payloads = batch
            .messages
            .iter()
            .map(|message| String::from_utf8_lossy(&message.payload).into_owned());
        let payloads = payloads.collect::<Vec<_>>().join(" ");
        let what = format!("{} {payloads}", of(batch.partition_id));
        note(&self.journal, format!("consume{what}"));
        self.count();
        let mut call = Cancelled(self, what, false);
        let outcome = match self.next() {
            Answer::Now(outcome) => outcome,
            Answer::After(time, outcome) => {
                sleep(time).await;
                outcome
            }
            Answer::Flushed(outcome) => {
                let (ended, end) = oneshot::channel();
                let held = (batch.partition_id, outcome, ended);
                self.held.lock().unwrap().push(held);
                end.await.unwrap()
            }
            Answer::Never => std::future::pending().await,
        };
        call.2 = true;
        outcome
    }

    async fn drain(&self) -> Result<(), Failure> {
        // Only where something was cancelled: a run asks at its beginning, too.
        if std::mem::take(&mut *self.has_cancelled.lock().unwrap()) {
            note(&self.journal, "drain");
        }
        Ok(())
    }

    async fn flush(&self, request: FlushRequest) -> Result<(), Failure> {
        let partition = request.partition.map(|partition| partition.id);
        let of = partition
            .map(of)
            .unwrap_or_else(|| " everything".to_owned());
        note(&self.journal, format!("flush{of} {:?}", request.reason));
        self.flushed_at.lock().unwrap().push(Instant::now());
        let next = self.flushes.lock().unwrap().pop_front();
        next.unwrap_or(Ok(()))?;
        let mut held = self.held.lock().unwrap();
        for (of, outcome, ended) in std::mem::take(&mut *held) {
            match partition.is_none_or(|partition| partition == of) {
                // It may have been cancelled meanwhile.
                true => drop(ended.send(outcome)),
                false => held.push((of, outcome, ended)),
            }
        }
        Ok(())
    }
}

struct Run {
    result: Result<(), Failure>,
    journal: Vec<String>,
    counts: Counts,
    /// When it was flushed, since the beginning.
    flushed_after: Vec<Duration>,
    ranks: Vec<Rank>,
}

struct Case {
    /// Of the first partition, before the steps.
    batches: Vec<Vec<&'static str>>,
    steps: Vec<Step>,
    answers: Vec<Answer>,
    /// Whether the plugin completes only what was flushed.
    buffers: bool,
    flushes: Vec<Result<(), Failure>>,
    calls: usize,
    transforms: Chain,
    errors: spec::Errors,
    ends_with: Option<Failure>,
    max_attempts: u32,
    dead_letter_failures: Vec<Failure>,
    delivery: Delivery,
    max_unsettled: u32,
    max_in_flight: u32,
    batch_timeout: Duration,
    pausing: CancellationToken,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            batches: vec![vec!["1", "2", "3"]],
            steps: Vec::new(),
            answers: Vec::new(),
            buffers: false,
            flushes: Vec::new(),
            calls: 1,
            transforms: Chain::default(),
            errors: spec::Errors::default(),
            dead_letter_failures: Vec::new(),
            ends_with: None,
            max_attempts: 0,
            delivery: Delivery::AtLeastOnce,
            max_unsettled: 1,
            max_in_flight: 1,
            batch_timeout: Duration::ZERO,
            pausing: CancellationToken::new(),
        }
    }
}

impl Case {
    /// A case in which the steps say when it stops.
    fn of(steps: Vec<Step>) -> Self {
        Self {
            batches: Vec::new(),
            steps,
            calls: usize::MAX,
            ..Self::default()
        }
    }
}

/// A batch of one message of the first partition.
fn one(payload: &'static str) -> Step {
    Step::Batch(0, vec![payload])
}

/// Long enough for everything.
fn wait() -> Step {
    Step::Wait(Duration::from_secs(600))
}

async fn run(case: Case) -> Run {
    let journal = Journal::default();
    let stop = CancellationToken::new();
    let plugin = Plugin {
        answers: Mutex::new(case.answers.into()),
        buffers: case.buffers,
        held: Mutex::default(),
        flushes: Mutex::new(case.flushes.into()),
        flushed_at: Mutex::default(),
        ranks: Mutex::default(),
        has_cancelled: Mutex::default(),
        journal: journal.clone(),
        stop: stop.clone(),
        stop_after: Mutex::new(case.calls),
    };
    let batches = case.batches.into_iter();
    let consumer = Script {
        steps: batches
            .map(|payloads| Step::Batch(0, payloads))
            .chain(case.steps)
            .collect(),
        journal: journal.clone(),
        pausing: case.pausing.clone(),
        ends_with: case.ends_with,
    };
    let monitor = Monitor::new(Direction::Sink, "tested".into());
    let inputs = [Input {
        stages: Stages::of_sink(Schema::Json, case.transforms).unwrap(),
        batch_timeout: case.batch_timeout,
    }];
    let dead_letters = dead_letter_topic(case.dead_letter_failures, &journal);
    let sink = Sink {
        plugin: &plugin,
        inputs: &inputs,
        policy: policy(case.errors, case.max_attempts, &dead_letters, &monitor),
        delivery: case.delivery,
        max_unsettled: case.max_unsettled,
        max_in_flight: case.max_in_flight,
        pausing: case.pausing,
        verbose: false,
        benchmark: false,
        monitor: &monitor,
    };
    let began = Instant::now();
    let result = sink.run(consumer, &stop).await;
    let counts = monitor.counters.read();
    assert_eq!(
        counts.consumed,
        counts.processed + counts.filtered + counts.failed,
        "{counts:?}"
    );
    let journal = journal.lock().unwrap().clone();
    let flushed_at = plugin.flushed_at.lock().unwrap();
    Run {
        result,
        journal,
        counts,
        flushed_after: flushed_at.iter().map(|at| *at - began).collect(),
        ranks: plugin.ranks.lock().unwrap().clone(),
    }
}

fn failing(failed: impl IntoIterator<Item = (usize, FailureKind)>) -> Outcome {
    let failed = failed.into_iter().map(|(index, kind)| Failed {
        index,
        kind,
        message: "no".to_owned(),
    });
    Ok(Consumed {
        failed: failed.collect(),
        retry_after: None,
    })
}

fn busy() -> Outcome {
    Err(Failure::transient("busy"))
}

fn fine() -> Outcome {
    Ok(Consumed::default())
}
