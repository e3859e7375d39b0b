//! An example of a source that streams: a server that takes lines over TCP, and answers each with `ok` once it is safe in Iggy.

use iggy_connector_sdk::{
    Error, Source, async_trait,
    source::{SourceMessage, SourceSender},
    source_connector,
};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tracing::{debug, info};

source_connector!(LineServer);

/// Takes lines over TCP.
#[derive(Debug)]
pub struct LineServer {
    config: LineServerConfig,
    listener: Option<TcpListener>,
}

/// `[plugin_config]` of the source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineServerConfig {
    /// Where clients connect: an IP address and a port.
    address: String,
}

impl LineServer {
    /// A server that does not listen yet.
    pub fn new(_id: u32, config: LineServerConfig) -> Self {
        Self {
            config,
            listener: None,
        }
    }
}

#[async_trait]
impl Source for LineServer {
    async fn open(&mut self) -> Result<(), Error> {
        let address = &self.config.address;
        // Another process may have the port for a while: the runtime tries again.
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::transient(format!("listen at `{address}`")).with_source(&error)
        })?;
        let address = listener.local_addr().map(|address| address.to_string());
        info!(address = address.unwrap_or_default(), "listening");
        self.listener = Some(listener);
        Ok(())
    }

    async fn start(&self, sender: SourceSender) -> Result<(), Error> {
        let Some(listener) = &self.listener else {
            return Err(Error::InvalidConfig);
        };
        // Dropped at the end of `start`, and with it the clients' tasks and their senders.
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                () = sender.closed() => return Ok(()),
                accepted = listener.accept() => match accepted {
                    Ok((client, _)) => drop(clients.spawn(serve(client, sender.clone()))),
                    Err(error) => return Err(Error::transient("accept a client").with_source(&error)),
                },
                Some(_) = clients.join_next() => {}
            }
        }
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.listener = None;
        Ok(())
    }
}

/// Takes a client's lines until it leaves. Each waits for the one before, so a client that is in a hurry opens several connections.
async fn serve(client: TcpStream, sender: SourceSender) {
    if let Err(error) = exchange(client, &sender).await {
        debug!(%error, "a client has left");
    }
}

async fn exchange(client: TcpStream, sender: &SourceSender) -> std::io::Result<()> {
    let (read, mut write) = client.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match sender.send_acked(SourceMessage::from_string(line)).await {
            Ok(receipt) if receipt.is_delivered() => "ok\n",
            Ok(_) => "refused\n",
            Err(_) => "again\n",
        };
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use iggy_connector_sdk::{
        source::SourceBatchResult,
        testing::{Native, OpenSource, SourcePlugin},
    };

    use tokio::net::TcpSocket;

    use super::*;

    /// The source at a port of its own.
    async fn opened() -> (Box<dyn OpenSource>, SocketAddr) {
        // Bound until the source listens there too, so that nobody else is given the port meanwhile.
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseaddr(true).unwrap();
        reserved.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = reserved.local_addr().unwrap();
        let config = format!(r#"{{"address": "{address}"}}"#);
        let source = Native::source(LineServer::new).open(&config, None).await;
        (source.unwrap(), address)
    }

    async fn settled(source: &dyn OpenSource, result: SourceBatchResult) -> Vec<u8> {
        let polled = source.poll().await.unwrap();
        assert!(source.settle(polled.poll, result).await.is_ok());
        let [message] = &polled.batch.messages[..] else {
            panic!("{polled:?}")
        };
        message.message().payload.clone()
    }

    #[tokio::test]
    async fn a_line_is_answered_when_it_is_settled() {
        let (source, address) = opened().await;
        let client = TcpStream::connect(address).await.unwrap();
        let (read, mut write) = client.into_split();
        let mut answers = BufReader::new(read).lines();

        write.write_all(b"one\n").await.unwrap();
        let payload = settled(&*source, SourceBatchResult::Ack).await;
        assert_eq!(payload, b"one");
        assert_eq!(answers.next_line().await.unwrap().as_deref(), Some("ok"));

        write.write_all(b"two\n").await.unwrap();
        settled(&*source, SourceBatchResult::Nack).await;
        assert_eq!(answers.next_line().await.unwrap().as_deref(), Some("again"));
        // The SDK offers it again all the same: two that come are better than none.
        let payload = settled(&*source, SourceBatchResult::Ack).await;
        assert_eq!(payload, b"two");

        assert!(source.close().await.is_ok());
        assert_eq!(answers.next_line().await.unwrap(), None);
    }
}
