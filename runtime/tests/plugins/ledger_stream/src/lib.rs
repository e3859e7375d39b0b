//! A streaming source for the tests of faults, made with the SDK: several tasks send numbered messages, wait for each to be settled as
//! a server of requests does, and only then write its number down.

use std::{
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
    Error, Source,
    source::{AckError, SourceMessage, SourceSender},
    source_connector,
};
use scripted::deed::perform;
use serde::Deserialize;

source_connector!(LedgerStream);

/// Where it writes. Other keys are for the ledger source, which takes the same configuration.
#[derive(Debug, Deserialize)]
pub struct Config {
    /// Gets a line for each start, and one with the number of each message that was settled.
    acked: PathBuf,
    /// It does not wait until a message is settled, and writes its number down when it was sent.
    #[serde(default)]
    volatile: bool,
    /// What happens when it is started (see `scripted::deed`).
    #[serde(default)]
    start: String,
}

/// The source.
#[derive(Debug)]
pub struct LedgerStream {
    config: Config,
    next: AtomicU64,
    file: Mutex<Option<File>>,
}

/// Between the numbers of one start and of the next.
const GAP: u64 = 1_000_000_000;

impl LedgerStream {
    /// Makes the source.
    pub fn new(_id: u32, config: Config) -> Self {
        Self {
            config,
            next: AtomicU64::new(0),
            file: Mutex::default(),
        }
    }

    /// In one write, so that a killed process leaves at most one line torn.
    fn note(&self, line: &str) -> Result<(), Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = file
            .as_mut()
            .ok_or_else(|| Error::fatal("started before it was opened"))?;
        file.write_all(line.as_bytes())
            .map_err(|error| Error::WriteFailure(error.to_string()))
    }

    /// One client of a server of requests: the next request follows the answer to the last.
    async fn requests(&self, sender: &SourceSender) -> Result<(), Error> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            match self.config.volatile {
                true => self.send(number, sender).await?,
                false => self.send_acked(number, sender).await?,
            }
        }
    }

    async fn send_acked(&self, number: u64, sender: &SourceSender) -> Result<(), Error> {
        match sender.send_acked(SourceMessage::from_number(number)).await {
            Ok(receipt) if receipt.is_delivered() => self.note(&format!("{number} .\n")),
            // Not acknowledged: the client would ask again.
            Ok(_) | Err(AckError::Nacked) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn send(&self, number: u64, sender: &SourceSender) -> Result<(), Error> {
        sender.send(SourceMessage::from_number(number)).await?;
        self.note(&format!("{number} .\n"))?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }
}

#[async_trait]
impl Source for LedgerStream {
    async fn open(&mut self) -> Result<(), Error> {
        let unusable = |error: std::io::Error| Error::InitError(error.to_string());
        let starts = match std::fs::read_to_string(&self.config.acked) {
            Ok(text) => text.matches("start").count() as u64,
            Err(_none_yet) => 0,
        };
        self.next = AtomicU64::new(starts * GAP);
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true);
        let file = file.open(&self.config.acked).map_err(unusable)?;
        self.file = Mutex::new(Some(file));
        // A killed process may have left its last line without an end.
        self.note("\nstart\n")
    }

    async fn start(&self, sender: SourceSender) -> Result<(), Error> {
        perform(&self.config.start).await?;
        let ended = tokio::try_join!(
            self.requests(&sender),
            self.requests(&sender),
            self.requests(&sender),
            self.requests(&sender)
        );
        match sender.is_closed() {
            true => Ok(()),
            false => ended.map(|_| ()),
        }
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
