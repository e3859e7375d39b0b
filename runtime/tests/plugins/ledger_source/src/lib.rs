//! A source for the tests of faults, made with the SDK: it numbers its messages from 0, keeps the next number as its state, goes on
//! from there, and writes down what was acknowledged.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::Write as _,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use iggy_connector_sdk::{
    ConnectorState, Error, ProducedMessages, Schema, Source,
    source::{Output, SourceBatch, SourceBatchResult, SourceMessage},
    source_connector,
};
use scripted::{
    deed::{perform, perform_in},
    presence::Presence,
};
use serde::Deserialize;

source_connector!(LedgerSource);

/// Bytes of a payload, one more than Iggy takes.
const TOO_LARGE: usize = 64_000_001;

/// What it offers.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Messages of one poll.
    batch: u64,
    /// Messages are keyed by their number modulo this; 0: they have no keys.
    keys: u64,
    /// A message's route is the one at its number modulo how many there are; an empty one is none.
    routes: Vec<String>,
    /// Numbers of messages whose route is `nowhere`.
    astray: Vec<u64>,
    /// Numbers of messages that are larger than Iggy takes.
    oversized: Vec<u64>,
    /// Payloads are filled up to so many bytes.
    size: usize,
    /// States are filled up by so many bytes.
    state_size: usize,
    /// Holds the number at which to end; as long as it does not exist, numbers go on for ever.
    until: PathBuf,
    /// Gets a line with the next number whenever one was acknowledged.
    acked: PathBuf,
    /// As long as this file exists, it says what a poll does (see `scripted::deed`).
    deed: PathBuf,
    /// As long as this file exists, it says what is done with a result before it is taken.
    result_deed: PathBuf,
    /// What happens before it opens (see `scripted::deed`).
    open: String,
    /// As long as this file exists, it says what happens before it opens, too.
    open_deed: PathBuf,
    /// What happens when it closes.
    close: String,
    /// As long as this file exists, it says what happens when it closes, too.
    close_deed: PathBuf,
    /// As long as this file exists, it says how its health is.
    health_deed: PathBuf,
    /// Holds a file for each instance that is open.
    instances: PathBuf,
    interval_ms: u64,
    max_in_flight: u32,
    /// The stream whose topics `proposed` and `others` it proposes to write to; the second one by the route `others`.
    proposes: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            batch: 20,
            keys: 0,
            routes: Vec::new(),
            astray: Vec::new(),
            oversized: Vec::new(),
            size: 0,
            state_size: 0,
            until: PathBuf::new(),
            acked: PathBuf::new(),
            deed: PathBuf::new(),
            result_deed: PathBuf::new(),
            open: String::new(),
            open_deed: PathBuf::new(),
            close: String::new(),
            close_deed: PathBuf::new(),
            health_deed: PathBuf::new(),
            instances: PathBuf::new(),
            interval_ms: 1,
            max_in_flight: 1,
            proposes: None,
        }
    }
}

/// The source.
#[derive(Debug)]
pub struct LedgerSource {
    config: Config,
    state: Option<ConnectorState>,
    numbers: Mutex<Numbers>,
    number: u32,
    presence: Presence,
}

/// The next number to offer, and what follows each batch that waits for its result.
#[derive(Debug, Default)]
struct Numbers {
    next: u64,
    acked: u64,
    waiting: VecDeque<u64>,
    file: Option<File>,
}

impl LedgerSource {
    /// Makes the source.
    pub fn new(number: u32, config: Config, state: Option<ConnectorState>) -> Self {
        Self {
            config,
            state,
            numbers: Mutex::default(),
            number,
            presence: Presence::default(),
        }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn message(&self, number: u64) -> SourceMessage {
        let size = match self.config.oversized.contains(&number) {
            true => TOO_LARGE,
            false => self.config.size,
        };
        let mut payload = number.to_string();
        if payload.len() < size {
            payload.push(' ');
            payload.push_str(&"x".repeat(size - payload.len()));
        }
        let message = SourceMessage::from_string(payload);
        let message = match number.checked_rem(self.config.keys) {
            Some(key) => message.with_key(format!("key-{key}")),
            None => message,
        };
        match self.route(number) {
            Some(route) => message.with_route(route),
            None => message,
        }
    }

    fn route(&self, number: u64) -> Option<&str> {
        if self.config.astray.contains(&number) {
            return Some("nowhere");
        }
        let at = number.checked_rem(self.config.routes.len() as u64)?;
        let route = self.config.routes[at as usize].as_str();
        (!route.is_empty()).then_some(route)
    }
}

#[async_trait]
impl Source for LedgerSource {
    async fn open(&mut self) -> Result<(), Error> {
        perform(&self.config.open).await?;
        perform_in(&self.config.open_deed).await?;
        let next = match self.state.take() {
            Some(state) => state.try_deserialize::<(u64, String)>()?.0,
            None => 0,
        };
        let mut options = OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .open(&self.config.acked)
            .map_err(|error| Error::InitError(error.to_string()))?;
        // A killed process may have left its last line without an end.
        note(&mut file, "\n")?;
        self.numbers = Mutex::new(Numbers {
            next,
            acked: next,
            waiting: VecDeque::new(),
            file: Some(file),
        });
        self.presence = Presence::begin(&self.config.instances, self.number)?;
        Ok(())
    }

    async fn poll(&self) -> Result<ProducedMessages, Error> {
        Err(Error::fatal("poll_batch is overridden"))
    }

    async fn poll_batch(&self) -> Result<SourceBatch, Error> {
        perform_in(&self.config.deed).await?;
        tokio::time::sleep(Duration::from_millis(self.config.interval_ms)).await;
        let until = std::fs::read_to_string(&self.config.until).ok();
        let until = until.and_then(|text| text.trim().parse().ok());
        let mut numbers = self.numbers();
        let first = numbers.next;
        let end = (first + self.config.batch).min(until.unwrap_or(u64::MAX).max(first));
        numbers.next = end;
        numbers.waiting.push_back(end);
        let batch = SourceBatch::new(
            Schema::Raw,
            (first..end).map(|number| self.message(number)).collect(),
        );
        if first == end {
            return Ok(batch);
        }
        let state = ConnectorState::try_serialize(&(end, "s".repeat(self.config.state_size)))?;
        Ok(batch.with_state(state))
    }

    async fn on_batch_result(&self, result: SourceBatchResult) -> Result<(), Error> {
        perform_in(&self.config.result_deed).await?;
        let mut numbers = self.numbers();
        let Some(end) = numbers.waiting.pop_front() else {
            return Err(Error::fatal("a result without a poll"));
        };
        if result == SourceBatchResult::Nack {
            numbers.next = numbers.acked;
            return Ok(());
        }
        numbers.acked = end;
        match &mut numbers.file {
            Some(file) => note(file, &format!("{end} .\n")),
            None => Ok(()),
        }
    }

    async fn health_check(&self) -> Result<(), Error> {
        perform_in(&self.config.health_deed).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.presence.end()?;
        perform_in(&self.config.close_deed).await?;
        perform(&self.config.close).await
    }

    fn max_in_flight(&self) -> u32 {
        self.config.max_in_flight
    }

    fn streams(&self) -> Vec<Output> {
        let proposes = |stream: &String| {
            [
                Output::new(stream, "proposed")
                    .with_schema(Schema::Raw)
                    .with_partitions(2),
                Output::new(stream, "others")
                    .with_route("others")
                    .with_schema(Schema::Raw),
            ]
        };
        self.config.proposes.iter().flat_map(proposes).collect()
    }
}

/// In one write, so that a killed process leaves at most one line torn.
fn note(file: &mut File, line: &str) -> Result<(), Error> {
    file.write_all(line.as_bytes())
        .map_err(|error| Error::WriteFailure(error.to_string()))
}
