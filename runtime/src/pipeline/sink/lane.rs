//! A lane of a sink: batches of one partition at a time, handed over in order and settled in order. The dispatcher gives it its
//! orders; as many lanes as batches of different partitions may overlap.
//!
//! The plugin may hold several batches before the first is settled. When that one has to be handed over again, those behind it are
//! taken back first and follow it in order, so that nothing that was tried again lands behind what came later.

use std::{collections::VecDeque, time::Duration};

use tokio::sync::mpsc;
use tracing::{debug, info};

use super::{
    Run,
    calls::{Calls, Outcome, Waiting},
    delivery::{Delivery, Next},
    flusher::{Due, Flusher, Flushing, GRACE},
};
use crate::pipeline::{
    Attempts, Consumed, Failure, FailureKind, Fetched, FlushReason, FlushRequest, Partition,
    Producer, Rank, SinkPlugin,
};

/// What a lane is told.
pub(super) enum Order {
    Batch(Fetched),
    /// What is with the plugin is to be settled soon.
    Flush(FlushReason),
}

/// One lane.
pub(super) struct Lane<'a, P, D> {
    run: &'a Run<'a, P, D>,
    number: usize,
    orders: mpsc::UnboundedReceiver<Order>,
    is_closed: bool,
    /// In order. The first ones are with the plugin: one for each of `calls`.
    deliveries: VecDeque<Delivery<'a>>,
    calls: Calls<'a>,
    flusher: Flusher<'a>,
    /// Until everything here is settled.
    hurry: Option<FlushReason>,
    partition: Option<Partition>,
    batch_timeout: Duration,
}

enum Event {
    Ended(Outcome),
    Ordered(Option<Order>),
    Flush(Flushing),
}

impl<'a, P: SinkPlugin, D: Producer> Lane<'a, P, D> {
    pub(super) fn new(
        run: &'a Run<'a, P, D>,
        number: usize,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            run,
            number,
            orders,
            is_closed: false,
            deliveries: VecDeque::new(),
            calls: Calls::new(),
            flusher: Flusher::new(run.attempts("flush")),
            hurry: None,
            partition: None,
            batch_timeout: Duration::ZERO,
        }
    }

    /// Runs until the dispatcher has ended and everything is settled.
    ///
    /// # Errors
    ///
    /// As of [`super::Sink::run`]; then the other lanes are halted. [`FailureKind::Cancelled`]: the sink was stopped while trying again.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        let ended = self.serve().await;
        if let Err(failure) = &ended {
            self.run.halt.cancel();
            if self.run.delivers_once() {
                self.give_up(failure).await;
            }
        }
        ended
    }

    async fn serve(&mut self) -> Result<(), Failure> {
        loop {
            if self.is_closed && self.deliveries.is_empty() {
                return Ok(());
            }
            self.hand_over().await?;
            match self.next().await {
                Event::Ended(outcome) => self.apply(outcome).await?,
                Event::Ordered(Some(order)) => self.take(order),
                Event::Ordered(None) => self.close(),
                Event::Flush(Flushing::Due(reason)) => self.begin_flush(reason),
                Event::Flush(Flushing::Ended(reason, ended)) => self.flushed(reason, ended)?,
            }
        }
    }

    async fn next(&mut self) -> Event {
        let due = self.due();
        // Orders before the flush: it is due when nothing waits.
        tokio::select! {
            biased;
            outcome = self.calls.first() => Event::Ended(outcome),
            order = self.orders.recv(), if !self.is_closed => Event::Ordered(order),
            flush = self.flusher.next(due) => Event::Flush(flush),
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Batch(fetched) => self.receive(fetched),
            Order::Flush(reason) if !self.deliveries.is_empty() => self.hurry = Some(reason),
            Order::Flush(_) => {}
        }
    }

    fn receive(&mut self, fetched: Fetched) {
        let sink = self.run.sink;
        if self.deliveries.is_empty() {
            self.partition = Some(Partition {
                topic: fetched.topic.clone(),
                id: fetched.partition_id,
            });
        }
        let input = &sink.inputs[fetched.input];
        self.batch_timeout = input.batch_timeout;
        let attempts = self.run.attempts("consume");
        let mut delivery = Delivery::new(fetched, &input.stages, attempts, sink.monitor);
        if delivery.has_refused() && self.stops_on_invalid() {
            delivery.withhold();
        }
        self.deliveries.push_back(delivery);
    }

    /// Nothing more comes. What was not handed over yet comes again in another run.
    fn close(&mut self) {
        self.is_closed = true;
        if self.run.delivers_once() {
            return;
        }
        if self.run.is_failing() {
            self.calls.cancel();
        }
        self.deliveries.truncate(self.calls.len());
    }

    /// Hands over what may be with the plugin and is not.
    async fn hand_over(&mut self) -> Result<(), Failure> {
        let sink = self.run.sink;
        if self.calls.take_cancelled() {
            sink.plugin.drain().await?;
        }
        while self.deliveries.len() > self.calls.len() && !self.is_full() {
            let rank = self.rank();
            let delivery = &mut self.deliveries[self.calls.len()];
            delivery.handed_over();
            match delivery.part() {
                Some(_) if self.run.delivers_once() && self.run.is_failing() => {
                    let message = "the connector failed before it was handed over";
                    self.calls.end(Err(Failure::transient(message)));
                }
                Some(part) => {
                    self.calls
                        .begin(sink.plugin.consume(part.clone(), rank))
                        .await
                }
                None => self.calls.end(Ok(Consumed::default())),
            }
        }
        Ok(())
    }

    /// How the next batch stands. Without a second attempt nothing comes again.
    fn rank(&self) -> Rank {
        match self.run.delivers_once() {
            true => Rank::First,
            false => self.calls.rank(),
        }
    }

    /// Whether nothing more may be handed over before the first outcome.
    fn is_full(&self) -> bool {
        let Some(first) = self.deliveries.front() else {
            return false;
        };
        let stops = self.calls.len() > 0 && self.stops_on_invalid();
        self.calls.len() >= self.run.max_unsettled()
            || (first.is_recovering() && self.calls.len() > 0)
            || (stops && self.deliveries[self.calls.len() - 1].has_refused())
    }

    fn stops_on_invalid(&self) -> bool {
        !self.run.delivers_once() && self.run.sink.policy.stops_on_invalid()
    }

    /// Applies the first outcome to the first batch.
    async fn apply(&mut self, outcome: Outcome) -> Result<(), Failure> {
        let policy = &self.run.sink.policy;
        let Some(first) = self.deliveries.front_mut() else {
            return Ok(());
        };
        if self.run.delivers_once() {
            let ended = first.apply_once(outcome);
            return self.settle().await.and(ended);
        }
        let mut next = first.apply(outcome)?;
        if let Next::Retry(failure) = next {
            self.calls.cancel();
            next = first.pause(failure, policy).await?;
        }
        match next {
            Next::Settle => self.settle().await,
            Next::HandOver | Next::Retry(_) => {
                self.calls.cancel();
                Ok(())
            }
        }
    }

    /// Nothing is left to hand over of the first batch: settles what was refused of it, and tells the consumer.
    async fn settle(&mut self) -> Result<(), Failure> {
        let Run {
            sink,
            halt,
            settled,
            ..
        } = self.run;
        let Some(mut delivery) = self.deliveries.pop_front() else {
            return Ok(());
        };
        let ended = match self.run.delivers_once() {
            true => delivery.settle_once(&sink.policy, halt).await,
            false => delivery.settle(&sink.policy, halt).await,
        };
        if self.deliveries.is_empty() {
            self.hurry = None;
        }
        let told = match &ended {
            Ok(()) => settled.send(delivery.position()).await,
            Err(_) => Ok(()),
        };
        self.run.unloaded(self.number);
        ended?;
        let elapsed = delivery.finish(sink.benchmark);
        log(delivery.received(), elapsed, sink.verbose);
        self.flusher.progressed();
        if told.is_err() && !self.run.delivers_once() {
            // The consumer has failed and says why; this batch will be delivered again.
            let message = "the consumer has ended";
            return Err(Failure::new(FailureKind::Cancelled, message));
        }
        Ok(())
    }

    /// When the plugin is to be flushed, if a consume is waited for.
    fn due(&self) -> Option<(Due, Waiting)> {
        let first = self.calls.waiting()?;
        let grace = match self.run.max_unsettled() {
            // Nothing could be gathered with what follows: only a plugin that waits for a flush all the same needs one.
            1 => GRACE,
            _ => Duration::ZERO,
        };
        let (after, reason) = if self.is_closed || self.run.halt.is_cancelled() {
            (Duration::ZERO, self.run.ending())
        } else if self.hurry == Some(FlushReason::PartitionLost) {
            (Duration::ZERO, FlushReason::PartitionLost)
        } else if self.hurry.is_some() || self.is_full() {
            (grace, FlushReason::None)
        } else {
            (self.batch_timeout, FlushReason::Timeout)
        };
        let at = first.since + after;
        let is_last = self.run.halt.is_cancelled();
        Some((
            Due {
                at,
                reason,
                is_last,
            },
            first,
        ))
    }

    fn begin_flush(&mut self, reason: FlushReason) {
        let request = FlushRequest {
            reason,
            partition: self.partition.clone(),
        };
        let flush = self.run.sink.plugin.flush(request);
        self.flusher.begin(reason, self.calls.count(), flush);
    }

    /// A flush has ended. When it has failed, so has what waits for it, sooner or later.
    fn flushed(&mut self, reason: FlushReason, ended: Result<(), Failure>) -> Result<(), Failure> {
        let Err(failure) = ended else {
            self.flusher.progressed();
            return Ok(());
        };
        if self.run.delivers_once() {
            self.run.sink.monitor.counters.error();
            self.calls.fail(usize::MAX, &failure);
            return Ok(());
        }
        let is_last = self.run.halt.is_cancelled() && reason == self.run.ending();
        match self.flusher.failed(failure) {
            Err(failure) if failure.kind == FailureKind::Exhausted => {
                self.calls.fail(1, &failure);
                Ok(())
            }
            Ok(()) if is_last => Err(Failure::new(
                FailureKind::Cancelled,
                "stopped before a flush had succeeded",
            )),
            ended => ended,
        }
    }

    /// What is here, and what still comes, is not delivered and does not come again.
    async fn give_up(&mut self, failure: &Failure) {
        self.calls.cancel();
        loop {
            while let Some(first) = self.deliveries.front_mut() {
                // Why the connector stops is known already.
                let _ = first.apply_once(Err(failure.clone()));
                let _ = self.settle().await;
            }
            match self.orders.recv().await {
                Some(order) => self.take(order),
                None => return,
            }
        }
    }
}

fn log(received: usize, elapsed: Duration, is_verbose: bool) {
    if is_verbose {
        info!(received, ?elapsed, "batch consumed");
    } else {
        debug!(received, ?elapsed, "batch consumed");
    }
}

impl<P, D> Run<'_, P, D> {
    fn attempts(&self, step: &'static str) -> Attempts<'_>
    where
        D: Producer,
    {
        let sink = self.sink;
        Attempts::new(step, sink.policy.retry(), sink.monitor, &self.halt)
    }
}
