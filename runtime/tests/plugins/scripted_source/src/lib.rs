//! A source for the tests of the fence, made with the SDK as any connector is: it counts, two numbers a batch, keeps the next one as its
//! state, and does what its configuration says.

use std::sync::Mutex;

use async_trait::async_trait;
use iggy_connector_sdk::{
    ConnectorState, Error, HeaderKey, HeaderValue, ProducedMessages, Schema, Source,
    source::{SourceBatch, SourceBatchResult, SourceMessage},
    source_connector,
};
use scripted::deed::perform;
use serde::Deserialize;

source_connector!(ScriptedSource);

/// What each method does.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    new: String,
    open: String,
    poll: String,
    result: String,
    health: String,
    close: String,
}

/// The source.
#[derive(Debug)]
pub struct ScriptedSource {
    config: Config,
    state: Option<ConnectorState>,
    count: Mutex<Count>,
}

/// The next number to return, and the first one that is not acknowledged.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    next: u64,
    unsettled: u64,
}

const BATCH: u64 = 2;

impl ScriptedSource {
    /// Makes the source.
    pub fn new(_id: u32, config: Config, state: Option<ConnectorState>) -> Self {
        assert!(config.new != "panic", "boom in new");
        Self {
            config,
            state,
            count: Mutex::default(),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Count) -> T) -> Result<T, Error> {
        let mut count = self
            .count
            .lock()
            .map_err(|_| Error::fatal("the count is poisoned"))?;
        Ok(change(&mut count))
    }
}

#[async_trait]
impl Source for ScriptedSource {
    async fn open(&mut self) -> Result<(), Error> {
        perform(&self.config.open).await?;
        if let Some(state) = &self.state {
            let next = state.try_deserialize()?;
            self.count = Mutex::new(Count {
                next,
                unsettled: next,
            });
        }
        Ok(())
    }

    async fn poll(&self) -> Result<ProducedMessages, Error> {
        Err(Error::fatal("poll_batch is overridden"))
    }

    async fn poll_batch(&self) -> Result<SourceBatch, Error> {
        perform(&self.config.poll).await?;
        tokio::task::yield_now().await;
        let first = self.change(|count| {
            let first = count.next;
            count.next += BATCH;
            first
        })?;
        let (name, value): (HeaderKey, HeaderValue) = ("made".try_into()?, "here".try_into()?);
        let messages = (first..first + BATCH).map(|number| {
            SourceMessage::from_string(number.to_string())
                .with_header(name.clone(), value.clone())
                .with_key("key")
                .with_route("/stream/topic")
                .with_id(number.into())
        });
        let state = ConnectorState::try_serialize(&(first + BATCH))?;
        Ok(SourceBatch::new(Schema::Text, messages.collect()).with_state(state))
    }

    async fn on_batch_result(&self, result: SourceBatchResult) -> Result<(), Error> {
        perform(&self.config.result).await?;
        self.change(|count| match result {
            SourceBatchResult::Ack => count.unsettled += BATCH,
            SourceBatchResult::Nack => count.next = count.unsettled,
        })
    }

    async fn health_check(&self) -> Result<(), Error> {
        perform(&self.config.health).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        perform(&self.config.close).await
    }
}
