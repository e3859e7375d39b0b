//! What a source implements: [`Source`], what it polls: [`SourceBatch`] of [`SourceMessage`]s, and where it sends them if it streams:
//! [`SourceSender`].

mod batch;
mod driver;
mod message;
mod number;
mod sender;
mod stream;
mod unsettled;

pub use batch::SourceBatch;
pub(crate) use driver::{Driver, Wishes};
pub use message::{Offset, SourceMessage};
pub use number::Number;
pub use sender::{Ack, AckError, Closed, Receipt, SourceSender, TrySendError};
pub(crate) use unsettled::Settled;

use async_trait::async_trait;

pub use crate::streams::Output;
use crate::{Error, ProducedMessages};

/// Brings messages into Iggy.
///
/// There are two ways to write one. A source that is *polled* implements [`Source::poll`] (or [`Source::poll_batch`]): the runtime asks
/// it for the next messages, which suits whatever can be read from a position: files, tables, logs. A source that *streams*
/// implements [`Source::start`] instead, and sends messages when they come, which suits what cannot be asked: requests, sockets,
/// subscriptions.
///
/// # Polled
///
/// The runtime opens a source once, polls it again and again, tells it what became of every batch, and closes it. What a
/// poll returns is durable only after [`SourceBatchResult::Ack`]: remove nothing from the outside before it.
///
/// A poll may wait as long as it likes. It may be dropped at any `await`, when it is cancelled: what it took from the
/// outside but did not return must be offered again by the next poll.
///
/// # Streaming
///
/// ```
/// use iggy_connector_sdk::{Error, Source, async_trait, source::{SourceMessage, SourceSender}};
/// use tokio::net::UdpSocket;
///
/// struct Syslog { socket: Option<UdpSocket> }
///
/// #[async_trait]
/// impl Source for Syslog {
///     async fn open(&mut self) -> Result<(), Error> {
///         let socket = UdpSocket::bind("127.0.0.1:5514").await;
///         self.socket = Some(socket.map_err(|error| Error::transient("bind 127.0.0.1:5514").with_source(&error))?);
///         Ok(())
///     }
///
///     async fn start(&self, sender: SourceSender) -> Result<(), Error> {
///         let Some(socket) = &self.socket else { return Err(Error::InvalidConfig) };
///         let mut datagram = [0; 64 * 1024];
///         loop {
///             let received = socket.recv(&mut datagram).await;
///             let len = received.map_err(|error| Error::transient("receive").with_source(&error))?;
///             // Waits while the channel is full.
///             sender.send(SourceMessage::from_bytes(&datagram[..len])).await?;
///         }
///     }
///
///     async fn close(&mut self) -> Result<(), Error> {
///         Ok(())
///     }
/// }
/// ```
///
/// What was sent is made into batches, kept until Iggy has confirmed it, and offered again when a batch is given up. How a source
/// that may lose nothing learns of the confirmation is said at [`SourceSender`].
///
/// # State
///
/// A source remembers where it is in its state, which it returns with its messages. The runtime saves it after Iggy has
/// confirmed the messages, and offers the last saved one to the constructor
/// (`new(id, config, Option<ConnectorState>)`).
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source",
    label = "`Source` is not implemented",
    note = "implement `iggy_connector_sdk::Source`, or use `sink_connector!` if this is a sink"
)]
pub trait Source: Send + Sync {
    /// Sets the source up, before the first poll: connects, checks credentials.
    async fn open(&mut self) -> Result<(), Error>;

    /// Returns the next messages; none when there is nothing.
    ///
    /// A source implements this, [`Source::poll_batch`] or [`Source::start`].
    async fn poll(&self) -> Result<ProducedMessages, Error> {
        Err(Error::fatal(
            "the plugin's source implements neither `poll` nor `poll_batch` nor `start`",
        ))
    }

    /// Returns the next messages with keys, routes and offset tokens.
    ///
    /// Override it in a source that needs them; the default wraps [`Source::poll`], which is then not called.
    async fn poll_batch(&self) -> Result<SourceBatch, Error> {
        self.poll().await.map(SourceBatch::from)
    }

    /// Sends messages for as long as the connector runs. A source that implements it is not polled.
    ///
    /// It begins when [`Source::open`] has succeeded. What then ends it:
    ///
    /// - It returns `Ok`: no more messages come from it. What was sent is delivered, and when the last [`SourceSender`] is gone,
    ///   also those in tasks that it has started, the source has ended and the connector stops cleanly.
    /// - It returns an error: what was sent is still offered, senders that are left are closed, and the runtime does what the error's
    ///   class says. After a transient one `start` is called again, with growing waits. A panic stops the connector.
    /// - The source is closed, after what was sent has been delivered: sending fails and [`SourceSender::closed`] returns. Five seconds later it is dropped at its next
    ///   `await`.
    ///
    /// A pause does not end it: while the connector is paused sending waits, and goes on when it is resumed.
    ///
    /// It must not block its thread, of which a plugin has one by default: neither polls nor health checks would go on.
    async fn start(&self, sender: SourceSender) -> Result<(), Error> {
        sender.decline();
        Ok(())
    }

    /// Learns what became of a batch. Every successful poll, also an empty one, gets exactly one result, in the order of the
    /// polls. What fails or is cut off is told again, and never turns into another result; a source that has still not taken it when
    /// its connector is paused or stopped is closed, and opened again with the state that was saved.
    ///
    /// Not called in a source that streams: what was nacked is offered again without its help.
    async fn on_batch_result(&self, _result: SourceBatchResult) -> Result<(), Error> {
        Ok(())
    }

    /// Learns the offset tokens of an acknowledged batch's messages, in order: all of them are settled, whether delivered, filtered out
    /// by a transform, dead-lettered, or skipped by the connector's policy. Not called for a batch without any. An error is
    /// retried, with the same tokens.
    async fn commit(&self, _offsets: &[Offset]) -> Result<(), Error> {
        Ok(())
    }

    /// Tells whether the outside can be reached. Called every now and then.
    async fn health_check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Gives back what [`Source::open`] took. No call follows it.
    async fn close(&mut self) -> Result<(), Error>;

    /// How many batches the runtime may poll before the first one's result. With more than one, a
    /// [`SourceBatchResult::Nack`] takes every later batch with it. 0, the default, stands for 1, and for 4 in a source that streams.
    fn max_in_flight(&self) -> u32 {
        0
    }

    /// Whether a second instance must not run beside this one, for example during a restart.
    fn exclusive(&self) -> bool {
        false
    }

    /// Where the source writes if its configuration does not say: asked once when [`Source::open`] has succeeded, and used if the
    /// connector has no `[[streams]]` at all. A single entry there takes the place of everything that is proposed.
    ///
    /// ```
    /// # use iggy_connector_sdk::{Schema, source::Output};
    /// # struct Orders;
    /// # impl Orders {
    /// fn streams(&self) -> Vec<Output> {
    ///     vec![
    ///         Output::new("shop", "orders").with_partitions(8),
    ///         Output::new("shop", "refunds").with_route("refunds"),
    ///     ]
    /// }
    /// # }
    /// # assert_eq!(Orders.streams().len(), 2);
    /// ```
    ///
    /// The runtime checks proposals as it checks a file. One that it would refuse there stops the connector.
    fn streams(&self) -> Vec<Output> {
        Vec::new()
    }
}

/// What became of a polled batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceBatchResult {
    /// Iggy has confirmed it and its state is saved: what it was made from may be removed.
    Ack,
    /// It was given up: offer the same messages again.
    Nack,
}
