//! In which order a sink's consumes begin, which of them a flush waits for, and which have failed: [`Order`].
//!
//! The host calls in order, but each call becomes a task, and tasks that start on several threads overtake each other. So a consume
//! takes its place while it is being called, and its future begins only when those before it, of its partition, have begun.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    hash::{DefaultHasher, Hash, Hasher},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use super::calls::lock;

/// The consumes of an instance that are under way.
#[derive(Default)]
pub(super) struct Order(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many places were taken.
    taken: u64,
    places: BTreeMap<u64, Consume>,
    /// Of flushes that wait for any change.
    flushes: Vec<Waker>,
    /// Consumes that come again, until the host has said that it knows.
    failed: BTreeSet<(Partition, u64)>,
}

struct Consume {
    partition: Partition,
    has_begun: bool,
    /// Waits for its turn.
    waker: Option<Waker>,
}

/// A partition's name, hashed. Two that collide wait for each other's first step, and what follows a failure of one is tried once more
/// in the other, which does no harm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Partition(u64);

impl Partition {
    pub(super) fn new(stream: &str, topic: &str, partition_id: u32) -> Self {
        let mut hasher = DefaultHasher::new();
        (stream, topic, partition_id).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A consume's place among the others, until it is dropped. It is dropped after the consume's completion.
pub(super) struct Place {
    order: Arc<Order>,
    number: u64,
}

/// A consume's turn, held by its future.
pub(super) struct Turn {
    order: Arc<Order>,
    partition: Partition,
    number: u64,
}

/// What a flush is about: the consumes that were under way when it was called.
pub(super) struct Before {
    order: Arc<Order>,
    end: u64,
    partition: Option<Partition>,
}

impl Order {
    /// Takes the next place.
    pub(super) fn join(self: &Arc<Self>, partition: Partition) -> (Place, Turn) {
        let number = self.take(partition);
        let place = Place {
            order: Arc::clone(self),
            number,
        };
        let turn = Turn {
            order: Arc::clone(self),
            partition,
            number,
        };
        (place, turn)
    }

    /// Everything that is under way now, of one partition or of all.
    pub(super) fn before(self: &Arc<Self>, partition: Option<Partition>) -> Before {
        Before {
            order: Arc::clone(self),
            end: lock(&self.0).taken,
            partition,
        }
    }

    /// Notes that a consume comes again.
    pub(super) fn failed(&self, partition: Partition, number: u64) {
        lock(&self.0).failed.insert((partition, number));
    }

    /// Notes that a consume does not come again.
    pub(super) fn recovered(&self, partition: Partition, number: u64) {
        lock(&self.0).failed.remove(&(partition, number));
    }

    /// Notes that the host knows of every consume of a partition that has failed so far.
    pub(super) fn resume(&self, partition: Partition) {
        lock(&self.0).failed.retain(|(of, _)| *of != partition);
    }

    /// Whether a consume of the partition that was called before this one comes again.
    pub(super) fn has_failed_before(&self, partition: Partition, number: u64) -> bool {
        let state = lock(&self.0);
        let mut before = state.failed.range((partition, 0)..(partition, number));
        before.next().is_some()
    }

    fn take(&self, partition: Partition) -> u64 {
        let mut state = lock(&self.0);
        let number = state.taken;
        state.taken += 1;
        let consume = Consume {
            partition,
            has_begun: false,
            waker: None,
        };
        state.places.insert(number, consume);
        number
    }

    /// Notes that a consume has begun.
    fn begin(&self, number: u64) {
        let mut state = lock(&self.0);
        let Some(place) = state.places.get_mut(&number) else {
            return;
        };
        place.has_begun = true;
        let partition = place.partition;
        let wakers = state.take_wakers(partition);
        drop(state);
        wakers.for_each(Waker::wake);
    }

    /// Gives a place up.
    fn leave(&self, number: u64) {
        let mut state = lock(&self.0);
        let Some(place) = state.places.remove(&number) else {
            return;
        };
        let wakers = state.take_wakers(place.partition);
        drop(state);
        wakers.for_each(Waker::wake);
    }

    /// Waits until everything before a consume, of its partition, has begun or left.
    async fn turn(&self, number: u64) {
        poll_fn(|context| {
            let mut state = lock(&self.0);
            let Some(own) = state.places.get(&number) else {
                return Poll::Ready(());
            };
            let blocks = |place: &Consume| !place.has_begun && place.partition == own.partition;
            if !state.places.range(..number).any(|(_, place)| blocks(place)) {
                return Poll::Ready(());
            }
            if let Some(own) = state.places.get_mut(&number) {
                own.waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Waits until no place below `end` is one that `blocks`.
    async fn wait(&self, end: u64, blocks: impl Fn(&Consume) -> bool) {
        poll_fn(|context| {
            let mut state = lock(&self.0);
            if !state.places.range(..end).any(|(_, place)| blocks(place)) {
                return Poll::Ready(());
            }
            state.flushes.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl State {
    /// Whoever may go on after a change in a partition: the next that has not begun, and every flush.
    fn take_wakers(&mut self, partition: Partition) -> impl Iterator<Item = Waker> + use<> {
        let next = self
            .places
            .values_mut()
            .find(|place| place.partition == partition && !place.has_begun)
            .and_then(|place| place.waker.take());
        std::mem::take(&mut self.flushes).into_iter().chain(next)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.order.leave(self.number);
    }
}

impl Turn {
    /// Whose turn it is.
    pub(super) fn place(&self) -> (&Arc<Order>, Partition, u64) {
        (&self.order, self.partition, self.number)
    }

    /// Runs `begin` and the future that it makes. Both begin only when everything before them, of the same partition, has begun or ended.
    pub(super) async fn run<F: Future>(self, begin: impl FnOnce() -> F) -> F::Output {
        self.order.turn(self.number).await;
        let mut future = pin!(begin());
        let first = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        // When the first step panics this is not reached: the task then ends, and gives its place up.
        self.order.begin(self.number);
        match first {
            Poll::Ready(output) => output,
            Poll::Pending => future.await,
        }
    }
}

impl Before {
    /// Waits until all of them have begun.
    pub(super) async fn begun(&self) {
        self.order
            .wait(self.end, |place| self.is_about(place) && !place.has_begun)
            .await;
    }

    /// Waits until all of them have completed.
    pub(super) async fn completed(&self) {
        self.order
            .wait(self.end, |place| self.is_about(place))
            .await;
    }

    fn is_about(&self, place: &Consume) -> bool {
        self.partition
            .is_none_or(|partition| partition == place.partition)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn partition(id: u32) -> Partition {
        Partition::new("stream", "topic", id)
    }

    /// Polls a future once.
    async fn step<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        poll_fn(|context| match pin!(&mut *future).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn a_consume_begins_after_those_before_it_in_its_partition() {
        let order = Arc::new(Order::default());
        let begun = AtomicU32::new(0);
        let note = |digit| {
            begun.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
                Some(all * 10 + digit)
            })
        };
        let (_first_place, first) = order.join(partition(1));
        let (_second_place, second) = order.join(partition(1));
        let (_other_place, other) = order.join(partition(2));
        let hang = |digit| {
            let _ = note(digit);
            std::future::pending::<()>()
        };
        let mut first = Box::pin(first.run(|| hang(1)));
        let mut second = Box::pin(second.run(|| hang(2)));
        let mut other = Box::pin(other.run(|| hang(3)));
        step(&mut second).await;
        step(&mut other).await;
        assert_eq!(
            begun.load(Ordering::Relaxed),
            3,
            "another partition goes on"
        );
        step(&mut first).await;
        step(&mut second).await;
        assert_eq!(begun.load(Ordering::Relaxed), 312);
    }

    #[tokio::test]
    async fn one_that_is_given_up_before_it_began_holds_up_nobody() {
        let order = Arc::new(Order::default());
        let (first_place, first) = order.join(partition(1));
        let (second_place, second) = order.join(partition(1));
        let (_third_place, third) = order.join(partition(1));
        let third = tokio::spawn(third.run(|| async { 3 }));
        drop((second, second_place));
        tokio::task::yield_now().await;
        assert!(!third.is_finished(), "the first has not begun");
        drop((first, first_place));
        assert_eq!(third.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_flush_is_about_what_was_under_way_when_it_was_called() {
        let order = Arc::new(Order::default());
        let (place, turn) = order.join(partition(1));
        let (_other_place, _other_turn) = order.join(partition(2));
        let before = order.before(Some(partition(1)));
        let (_later_place, _later_turn) = order.join(partition(1));
        let mut begun = Box::pin(before.begun());
        assert!(step(&mut begun).await.is_none());
        turn.run(|| async {}).await;
        assert!(step(&mut begun).await.is_some());
        let mut completed = Box::pin(before.completed());
        assert!(step(&mut completed).await.is_none());
        drop(place);
        assert!(step(&mut completed).await.is_some());
        let all = order.before(None);
        assert!(step(&mut Box::pin(all.begun())).await.is_none());
    }
}
