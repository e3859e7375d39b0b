//! An open instance of a sink: [`Sink`]. Safe to use in any way; what crosses the fence is built and read here, in `consumed`
//! and in `flush`.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    Library, Open, Traits,
    consumed::{Lent, Spare},
    flush,
    instance::Handle,
    symbols::{self, Entries},
    ticket::{Limit, Ticket},
};
use crate::{
    config::spec::Deadlines,
    pipeline::{Batch, Consumed, Failure, FailureKind, FlushRequest, Rank, SinkPlugin},
};

/// An open instance of a sink.
///
/// Dropped without [`Sink::close`] it is closed in the background. Dropping the future of a call cancels the call.
pub struct Sink {
    handle: Handle,
    entries: symbols::Sink,
    traits: Traits,
    deadlines: Deadlines,
    spare: Arc<Spare>,
}

impl Sink {
    /// Opens an instance in `library`.
    ///
    /// # Errors
    ///
    /// The library is not a sink's, or the plugin did not open.
    pub async fn open(library: &Library, open: Open<'_>) -> Result<Self, Failure> {
        Self::open_until(library, open, &CancellationToken::new()).await
    }

    /// Opens an instance in `library`. After `stop` an open that is under way gets a moment, then is cancelled and fails with
    /// [`FailureKind::Cancelled`].
    ///
    /// # Errors
    ///
    /// As [`Sink::open`].
    pub async fn open_until(
        library: &Library,
        open: Open<'_>,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let Entries::Sink(entries) = *library.entries() else {
            let message = format!("plugin `{}` is not a sink", library.name());
            return Err(Failure::new(FailureKind::Fatal, message));
        };
        let calls = (entries.open, entries.cancel, entries.close);
        let (handle, traits) = Handle::open(library, &open, calls, stop).await?;
        Ok(Self {
            handle,
            entries,
            traits,
            deadlines: open.deadlines,
            spare: Arc::default(),
        })
    }

    /// What the instance told about itself when it opened.
    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// Runs the connector's health check.
    ///
    /// # Errors
    ///
    /// It is not healthy, or did not answer.
    pub async fn health(&self, within: Duration) -> Result<(), Failure> {
        let mut ticket = self
            .handle
            .instance()
            .plain("health", self.entries.health)?;
        ticket.wait(Limit::Within(within)).await.map(drop)
    }

    /// Closes the instance, after every call of it has ended.
    ///
    /// # Errors
    ///
    /// The plugin reported one, or a call did not end. The instance is gone in any case.
    pub async fn close(self) -> Result<(), Failure> {
        self.handle.close().await
    }

    fn start_flush(&self, request: FlushRequest) -> Result<Ticket<()>, Failure> {
        let lent = Arc::new(flush::Lent::new(request));
        let flush = self.entries.flush;
        let wire = lent.wire();
        let instance = self.handle.instance();
        instance.call(
            "flush",
            0,
            Some(Box::new(lent)),
            |instance, call, completion| {
                // SAFETY: `wire` and all it points at are kept, unchanged, by the call until its completion (`Flush`).
                unsafe { flush(instance, call, wire, completion) }
            },
        )
    }

    fn start_consume(&self, batch: Arc<Batch>, rank: Rank) -> Result<Ticket<()>, Failure> {
        let records = batch.messages.len();
        let lent = Arc::new(Lent::new(batch, rank, &self.spare));
        let consume = self.entries.consume;
        let wire = lent.wire();
        let instance = self.handle.instance();
        instance.call(
            "consume",
            records,
            Some(Box::new(lent)),
            |instance, call, completion| {
                // SAFETY: `wire` and all it points at are kept, unchanged, by the call until its completion (`Consume`).
                unsafe { consume(instance, call, wire, completion) }
            },
        )
    }
}

impl SinkPlugin for Sink {
    async fn consume(&self, batch: Arc<Batch>, rank: Rank) -> Result<Consumed, Failure> {
        let mut ticket = self.start_consume(batch, rank)?;
        let ended = ticket.wait(Limit::Within(self.deadlines.consume)).await?;
        Ok(Consumed {
            failed: ended.failed,
            retry_after: ended.retry_after,
        })
    }

    async fn drain(&self) -> Result<(), Failure> {
        self.handle.instance().drain_unwanted().await
    }

    async fn flush(&self, request: FlushRequest) -> Result<(), Failure> {
        let mut ticket = self.start_flush(request)?;
        ticket
            .wait(Limit::Within(self.deadlines.consume))
            .await
            .map(drop)
    }
}
