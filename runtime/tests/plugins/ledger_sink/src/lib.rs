//! A sink for the tests of faults, made with the SDK: it writes a line for every message into a file, which is still there when the
//! daemon was killed, and fails as its configuration says. The file is the oracle: what is not in it was not delivered.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use iggy_connector_sdk::{
    ConsumedMessage, Error, MessagesMetadata, Schema, Sink, TopicMetadata,
    kit::{Batcher, Limits, Secret, Writer},
    sink::{Batch, Input, Message},
    sink_connector,
};
use schemars::JsonSchema;
use scripted::{
    deed::{perform, perform_in},
    presence::Presence,
};
use serde::Deserialize;
use tokio::sync::MutexGuard;

sink_connector!(LedgerSink);

/// Where it writes, and how it fails.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Gets one line per message: topic, partition, offset, the payload up to its first space, a full stop.
    ledger: PathBuf,
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
    /// Shown nowhere, and written at the end of every line when there is one.
    token: Secret,
    /// Each write takes so long.
    delay_ms: u64,
    /// Nothing is heard of a write for so long after it.
    answer_ms: u64,
    /// So many batches of a partition may be with it before the first is settled; 0 counts as 1.
    unsettled: u32,
    /// It gathers so many messages for one write; 0: it writes each batch at once. Poison is not looked for then.
    buffered: usize,
    /// As long as this file exists, it says what happens before a batch is written (see `scripted::deed`).
    deed: PathBuf,
    /// Batches of this partition are written one after another, and none of them as long as the file `hold` exists. Without a buffer.
    held_partition: Option<u32>,
    hold: PathBuf,
    /// Each write fails so often before it succeeds.
    failures: u64,
    failure: Failure,
    retry_after_ms: u64,
    poison: Poison,
    /// The stream whose topic `proposed` it proposes to read.
    proposes: Option<String>,
    /// Held from its open to its close: a second instance that wants the same file is not opened.
    lock: PathBuf,
    /// What it says about whether another instance may be open beside it.
    exclusive: bool,
}

/// What happens in a call that fails.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Failure {
    /// Nothing is written.
    #[default]
    Before,
    /// Everything is written, and the answer is lost.
    After,
    /// The first half is written, and the rest is named.
    Half,
}

/// What becomes of messages whose payload begins with `poison`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Poison {
    /// They are written as any other.
    #[default]
    Taken,
    /// They are named, and the others are written.
    Named,
    /// They spoil their batch, and nothing is written.
    Spoils,
}

/// The sink.
#[derive(Debug)]
pub struct LedgerSink {
    config: Config,
    lines: Batcher<Ledger>,
    held: tokio::sync::Mutex<()>,
    /// The lock, as long as it is held.
    lock: Option<File>,
    number: u32,
    presence: Presence,
}

/// The file, and how writing into it fails.
#[derive(Debug, Default)]
struct Ledger {
    file: Mutex<Option<File>>,
    calls: AtomicU64,
    delay: Duration,
    answer: Duration,
    failures: u64,
    failure: Failure,
    retry_after: Duration,
}

impl LedgerSink {
    /// Makes the sink.
    pub fn new(number: u32, config: Config) -> Self {
        let ledger = Ledger {
            delay: Duration::from_millis(config.delay_ms),
            answer: Duration::from_millis(config.answer_ms),
            failures: config.failures,
            failure: config.failure,
            retry_after: Duration::from_millis(config.retry_after_ms),
            ..Ledger::default()
        };
        let limits = Limits {
            records: config.buffered,
            bytes: usize::MAX,
            // Only a full buffer or a flush ends a wait.
            age: Duration::from_secs(60 * 60),
        };
        Self {
            config,
            lines: Batcher::new(ledger, limits),
            held: tokio::sync::Mutex::default(),
            lock: None,
            number,
            presence: Presence::default(),
        }
    }

    fn line(&self, batch: &Batch<'_>, message: &Message<'_>) -> String {
        let payload = String::from_utf8_lossy(message.payload());
        let id = payload.split(' ').next().unwrap_or_default();
        let (topic, partition, offset) = (batch.topic(), batch.partition_id(), message.offset());
        let token = self.config.token.expose();
        let space = if token.is_empty() { "" } else { " " };
        format!("{topic} {partition} {offset} {id}{space}{token} .\n")
    }

    fn lines(&self, batch: &Batch<'_>) -> Vec<String> {
        let messages = batch.messages();
        messages.map(|message| self.line(batch, &message)).collect()
    }

    async fn deliver(&self, batch: &Batch<'_>) -> Result<(), Error> {
        if self.config.buffered > 0 {
            return self.lines.deliver(self.lines(batch)).await;
        }
        let ledger = self.lines.writer();
        wait(ledger.delay).await;
        let written = match ledger.fails() {
            true => ledger.fail(&self.lines(batch)),
            false => self.take(batch),
        };
        wait(ledger.answer).await;
        written
    }

    /// What it returns is kept until the batch is written.
    async fn released(&self, partition: u32) -> Option<MutexGuard<'_, ()>> {
        if self.config.held_partition != Some(partition) {
            return None;
        }
        let turn = self.held.lock().await;
        while self.config.hold.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Some(turn)
    }

    fn take(&self, batch: &Batch<'_>) -> Result<(), Error> {
        let ledger = self.lines.writer();
        let is_poison = |message: &Message<'_>| message.payload().starts_with(b"poison");
        let bad = batch.messages().enumerate();
        let bad: Vec<_> = bad
            .filter(|(_, message)| is_poison(message))
            .map(|(index, _)| (index, Error::invalid("poison")))
            .collect();
        match self.config.poison {
            _ if bad.is_empty() => ledger.append(&self.lines(batch)),
            Poison::Taken => ledger.append(&self.lines(batch)),
            Poison::Spoils => Err(Error::invalid("poison somewhere")),
            Poison::Named => {
                let good = batch.messages().filter(|message| !is_poison(message));
                let good: Vec<_> = good.map(|message| self.line(batch, &message)).collect();
                ledger.append(&good)?;
                Err(Error::failed(bad))
            }
        }
    }
}

impl Ledger {
    /// All lines in one write: a killed process leaves at most the last line torn.
    fn append(&self, lines: &[String]) -> Result<(), Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = file
            .as_mut()
            .ok_or_else(|| Error::fatal("consumed before it was opened"))?;
        file.write_all(lines.concat().as_bytes())
            .map_err(|error| Error::WriteFailure(error.to_string()))
    }

    /// Whether this call is one of those that fail, so many before each that does not.
    fn fails(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let round = self.failures + 1;
        call % round != round - 1
    }

    fn fail(&self, lines: &[String]) -> Result<(), Error> {
        match self.failure {
            Failure::Before => Err(self.busy()),
            Failure::After => {
                self.append(lines)?;
                Err(self.busy())
            }
            Failure::Half => {
                let half = lines.len() / 2;
                self.append(&lines[..half])?;
                Err(Error::failed_from(half, self.busy()))
            }
        }
    }

    fn busy(&self) -> Error {
        let busy = Error::transient("busy");
        match self.retry_after {
            Duration::ZERO => busy,
            delay => busy.with_retry_after(delay),
        }
    }
}

#[async_trait]
impl Writer for Ledger {
    type Record = String;

    async fn write(&self, lines: &[String]) -> Result<(), Error> {
        wait(self.delay).await;
        let written = match self.fails() {
            true => self.fail(lines),
            false => self.append(lines),
        };
        wait(self.answer).await;
        written
    }
}

async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

#[async_trait]
impl Sink for LedgerSink {
    async fn open(&mut self) -> Result<(), Error> {
        perform(&self.config.open).await?;
        perform_in(&self.config.open_deed).await?;
        let unusable = |error: std::io::Error| Error::InitError(error.to_string());
        if !self.config.lock.as_os_str().is_empty() {
            let lock = File::create(&self.config.lock).map_err(unusable)?;
            let held = |error: fs::TryLockError| Error::fatal(format!("the lock: {error}"));
            lock.try_lock().map_err(held)?;
            self.lock = Some(lock);
        }
        let mut options = OpenOptions::new();
        let options = options.append(true).create(true);
        let mut file = options.open(&self.config.ledger).map_err(unusable)?;
        // A killed process may have left its last line without an end.
        file.write_all(b"\n").map_err(unusable)?;
        self.lines.writer_mut().file = Mutex::new(Some(file));
        self.presence = Presence::begin(&self.config.instances, self.number)?;
        Ok(())
    }

    async fn consume(
        &self,
        _topic: &TopicMetadata,
        _metadata: MessagesMetadata,
        _messages: Vec<ConsumedMessage>,
    ) -> Result<(), Error> {
        Err(Error::fatal("consume_batch is overridden"))
    }

    async fn consume_batch(&self, batch: Batch<'_>) -> Result<(), Error> {
        perform_in(&self.config.deed).await?;
        let _turn = self.released(batch.partition_id()).await;
        self.deliver(&batch).await
    }

    async fn flush(&self) -> Result<(), Error> {
        self.lines.flush().await;
        Ok(())
    }

    async fn health_check(&self) -> Result<(), Error> {
        perform_in(&self.config.health_deed).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.lock = None;
        self.presence.end()?;
        perform_in(&self.config.close_deed).await?;
        perform(&self.config.close).await
    }

    fn exclusive(&self) -> bool {
        self.config.exclusive
    }

    fn max_unsettled(&self) -> u32 {
        self.config.unsettled.max(1)
    }

    fn streams(&self) -> Vec<Input> {
        let stream = self.config.proposes.iter();
        let proposed = stream.map(|stream| Input::new(stream, "proposed").with_schema(Schema::Raw));
        proposed.map(|input| input.with_batch_length(7)).collect()
    }
}
