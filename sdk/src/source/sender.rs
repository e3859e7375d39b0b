//! How a streaming source hands messages over: [`SourceSender`], and how it learns what became of them: [`Ack`].

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::{
    SourceMessage,
    stream::{Entry, Run},
};
use crate::{ConnectorState, Error};

/// Where a streaming source puts its messages: [`crate::Source::start`] gets one. Clones share one channel.
///
/// The channel holds about a thousand messages, fewer when they are large. When it is full the sending waits, and with it whatever the
/// messages are read from. What was sent is in memory only until it is confirmed: a source that may not lose a message keeps it
/// outside until [`SourceSender::send_acked`] or [`crate::Source::commit`] says so, or has a state to go on from
/// ([`SourceSender::send_batch`]).
///
/// When the connector is stopped or paused, it is drained: from then on the sending waits, and what is in the channel is delivered, its
/// state saved and its [`Ack`]s told. After a stop the source is then closed, and whoever waits to send gets [`Closed`]; after a pause
/// the same senders go on when the connector is resumed, and `start` has noticed nothing. Draining ends after five seconds, for example
/// when Iggy is out of reach: if the source is closed then, what is left in the channel is gone, and its [`Ack`]s say that they do not
/// know. It is also gone when the connector fails or the process is killed.
///
/// Messages that one task sends one after another keep their order. A future of this type that is dropped while it waits for room
/// has sent nothing.
#[derive(Clone, Debug)]
pub struct SourceSender {
    run: std::sync::Arc<Run>,
}

/// What tells what became of one message. Dropping it withdraws nothing.
#[derive(Debug)]
#[must_use = "it does nothing but tell what became of the message"]
pub struct Ack(oneshot::Receiver<Result<Receipt, AckError>>);

/// What became of a message that is settled: the outside may forget it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Receipt {
    /// Iggy has confirmed it.
    Delivered,
    /// A transform took it out.
    Filtered,
    /// It could not be delivered and went to the dead letters.
    DeadLettered,
    /// It could not be delivered and the connector's policy is to go on without it.
    Skipped,
    /// It did not reach its stream, for a reason that this version does not know.
    Undelivered,
}

/// Why it is not known that a message is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AckError {
    /// The runtime has given its batch up. It is offered again while the source runs, so the message may still arrive.
    Nacked,
    /// The source was closed first. The message may have arrived.
    Closed,
}

/// The source is being closed or its `start` has failed: nothing is taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Closed;

/// Why a message could not be sent at once; it is given back.
#[derive(Clone, Debug, PartialEq)]
pub enum TrySendError {
    /// The channel is full, or is being drained.
    Full(Box<SourceMessage>),
    /// As [`Closed`].
    Closed(Box<SourceMessage>),
}

/// Tells the [`Ack`].
pub(super) type Tracker = oneshot::Sender<Result<Receipt, AckError>>;

impl SourceSender {
    pub(super) fn new(run: Run) -> Self {
        Self { run: run.into() }
    }

    /// What the default of [`crate::Source::start`] does: this source is polled.
    pub(super) fn decline(&self) {
        self.run.decline();
    }

    /// Sends a message; waits while the channel is full and while it is drained.
    ///
    /// # Errors
    ///
    /// Nothing is taken any more.
    pub async fn send(&self, message: SourceMessage) -> Result<(), Closed> {
        self.run.send(Entry::of(message)).await
    }

    /// Sends messages and the source's state after them; waits as [`SourceSender::send`] does. Either all of them are sent or none.
    ///
    /// The state is saved once Iggy has confirmed these messages and all that were sent before. `None` leaves the saved one as it is.
    /// Without messages it is a state alone.
    ///
    /// # Errors
    ///
    /// Nothing is taken any more.
    pub async fn send_batch(
        &self,
        messages: Vec<SourceMessage>,
        state: Option<ConnectorState>,
    ) -> Result<(), Closed> {
        self.run.send_all(messages, state).await
    }

    /// Sends a message and waits until it is settled: Iggy has confirmed it *and* the state is durable, or it will never reach its
    /// stream, as the [`Receipt`] says. A server of requests answers after this; a client of a queue acknowledges.
    ///
    /// Messages that wait for each other go one at a time. To send on while earlier ones are on their way, call this from many
    /// tasks, or [`SourceSender::send_tracked`].
    ///
    /// Dropping the future withdraws nothing that was sent.
    ///
    /// # Errors
    ///
    /// It is not known that the message is settled.
    pub async fn send_acked(&self, message: SourceMessage) -> Result<Receipt, AckError> {
        self.send_tracked(message).await?.await
    }

    /// Sends a message, as [`SourceSender::send`] does, and returns what tells when it is settled.
    ///
    /// # Errors
    ///
    /// Nothing is taken any more.
    pub async fn send_tracked(&self, message: SourceMessage) -> Result<Ack, Closed> {
        let (tracker, ack) = oneshot::channel();
        self.run.send(Entry::of(message).tracked(tracker)).await?;
        Ok(Ack(ack))
    }

    /// Sends a message if there is room at once.
    ///
    /// # Errors
    ///
    /// There is no room, or nothing is taken any more. The message is given back.
    pub fn try_send(&self, message: SourceMessage) -> Result<(), TrySendError> {
        self.run.try_send(message)
    }

    /// Whether nothing is taken any more.
    pub fn is_closed(&self) -> bool {
        self.run.is_closed()
    }

    /// Waits until nothing is taken any more, for a source that has to be told to end: `start` has a few seconds from then on. What
    /// was in the channel has been delivered by then, if that could be done ([`SourceSender`]).
    pub async fn closed(&self) {
        self.run.closed().await;
    }
}

impl Future for Ack {
    type Output = Result<Receipt, AckError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let told = Pin::new(&mut self.0).poll(context);
        told.map(|told| told.unwrap_or(Err(AckError::Closed)))
    }
}

impl Receipt {
    /// Whether the message is in its stream.
    pub fn is_delivered(self) -> bool {
        self == Self::Delivered
    }
}

impl TrySendError {
    /// The message that was not sent.
    pub fn into_message(self) -> SourceMessage {
        match self {
            Self::Full(message) | Self::Closed(message) => *message,
        }
    }
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nacked => "the runtime gave the message's batch up for now",
            Self::Closed => "the source was closed before the message was settled",
        })
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source takes no messages any more")
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the source's channel is full or being drained"),
            Self::Closed(_) => Closed.fmt(f),
        }
    }
}

impl std::error::Error for AckError {}
impl std::error::Error for Closed {}
impl std::error::Error for TrySendError {}

impl From<Closed> for AckError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// So that `start` can leave with `?`.
impl From<Closed> for Error {
    fn from(closed: Closed) -> Self {
        Self::transient(closed.to_string())
    }
}

/// So that `start` can leave with `?`.
impl From<AckError> for Error {
    fn from(error: AckError) -> Self {
        Self::transient(error.to_string())
    }
}
