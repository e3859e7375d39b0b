//! A batch on its way: which messages go to which partition in which request, which of the requests are still unconfirmed, and what
//! Iggy will never take. Pure; `Producer` sends them.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::message::Outgoing;
use crate::pipeline::{self, Produced, Rejected};

/// A request stays well below what brokers take; one message may be larger.
const MAX_CHUNK_BYTES: usize = 8 * 1024 * 1024;
/// Iggy writes the times of one request's messages as distances in 32 bits of microseconds.
const MAX_TIME_SPAN: u64 = u32::MAX as u64;

/// How the messages of one output are spread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) partitions: u32,
    /// The partition of messages without a key.
    pub(super) unkeyed: u32,
    /// Most messages in one request.
    pub(super) batch_length: usize,
}

impl Route {
    fn partition(&self, key: Option<u32>) -> u32 {
        key.map_or(self.unkeyed, |key| key % self.partitions)
    }
}

/// A batch whose ids, targets and partitions are fixed, and which knows what Iggy has confirmed of it.
#[derive(Debug, Default)]
pub struct Shipment {
    /// In order; what is confirmed is gone.
    unconfirmed: VecDeque<Chunk>,
    rejected: Vec<(Rejected, Produced)>,
    /// How many partitions each output had when it was spread.
    partitions: Vec<u32>,
    /// Some of it may have reached Iggy.
    was_tried: bool,
}

/// Messages that go out in one request.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) output: usize,
    pub(super) partition: u32,
    pub(super) messages: Vec<Outgoing>,
    /// The request, once it is encoded.
    pub(super) request: Option<Bytes>,
    bytes: usize,
    earliest: u64,
    latest: u64,
}

impl Shipment {
    /// The next request, `None` when everything is confirmed.
    pub(super) fn first(&mut self) -> Option<&mut Chunk> {
        self.unconfirmed.front_mut()
    }

    pub(super) fn confirm_first(&mut self) {
        self.unconfirmed.pop_front();
    }

    /// Iggy will never take the next request: halves it, or notes that its only message is refused.
    pub(super) fn refuse_first(&mut self, reason: &str) {
        let Some(mut chunk) = self.unconfirmed.pop_front() else {
            return;
        };
        if chunk.messages.len() > 1 {
            let second = chunk.split_off(chunk.messages.len() / 2);
            self.unconfirmed.push_front(second);
            return self.unconfirmed.push_front(chunk);
        }
        let only = chunk.messages.into_iter().map(Outgoing::give_back);
        self.rejected
            .extend(only.map(|(at, message)| rejected(at, message, reason.to_owned())));
    }

    /// Whether an output has other partitions now than when it was spread, of which nothing was sent yet.
    pub(super) fn is_outdated(&self, output: usize, partitions: u32) -> bool {
        !self.was_tried && self.partitions.get(output) != Some(&partitions)
    }

    /// From now on its partitions are fixed, unless the topic is broken.
    pub(super) fn begin(&mut self) {
        self.was_tried = true;
    }

    /// Whether something of the output is unconfirmed.
    pub(super) fn needs(&self, output: usize) -> bool {
        self.unconfirmed.iter().any(|chunk| chunk.output == output)
    }

    /// Spreads what is unconfirmed of an output anew, because its topic has other partitions now.
    pub(super) fn reroute(&mut self, output: usize, route: Route) {
        let (moving, staying) = std::mem::take(&mut self.unconfirmed)
            .into_iter()
            .partition::<VecDeque<_>, _>(|chunk| chunk.output == output);
        let mut messages: Vec<_> = moving
            .into_iter()
            .flat_map(|chunk| chunk.messages)
            .collect();
        // Two partitions may become one, in which what came first stands first.
        messages.sort_by_key(|message| message.position);
        let mut loader = Loader::new(vec![route], messages.len());
        for message in messages {
            loader.add(0, message);
        }
        let rerouted = loader
            .chunks
            .into_iter()
            .map(|chunk| Chunk { output, ..chunk });
        self.unconfirmed = staying.into_iter().chain(rerouted).collect();
    }
}

impl pipeline::Shipment for Shipment {
    fn take_rejected(&mut self) -> Vec<(Rejected, Produced)> {
        std::mem::take(&mut self.rejected)
    }

    fn give_up(&mut self) -> Vec<(usize, Produced)> {
        let chunks = std::mem::take(&mut self.unconfirmed).into_iter();
        let messages = chunks.flat_map(|chunk| chunk.messages);
        let mut messages: Vec<_> = messages.map(Outgoing::give_back).collect();
        messages.sort_by_key(|(position, _)| *position);
        messages
    }
}

/// Fills requests, message by message in order.
pub(super) struct Loader {
    /// By output.
    routes: Vec<Route>,
    chunks: Vec<Chunk>,
    /// The chunk that takes more messages of an output and partition.
    open: HashMap<(usize, u32), usize>,
    /// The last one of those: messages without keys need no look-up.
    last: Option<usize>,
    /// How many messages are still to come, at a guess.
    expected: usize,
    rejected: Vec<(Rejected, Produced)>,
}

impl Loader {
    pub(super) fn new(routes: Vec<Route>, expected: usize) -> Self {
        Self {
            routes,
            chunks: Vec::new(),
            open: HashMap::new(),
            last: None,
            expected,
            rejected: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, output: usize, message: Outgoing) {
        let route = self.routes[output];
        let partition = route.partition(message.key);
        let at = self.find(output, partition);
        let at = match at {
            Some(at) if self.chunks[at].takes(&message, route.batch_length) => at,
            _ => self.begin(output, partition, self.room(route, message.key)),
        };
        self.expected = self.expected.saturating_sub(1);
        self.chunks[at].push(message);
        self.last = Some(at);
    }

    /// Notes a message that Iggy would never take.
    pub(super) fn reject(&mut self, position: usize, message: Produced, reason: String) {
        self.expected = self.expected.saturating_sub(1);
        self.rejected.push(rejected(position, message, reason));
    }

    pub(super) fn finish(self) -> Shipment {
        Shipment {
            unconfirmed: self.chunks.into(),
            rejected: self.rejected,
            partitions: self.routes.iter().map(|route| route.partitions).collect(),
            was_tried: false,
        }
    }

    fn find(&self, output: usize, partition: u32) -> Option<usize> {
        let is_it = |at: &usize| {
            self.chunks[*at].output == output && self.chunks[*at].partition == partition
        };
        self.last
            .filter(is_it)
            .or_else(|| self.open.get(&(output, partition)).copied())
    }

    fn begin(&mut self, output: usize, partition: u32, room: usize) -> usize {
        let at = self.chunks.len();
        self.chunks.push(Chunk::new(output, partition, room));
        self.open.insert((output, partition), at);
        at
    }

    /// Keyed messages spread over the partitions.
    fn room(&self, route: Route, key: Option<u32>) -> usize {
        let share = match key {
            Some(_) => self.expected / route.partitions as usize,
            None => self.expected,
        };
        share.min(route.batch_length)
    }
}

impl Chunk {
    fn new(output: usize, partition: u32, room: usize) -> Self {
        Self {
            output,
            partition,
            messages: Vec::with_capacity(room),
            request: None,
            bytes: 0,
            earliest: u64::MAX,
            latest: 0,
        }
    }

    fn takes(&self, message: &Outgoing, batch_length: usize) -> bool {
        let time = message.origin_timestamp;
        self.messages.len() < batch_length
            && self.bytes + message.size() <= MAX_CHUNK_BYTES
            && self.latest.max(time) - self.earliest.min(time) <= MAX_TIME_SPAN
    }

    fn push(&mut self, message: Outgoing) {
        self.bytes += message.size();
        self.earliest = self.earliest.min(message.origin_timestamp);
        self.latest = self.latest.max(message.origin_timestamp);
        self.messages.push(message);
    }

    /// Leaves the first `at` messages here. What bounds a request holds for each half as well.
    fn split_off(&mut self, at: usize) -> Self {
        self.request = None;
        Self {
            messages: self.messages.split_off(at),
            request: None,
            ..*self
        }
    }
}

fn rejected(position: usize, message: Produced, reason: String) -> (Rejected, Produced) {
    let rejected = Rejected {
        index: position,
        stage: "deliver",
        message: reason,
    };
    (rejected, message)
}

#[cfg(test)]
mod tests;
