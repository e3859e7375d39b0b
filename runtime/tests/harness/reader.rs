//! Runs a consumer as the pipeline does, with the test in the pipeline's place.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use iggy_connectors::{
    config::spec,
    pipeline::{Consumer as _, Failure, Fetched, Handout, Position, StateStore},
    stream,
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::broker::PATIENCE;

/// Batches of a partition that may be with a reader: more than any test leaves unsettled.
const MOST: usize = 1_000;

/// A consumer that is running.
pub struct Reader {
    batches: mpsc::Receiver<Handout>,
    /// Partitions that were said to be lost so far.
    pub lost: Vec<u32>,
    settled: mpsc::Sender<Position>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Failure>>,
}

impl Reader {
    pub async fn start(iggy: &spec::Iggy, inputs: &[spec::Input]) -> Self {
        Self::with_interval(iggy, inputs, Duration::from_millis(10)).await
    }

    pub async fn with_interval(
        iggy: &spec::Iggy,
        inputs: &[spec::Input],
        commit_interval: Duration,
    ) -> Self {
        let reading = stream::Reading {
            commit_interval,
            ..reading()
        };
        Self::with(iggy, inputs, reading).await
    }

    pub async fn with(iggy: &spec::Iggy, inputs: &[spec::Input], reading: stream::Reading) -> Self {
        let consumer = join(iggy, inputs, reading, &Saved::default()).await;
        Self::run(consumer.unwrap(), MOST)
    }

    /// Is given at most so many batches of a partition before it settles the first.
    pub async fn with_most(iggy: &spec::Iggy, inputs: &[spec::Input], most: usize) -> Self {
        let consumer = join(iggy, inputs, reading(), &Saved::default()).await;
        Self::run(consumer.unwrap(), most)
    }

    /// With what a sink has saved of its groups.
    pub async fn with_saved(iggy: &spec::Iggy, inputs: &[spec::Input], saved: &Saved) -> Self {
        let consumer = join(iggy, inputs, reading(), saved).await;
        Self::run(consumer.unwrap(), MOST)
    }

    fn run(consumer: stream::Consumer, most: usize) -> Self {
        let (fetched, batches) = mpsc::channel(1);
        let (settled, positions) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let task = tokio::spawn(consumer.run(fetched, positions, most, stop.clone()));
        Self {
            batches,
            lost: Vec::new(),
            settled,
            stop,
            task,
        }
    }

    pub async fn next(&mut self) -> Fetched {
        loop {
            let next = timeout(PATIENCE, self.batches.recv())
                .await
                .expect("a batch comes in time");
            match next {
                Some(Handout::Batch(fetched)) => return fetched,
                Some(Handout::Lost(partition)) => self.lost.push(partition.id),
                None => panic!("the consumer ended: {:?}", (&mut self.task).await),
            }
        }
    }

    /// The next batch if one comes within `time`.
    pub async fn next_within(&mut self, time: Duration) -> Option<Fetched> {
        timeout(time, self.next()).await.ok()
    }

    pub async fn settle(&self, fetched: &Fetched) {
        self.settled.send(position(fetched)).await.unwrap();
    }

    /// What positions are sent to.
    pub fn settling(&self) -> mpsc::Sender<Position> {
        self.settled.clone()
    }

    /// Takes and settles until so many messages were seen. Returns what there was, by partition.
    pub async fn take(&mut self, count: usize) -> HashMap<u32, Vec<String>> {
        let mut taken: HashMap<u32, Vec<String>> = HashMap::new();
        while taken.values().map(Vec::len).sum::<usize>() < count {
            let fetched = self.next().await;
            taken
                .entry(fetched.partition_id)
                .or_default()
                .extend(texts(&fetched));
            self.settle(&fetched).await;
        }
        taken
    }

    /// Stops as the pipeline does: nothing more is taken, what is settled is stored.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        drop((self.batches, self.settled));
        ended(self.task).await
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Result<(), Failure> {
        while timeout(PATIENCE, self.batches.recv())
            .await
            .expect("it ends in time")
            .is_some()
        {}
        drop(self.settled);
        ended(self.task).await
    }

    /// Ends without any goodbye.
    pub async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// No more batches are taken.
    pub async fn close(self) -> Result<(), Failure> {
        drop((self.batches, self.settled));
        ended(self.task).await
    }
}

async fn ended(task: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    timeout(PATIENCE, task)
        .await
        .expect("it ends in time")
        .unwrap()
}

/// What a sink has saved, in memory.
#[derive(Clone, Debug, Default)]
pub struct Saved(Arc<Mutex<Option<Bytes>>>);

impl Saved {
    pub fn text(&self) -> Option<String> {
        let saved = self.0.lock().unwrap().clone()?;
        Some(String::from_utf8(saved.to_vec()).unwrap())
    }

    /// As a crash before the next save leaves it.
    pub fn set(&self, text: &str) {
        *self.0.lock().unwrap() = Some(text.to_owned().into());
    }
}

impl StateStore for Saved {
    async fn save(&self, state: Bytes) -> Result<(), Failure> {
        *self.0.lock().unwrap() = Some(state);
        Ok(())
    }
}

/// Connects and joins as the supervisor does.
pub async fn join(
    iggy: &spec::Iggy,
    inputs: &[spec::Input],
    reading: stream::Reading,
    saved: &Saved,
) -> Result<stream::Consumer, Failure> {
    let client = stream::connect(iggy, "test").await?;
    let loaded = saved.0.lock().unwrap().clone();
    let mut starts = stream::Starts::new(Ok(loaded), saved.clone());
    stream::Consumer::join(client, inputs, reading, &mut starts).await
}

/// How a sink reads unless it is said.
pub fn reading() -> stream::Reading {
    stream::Reading {
        commit_interval: Duration::from_millis(10),
        delivery: spec::Delivery::AtLeastOnce,
        exclusive: false,
    }
}

pub fn position(fetched: &Fetched) -> Position {
    Position {
        topic: fetched.topic.clone(),
        partition_id: fetched.partition_id,
        offset: last(fetched),
        epoch: fetched.epoch,
    }
}

pub fn first(fetched: &Fetched) -> u64 {
    fetched.messages.first().unwrap().offset
}

pub fn last(fetched: &Fetched) -> u64 {
    fetched.messages.last().unwrap().offset
}

pub fn texts(fetched: &Fetched) -> Vec<String> {
    let payloads = fetched
        .messages
        .iter()
        .map(|message| message.payload.to_vec());
    payloads
        .map(|payload| String::from_utf8(payload).unwrap())
        .collect()
}

/// `m0`, `m1`, ...
pub fn numbered(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| format!("m{number}"))
}
