//! An open instance of a source: [`Source`]. Safe to use in any way; what crosses the fence is built and read here and in `produced`.

use std::{sync::Arc, time::Duration};

use iggy_connector_abi as abi;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    Library, Open, Traits,
    instance::Handle,
    produced::ProducedBatch,
    symbols::{self, Entries},
    ticket::{Limit, Ticket},
};
use crate::{
    config::spec::Deadlines,
    pipeline::{Failure, FailureKind, GivenUp, Polled, Settlement, SourcePlugin, Unsent},
};

/// An open instance of a source.
///
/// Dropped without [`Source::close`] it is closed in the background. Dropping the future of a call cancels the call; a batch that such
/// a poll had taken all the same is what the next poll returns.
pub struct Source {
    handle: Handle,
    entries: symbols::Source,
    traits: Traits,
    deadlines: Deadlines,
    wishes: Wishes,
    /// The poll that is under way. It stands here and not in its future, so that dropping the future loses no batch.
    polling: Mutex<Option<Ticket<ProducedBatch>>>,
}

impl Source {
    /// Opens an instance in `library`.
    ///
    /// # Errors
    ///
    /// The library is not a source's, or the plugin did not open.
    pub async fn open(library: &Library, open: Open<'_>) -> Result<Self, Failure> {
        Self::open_until(library, open, &CancellationToken::new()).await
    }

    /// Opens an instance in `library`. After `stop` an open that is under way gets a moment, then is cancelled and fails with
    /// [`FailureKind::Cancelled`].
    ///
    /// # Errors
    ///
    /// As [`Source::open`].
    pub async fn open_until(
        library: &Library,
        open: Open<'_>,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let Entries::Source(entries) = *library.entries() else {
            let message = format!("plugin `{}` is not a source", library.name());
            return Err(Failure::new(FailureKind::Fatal, message));
        };
        let calls = (entries.open, entries.cancel, entries.close);
        let (handle, traits) = Handle::open(library, &open, calls, stop).await?;
        Ok(Self {
            handle,
            entries,
            traits,
            deadlines: open.deadlines,
            wishes: Wishes::default(),
            polling: Mutex::new(None),
        })
    }

    /// The same source, asked for this with each poll.
    #[must_use]
    pub fn wishing(self, wishes: Wishes) -> Self {
        Self { wishes, ..self }
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
        self.give_back_dropped_poll().await;
        self.handle.close().await
    }

    /// Nacks what a poll that nobody waited for has brought: every batch is settled.
    async fn give_back_dropped_poll(&self) {
        let Some(mut ticket) = self.polling.lock().await.take() else {
            return;
        };
        if let Ok(polled) = ticket.polled(Limit::Within(Duration::ZERO)).await {
            // When it fails the batch is offered again after the next open, as after a crash.
            let _ = self
                .settle(polled.poll, Settlement::Nack(GivenUp::Stopped))
                .await;
        }
    }

    /// Polls until `stop` and a moment, for something new or for what is left.
    async fn ask(&self, asked: Asked, stop: &CancellationToken) -> Result<Polled, Failure> {
        let mut polling = self.polling.lock().await;
        loop {
            if stop.is_cancelled() && polling.is_none() {
                return Err(Failure::new(FailureKind::Cancelled, "poll was stopped"));
            }
            let ticket = match &mut *polling {
                Some(ticket) => ticket,
                none => none.insert(self.start_poll(asked)?),
            };
            let polled = ticket.polled(Limit::Stop(stop, self.deadlines.poll)).await;
            let only_dropped = ticket.was_dropped();
            *polling = None;
            match polled {
                Err(failure) if failure.kind == FailureKind::Cancelled && only_dropped => {}
                polled => return polled,
            }
        }
    }

    fn start_poll(&self, asked: Asked) -> Result<Ticket<ProducedBatch>, Failure> {
        let poll = self.entries.poll;
        let request = Arc::new(self.wishes.wire(asked));
        let wire = Arc::as_ptr(&request);
        let instance = self.handle.instance();
        instance.call(
            "poll",
            0,
            Some(Box::new(request)),
            |instance, call, completion| {
                // SAFETY: the request is kept by the call until its completion; the batch's `release` is called exactly once
                // (`produced::Owner`).
                unsafe { poll(instance, call, wire, completion) }
            },
        )
    }

    fn start_settle(&self, poll: u64, settlement: Settlement) -> Result<Ticket<()>, Failure> {
        let lent = Arc::new(Lent::new(poll, settlement));
        let wire = lent.wire();
        let settle = self.entries.settle;
        let instance = self.handle.instance();
        instance.call(
            "settle",
            0,
            Some(Box::new(lent)),
            |instance, call, completion| {
                // SAFETY: `wire` and the positions are kept by the call until its completion (`Settle`); that each poll is settled, and
                // in which order, is the pipeline's promise and no matter of memory.
                unsafe { settle(instance, call, wire, completion) }
            },
        )
    }
}

impl Ticket<ProducedBatch> {
    async fn polled(&mut self, limit: Limit<'_>) -> Result<Polled, Failure> {
        let batch = self.wait(limit).await?.value;
        Ok(Polled {
            poll: self.number,
            schema: batch.schema,
            messages: batch.messages,
            state: batch.state,
            ended: batch.ended,
        })
    }
}

impl SourcePlugin for Source {
    async fn poll(&self, stop: &CancellationToken) -> Result<Polled, Failure> {
        self.ask(Asked::More, stop).await
    }

    async fn drain(&self, stop: &CancellationToken) -> Result<Polled, Failure> {
        self.ask(Asked::Rest, stop).await
    }

    async fn settle(&self, poll: u64, settlement: Settlement) -> Result<(), Failure> {
        let mut ticket = self.start_settle(poll, settlement)?;
        ticket
            .wait(Limit::Within(self.deadlines.consume))
            .await
            .map(drop)
    }
}

/// What a source is asked for with each poll; a source that is polled returns what it likes, one that streams heeds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Most messages of a batch; 0: as many as it likes.
    pub max_messages: u32,
    /// How long the first message of a batch may wait for others; `None`: as long as it likes.
    pub linger: Option<Duration>,
}

/// What a poll is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Whatever comes.
    More,
    /// What the source holds already.
    Rest,
}

impl Wishes {
    fn wire(self, asked: Asked) -> abi::source::PollRequest {
        let micros = |linger: Duration| u64::try_from(linger.as_micros()).unwrap_or(u64::MAX);
        abi::source::PollRequest {
            size: size_of::<abi::source::PollRequest>() as u32,
            max_messages: self.max_messages,
            max_wait_ms: 0,
            // At the fence 0 says nothing.
            linger_us: self.linger.map_or(0, |linger| micros(linger).max(1)),
            draining: u32::from(asked == Asked::Rest),
            reserved: 0,
        }
    }
}

/// What a settle lends.
struct Lent {
    wire: abi::source::Settlement,
    _undelivered: Vec<abi::source::Undelivered>,
}

impl Lent {
    fn new(poll: u64, settlement: Settlement) -> Self {
        let (ack, reason, undelivered) = match settlement {
            Settlement::Ack { undelivered } => (1, 0, undelivered.into_iter().map(wire).collect()),
            Settlement::Nack(why) => (0, nack_reason(why), Vec::new()),
        };
        Self {
            wire: abi::source::Settlement {
                size: size_of::<abi::source::Settlement>() as u32,
                ack,
                poll,
                reason,
                stride: size_of::<abi::source::Undelivered>() as u32,
                undelivered: undelivered.as_ptr(),
                undelivered_len: undelivered.len(),
            },
            _undelivered: undelivered,
        }
    }

    fn wire(&self) -> *const abi::source::Settlement {
        &raw const self.wire
    }
}

fn nack_reason(why: GivenUp) -> u32 {
    match why {
        GivenUp::Stopped => abi::source::nack::STOP,
        GivenUp::Exhausted => abi::source::nack::RETRIES_EXHAUSTED,
    }
}

fn wire((index, why): (u32, Unsent)) -> abi::source::Undelivered {
    let reason = match why {
        Unsent::Filtered => abi::source::undelivered::FILTERED,
        Unsent::DeadLettered => abi::source::undelivered::DEAD_LETTERED,
        Unsent::Skipped => abi::source::undelivered::SKIPPED,
    };
    abi::source::Undelivered { index, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_lists_what_was_not_sent_and_why() {
        let lent = Lent::new(
            7,
            Settlement::Ack {
                undelivered: vec![
                    (0, Unsent::Filtered),
                    (3, Unsent::DeadLettered),
                    (4, Unsent::Skipped),
                ],
            },
        );
        assert_eq!((lent.wire.ack, lent.wire.poll, lent.wire.reason), (1, 7, 0));
        // SAFETY: `lent` outlives the use.
        let listed = unsafe { lent.wire.undelivered() }.unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|entry| (entry.index, entry.reason))
            .collect();
        assert_eq!(listed, [(0, 1), (3, 2), (4, 3)]);
    }

    #[test]
    fn a_poll_says_what_is_wished_for() {
        let wire = |linger| {
            let wishes = Wishes {
                max_messages: 7,
                linger,
            };
            let wire = wishes.wire(Asked::More);
            assert_eq!((wire.draining, wishes.wire(Asked::Rest).draining), (0, 1));
            (wire.max_messages, wire.max_wait_ms, wire.linger_us)
        };
        assert_eq!(wire(None), (7, 0, 0));
        assert_eq!(wire(Some(Duration::ZERO)), (7, 0, 1));
        assert_eq!(wire(Some(Duration::from_millis(5))), (7, 0, 5000));
        assert_eq!(wire(Some(Duration::MAX)), (7, 0, u64::MAX));
    }

    #[test]
    fn a_nack_says_why_it_was_given_up() {
        for (why, reason) in [(GivenUp::Stopped, 1), (GivenUp::Exhausted, 2)] {
            let lent = Lent::new(7, Settlement::Nack(why));
            assert_eq!((lent.wire.ack, lent.wire.reason), (0, reason));
            assert_eq!(lent.wire.undelivered_len, 0);
        }
    }
}
