//! A sink for the tests of faults, made with the SDK: it writes a line for every message into a file, which is still there when the
//! daemon was killed, and fails as its configuration says. The file is the oracle: what is not in it was not delivered.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
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
    ConsumedMessage, Error, MessagesMetadata, Sink, TopicMetadata,
    kit::Secret,
    sink::{Batch, Message},
    sink_connector,
};
use schemars::JsonSchema;
use scripted::deed::perform;
use serde::Deserialize;

sink_connector!(LedgerSink);

/// Where it writes, and how it fails.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Gets one line per message: topic, partition, offset, the payload up to its first space, a full stop.
    ledger: PathBuf,
    /// What happens before it opens (see `scripted::deed`).
    open: String,
    /// Shown nowhere, and written at the end of every line when there is one.
    token: Secret,
    /// Each batch takes so long.
    delay_ms: u64,
    /// As long as this file exists, it says what happens before a batch is written (see `scripted::deed`).
    deed: PathBuf,
    /// Each batch fails so often before it succeeds.
    failures: u64,
    failure: Failure,
    retry_after_ms: u64,
    poison: Poison,
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
    file: Mutex<Option<File>>,
    calls: AtomicU64,
}

impl LedgerSink {
    /// Makes the sink.
    pub fn new(_id: u32, config: Config) -> Self {
        Self {
            config,
            file: Mutex::default(),
            calls: AtomicU64::new(0),
        }
    }

    /// All lines in one write: a killed process leaves at most the last line torn.
    fn write<'a>(
        &self,
        batch: &Batch<'_>,
        messages: impl Iterator<Item = Message<'a>>,
    ) -> Result<(), Error> {
        let mut lines = String::new();
        for message in messages {
            let payload = String::from_utf8_lossy(message.payload());
            let id = payload.split(' ').next().unwrap_or_default();
            let (topic, partition) = (batch.topic(), batch.partition_id());
            let token = self.config.token.expose();
            let space = if token.is_empty() { "" } else { " " };
            writeln!(
                lines,
                "{topic} {partition} {} {id}{space}{token} .",
                message.offset()
            )
            .map_err(|error| Error::fatal(error.to_string()))?;
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = file
            .as_mut()
            .ok_or_else(|| Error::fatal("consumed before it was opened"))?;
        file.write_all(lines.as_bytes())
            .map_err(|error| Error::WriteFailure(error.to_string()))
    }

    /// Whether this call is one of those that fail, so many before each that does not.
    fn fails(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let round = self.config.failures + 1;
        call % round != round - 1
    }

    fn busy(&self) -> Error {
        let busy = Error::transient("busy");
        match self.config.retry_after_ms {
            0 => busy,
            delay => busy.with_retry_after(Duration::from_millis(delay)),
        }
    }

    fn fail(&self, batch: &Batch<'_>) -> Result<(), Error> {
        match self.config.failure {
            Failure::Before => Err(self.busy()),
            Failure::After => {
                self.write(batch, batch.messages())?;
                Err(self.busy())
            }
            Failure::Half => {
                let half = batch.len() / 2;
                self.write(batch, batch.messages().take(half))?;
                Err(Error::failed_from(half, self.busy()))
            }
        }
    }

    fn take(&self, batch: &Batch<'_>) -> Result<(), Error> {
        let is_poison = |message: &Message<'_>| message.payload().starts_with(b"poison");
        let bad = batch.messages().enumerate();
        let bad: Vec<_> = bad
            .filter(|(_, message)| is_poison(message))
            .map(|(index, _)| (index, Error::invalid("poison")))
            .collect();
        match self.config.poison {
            _ if bad.is_empty() => self.write(batch, batch.messages()),
            Poison::Taken => self.write(batch, batch.messages()),
            Poison::Spoils => Err(Error::invalid("poison somewhere")),
            Poison::Named => {
                self.write(
                    batch,
                    batch.messages().filter(|message| !is_poison(message)),
                )?;
                Err(Error::failed(bad))
            }
        }
    }
}

#[async_trait]
impl Sink for LedgerSink {
    async fn open(&mut self) -> Result<(), Error> {
        perform(&self.config.open).await?;
        let unusable = |error: std::io::Error| Error::InitError(error.to_string());
        let mut options = OpenOptions::new();
        let options = options.append(true).create(true);
        let mut file = options.open(&self.config.ledger).map_err(unusable)?;
        // A killed process may have left its last line without an end.
        file.write_all(b"\n").map_err(unusable)?;
        self.file = Mutex::new(Some(file));
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
        if let Ok(deed) = std::fs::read_to_string(&self.config.deed) {
            perform(deed.trim()).await?;
        }
        if self.config.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.config.delay_ms)).await;
        }
        match self.fails() {
            true => self.fail(&batch),
            false => self.take(&batch),
        }
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
