//! A sink with a `Batcher`, natively: it keeps the contract, and one that ignores a flush does not.

use std::time::Duration;

use iggy_connector_sdk::{
    ConsumedMessage, Error, MessagesMetadata, Schema, Sink, TopicMetadata, async_trait,
    kit::{Batcher, Limits, Writer},
    testing::{Batch, Native, SinkPlugin, contract},
};

struct Nowhere;

#[async_trait]
impl Writer for Nowhere {
    type Record = ConsumedMessage;

    async fn write(&self, messages: &[ConsumedMessage]) -> Result<(), Error> {
        assert!(!messages.is_empty());
        Ok(())
    }
}

struct Buffering {
    buffer: Batcher<Nowhere>,
    ignores_flushes: bool,
}

impl Buffering {
    fn new(_id: u32, ignores_flushes: bool) -> Self {
        let limits = Limits {
            age: Duration::from_secs(3600),
            ..Limits::default()
        };
        Self {
            buffer: Batcher::new(Nowhere, limits),
            ignores_flushes,
        }
    }
}

#[async_trait]
impl Sink for Buffering {
    async fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn consume(
        &self,
        _topic: &TopicMetadata,
        _metadata: MessagesMetadata,
        messages: Vec<ConsumedMessage>,
    ) -> Result<(), Error> {
        self.buffer.deliver(messages).await
    }

    async fn flush(&self) -> Result<(), Error> {
        if !self.ignores_flushes {
            self.buffer.flush().await;
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn max_unsettled(&self) -> u32 {
        4
    }
}

fn batch() -> Batch {
    Batch::of(Schema::Text, ["a", "b"])
}

#[tokio::test(start_paused = true)]
async fn a_flush_completes_what_a_buffering_sink_was_handed() {
    let plugin = Native::sink(Buffering::new);
    contract::a_flush_completes_what_was_handed_over(&plugin, "false", &batch()).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a flush did not end what was handed over before it")]
async fn a_sink_that_ignores_a_flush_is_found_out() {
    let plugin = Native::sink(Buffering::new);
    contract::a_flush_completes_what_was_handed_over(&plugin, "true", &batch()).await;
}

#[tokio::test(start_paused = true)]
async fn a_consume_that_is_cancelled_leaves_nothing_behind() {
    let plugin = Native::sink(Buffering::new);
    let sink = plugin.open("false").await.unwrap();
    assert_eq!(sink.consume_cancelled(&batch()).await, None);
    // Nothing is written: the writer would notice.
    assert!(sink.flush().await.is_ok());
    assert!(sink.close().await.is_ok());
}
