//! The sample source of the documentation that this SDK's names come from, with its slips corrected, under another name for
//! the SDK and in a crate that forbids unsafe code.

#![forbid(unsafe_code)]

extern crate iggy_connector_sdk as connectors;

use std::time::Duration;

use async_trait::async_trait;
use connectors::{
    Error, ProducedMessage, ProducedMessages, Schema, Source,
    source::SourceBatchResult,
    source_connector,
    testing::{Native, SourcePlugin, Status},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::sleep};
use tracing::info;

source_connector!(RandomSource);

#[derive(Debug)]
struct State {
    current_id: u64,
}

#[derive(Debug)]
pub struct RandomSource {
    id: u32,
    messages_count: u32,
    state: Mutex<State>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct RandomSourceConfig {
    messages_count: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    id: u64,
    text: String,
}

impl RandomSource {
    pub fn new(id: u32, config: RandomSourceConfig) -> Self {
        RandomSource {
            id,
            messages_count: config.messages_count.unwrap_or(10),
            state: Mutex::new(State { current_id: 0 }),
        }
    }
}

#[async_trait]
impl Source for RandomSource {
    async fn open(&mut self) -> Result<(), connectors::Error> {
        info!(
            "Opened random source connector with ID: {}, messages count: {}",
            self.id, self.messages_count
        );
        Ok(())
    }

    async fn poll(&self) -> Result<ProducedMessages, connectors::Error> {
        sleep(Duration::from_millis(100)).await;
        let mut state = self.state.lock().await;
        let mut current_id = state.current_id;

        let mut messages = Vec::new();
        for _ in 0..self.messages_count {
            current_id += 1;
            let record = Record {
                id: current_id,
                text: format!("Hello from Random Source Connector: #{current_id}"),
            };
            let Ok(payload) = simd_json::to_vec(&record) else {
                panic!("Failed to serialize record");
            };

            let message = ProducedMessage {
                id: None,
                headers: None,
                checksum: None,
                timestamp: None,
                origin_timestamp: None,
                payload,
            };
            messages.push(message);
        }

        state.current_id = current_id;
        info!(
            "Generated {} messages by random source with ID: {}",
            messages.len(),
            self.id,
        );
        Ok(ProducedMessages {
            schema: Schema::Json,
            messages,
            state: None,
        })
    }

    async fn close(&mut self) -> Result<(), Error> {
        info!("Random source connector with ID: {} is closed.", self.id);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_sample_source_runs() {
    let plugin = Native::source(RandomSource::new);
    let source = plugin.open(r#"{"messages_count": 3}"#, None).await.unwrap();
    for poll in 0..2 {
        let polled = source.poll().await.unwrap();
        let ids: Vec<u64> = polled
            .batch
            .messages
            .iter()
            .map(|message| {
                let mut payload = message.message().payload.clone();
                simd_json::from_slice::<Record>(&mut payload).unwrap().id
            })
            .collect();
        assert_eq!(ids, [poll * 3 + 1, poll * 3 + 2, poll * 3 + 3]);
        let ended = source.settle(polled.poll, SourceBatchResult::Ack).await;
        assert!(ended.is_ok(), "{ended:?}");
    }
    assert_eq!(source.close().await.status, Status::OK);
}
