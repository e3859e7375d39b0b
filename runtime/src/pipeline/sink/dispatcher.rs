//! Gives each batch of a sink to a lane: the one that has its partition, else one that has nothing to do.
//!
//! Nothing is taken from the consumer before some lane has room, so what waits at the consumer keeps it from fetching more.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Run, lane::Order};
use crate::pipeline::{Fetched, FlushReason, Handout, Partition, Producer, SinkPlugin};

/// Distributes what the consumer hands out.
pub(super) struct Dispatcher<'a, P, D> {
    run: &'a Run<'a, P, D>,
    routes: Vec<Route>,
}

/// The way to a lane. Never full: batches are bounded by the lane's load, and of the other orders there are few.
struct Route {
    orders: mpsc::UnboundedSender<Order>,
    /// Whose batches it was given last.
    partition: Option<Partition>,
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
        }
    }

    /// Runs until the consumer has ended or the sink is halted. The lanes end when this does.
    pub(super) async fn run(mut self, mut handouts: mpsc::Receiver<Handout>) {
        while let Some(handout) = self.next(&mut handouts).await {
            match handout {
                Handout::Batch(fetched) => {
                    let Some(lane) = self.place(&fetched).await else {
                        return;
                    };
                    self.send(lane, Order::Batch(fetched));
                }
                Handout::Lost(partition) => {
                    if let Some(lane) = self.lane_of(|route| route.is_for(&partition)) {
                        self.send(lane, Order::Flush(FlushReason::PartitionLost));
                    }
                }
            }
        }
    }

    async fn next(&self, handouts: &mut mpsc::Receiver<Handout>) -> Option<Handout> {
        let has_room = || (0..self.routes.len()).any(|lane| self.has_room(lane));
        if !self.until(has_room).await {
            return None;
        }
        let handout = unless(&self.run.halt, handouts.recv()).await;
        if handout.is_none() && self.run.delivers_once() {
            // What the consumer has handed out does not come again.
            handouts.close();
            return handouts.recv().await;
        }
        handout
    }

    /// Waits for a lane that can take the batch; `None` when the sink is halted.
    async fn place(&mut self, fetched: &Fetched) -> Option<usize> {
        if self.room_for(fetched).is_none() {
            for lane in 0..self.routes.len() {
                self.send(lane, Order::Flush(FlushReason::None));
            }
            if !self.until(|| self.room_for(fetched).is_some()).await {
                return None;
            }
        }
        let lane = self.room_for(fetched)?;
        let route = &mut self.routes[lane];
        if !route.serves(fetched) {
            route.partition = Some(Partition {
                topic: fetched.topic.clone(),
                id: fetched.partition_id,
            });
        }
        Some(lane)
    }

    /// A partition stays with its lane as long as something of it is there, so that its batches keep their order.
    fn room_for(&self, fetched: &Fetched) -> Option<usize> {
        match self.lane_of(|route| route.serves(fetched)) {
            Some(lane) => self.has_room(lane).then_some(lane),
            None => (0..self.routes.len()).find(|lane| self.run.load(*lane) == 0),
        }
    }

    fn lane_of(&self, is_it: impl Fn(&Route) -> bool) -> Option<usize> {
        self.routes.iter().position(is_it)
    }

    fn has_room(&self, lane: usize) -> bool {
        self.run.load(lane) < self.run.max_unsettled()
    }

    /// Waits until a lane has settled enough. Whether that came before the halt; without a second attempt nothing is left behind.
    async fn until(&self, is_so: impl Fn() -> bool) -> bool {
        while !is_so() {
            if self.run.delivers_once() {
                self.run.freed.notified().await;
            } else if unless(&self.run.halt, some(self.run.freed.notified()))
                .await
                .is_none()
            {
                return false;
            }
        }
        true
    }

    fn send(&self, lane: usize, order: Order) {
        if let Order::Batch(_) = order {
            self.run.loaded(lane);
        }
        // A lane that has ended has halted the sink.
        let _ = self.routes[lane].orders.send(order);
    }
}

impl Route {
    fn serves(&self, fetched: &Fetched) -> bool {
        self.partition.as_ref().is_some_and(|partition| {
            partition.id == fetched.partition_id && partition.topic == fetched.topic
        })
    }

    fn is_for(&self, partition: &Partition) -> bool {
        self.partition.as_ref() == Some(partition)
    }
}

async fn some<T>(future: impl Future<Output = T>) -> Option<T> {
    Some(future.await)
}

async fn unless<T>(halt: &CancellationToken, future: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::select! {
        biased;
        () = halt.cancelled() => None,
        came = future => came,
    }
}
