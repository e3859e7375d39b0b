//! A streaming source for tests of the daemon: clients connect and say in lines what it is to send, and it answers in lines.

use std::path::PathBuf;

use iggy_connector_sdk::{
    Error, Source, async_trait,
    source::{SourceMessage, SourceSender, TrySendError},
    source_connector,
};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

source_connector!(LineServer);

/// The server.
#[derive(Debug)]
pub struct LineServer {
    config: Config,
    listener: Option<TcpListener>,
}

/// `[plugin_config]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server writes the address that it listens at.
    address_file: PathBuf,
}

/// How `start` is to end.
#[derive(Clone, Copy, Debug)]
enum End {
    Return,
    Fail,
    Panic,
}

impl LineServer {
    /// Makes the source.
    pub fn new(_id: u32, config: Config) -> Self {
        Self {
            config,
            listener: None,
        }
    }
}

fn io(error: std::io::Error) -> Error {
    Error::transient("line server").with_source(&error)
}

#[async_trait]
impl Source for LineServer {
    async fn open(&mut self) -> Result<(), Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let partial = self.config.address_file.with_extension("partial");
        std::fs::write(&partial, address.to_string()).map_err(io)?;
        std::fs::rename(partial, &self.config.address_file).map_err(io)?;
        self.listener = Some(listener);
        Ok(())
    }

    async fn start(&self, sender: SourceSender) -> Result<(), Error> {
        let Some(listener) = &self.listener else {
            return Err(Error::InvalidConfig);
        };
        let (end, mut ends) = mpsc::channel(1);
        loop {
            tokio::select! {
                client = listener.accept() => {
                    let (client, _) = client.map_err(io)?;
                    tokio::spawn(serve(client, sender.clone(), end.clone()));
                }
                () = sender.closed() => return Ok(()),
                Some(end) = ends.recv() => match end {
                    End::Return => return Ok(()),
                    End::Fail => return Err(Error::transient("asked to fail")),
                    End::Panic => panic!("asked to panic"),
                },
            }
        }
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Obeys a client until it leaves or the source takes nothing any more.
async fn serve(client: TcpStream, sender: SourceSender, end: mpsc::Sender<End>) {
    let (read, mut write) = client.into_split();
    let (answers, mut to_write) = mpsc::unbounded_channel::<String>();
    let writing = tokio::spawn(async move {
        while let Some(answer) = to_write.recv().await {
            if write.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (command, text) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match command {
            "send" => match sender.send(SourceMessage::from_string(text)).await {
                Ok(()) => format!("sent {text}\n"),
                Err(_) => break,
            },
            "ack" => {
                let sent = sender.send_tracked(SourceMessage::from_string(text));
                let Ok(ack) = sent.await else { break };
                let (answers, text) = (answers.clone(), text.to_owned());
                tokio::spawn(async move {
                    let told = ack.await;
                    // A client that has left does not want to know.
                    let _ = answers.send(format!("{text} {told:?}\n"));
                });
                continue;
            }
            "fill" => format!("full {}\n", fill(&sender, text)),
            "end" => ask(&end, End::Return).await,
            "fail" => ask(&end, End::Fail).await,
            "panic" => ask(&end, End::Panic).await,
            _ => format!("what is {command}?\n"),
        };
        if answers.send(answer).is_err() {
            break;
        }
    }
    drop(answers);
    drop(sender);
    let _ = writing.await;
}

async fn ask(end: &mpsc::Sender<End>, what: End) -> String {
    match end.send(what).await {
        Ok(()) => "asked\n".to_owned(),
        Err(_) => "gone\n".to_owned(),
    }
}

/// Sends messages until the channel is full, and returns how many.
fn fill(sender: &SourceSender, prefix: &str) -> usize {
    let mut count = 0;
    loop {
        let message = SourceMessage::from_string(format!("{prefix}{count}"));
        match sender.try_send(message) {
            Ok(()) => count += 1,
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => return count,
        }
    }
}
