//! What the pipeline asks of its neighbours: a consumer and a producer of streams, a plugin, a store for state.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use iggy_connector_message::{Schema, TopicMetadata};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One message on its way out of Iggy. Its bytes are shared with the broker's reply that they arrived in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u128,
    pub offset: u64,
    pub checksum: u64,
    pub timestamp: u64,
    pub origin_timestamp: u64,
    /// User headers in Iggy's wire encoding.
    pub headers: Bytes,
    pub payload: Bytes,
}

/// What one poll of the broker returned: messages of one partition, in order, at least one.
#[derive(Debug)]
pub struct Fetched {
    /// Which `[[streams]]` entry it belongs to, from 0.
    pub input: usize,
    pub topic: Arc<TopicMetadata>,
    pub partition_id: u32,
    /// The partition's last offset when it was polled.
    pub current_offset: u64,
    pub messages: Vec<Message>,
    /// Messages before these that the broker dropped before they were read.
    pub expired: u64,
    /// Handed back with the position; the consumer's own.
    pub epoch: u64,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub topic: Arc<TopicMetadata>,
    pub id: u32,
}

/// What a consumer tells the pipeline, in order.
#[derive(Debug)]
pub enum Handout {
    Batch(Fetched),
    /// The partition goes to another consumer as soon as what was handed out of it is settled; nothing more of it follows until it
    /// comes back.
    Lost(Partition),
}

/// Everything of a partition up to here is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub topic: Arc<TopicMetadata>,
    pub partition_id: u32,
    pub offset: u64,
    /// As in [`Fetched::epoch`]: the consumer drops positions of a partition that it has lost since.
    pub epoch: u64,
}

/// Reads the topics of a sink and stores what is settled.
pub trait Consumer: Send {
    /// Sends batches, and which partitions are being lost, to `batches` until `stop` or until the receiver is gone, and stores the
    /// positions that come from `settled`. Of each partition it sends at most `most` batches, at least one, whose positions have not come,
    /// so that a slow one fills the way of no other. After the last batch it goes on storing until `settled` is closed, stores what is
    /// left and leaves its groups.
    ///
    /// # Errors
    ///
    /// The broker could not be reached or refused. What was not stored is delivered again later.
    fn run(
        self,
        batches: mpsc::Sender<Handout>,
        settled: mpsc::Receiver<Position>,
        most: usize,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Is told how far a consumer is. For figures only: nothing waits for it.
pub trait Gauge: fmt::Debug + Send + Sync {
    /// So many messages of its partitions are not settled.
    fn behind(&self, messages: u64);

    /// An offset was stored so long after the first message that waited for it was settled.
    fn stored(&self, after: Duration);
}

/// One batch as a sink's plugin gets it.
#[derive(Debug)]
pub struct Batch {
    pub topic: Arc<TopicMetadata>,
    pub partition_id: u32,
    pub current_offset: u64,
    /// What the payloads are now.
    pub schema: Schema,
    pub messages: Vec<Message>,
}

impl Batch {
    /// The same batch with other messages.
    pub fn with(&self, messages: Vec<Message>) -> Self {
        Self {
            topic: self.topic.clone(),
            messages,
            ..*self
        }
    }
}

/// Whether something that was handed over of a batch's partition before may come again. A plugin that has several batches of a partition
/// refuses those behind one that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Nothing does: how all of it has ended is known, or nothing is tried twice.
    First,
    /// How some of it has ended is not known yet.
    Behind,
}

/// A record of a batch that a plugin named as failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Position in the batch.
    pub index: usize,
    /// [`FailureKind::Transient`], [`FailureKind::Invalid`] or [`FailureKind::Fatal`].
    pub kind: FailureKind,
    pub message: String,
}

/// What became of a batch that did not fail as a whole: every record that is not listed is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// By rising index without repetition, each inside the batch.
    pub failed: Vec<Failed>,
    /// How long the other side asked to wait before the transient ones are tried again.
    pub retry_after: Option<Duration>,
}

/// Why a call or a step did not succeed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
    /// How long the other side asked to wait.
    pub retry_after: Option<Duration>,
}

/// What can be done about a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Try again later. `[retry] max_retries` counts these.
    Transient,
    /// Iggy cannot be reached, or lacks the topic, and has decided nothing about the data: tried again without end.
    Unreachable,
    /// The data can never succeed.
    Invalid,
    /// The connector cannot go on.
    Fatal,
    /// It was worth trying again, and was tried as often as the policy allows.
    Exhausted,
    /// The plugin's code panicked; the connector cannot go on.
    Panicked,
    /// The call ended on request, and nobody knows whether it had an effect.
    Cancelled,
    /// The plugin did not answer, not even to a cancel; its instance is abandoned.
    Hung,
    /// The plugin broke the contract; a bug of the plugin.
    Contract,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }

    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Transient, message)
    }

    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Fatal, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FailureKind::Panicked => write!(f, "panicked: {}", self.message),
            FailureKind::Hung => write!(f, "hung: {}", self.message),
            FailureKind::Contract => write!(f, "contract broken: {}", self.message),
            FailureKind::Cancelled => write!(f, "cancelled: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Failure {}

/// An open instance of a sink.
pub trait SinkPlugin: Send + Sync {
    /// Hands over one batch and waits, within the connector's deadline, for what became of it. The batch is handed over when the future
    /// is polled first; dropping the future cancels the call, which may go on for a moment ([`SinkPlugin::drain`]).
    ///
    /// # Errors
    ///
    /// The batch failed as a whole.
    fn consume(
        &self,
        batch: Arc<Batch>,
        rank: Rank,
    ) -> impl Future<Output = Result<Consumed, Failure>> + Send;

    /// Waits until every call whose future was dropped has ended.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Hung`]: one did not, and the instance is abandoned.
    fn drain(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Makes what was handed over durable, and waits for it within the connector's deadline. When it succeeds, every consume that was
    /// handed over before it has ended.
    ///
    /// # Errors
    ///
    /// It did not become durable.
    fn flush(&self, request: FlushRequest) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What a sink is to make durable, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushRequest {
    pub reason: FlushReason,
    /// Only what was handed over of this partition; `None`: everything.
    pub partition: Option<Partition>,
}

/// Why a sink is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushReason {
    /// None in particular: no more may be handed over before something is settled.
    None,
    /// The oldest batch has waited long enough.
    Timeout,
    /// The connector is being paused.
    Pause,
    /// The connector is being stopped.
    Stop,
    /// The partition goes to another consumer.
    PartitionLost,
}

/// One message on its way into Iggy. The payload is the plugin's own memory, given back when the last clone is dropped.
#[derive(Clone, Debug, Default)]
pub struct Produced {
    pub id: Option<u128>,
    pub origin_timestamp: Option<u64>,
    /// User headers in Iggy's wire encoding.
    pub headers: Bytes,
    pub payload: Bytes,
    pub key: Option<Bytes>,
    /// A route's name, or `/stream/topic`.
    pub route: Option<Bytes>,
}

/// What one poll of a source returned.
#[derive(Debug)]
pub struct Polled {
    /// Names the poll when it is settled.
    pub poll: u64,
    pub schema: Schema,
    pub messages: Vec<Produced>,
    /// The state after these messages, when it has changed.
    pub state: Option<Bytes>,
    /// The source has ended by itself; no poll follows.
    pub ended: bool,
}

/// What became of a polled batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Confirmed by Iggy and state saved. `undelivered` lists the positions that were not sent, in rising order.
    Ack { undelivered: Vec<(u32, Unsent)> },
    /// Given up; the source offers it again.
    Nack(GivenUp),
}

/// Why a message of a batch was not sent although the batch is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    Filtered,
    DeadLettered,
    Skipped,
}

/// Why a batch was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// The connector stops.
    Stopped,
    /// It was tried as often as the policy allows.
    Exhausted,
}

/// An open instance of a source.
pub trait SourcePlugin: Send + Sync {
    /// Asks for the next batch and waits for it. After `stop` a waiting poll gets a moment, then is cancelled and fails with
    /// [`FailureKind::Cancelled`].
    ///
    /// # Errors
    ///
    /// The source could not offer a batch.
    fn poll(
        &self,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<Polled, Failure>> + Send;

    /// As [`SourcePlugin::poll`], but asks a source that can be drained for what it holds already: it takes nothing in from the
    /// outside until it is polled again, and at last returns neither messages nor a state.
    ///
    /// # Errors
    ///
    /// As [`SourcePlugin::poll`].
    fn drain(
        &self,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<Polled, Failure>> + Send;

    /// Tells what became of a batch, once for each successful poll, in the order of the polls.
    ///
    /// # Errors
    ///
    /// The source did not take it; the same settlement may be repeated.
    fn settle(
        &self,
        poll: u64,
        settlement: Settlement,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A message of a batch that can never go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Position in the batch.
    pub index: usize,
    /// `decode`, `transform`, `encode` or `deliver`.
    pub stage: &'static str,
    pub message: String,
}

/// A batch whose ids, targets and partitions are fixed, and which knows what Iggy has confirmed of it. Positions are those in what
/// was prepared; messages are given back with the headers and the payload that they came with.
pub trait Shipment: Send {
    /// Takes out the messages that Iggy will never take. There may be some after the preparation and after each send.
    fn take_rejected(&mut self) -> Vec<(Rejected, Produced)>;

    /// Takes out everything else that is not confirmed.
    fn give_up(&mut self) -> Vec<(usize, Produced)>;
}

/// Sends to the topics of a source.
pub trait Producer: Send + Sync {
    type Shipment: Shipment;

    /// Fixes each message's id, target and partition. `messages` are in poll order, each with the number of its output; they are
    /// taken on success and left alone on failure, so that trying again needs no copy. One that Iggy would not take fails none of
    /// the others ([`Shipment::take_rejected`]).
    ///
    /// # Errors
    ///
    /// The broker could not be asked for a topic's partitions.
    fn prepare(
        &self,
        messages: &mut Vec<(usize, Produced)>,
    ) -> impl Future<Output = Result<Self::Shipment, Failure>> + Send;

    /// Sends whatever of the shipment is neither confirmed nor rejected yet. May be called again after an error.
    ///
    /// # Errors
    ///
    /// Something was not confirmed. [`FailureKind::Unreachable`]: Iggy has not said why. [`FailureKind::Transient`]: it has refused
    /// what was sent and may take it later.
    fn send(
        &self,
        shipment: &mut Self::Shipment,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Keeps one connector's state.
pub trait StateStore: Send + Sync {
    /// Makes `state` the saved one; durable when it returns.
    ///
    /// # Errors
    ///
    /// It could not be written; the one before is still there.
    fn save(&self, state: Bytes) -> impl Future<Output = Result<(), Failure>> + Send;
}
