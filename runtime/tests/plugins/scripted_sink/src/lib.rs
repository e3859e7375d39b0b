//! A sink for the tests of the fence, made with the SDK as any connector is: its configuration and the first message of each batch say
//! what it does.
#![expect(
    unsafe_code,
    reason = "one deed calls the library's own shutdown from inside, as no author can without this"
)]

use std::{future::pending, thread};

use async_trait::async_trait;
use iggy_connector_sdk::{
    ConsumedMessage, Error, MessagesMetadata, Sink, TopicMetadata, sink_connector,
};
use scripted::deed::perform;
use serde::Deserialize;

sink_connector!(ScriptedSink);

/// What each method does.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    new: String,
    open: String,
    flush: String,
    health: String,
    close: String,
}

/// The sink.
#[derive(Debug)]
pub struct ScriptedSink(Config);

impl ScriptedSink {
    /// Makes the sink.
    pub fn new(_id: u32, config: Config) -> Self {
        assert!(config.new != "panic", "boom in new");
        Self(config)
    }
}

#[async_trait]
impl Sink for ScriptedSink {
    async fn open(&mut self) -> Result<(), Error> {
        perform(&self.0.open).await
    }

    async fn consume(
        &self,
        _topic: &TopicMetadata,
        _metadata: MessagesMetadata,
        messages: Vec<ConsumedMessage>,
    ) -> Result<(), Error> {
        match messages.first().map(ConsumedMessage::payload_str) {
            Some(Ok("end_runtime")) => end_runtime().await,
            Some(Ok(deed)) => perform(deed).await,
            _ => Ok(()),
        }
    }

    async fn flush(&self) -> Result<(), Error> {
        perform(&self.0.flush).await
    }

    async fn health_check(&self) -> Result<(), Error> {
        perform(&self.0.health).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        perform(&self.0.close).await
    }

    fn max_unsettled(&self) -> u32 {
        2
    }
}

unsafe extern "C" {
    fn iggy_connector_shutdown_v1(timeout_ms: u64) -> u32;
}

/// Ends the library's runtime under everybody's feet: every task of it is thrown away, this one too.
async fn end_runtime() -> Result<(), Error> {
    thread::spawn(|| {
        // SAFETY: what is promised to the plugin is broken on purpose, calls do follow; the function itself asks for nothing.
        unsafe { iggy_connector_shutdown_v1(0) }
    });
    pending().await
}
