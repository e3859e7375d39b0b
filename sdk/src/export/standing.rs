//! Which consumes must not be written since an earlier one of their partition comes again: [`Standing`]. `sink` refuses those before
//! the author's code sees them, and the kit's batcher those that it holds.
//!
//! The host calls with the next batch before it knows how the one before has ended. It says so by the batch's rank, and without a rank
//! nothing is refused.

use std::{future::Future, sync::Arc};

use iggy_connector_abi::sink::rank;

use super::order::{Order, Partition, Turn};
use crate::{Class, Error, Scope};

/// What the host says of what it handed over of the partition before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Nothing: an older host.
    Unsaid,
    /// None of it comes again.
    First,
    /// Some of it may come again.
    Behind,
}

/// A consume's place behind others of its partition that may have failed.
#[derive(Clone)]
pub(crate) struct Standing {
    order: Arc<Order>,
    partition: Partition,
    number: u64,
    is_behind: bool,
    /// Messages in the batch.
    len: usize,
}

/// Runs a consume and notes how it ends. Dropped before, it was cancelled or has panicked, and comes again.
pub(super) struct Watch(Option<Standing>);

tokio::task_local! {
    /// The standing of the consume that runs.
    static CURRENT: Standing;
}

impl Rank {
    /// A number that a later version may give a meaning is as good as none.
    pub(super) fn of(number: u32) -> Self {
        match number {
            rank::FIRST => Self::First,
            rank::BEHIND => Self::Behind,
            _ => Self::Unsaid,
        }
    }
}

impl Standing {
    /// That of the consume whose code runs; `None` outside of one, in a task of the author's, and when the host does not say ranks.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Whether an earlier consume of the partition comes again, so that this one must not be written.
    pub(crate) fn is_held(&self) -> bool {
        self.is_behind && self.order.has_failed_before(self.partition, self.number)
    }

    /// Notes what the consume is going to return. When it comes again, those behind it are held from now on.
    pub(crate) fn fails_with(&self, error: &Error) {
        if comes_again(error, self.len) {
            self.fail();
        }
    }

    fn ended(&self, result: &Result<(), Error>) {
        match result {
            Err(error) if comes_again(error, self.len) => self.fail(),
            _ => self.order.recovered(self.partition, self.number),
        }
    }

    fn fail(&self) {
        self.order.failed(self.partition, self.number);
    }
}

/// What is told of a consume that was not tried because of an earlier one.
pub(crate) fn refusal() -> Error {
    Error::transient("not tried: an earlier batch of the partition has failed and comes first")
}

/// Whether the host hands something of a batch over again. A batch that is invalid as a whole is halved.
fn comes_again(error: &Error, len: usize) -> bool {
    match error.scope() {
        Scope::Batch => error.class() != Class::Invalid || len > 1,
        Scope::From(_) => error.class() != Class::Invalid,
        Scope::Records(records) => records.iter().any(|record| record.class != Class::Invalid),
    }
}

impl Watch {
    /// Of a consume of `len` messages that has just taken its place.
    pub(super) fn new(turn: &Turn, rank: Rank, len: usize) -> Self {
        if rank == Rank::Unsaid {
            return Self(None);
        }
        let (order, partition, number) = turn.place();
        if rank == Rank::First {
            order.resume(partition);
        }
        Self(Some(Standing {
            order: Arc::clone(order),
            partition,
            number,
            is_behind: rank == Rank::Behind,
            len,
        }))
    }

    /// Runs `begin` and the future that it makes, unless the consume is held.
    pub(super) async fn run<F>(mut self, begin: impl FnOnce() -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let Some(standing) = self.0.clone() else {
            return begin().await;
        };
        if standing.is_held() {
            return Err(refusal());
        }
        let result = CURRENT
            .scope(standing.clone(), async { begin().await })
            .await;
        standing.ended(&result);
        self.0 = None;
        result
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(standing) = &self.0 {
            standing.fail();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sink {
        order: Arc<Order>,
        partition: u32,
    }

    impl Sink {
        fn new() -> Self {
            Self {
                order: Arc::default(),
                partition: 1,
            }
        }

        fn beside(&self) -> Self {
            Self {
                order: Arc::clone(&self.order),
                partition: self.partition + 1,
            }
        }

        fn called(&self, rank: Rank, len: usize) -> Watch {
            let partition = Partition::new("stream", "topic", self.partition);
            let (_place, turn) = self.order.join(partition);
            Watch::new(&turn, rank, len)
        }

        /// Whether the author's code saw a batch that was handed over now.
        async fn takes(&self, rank: Rank) -> bool {
            let mut was_seen = false;
            let seen = async {
                was_seen = true;
                Ok(())
            };
            let result = self.called(rank, 1).run(|| seen).await;
            assert_eq!(result.is_ok(), was_seen);
            if let Err(error) = result {
                assert_eq!(error, refusal());
                assert_eq!(
                    (error.class(), error.scope()),
                    (Class::Transient, &Scope::Batch)
                );
            }
            was_seen
        }
    }

    #[tokio::test]
    async fn what_follows_a_failure_is_held_until_the_host_knows_of_it() {
        use Rank::{Behind, First};

        let sink = Sink::new();
        let other = sink.beside();
        assert!(sink.takes(First).await && sink.takes(Behind).await);
        let failed = sink.called(Behind, 1);
        let failed = failed.run(|| async { Err(Error::transient("busy")) });
        assert_eq!(failed.await, Err(Error::transient("busy")));
        assert!(!sink.takes(Behind).await && !sink.takes(Behind).await);
        assert!(
            other.takes(First).await && other.takes(Behind).await,
            "another partition"
        );
        assert!(sink.takes(First).await && sink.takes(Behind).await);
    }

    #[tokio::test]
    async fn nothing_is_held_when_the_host_says_no_ranks_or_tries_nothing_twice() {
        for rank in [Rank::Unsaid, Rank::First] {
            let sink = Sink::new();
            for _ in 0..3 {
                let failed = sink.called(rank, 1);
                let failed = failed.run(|| async { Err(Error::transient("busy")) });
                assert!(failed.await.is_err());
                assert!(sink.takes(rank).await);
            }
        }
    }

    #[tokio::test]
    async fn what_comes_again_holds_and_what_is_settled_does_not() {
        let (busy, bad) = (|| Error::transient("busy"), || Error::invalid("bad"));
        for (error, len, is_held) in [
            (busy(), 1, true),
            (Error::fatal("no table"), 1, true),
            (Error::failed_from(1, busy()), 3, true),
            (Error::failed([(0, bad()), (1, busy())]), 3, true),
            (Error::failed([(0, Error::fatal("no table"))]), 3, true),
            // Halved, and the halves come again.
            (bad(), 2, true),
            (bad(), 1, false),
            (Error::failed([(0, bad())]), 3, false),
            (Error::failed_from(1, bad()), 3, false),
        ] {
            let sink = Sink::new();
            let said = error.clone();
            let failed = sink.called(Rank::First, len);
            let _ = failed.run(|| async { Err(said) }).await;
            assert_eq!(!sink.takes(Rank::Behind).await, is_held, "{error:?}, {len}");
        }
    }

    #[tokio::test]
    async fn what_is_cancelled_or_panics_holds_what_follows() {
        let never_begun = Sink::new();
        drop(never_begun.called(Rank::First, 1));
        assert!(!never_begun.takes(Rank::Behind).await);

        let half_way = Sink::new();
        let call = half_way.called(Rank::First, 1);
        let call = tokio::spawn(call.run(std::future::pending::<Result<(), Error>>));
        tokio::task::yield_now().await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        assert!(!half_way.takes(Rank::Behind).await);

        let panicked = Sink::new();
        let call = panicked.called(Rank::First, 1);
        let call = tokio::spawn(call.run(|| async { panic!("boom") }));
        assert!(call.await.unwrap_err().is_panic());
        assert!(!panicked.takes(Rank::Behind).await);
    }

    #[tokio::test]
    async fn a_failure_that_is_noted_early_holds_at_once_unless_the_consume_ends_well() {
        let sink = Sink::new();
        let call = sink.called(Rank::First, 1);
        let behind = sink.called(Rank::Behind, 1);
        let result = call.run(|| async {
            let standing = Standing::current().expect("a consume runs");
            assert!(!standing.is_held());
            standing.fails_with(&Error::transient("busy"));
            assert!(!standing.is_held(), "only what follows is");
            assert_eq!(
                behind.run(|| async { panic!("it was seen") }).await,
                Err(refusal())
            );
            Ok(())
        });
        assert_eq!(result.await, Ok(()));
        assert!(
            !sink.takes(Rank::Behind).await,
            "what was refused comes first"
        );
        assert!(sink.takes(Rank::First).await && sink.takes(Rank::Behind).await);
        assert!(Standing::current().is_none());
    }
}
