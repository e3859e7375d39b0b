//! The consumer's loop on one connection: take what is settled, store it when it is time, keep the memberships alive, poll.
//! One request after another, and none is begun after `stop`.

mod fetch;
mod ownership;
mod stores;

use std::sync::Arc;

use iggy_common::IggyError;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::ownership::STANDBY_INTERVAL;
use super::{
    super::{client::Client, error::is_missing_topic},
    Reading,
    member::Member,
    partition::Partition,
    schedule,
};
use crate::{
    config::spec::Delivery,
    pipeline::{Failure, Gauge, Handout, Position},
};

pub(super) struct Session<'a> {
    client: &'a Client,
    members: Vec<Member>,
    /// Of all members.
    partitions: Vec<Partition>,
    settled: mpsc::Receiver<Position>,
    reading: Reading,
    /// Batches of one partition that may be with the pipeline.
    most: usize,
    is_settling: bool,
    /// The last poll found nothing.
    is_idle: bool,
    epochs: u64,
    turn: usize,
    check_at: Instant,
    gauge: Option<Arc<dyn Gauge>>,
}

/// What ended a wait.
enum Woken {
    Settled(Option<Position>),
    Other,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        client: &'a Client,
        members: Vec<Member>,
        settled: mpsc::Receiver<Position>,
        reading: Reading,
        most: usize,
        gauge: Option<Arc<dyn Gauge>>,
    ) -> Self {
        Self {
            client,
            members,
            partitions: Vec::new(),
            settled,
            reading,
            most: most.max(1),
            is_settling: true,
            is_idle: false,
            epochs: 0,
            turn: 0,
            check_at: Instant::now() + STANDBY_INTERVAL,
            gauge,
        }
    }

    /// Hands out batches until `stop`, or until nobody takes them or settles them any more.
    pub(super) async fn consume(
        &mut self,
        batches: &mpsc::Sender<Handout>,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        while !stop.is_cancelled() && !batches.is_closed() && self.is_settling {
            self.take_settled();
            self.check().await?;
            self.sync_stale().await?;
            self.store_due().await?;
            self.replace_left();
            self.tell();
            // Room first: a batch that was polled is handed out, and no more than one waits there.
            let Ok(room) = batches.try_reserve() else {
                self.wait_for_room(batches, stop).await;
                continue;
            };
            let now = Instant::now();
            if let Some(at) = schedule::next_due(&self.partitions, now) {
                self.hand_out(at, room).await?;
            } else if let Some(lost) = self.untold_loss() {
                room.send(Handout::Lost(lost));
            } else if let Some(at) = schedule::next(&self.partitions, self.turn, now) {
                self.fetch(at, room).await?;
            } else {
                self.wait_for_turn(stop).await;
            }
        }
        Ok(())
    }

    /// Stores what is still being settled, then leaves the groups.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        if self.client.is_lost() {
            return Ok(());
        }
        while self.is_settling {
            self.take_settled();
            self.store_due().await?;
            self.ping().await?;
            self.wait(self.next_store(), None, None).await;
        }
        self.store_all().await?;
        self.tell();
        for member in &self.members {
            member.leave(self.client).await;
        }
        Ok(())
    }

    /// Says how far behind this connection is, as soon as it knows of all its partitions.
    fn tell(&self) {
        let Some(gauge) = &self.gauge else { return };
        let owned = self
            .partitions
            .iter()
            .filter(|partition| !partition.is_leaving);
        if let Some(lag) = owned.map(Partition::lag).sum() {
            gauge.behind(lag);
        }
    }

    fn take_settled(&mut self) {
        loop {
            match self.settled.try_recv() {
                Ok(position) => self.settle(&position),
                Err(mpsc::error::TryRecvError::Empty) => return,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.is_settling = false;
                    return;
                }
            }
        }
    }

    fn settle(&mut self, position: &Position) {
        let partition = self
            .partitions
            .iter_mut()
            .find(|partition| partition.epoch == position.epoch);
        let Some(partition) = partition else {
            return debug!(
                topic = ?position.topic,
                partition = position.partition_id,
                offset = position.offset,
                "settled after the partition was lost; its next owner gets it again"
            );
        };
        partition.take_back();
        // At most once: it was stored before it was handed out.
        if self.reading.delivery != Delivery::AtMostOnce {
            partition.settle(position.offset, Instant::now());
        }
    }

    async fn wait_for_room(&mut self, batches: &mpsc::Sender<Handout>, stop: &CancellationToken) {
        self.wait(self.next_store(), Some(batches), Some(stop))
            .await;
    }

    async fn wait_for_turn(&mut self, stop: &CancellationToken) {
        let ready = schedule::next_ready(&self.partitions, Instant::now());
        let until = ready.into_iter().chain(self.next_store()).min();
        self.wait(until, None, Some(stop)).await;
    }

    /// Waits until something can be done: until then at the latest, until there is room, until something is settled or `stop`.
    async fn wait(
        &mut self,
        until: Option<Instant>,
        room: Option<&mpsc::Sender<Handout>>,
        stop: Option<&CancellationToken>,
    ) {
        let until = until.map_or(self.check_at, |until| until.min(self.check_at));
        let woken = tokio::select! {
            biased;
            () = stopped(stop) => Woken::Other,
            position = self.settled.recv() => Woken::Settled(position),
            () = roomy(room) => Woken::Other,
            () = sleep_until(until) => Woken::Other,
        };
        match woken {
            Woken::Settled(Some(position)) => self.settle(&position),
            Woken::Settled(None) => self.is_settling = false,
            Woken::Other => {}
        }
    }

    fn failed(&self, member: usize, doing: &str, error: &IggyError) -> Failure {
        let mut failure = self.members[member].failure(self.client, doing, error);
        if is_missing_topic(error) {
            failure
                .message
                .push_str("; it was deleted while it was read");
        }
        failure
    }
}

async fn stopped(stop: Option<&CancellationToken>) {
    match stop {
        Some(stop) => stop.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Until a batch can be handed out, or nobody takes them any more.
async fn roomy(batches: Option<&mpsc::Sender<Handout>>) {
    match batches {
        // The room is given back at once, and asked for again before the poll.
        Some(batches) => drop(batches.reserve().await),
        None => std::future::pending().await,
    }
}
