//! Prints payloads, one line each.

use std::{
    io::{self, ErrorKind, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use iggy_connector_sdk::{
    ConsumedMessage, Error, MessagesMetadata, Sink, TopicMetadata, async_trait, sink::Batch,
};
use tracing::{debug, info};

use crate::StdoutSinkConfig;

/// Prints messages to standard output.
#[derive(Debug)]
pub struct StdoutSink {
    id: u32,
    print_payload: bool,
    batches: AtomicU64,
    messages: AtomicU64,
}

impl StdoutSink {
    /// A sink that has printed nothing yet.
    pub fn new(id: u32, config: StdoutSinkConfig) -> Self {
        Self {
            id,
            print_payload: config.print_payload,
            batches: AtomicU64::new(0),
            messages: AtomicU64::new(0),
        }
    }

    fn count(&self, messages: usize, topic: &str, partition: u32) {
        let batch = self.batches.fetch_add(1, Ordering::Relaxed) + 1;
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        debug!(batch, messages, topic, partition, "received");
    }
}

#[async_trait]
impl Sink for StdoutSink {
    async fn open(&mut self) -> Result<(), Error> {
        let print_payload = self.print_payload;
        info!(id = self.id, print_payload, "opened the stdout sink");
        Ok(())
    }

    async fn consume(
        &self,
        topic_metadata: &TopicMetadata,
        messages_metadata: MessagesMetadata,
        messages: Vec<ConsumedMessage>,
    ) -> Result<(), Error> {
        if self.print_payload {
            let mut lines = Vec::new();
            for message in &messages {
                push_line(&mut lines, &message.payload.try_to_bytes()?);
            }
            print(lines).await?;
        }
        let partition = messages_metadata.partition_id;
        self.count(messages.len(), &topic_metadata.topic, partition);
        Ok(())
    }

    /// The payloads are printed as they come, so nothing needs to be decoded; without printing nothing is even looked at.
    async fn consume_batch(&self, batch: Batch<'_>) -> Result<(), Error> {
        if self.print_payload {
            print(lines(&batch)).await?;
        }
        self.count(batch.len(), batch.topic(), batch.partition_id());
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        let (batches, messages) = (self.batches.get_mut(), self.messages.get_mut());
        info!(id = self.id, batches, messages, "closed the stdout sink");
        Ok(())
    }
}

fn lines(batch: &Batch<'_>) -> Vec<u8> {
    let size = batch.messages().map(|message| message.payload().len() + 1);
    let mut lines = Vec::with_capacity(size.sum());
    for message in batch.messages() {
        push_line(&mut lines, message.payload());
    }
    lines
}

fn push_line(lines: &mut Vec<u8>, payload: &[u8]) {
    lines.extend_from_slice(payload);
    lines.push(b'\n');
}

/// Prints whole lines at once. On a thread that may block: whoever reads the output may be slow, or have stopped reading.
async fn print(lines: Vec<u8>) -> Result<(), Error> {
    tokio::task::spawn_blocking(move || write(&mut io::stdout().lock(), &lines))
        .await
        .map_err(|error| Error::transient("standard output was not written").with_source(&error))?
}

fn write(output: &mut impl Write, lines: &[u8]) -> Result<(), Error> {
    let written = output.write_all(lines).and_then(|()| output.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => {
            Error::fatal("standard output is closed: nobody reads it any more")
        }
        _ => Error::transient("write to standard output").with_source(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use iggy_connector_sdk::Class;

    /// An output that fails, after it has taken a few bytes.
    struct Failing(ErrorKind, usize);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.1.min(bytes.len());
            self.1 -= taken;
            if taken == 0 {
                return Err(self.0.into());
            }
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_output_is_fatal_and_any_other_failure_worth_a_retry() {
        for (kind, class) in [
            (ErrorKind::BrokenPipe, Class::Fatal),
            (ErrorKind::StorageFull, Class::Transient),
            (ErrorKind::WouldBlock, Class::Transient),
        ] {
            let error = write(&mut Failing(kind, 3), b"line\n").unwrap_err();
            assert_eq!(error.class(), class, "{error}");
        }
        write(&mut Failing(ErrorKind::BrokenPipe, 5), b"line\n").unwrap();
    }
}
