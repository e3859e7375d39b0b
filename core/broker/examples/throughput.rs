//! Fills and drains a topic of a running broker or server and prints what that took:
//! `throughput ADDRESS [fill|drain|single|latency|all] [MESSAGES] [PAYLOAD]`.

#![expect(clippy::print_stdout, reason = "the figures are this program's output")]

use std::{
    error::Error,
    time::{Duration, Instant},
};

use iggy::prelude::*;

const BATCH: usize = 1000;
const STREAM: &str = "throughput";
const TOPIC: &str = "throughput";

struct Probe {
    client: IggyClient,
    stream: Identifier,
    topic: Identifier,
    messages: usize,
    payload: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .ok_or("usage: throughput ADDRESS [MODE] [MESSAGES] [PAYLOAD]")?;
    let mode = arguments.next().unwrap_or_else(|| "all".to_owned());
    let probe = Probe {
        client: IggyClient::from_connection_string(&format!(
            "iggy://iggy:iggy@{address}?nodelay=true"
        ))?,
        stream: Identifier::named(STREAM)?,
        topic: Identifier::named(TOPIC)?,
        messages: arguments
            .next()
            .map_or(Ok(1_000_000), |count| count.parse())?,
        payload: arguments.next().map_or(Ok(200), |bytes| bytes.parse())?,
    };
    probe.client.connect().await?;
    if matches!(mode.as_str(), "fill" | "all") {
        probe.recreate().await?;
        probe.fill().await?;
    }
    if matches!(mode.as_str(), "drain" | "all") {
        probe.drain().await?;
    }
    if matches!(mode.as_str(), "single" | "all") {
        probe.recreate().await?;
        probe.single(20_000).await?;
    }
    if matches!(mode.as_str(), "latency" | "all") {
        probe.latency(&address, 5_000).await?;
    }
    Ok(())
}

impl Probe {
    async fn recreate(&self) -> Result<(), IggyError> {
        if self.client.get_stream(&self.stream).await?.is_some() {
            self.client.delete_stream(&self.stream).await?;
        }
        self.client.create_stream(STREAM).await?;
        let options = TopicCreateOptions::default();
        self.client
            .create_topic(&self.stream, TOPIC, &options)
            .await?;
        Ok(())
    }

    async fn send(&self, messages: &mut [IggyMessage]) -> Result<(), IggyError> {
        let partitioning = Partitioning::partition_id(0);
        self.client
            .send_messages(&self.stream, &self.topic, &partitioning, messages)
            .await?;
        Ok(())
    }

    fn batch(&self, length: usize) -> Result<Vec<IggyMessage>, IggyError> {
        let payload = bytes::Bytes::from(vec![b'x'; self.payload]);
        let message = || IggyMessage::builder().payload(payload.clone()).build();
        (0..length).map(|_| message()).collect()
    }

    async fn fill(&self) -> Result<(), IggyError> {
        let mut batch = self.batch(BATCH)?;
        let start = Instant::now();
        for _ in 0..self.messages / BATCH {
            self.send(&mut batch).await?;
        }
        self.report("fill", self.messages, start.elapsed());
        Ok(())
    }

    async fn drain(&self) -> Result<(), IggyError> {
        let start = Instant::now();
        let mut offset = 0;
        while offset < self.messages as u64 {
            let polled = self
                .poll(&self.client, PollingStrategy::offset(offset))
                .await?;
            offset += polled.messages.len() as u64;
        }
        self.report("drain", self.messages, start.elapsed());
        Ok(())
    }

    async fn poll(
        &self,
        client: &IggyClient,
        strategy: PollingStrategy,
    ) -> Result<PolledMessages, IggyError> {
        let consumer = Consumer::default();
        let count = BATCH as u32;
        client
            .poll_messages(
                &self.stream,
                &self.topic,
                Some(0),
                &consumer,
                &strategy,
                count,
                false,
            )
            .await
    }

    async fn single(&self, count: usize) -> Result<(), IggyError> {
        let mut batch = self.batch(1)?;
        let mut times = Vec::with_capacity(count);
        let start = Instant::now();
        for _ in 0..count {
            let sent = Instant::now();
            self.send(&mut batch).await?;
            times.push(sent.elapsed());
        }
        self.report("single", count, start.elapsed());
        percentiles("single", times);
        Ok(())
    }

    /// From the send of a message to its arrival at a consumer that polls all the time.
    async fn latency(&self, address: &str, count: u64) -> Result<(), Box<dyn Error>> {
        let reader = IggyClient::from_connection_string(&format!(
            "iggy://iggy:iggy@{address}?nodelay=true"
        ))?;
        reader.connect().await?;
        let mut batch = self.batch(1)?;
        let mut times = Vec::new();
        let topic = self.client.get_topic(&self.stream, &self.topic).await?;
        let first = topic.map_or(0, |topic| topic.messages_count);
        for offset in first..first + count {
            let sent = Instant::now();
            let (sending, polled) = tokio::join!(self.send(&mut batch), async {
                loop {
                    let polled = self.poll(&reader, PollingStrategy::offset(offset)).await?;
                    if !polled.messages.is_empty() {
                        return Ok::<_, IggyError>(sent.elapsed());
                    }
                }
            });
            sending?;
            times.push(polled?);
        }
        percentiles("latency", times);
        Ok(())
    }

    fn report(&self, what: &str, messages: usize, took: Duration) {
        let seconds = took.as_secs_f64();
        let rate = messages as f64 / seconds;
        let megabytes = rate * self.payload as f64 / 1e6;
        println!(
            "{what}: {messages} messages in {seconds:.3} s, {rate:.0}/s, {megabytes:.0} MB/s of payload"
        );
    }
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: p50 {:?}, p99 {:?}, max {:?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
