//! A source that streams, in a real daemon: everything arrives, what is acknowledged survives, a full channel holds no more.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod daemon;
    pub mod port;
}

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use harness::{
    broker::{self, Broker, Topic, eventually},
    daemon::{Daemon, Home},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
    time::timeout,
};

/// A client of the source's server.
struct Client {
    write: OwnedWriteHalf,
    answers: Lines<BufReader<OwnedReadHalf>>,
}

impl Client {
    /// Connects to the source of a daemon in `home`.
    async fn connect(home: &Home) -> Self {
        let file = home.path().join("address");
        eventually(true, async || file.exists()).await;
        let address = std::fs::read_to_string(&file).unwrap();
        let (read, write) = TcpStream::connect(address).await.unwrap().into_split();
        Self {
            write,
            answers: BufReader::new(read).lines(),
        }
    }

    async fn say(&mut self, line: &str) {
        self.write
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
    }

    /// The next answer; `None` when the connection has ended.
    async fn answer(&mut self) -> Option<String> {
        let answer = timeout(broker::PATIENCE, self.answers.next_line()).await;
        answer.expect("the source answers").unwrap_or(None)
    }

    async fn ask(&mut self, line: &str) -> String {
        self.say(line).await;
        self.answer().await.unwrap()
    }
}

/// A client that sends without a pause, for as long as it can.
struct Flood {
    sending: JoinHandle<()>,
    hearing: JoinHandle<()>,
    /// What the source has said that it has sent.
    taken: Arc<Mutex<BTreeSet<String>>>,
}

impl Flood {
    fn begin(client: Client, prefix: &str) -> Self {
        let (mut write, mut answers) = (client.write, client.answers);
        let prefix = prefix.to_owned();
        let taken = Arc::new(Mutex::new(BTreeSet::new()));
        let heard = taken.clone();
        Self {
            sending: tokio::spawn(async move {
                for number in 0.. {
                    let line = format!("send {prefix}-{number}\n");
                    if write.write_all(line.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }),
            hearing: tokio::spawn(async move {
                while let Ok(Some(answer)) = answers.next_line().await {
                    let text = answer.strip_prefix("sent ").unwrap().to_owned();
                    heard.lock().unwrap().insert(text);
                }
            }),
            taken,
        }
    }

    fn taken(&self) -> BTreeSet<String> {
        self.taken.lock().unwrap().clone()
    }

    /// Waits until so many more have been taken.
    async fn goes_on(&self, more: usize) {
        let wanted = self.taken().len() + more;
        eventually(true, async || self.taken().len() >= wanted).await;
    }

    /// What was taken until the source has sent its clients away.
    async fn end(self) -> BTreeSet<String> {
        self.hearing.await.unwrap();
        self.sending.abort();
        Arc::into_inner(self.taken).unwrap().into_inner().unwrap()
    }
}

/// What stands in the topic, each once.
async fn once(topic: &Topic) -> BTreeSet<String> {
    let texts = topic.texts(0).await;
    let count = texts.len();
    let texts: BTreeSet<_> = texts.into_iter().collect();
    assert_eq!(texts.len(), count, "something came twice");
    texts
}

fn home(broker: &Broker, topic: &Topic) -> Home {
    home_with(broker, topic, "")
}

/// Small batches keep the channel full.
fn home_of_small_batches(broker: &Broker, topic: &Topic) -> Home {
    home_with(broker, topic, "batch_length = 10")
}

fn home_with(broker: &Broker, topic: &Topic, stream: &str) -> Home {
    let config = format!(
        r#"
[iggy]
username = "iggy"
password = "iggy"
[http]
address = "127.0.0.1:0"
[sources.lines]
path = "libline_server_source"
[[sources.lines.streams]]
stream = "{}"
topic = "{}"
schema = "text"
{stream}
[sources.lines.plugin_config]
address_file = "address"
"#,
        topic.stream, topic.name
    );
    let mut home = Home::new(&config);
    home.set("IGGY_CONNECTORS_IGGY_ADDRESS", broker.address());
    home
}

async fn status(daemon: &Daemon, status: &str) -> serde_json::Value {
    daemon
        .wait_for_stats("lines", |stats| stats["status"] == status)
        .await
}

#[tokio::test]
async fn everything_that_is_sent_arrives_in_order_and_a_source_that_ends_is_stopped() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let home = home(&broker, &topic);
    let daemon = home.start().await;
    let mut client = Client::connect(&home).await;
    let sent: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    let lines: String = sent.iter().map(|text| format!("send {text}\n")).collect();
    let (write, answers) = (&mut client.write, &mut client.answers);
    let say = async { write.write_all(lines.as_bytes()).await.unwrap() };
    let hear = async {
        for text in &sent {
            let answer = timeout(broker::PATIENCE, answers.next_line()).await;
            let answer = answer.expect("the source answers").unwrap();
            assert_eq!(answer, Some(format!("sent {text}")));
        }
    };
    tokio::join!(say, hear);
    assert_eq!(client.ask("end").await, "asked");
    assert_eq!(
        client.ask("send last").await,
        "sent last",
        "a sender is left, so the source goes on"
    );
    drop(client);
    let stats = status(&daemon, "stopped").await;
    assert_eq!(stats["messages_sent"], 5001, "{stats}");
    let mut texts = topic.texts(0).await;
    assert_eq!(texts.pop().as_deref(), Some("last"));
    assert_eq!(texts, sent);
    daemon.interrupt().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let home = home(&broker, &topic);
    let mut acked = BTreeSet::new();
    for round in 0..4 {
        let file = home.path().join("address");
        // The address is that of the daemon of before.
        let _ = std::fs::remove_file(&file);
        let daemon = home.start().await;
        let mut client = Client::connect(&home).await;
        let wanted = 50 + 130 * round;
        let mut sent = 0;
        let mut told = 0;
        while told < wanted {
            // Some hundred are on their way whenever the daemon is killed.
            while sent < told + 300 {
                client.say(&format!("ack {round}-{sent}")).await;
                sent += 1;
            }
            let answer = client.answer().await.unwrap();
            let text = answer.strip_suffix(" Ok(Delivered)");
            acked.insert(text.unwrap_or_else(|| panic!("{answer}")).to_owned());
            told += 1;
        }
        daemon.kill().await;
        while let Some(answer) = client.answer().await {
            acked.extend(answer.strip_suffix(" Ok(Delivered)").map(str::to_owned));
        }
    }
    let there: BTreeSet<_> = topic.texts(0).await.into_iter().collect();
    let missing: Vec<_> = acked.difference(&there).collect();
    assert!(missing.is_empty(), "missing {missing:?} of {}", acked.len());
    assert!(acked.len() >= 50 + 180 + 310 + 440, "{}", acked.len());
}

#[tokio::test]
async fn while_the_broker_is_away_the_channel_fills_and_takes_no_more() {
    let broker = Broker::embedded(|_| ()).await;
    let topic = broker.topic(1).await;
    let home = home(&broker, &topic);
    let daemon = home.start().await;
    let mut client = Client::connect(&home).await;
    assert_eq!(
        client.ask("ack before").await,
        "before Ok(Delivered)",
        "the source is connected"
    );
    let stopped = broker.stop().await;
    let mut sent = 0;
    loop {
        let full = client.ask(&format!("fill {sent}-")).await;
        let count: usize = full.strip_prefix("full ").unwrap().parse().unwrap();
        sent += count;
        // Four batches may be on their way beside what the channel holds.
        assert!(sent <= 4 * 1000 + 1024, "{sent} were taken");
        if count == 0 {
            break;
        }
    }
    let broker = stopped.start().await;
    let topic = Topic {
        client: broker::client(broker.address()).await,
        ..topic
    };
    let wanted = sent + 1;
    eventually(wanted, async || {
        let there: BTreeSet<_> = topic.texts(0).await.into_iter().collect();
        there.len()
    })
    .await;
    assert_eq!(client.ask("ack after").await, "after Ok(Delivered)");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_start_that_fails_is_begun_again_and_loses_nothing() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let home = home(&broker, &topic);
    let daemon = home.start().await;
    let mut client = Client::connect(&home).await;
    assert_eq!(client.ask("send one").await, "sent one");
    assert_eq!(client.ask("fail").await, "asked");
    client.say("ack lost").await;
    // The channel of the first run is closed: its clients are sent away.
    while client.answer().await.is_some() {}
    let mut client = Client::connect(&home).await;
    assert_eq!(client.ask("ack two").await, "two Ok(Delivered)");
    let texts = topic.texts(0).await;
    assert!(texts.contains(&"one".to_owned()) && texts.contains(&"two".to_owned()));
    status(&daemon, "running").await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn everything_that_was_taken_arrives_when_the_daemon_is_stopped_under_load() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let home = home_of_small_batches(&broker, &topic);
    let mut taken = BTreeSet::new();
    for round in 0..4 {
        // The address is that of the daemon of before.
        let _ = std::fs::remove_file(home.path().join("address"));
        let mut daemon = home.start().await;
        let flood = Flood::begin(Client::connect(&home).await, &round.to_string());
        flood.goes_on(1200 + 700 * round).await;
        daemon.signal(rustix::process::Signal::TERM);
        let status = daemon.ended().await;
        assert_eq!(status.code(), Some(0), "{}", daemon.stderr().text());
        taken.extend(flood.end().await);
        let missing: Vec<_> = taken.difference(&once(&topic).await).cloned().collect();
        let count = missing.len();
        assert!(
            missing.is_empty(),
            "round {round}: {count} of {}",
            taken.len()
        );
    }
}

#[tokio::test]
async fn a_pause_delivers_what_was_taken_and_loses_and_repeats_nothing() {
    let broker = Broker::start().await;
    let topic = broker.topic(1).await;
    let home = home_of_small_batches(&broker, &topic);
    let daemon = home.start().await;
    let flood = Flood::begin(Client::connect(&home).await, "flood");
    for _ in 0..4 {
        flood.goes_on(1500).await;
        assert_eq!(daemon.post("/sources/lines/pause").await.0, 202);
        status(&daemon, "paused").await;
        let missing: Vec<_> = flood
            .taken()
            .difference(&once(&topic).await)
            .cloned()
            .collect();
        assert!(missing.is_empty(), "{} are missing", missing.len());
        assert_eq!(daemon.post("/sources/lines/resume").await.0, 202);
        status(&daemon, "running").await;
    }
    flood.goes_on(1500).await;
    daemon.interrupt().await;
    let taken = flood.end().await;
    let missing: Vec<_> = taken.difference(&once(&topic).await).cloned().collect();
    assert!(missing.is_empty(), "{} are missing", missing.len());
}

#[tokio::test]
async fn what_was_taken_before_there_is_a_connection_arrives_at_a_stop() {
    let broker = Broker::embedded(|_| ()).await;
    let topic = broker.topic(1).await;
    let home = home(&broker, &topic);
    let stopped = broker.stop().await;
    let mut daemon = home.start().await;
    let mut client = Client::connect(&home).await;
    assert_eq!(client.ask("send one").await, "sent one");
    status(&daemon, "retrying").await;
    daemon.signal(rustix::process::Signal::TERM);
    daemon.stderr().wait_for("a second signal exits").await;
    let broker = stopped.start().await;
    let ended = daemon.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", daemon.stderr().text());
    let topic = Topic {
        client: broker::client(broker.address()).await,
        ..topic
    };
    assert_eq!(topic.texts(0).await, ["one"]);
}

#[tokio::test]
async fn a_stop_while_the_broker_is_away_says_that_something_is_left() {
    for load in ["send one", "fill more-"] {
        let broker = Broker::embedded(|_| ()).await;
        let topic = broker.topic(1).await;
        let home = home(&broker, &topic);
        let mut daemon = home.start().await;
        let mut client = Client::connect(&home).await;
        assert_eq!(client.ask("ack before").await, "before Ok(Delivered)");
        let stopped = broker.stop().await;
        client.ask(load).await;
        while load != "send one" && client.ask(load).await != "full 0" {}
        daemon.signal(rustix::process::Signal::TERM);
        let status = daemon.ended().await;
        daemon.output_closed().await;
        let log = format!("{}{}", daemon.stdout().text(), daemon.stderr().text());
        assert!(log.contains("the source was not drained"), "{load}: {log}");
        assert_eq!(status.code(), Some(0), "{log}");
        drop(stopped);
    }
}
