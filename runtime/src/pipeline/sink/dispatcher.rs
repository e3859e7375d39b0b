//! Gives each batch of a sink to a lane: the one that has its partition, else one that has nothing to do.
//!
//! What a full lane cannot take is kept here, at most one batch for each, so that the other lanes go on. Nothing is taken from the
//! consumer before some lane has room, so what waits at the consumer keeps it from fetching more.

use std::collections::VecDeque;

use iggy_connector_message::TopicMetadata;
use tokio::sync::mpsc;

use super::{Run, lane::Order};
use crate::pipeline::{Fetched, FlushReason, Handout, Partition, Producer, SinkPlugin};

/// Distributes what the consumer hands out.
pub(super) struct Dispatcher<'a, P, D> {
    run: &'a Run<'a, P, D>,
    routes: Vec<Route>,
    /// What was taken from the consumer and has no place yet, in order.
    waiting: VecDeque<Handout>,
}

/// The way to a lane. Never full: batches are bounded by the lane's load, and of the other orders there are few.
struct Route {
    orders: mpsc::UnboundedSender<Order>,
    /// Whose batches it was given last.
    partition: Option<Partition>,
}

/// What the dispatcher goes on with.
enum Event {
    Halted,
    /// A lane has settled something.
    Freed,
    Handout(Option<Handout>),
}

impl<'a, P: SinkPlugin, D: Producer> Dispatcher<'a, P, D> {
    pub(super) fn new(
        run: &'a Run<'a, P, D>,
        orders: impl Iterator<Item = mpsc::UnboundedSender<Order>>,
    ) -> Self {
        let route = |orders| Route {
            orders,
            partition: None,
        };
        Self {
            run,
            routes: orders.map(route).collect(),
            waiting: VecDeque::new(),
        }
    }

    /// Runs until the consumer has ended and everything has its place, or until the sink is halted. The lanes end when this does.
    pub(super) async fn run(mut self, mut handouts: mpsc::Receiver<Handout>) {
        let mut has_ended = false;
        while !(has_ended && self.waiting.is_empty()) {
            match self.next(&mut handouts, has_ended).await {
                Event::Freed => self.place_waiting(),
                Event::Handout(Some(handout)) => self.take(handout),
                Event::Handout(None) => has_ended = true,
                // What the consumer has handed out does not come again.
                Event::Halted if self.run.delivers_once() => handouts.close(),
                Event::Halted => return,
            }
        }
    }

    async fn next(&self, handouts: &mut mpsc::Receiver<Handout>, has_ended: bool) -> Event {
        let is_open = !handouts.is_closed() || !self.run.delivers_once();
        tokio::select! {
            biased;
            () = self.run.halt.cancelled(), if is_open => Event::Halted,
            () = self.run.freed.notified() => Event::Freed,
            handout = handouts.recv(), if !has_ended && self.takes_more() => Event::Handout(handout),
        }
    }

    /// Whether some lane has room, and nothing waits for a lane of its own or a second time for the same one.
    fn takes_more(&self) -> bool {
        let lanes = self.routes.len();
        let full = (0..lanes).filter(|lane| !self.has_room(*lane)).count();
        let mut batches = self.waiting.iter().filter_map(batch);
        full < lanes
            && batches.clone().count() <= full
            && batches.all(|fetched| self.lane_of(fetched).is_some())
    }

    fn take(&mut self, handout: Handout) {
        let Some(kept) = self.place(handout) else {
            return;
        };
        let needs_a_lane = batch(&kept).is_some_and(|fetched| self.lane_of(fetched).is_none());
        self.waiting.push_back(kept);
        if needs_a_lane {
            for route in &self.routes {
                route.send(Order::Flush(FlushReason::None));
            }
        }
    }

    fn place_waiting(&mut self) {
        for handout in std::mem::take(&mut self.waiting) {
            let kept = self.place(handout);
            self.waiting.extend(kept);
        }
    }

    /// Gives a handout to a lane, or back when it has to wait: for room, or behind another one of its partition.
    fn place(&mut self, handout: Handout) -> Option<Handout> {
        let partition = partition(&handout);
        if self
            .waiting
            .iter()
            .any(|other| self::partition(other) == partition)
        {
            return Some(handout);
        }
        match handout {
            Handout::Batch(fetched) => match self.room_for(&fetched) {
                Some(lane) => self.hand_over(lane, fetched),
                None => return Some(Handout::Batch(fetched)),
            },
            Handout::Lost(lost) => {
                let mut routes = self.routes.iter();
                if let Some(route) = routes.find(|route| route.is_for(&lost.topic, lost.id)) {
                    route.send(Order::Flush(FlushReason::PartitionLost));
                }
            }
        }
        None
    }

    /// A partition stays with its lane as long as something of it is there, so that its batches keep their order.
    fn room_for(&self, fetched: &Fetched) -> Option<usize> {
        match self.lane_of(fetched) {
            Some(lane) => self.has_room(lane).then_some(lane),
            None => (0..self.routes.len()).find(|lane| self.run.load(*lane) == 0),
        }
    }

    fn lane_of(&self, fetched: &Fetched) -> Option<usize> {
        let mut routes = self.routes.iter();
        routes.position(|route| route.is_for(&fetched.topic, fetched.partition_id))
    }

    fn has_room(&self, lane: usize) -> bool {
        self.run.load(lane) < self.run.max_unsettled()
    }

    fn hand_over(&mut self, lane: usize, fetched: Fetched) {
        let route = &mut self.routes[lane];
        if !route.is_for(&fetched.topic, fetched.partition_id) {
            route.partition = Some(Partition {
                topic: fetched.topic.clone(),
                id: fetched.partition_id,
            });
        }
        self.run.loaded(lane);
        route.send(Order::Batch(fetched));
    }
}

impl Route {
    fn is_for(&self, topic: &TopicMetadata, id: u32) -> bool {
        self.partition
            .as_ref()
            .is_some_and(|partition| partition.id == id && *partition.topic == *topic)
    }

    fn send(&self, order: Order) {
        // A lane that has ended has halted the sink.
        let _ = self.orders.send(order);
    }
}

fn batch(handout: &Handout) -> Option<&Fetched> {
    match handout {
        Handout::Batch(fetched) => Some(fetched),
        Handout::Lost(_) => None,
    }
}

fn partition(handout: &Handout) -> (&TopicMetadata, u32) {
    match handout {
        Handout::Batch(fetched) => (&fetched.topic, fetched.partition_id),
        Handout::Lost(lost) => (&lost.topic, lost.id),
    }
}
