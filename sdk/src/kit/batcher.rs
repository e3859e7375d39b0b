//! A buffer for sinks that write many batches at once: [`Batcher`].

mod group;
mod share;
mod state;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

use self::{
    group::Group,
    share::whole,
    state::{Call, State, Turn},
};
use crate::{Class, Error, Scope, export::Standing};

/// Gathers the records of several calls of [`crate::Sink::consume`] and writes them together. A call returns when its records have been
/// written, so nothing counts as delivered that is only in memory.
///
/// Records are written when there are enough of them, when the oldest has waited long enough, or when the runtime asks for a flush:
/// one group at a time, in the order of the calls. A sink with a batcher lets the runtime hand over several batches
/// ([`crate::Sink::max_unsettled`]); with one at a time each would wait for [`Limits::age`].
///
/// ```
/// use std::time::Duration;
/// use iggy_connector_sdk::{
///     ConsumedMessage, Error, MessagesMetadata, Sink, TopicMetadata, async_trait,
///     kit::{Batcher, Limits, Writer},
/// };
///
/// struct Table { client: Client }
/// # struct Client;
/// # impl Client { async fn insert(&self, _: &[String]) -> std::io::Result<()> { Ok(()) } }
///
/// #[async_trait]
/// impl Writer for Table {
///     type Record = String;
///
///     async fn write(&self, rows: &[String]) -> Result<(), Error> {
///         let inserted = self.client.insert(rows).await;
///         inserted.map_err(|error| Error::transient("insert rows").with_source(&error))
///     }
///
///     fn size(&self, row: &String) -> usize {
///         row.len()
///     }
/// }
///
/// struct TableSink { rows: Batcher<Table> }
///
/// impl TableSink {
///     fn new(_id: u32, _config: ()) -> Self {
///         let limits = Limits { records: 5_000, bytes: 4 * 1024 * 1024, age: Duration::from_secs(1) };
///         Self { rows: Batcher::new(Table { client: Client }, limits) }
///     }
/// }
///
/// #[async_trait]
/// impl Sink for TableSink {
///     async fn open(&mut self) -> Result<(), Error> {
///         Ok(())
///     }
///
///     async fn consume(&self, _: &TopicMetadata, _: MessagesMetadata, messages: Vec<ConsumedMessage>) -> Result<(), Error> {
///         // Positions of rows are those of messages, so that what `write` says of a row is told of its message.
///         let rows = messages.iter().map(|message| message.payload_str().map(str::to_owned));
///         self.rows.deliver(rows.collect::<Result<_, _>>()?).await
///     }
///
///     async fn flush(&self) -> Result<(), Error> {
///         self.rows.flush().await;
///         Ok(())
///     }
///
///     async fn close(&mut self) -> Result<(), Error> {
///         Ok(())
///     }
///
///     fn max_unsettled(&self) -> u32 {
///         16
///     }
/// }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// #     use iggy_connector_sdk::{Schema, testing::{Batch, Native, SinkPlugin}};
/// #     let sink = Native::sink(TableSink::new).open("null").await.unwrap();
/// #     let batch = Batch::of(Schema::Text, ["a", "b"]);
/// #     let (consumed, flushed) = tokio::join!(sink.consume(&batch), sink.flush());
/// #     assert!(consumed.is_ok() && flushed.is_ok());
/// # });
/// ```
///
/// # What goes wrong
///
/// An error of [`Writer::write`] that names records ([`Error::failed`], [`Error::failed_from`]) fails those and no others. One
/// that does not fails every call of the group, and the runtime tries them again. Calls of the same partition that wait behind, or are
/// made before the runtime knows of the failure, fail without being written, so that nothing overtakes what comes again; that costs them
/// no attempt. (Of a call that is made in a task of its own, or by an older runtime, the partition is not known: then every call that waits
/// fails, and one that is made a moment later may overtake.) An error of class invalid that names no record says nothing about a single
/// call: each call's records are then written once more by themselves, so that no call is refused for another's record.
///
/// A call that is cancelled takes its records out. If they were just being written, what became of them is not known; if it was this call
/// that wrote, the others' are written again by the next.
pub struct Batcher<W: Writer> {
    writer: W,
    limits: Limits,
    state: Mutex<State<W::Record>>,
    changed: Notify,
}

/// Writes what a [`Batcher`] has gathered.
#[async_trait]
pub trait Writer: Send + Sync {
    /// What a message becomes.
    type Record: Send + Sync;

    /// Writes records, in order. `Ok` says that all of them are durable. It may be dropped at any `await`, and is then called again with what
    /// is still wanted.
    ///
    /// # Errors
    ///
    /// Positions that it names are those in `records`.
    async fn write(&self, records: &[Self::Record]) -> Result<(), Error>;

    /// What a record counts towards [`Limits::bytes`]; nothing by default.
    fn size(&self, _record: &Self::Record) -> usize {
        0
    }
}

/// When a [`Batcher`] writes: as soon as one of these is reached. A group is larger only if a single call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most records of a group. Default: 1000.
    pub records: usize,
    /// Most bytes of a group, by [`Writer::size`]. Default: 1 MiB.
    pub bytes: usize,
    /// Longest wait of a record. Far below the connector's `consume_timeout`. Default: 1 s.
    pub age: Duration,
}

/// A call that waits. Dropped, it takes its records out of the buffer.
struct Ticket<'a, W: Writer> {
    batcher: &'a Batcher<W>,
    number: u64,
    outcome: oneshot::Receiver<Result<(), Error>>,
}

impl<W: Writer> Batcher<W> {
    /// An empty buffer.
    pub fn new(writer: W, limits: Limits) -> Self {
        Self {
            writer,
            limits,
            state: Mutex::new(State::new()),
            changed: Notify::new(),
        }
    }

    /// What writes.
    pub fn writer(&self) -> &W {
        &self.writer
    }

    /// What writes, to set it up in [`crate::Sink::open`].
    pub fn writer_mut(&mut self) -> &mut W {
        &mut self.writer
    }

    /// Adds records and waits until they have been written.
    ///
    /// # Errors
    ///
    /// What the writer said of these records, with positions in `records`.
    pub async fn deliver(&self, records: Vec<W::Record>) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let mut ticket = self.join(records);
        loop {
            let mut changed = pin!(self.changed.notified());
            // What changes from here on is noticed.
            changed.as_mut().enable();
            if let Ok(outcome) = ticket.outcome.try_recv() {
                return outcome;
            }
            let now = Instant::now();
            match self.with(|state| state.turn(ticket.number, &self.limits, now)) {
                Turn::Write(calls) => self.write(calls).await,
                Turn::Wait(Some(due)) => drop(timeout_at(due, changed).await),
                // Another call writes, or waits for its time; each ends or is dropped.
                Turn::Wait(None) => changed.await,
            }
        }
    }

    /// Has everything written that was added before, and waits until every such call knows its outcome. Each call tells its own.
    pub async fn flush(&self) {
        let end = self.change(State::flush);
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.with(|state| state.has_ended(end)) {
                return;
            }
            // Each of the calls writes, or is dropped.
            changed.await;
        }
    }

    fn join(&self, records: Vec<W::Record>) -> Ticket<'_, W> {
        let bytes = records.iter().map(|record| self.writer.size(record)).sum();
        let (tell, outcome) = oneshot::channel();
        let call = Call {
            number: 0,
            records,
            bytes,
            since: Instant::now(),
            standing: Standing::current(),
            tell,
        };
        Ticket {
            batcher: self,
            number: self.change(|state| state.add(call)),
            outcome,
        }
    }

    /// Writes a group. Dropped half way, what has no outcome goes back into the buffer.
    async fn write(&self, calls: Vec<Call<W::Record>>) {
        let mut group = Group::new(self, calls);
        if group.is_empty() {
            return;
        }
        let result = self.writer.write(group.records()).await;
        match result {
            Err(error) if blames_nobody(&error) && group.has_several_calls() => {
                self.write_apart(&mut group).await;
            }
            result => group.end(result),
        }
    }

    /// Writes each call's records by themselves.
    async fn write_apart(&self, group: &mut Group<'_, W>) {
        while let Some(records) = group.first() {
            let result = self.writer.write(records).await;
            match result {
                Err(error) if holds_up(&error) => {
                    let behind = whole(&error);
                    group.end_first(Err(error));
                    group.end(Err(behind));
                }
                result => group.end_first(result),
            }
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State<W::Record>) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State<W::Record>) -> T) -> T {
        let changed = self.with(change);
        self.changed.notify_waiters();
        changed
    }
}

/// Whether some record is refused, and nobody knows which.
fn blames_nobody(error: &Error) -> bool {
    *error.scope() == Scope::Batch && error.class() == Class::Invalid
}

/// Whether records come again that later ones must not overtake.
fn holds_up(error: &Error) -> bool {
    let is_ordered = matches!(error.scope(), Scope::Batch | Scope::From(_));
    is_ordered && error.class() != Class::Invalid
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records: 1000,
            bytes: 1024 * 1024,
            age: Duration::from_secs(1),
        }
    }
}

impl<W: Writer> Drop for Ticket<'_, W> {
    fn drop(&mut self) {
        let left = self.batcher.change(|state| state.leave(self.number));
        drop(left);
    }
}

impl<W: Writer + fmt::Debug> fmt::Debug for Batcher<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("writer", &self.writer)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
