//! An example of a source: follows a file, one message for each complete line, and remembers how far it has come.

use std::{
    io::SeekFrom,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use iggy_connector_sdk::{
    ConnectorState, Error, ProducedMessage, ProducedMessages, Schema, Source, async_trait,
    source::SourceBatchResult, source_connector,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};

source_connector!(LineSource);

/// Most bytes read at once; a longer line is an error.
const CHUNK: u64 = 1024 * 1024;

/// Follows the lines of a file.
#[derive(Debug)]
pub struct LineSource {
    config: LineSourceConfig,
    saved: Option<ConnectorState>,
    progress: Mutex<Progress>,
}

/// `[plugin_config]` of the source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineSourceConfig {
    /// The file to follow.
    path: PathBuf,
}

/// Positions in the file, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Everything before is safe in Iggy.
    acknowledged: u64,
    /// Everything before has been handed out.
    handed_out: u64,
}

/// What is remembered between runs.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    position: u64,
}

impl LineSource {
    /// A source that goes on where `saved` says.
    pub fn new(_id: u32, config: LineSourceConfig, saved: Option<ConnectorState>) -> Self {
        Self {
            config,
            saved,
            progress: Mutex::default(),
        }
    }

    async fn read(&self, from: u64) -> Result<Vec<u8>, Error> {
        let path = &self.config.path;
        let failed = |error: std::io::Error| {
            Error::transient(path.display().to_string()).with_source(&error)
        };
        let mut file = File::open(path).await.map_err(failed)?;
        file.seek(SeekFrom::Start(from)).await.map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(CHUNK)
            .read_to_end(&mut bytes)
            .await
            .map_err(failed)?;
        Ok(bytes)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for LineSource {
    async fn open(&mut self) -> Result<(), Error> {
        if let Some(saved) = self.saved.take() {
            // A state that cannot be read is an error: starting over would send every line again.
            let position = saved.try_deserialize::<Saved>()?.position;
            *self.progress() = Progress {
                acknowledged: position,
                handed_out: position,
            };
        }
        Ok(())
    }

    /// Nothing is taken out of the file, so a poll that is cancelled half way has lost nothing.
    async fn poll(&self) -> Result<ProducedMessages, Error> {
        let from = self.progress().handed_out;
        let mut bytes = self.read(from).await?;
        let complete = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        if complete == 0 {
            if bytes.len() as u64 == CHUNK {
                return Err(Error::fatal(format!(
                    "the line at byte {from} is longer than {CHUNK} bytes"
                )));
            }
            // The runtime polls again after `poll_interval`; this only keeps an idle file from being read too often.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Ok(ProducedMessages::default());
        }
        bytes.truncate(complete);
        let position = from + complete as u64;
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let messages = lines
            .map(|line| ProducedMessage {
                payload: line.to_vec(),
                ..ProducedMessage::default()
            })
            .collect();
        self.progress().handed_out = position;
        Ok(ProducedMessages {
            schema: Schema::Text,
            messages,
            state: Some(ConnectorState::try_serialize(&Saved { position })?),
        })
    }

    async fn on_batch_result(&self, result: SourceBatchResult) -> Result<(), Error> {
        let mut progress = self.progress();
        match result {
            SourceBatchResult::Ack => progress.acknowledged = progress.handed_out,
            SourceBatchResult::Nack => progress.handed_out = progress.acknowledged,
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;
    use iggy_connector_sdk::{
        source::SourceMessage,
        testing::{Native, OpenSource, Polled, SourcePlugin, contract},
    };

    fn line(message: &SourceMessage) -> String {
        String::from_utf8(message.message().payload.clone()).unwrap()
    }

    fn lines(polled: &Polled) -> Vec<String> {
        polled.batch.messages.iter().map(line).collect()
    }

    async fn acked(source: &dyn OpenSource) -> Vec<String> {
        let polled = source.poll().await.unwrap();
        let settled = source.settle(polled.poll, SourceBatchResult::Ack).await;
        assert!(settled.is_ok(), "{settled:?}");
        lines(&polled)
    }

    #[tokio::test]
    async fn only_complete_lines_are_messages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        fs::write(&path, "one\n\ntwo\nthr").unwrap();
        let config = format!(r#"{{"path": "{}"}}"#, path.display());
        let source = Native::source(LineSource::new)
            .open(&config, None)
            .await
            .unwrap();
        assert_eq!(acked(&*source).await, ["one", "two"]);
        assert!(acked(&*source).await.is_empty());
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"ee\n")
            .unwrap();
        assert_eq!(acked(&*source).await, ["three"]);
    }

    #[tokio::test]
    async fn a_nacked_batch_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        fs::write(&path, "one\ntwo\n").unwrap();
        let config = format!(r#"{{"path": "{}"}}"#, path.display());
        contract::a_nacked_batch_comes_again(&Native::source(LineSource::new), &config, line).await;
    }
}
