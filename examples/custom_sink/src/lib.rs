//! An example of a sink: appends each message to a file, as a line, and says "delivered" only when the line is on disk.

use std::path::PathBuf;

use iggy_connector_sdk::{
    ConsumedMessage, Error, MessagesMetadata, Sink, TopicMetadata, async_trait, sink::Batch,
    sink_connector,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    fs::{File, OpenOptions},
    io::AsyncWriteExt,
    sync::Mutex,
};
use tracing::info;

sink_connector!(FileSink);

/// Appends messages to a file.
#[derive(Debug)]
pub struct FileSink {
    config: FileSinkConfig,
    file: Option<Mutex<File>>,
}

/// `[plugin_config]` of the sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSinkConfig {
    /// The file; made when missing, in a folder that exists.
    path: PathBuf,
}

impl FileSink {
    /// A sink that has not opened its file yet.
    pub fn new(_id: u32, config: FileSinkConfig) -> Self {
        Self { config, file: None }
    }

    async fn append(&self, lines: &[u8]) -> Result<(), Error> {
        let Some(file) = &self.file else {
            return Err(Error::fatal("the sink is not open"));
        };
        let mut file = file.lock().await;
        let unwritten =
            |error: std::io::Error| Error::transient("append to the file").with_source(&error);
        file.write_all(lines).await.map_err(unwritten)?;
        // What is acknowledged must survive a power loss: Iggy will not offer it again.
        file.sync_data().await.map_err(unwritten)
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn open(&mut self) -> Result<(), Error> {
        let path = &self.config.path;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .await;
        // What cannot be opened now cannot be opened by trying again: the connector stops and says why.
        let file =
            file.map_err(|error| Error::InitError(path.display().to_string()).with_source(&error))?;
        self.file = Some(Mutex::new(file));
        info!(path = %path.display(), "opened");
        Ok(())
    }

    /// For sinks that want decoded messages this is the only method to write.
    async fn consume(
        &self,
        _topic: &TopicMetadata,
        _metadata: MessagesMetadata,
        messages: Vec<ConsumedMessage>,
    ) -> Result<(), Error> {
        let mut lines = Vec::new();
        for message in messages {
            push_line(&mut lines, &message.payload.try_into_vec()?);
        }
        self.append(&lines).await
    }

    /// This one forwards bytes, so it takes them as they are: nothing is decoded and nothing is copied but into the line.
    async fn consume_batch(&self, batch: Batch<'_>) -> Result<(), Error> {
        let mut lines = Vec::new();
        for message in batch.messages() {
            push_line(&mut lines, message.payload());
        }
        self.append(&lines).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.file = None;
        Ok(())
    }
}

fn push_line(lines: &mut Vec<u8>, payload: &[u8]) {
    lines.extend_from_slice(payload);
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use iggy_connector_sdk::{
        Schema,
        testing::{Batch, Native, SinkPlugin},
    };

    #[tokio::test]
    async fn messages_stand_in_the_file_as_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let config = format!(r#"{{"path": "{}"}}"#, path.display());
        for _ in 0..2 {
            let sink = Native::sink(FileSink::new).open(&config).await.unwrap();
            assert!(
                sink.consume(&Batch::of(Schema::Json, ["{}", "[1]"]))
                    .await
                    .is_ok()
            );
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{}\n[1]\n{}\n[1]\n"
        );
    }

    #[tokio::test]
    async fn a_folder_that_does_not_exist_is_named() {
        let config = r#"{"path": "/nowhere/lines"}"#;
        let Err(refused) = Native::sink(FileSink::new).open(config).await else {
            panic!("opened a file in no folder");
        };
        assert!(refused.message.contains("/nowhere/lines"), "{refused:?}");
    }
}
