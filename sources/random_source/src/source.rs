//! Makes up messages with ids that run from 1 without a gap.

use std::{
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

use iggy_connector_sdk::{
    ConnectorState, Error, ProducedMessage, ProducedMessages, Schema, Source, async_trait,
    source::SourceBatchResult,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use crate::{RandomSourceConfig, random::Random};

/// Makes up messages: `{"id": 1, "text": "…"}`, `{"id": 2, "text": "…"}`, and so on.
#[derive(Debug)]
pub struct RandomSource {
    id: u32,
    config: RandomSourceConfig,
    saved: Option<ConnectorState>,
    progress: Mutex<Progress>,
}

/// What is remembered between runs.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    /// How many messages were made: the last id.
    count: u64,
}

#[derive(Debug)]
struct Progress {
    /// The last id that is safe in Iggy.
    acknowledged: u64,
    /// The last id that was handed out.
    handed_out: u64,
    /// When the next poll is due; at once before the first.
    due: Option<Instant>,
    random: Random,
}

impl RandomSource {
    /// A source that goes on after `saved`.
    pub fn new(id: u32, config: RandomSourceConfig, saved: Option<ConnectorState>) -> Self {
        Self {
            id,
            config,
            saved,
            progress: Mutex::new(Progress::after(0)),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a message may be made. Dropped half way, the next call waits for the rest.
    async fn wait(&self) {
        let due = self.progress().due;
        if let Some(due) = due {
            sleep_until(due).await;
        }
    }
}

#[async_trait]
impl Source for RandomSource {
    async fn open(&mut self) -> Result<(), Error> {
        let count = match self.saved.take() {
            Some(saved) => saved.try_deserialize::<Saved>()?.count,
            None => 0,
        };
        self.progress = Mutex::new(Progress::after(count));
        info!(id = self.id, count, "opened the random source");
        Ok(())
    }

    async fn poll(&self) -> Result<ProducedMessages, Error> {
        self.wait().await;
        let (messages, count) = self.progress().make(&self.config);
        debug!(messages = messages.len(), count, "made messages");
        // Nothing was made: the state is as it was, and need not be saved again.
        let state = match messages.is_empty() {
            true => None,
            false => Some(ConnectorState::try_serialize(&Saved { count })?),
        };
        Ok(ProducedMessages {
            schema: Schema::Json,
            messages,
            state,
        })
    }

    async fn on_batch_result(&self, result: SourceBatchResult) -> Result<(), Error> {
        self.progress().settle(result);
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        let count = self.progress().acknowledged;
        info!(id = self.id, count, "closed the random source");
        Ok(())
    }
}

impl Progress {
    fn after(count: u64) -> Self {
        Self {
            acknowledged: count,
            handed_out: count,
            due: None,
            random: Random::new(),
        }
    }

    /// The next messages, and how many there are with them.
    fn make(&mut self, config: &RandomSourceConfig) -> (Vec<ProducedMessage>, u64) {
        self.due = Instant::now().checked_add(config.interval);
        let wanted = self
            .random
            .between(config.messages.start, config.messages.end);
        let left = match config.max_count {
            Some(max) => max.saturating_sub(self.handed_out),
            None => u64::MAX - self.handed_out,
        };
        let messages = (0..wanted.min(left)).map(|_| self.next(config.payload_size));
        (messages.collect(), self.handed_out)
    }

    fn next(&mut self, size: usize) -> ProducedMessage {
        self.handed_out += 1;
        let mut payload = String::with_capacity(size + 40);
        // Writing to a string does not fail.
        let _ = write!(payload, r#"{{"id":{},"text":""#, self.handed_out);
        self.random.letters(&mut payload, size);
        payload.push_str(r#""}"#);
        ProducedMessage {
            payload: payload.into_bytes(),
            ..ProducedMessage::default()
        }
    }

    /// A batch that was given up is made again, with the same ids.
    fn settle(&mut self, result: SourceBatchResult) {
        match result {
            SourceBatchResult::Ack => self.acknowledged = self.handed_out,
            SourceBatchResult::Nack => self.handed_out = self.acknowledged,
        }
    }
}
