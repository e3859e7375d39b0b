//! A batch on its way: which messages go to which partition in which request, and which of the requests are still unconfirmed.
//! Pure; `Producer` sends them.

use std::collections::{HashMap, VecDeque};

use iggy_common::IggyMessage;

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
#[derive(Debug)]
pub struct Shipment {
    /// In order; what is confirmed is gone.
    unconfirmed: VecDeque<Chunk>,
}

/// Messages that go out in one request.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) output: usize,
    pub(super) partition: u32,
    pub(super) messages: Vec<IggyMessage>,
    /// By message: what its key says about the partition.
    keys: Vec<Option<u32>>,
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

    /// Whether something of the output is unconfirmed.
    pub(super) fn needs(&self, output: usize) -> bool {
        self.unconfirmed.iter().any(|chunk| chunk.output == output)
    }

    /// Spreads what is unconfirmed of an output anew, because its topic has other partitions now.
    pub(super) fn reroute(&mut self, output: usize, route: Route) {
        let (moving, staying) = std::mem::take(&mut self.unconfirmed)
            .into_iter()
            .partition::<VecDeque<_>, _>(|chunk| chunk.output == output);
        let mut loader = Loader::new(
            vec![route],
            moving.iter().map(|chunk| chunk.messages.len()).sum(),
        );
        for chunk in moving {
            for (message, key) in chunk.messages.into_iter().zip(chunk.keys) {
                loader.add(0, message, key);
            }
        }
        let rerouted = loader
            .chunks
            .into_iter()
            .map(|chunk| Chunk { output, ..chunk });
        self.unconfirmed = staying.into_iter().chain(rerouted).collect();
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
}

impl Loader {
    pub(super) fn new(routes: Vec<Route>, expected: usize) -> Self {
        Self {
            routes,
            chunks: Vec::new(),
            open: HashMap::new(),
            last: None,
            expected,
        }
    }

    pub(super) fn add(&mut self, output: usize, message: IggyMessage, key: Option<u32>) {
        let route = self.routes[output];
        let partition = route.partition(key);
        let at = self.find(output, partition);
        let at = match at {
            Some(at) if self.chunks[at].takes(&message, route.batch_length) => at,
            _ => self.begin(output, partition, self.room(route, key)),
        };
        self.expected = self.expected.saturating_sub(1);
        self.chunks[at].push(message, key);
        self.last = Some(at);
    }

    pub(super) fn finish(self) -> Shipment {
        Shipment {
            unconfirmed: self.chunks.into(),
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
            keys: Vec::with_capacity(room),
            bytes: 0,
            earliest: u64::MAX,
            latest: 0,
        }
    }

    fn takes(&self, message: &IggyMessage, batch_length: usize) -> bool {
        let time = message.header.origin_timestamp;
        self.messages.len() < batch_length
            && self.bytes + size(message) <= MAX_CHUNK_BYTES
            && self.latest.max(time) - self.earliest.min(time) <= MAX_TIME_SPAN
    }

    fn push(&mut self, message: IggyMessage, key: Option<u32>) {
        self.bytes += size(&message);
        self.earliest = self.earliest.min(message.header.origin_timestamp);
        self.latest = self.latest.max(message.header.origin_timestamp);
        self.messages.push(message);
        self.keys.push(key);
    }
}

fn size(message: &IggyMessage) -> usize {
    let headers = message.user_headers.as_ref().map_or(0, bytes::Bytes::len);
    iggy_binary_protocol::batch::BATCH_MESSAGE_HEADER_SIZE + message.payload.len() + headers
}

#[cfg(test)]
mod tests {
    use iggy_common::IggyMessageHeader;
    use proptest::prelude::*;

    use super::*;

    fn message(id: u128, payload: usize, time: u64) -> IggyMessage {
        IggyMessage {
            header: IggyMessageHeader {
                id,
                origin_timestamp: time,
                ..IggyMessageHeader::default()
            },
            payload: vec![0; payload].into(),
            user_headers: None,
        }
    }

    fn route(partitions: u32, batch_length: usize) -> Route {
        Route {
            partitions,
            unkeyed: partitions - 1,
            batch_length,
        }
    }

    /// Output, partition and ids of every request.
    fn requests(shipment: &Shipment) -> Vec<(usize, u32, Vec<u128>)> {
        let chunks = shipment.unconfirmed.iter();
        chunks
            .map(|chunk| {
                let ids = chunk
                    .messages
                    .iter()
                    .map(|message| message.header.id)
                    .collect();
                (chunk.output, chunk.partition, ids)
            })
            .collect()
    }

    fn load(routes: Vec<Route>, messages: Vec<(usize, IggyMessage, Option<u32>)>) -> Shipment {
        let mut loader = Loader::new(routes, messages.len());
        for (output, message, key) in messages {
            loader.add(output, message, key);
        }
        loader.finish()
    }

    #[test]
    fn messages_without_keys_fill_requests_of_one_partition() {
        let messages = (0..5).map(|id| (0, message(id, 1, 0), None)).collect();
        let shipment = load(vec![route(3, 2)], messages);
        let expected = [(0, 2, vec![0, 1]), (0, 2, vec![2, 3]), (0, 2, vec![4])];
        assert_eq!(requests(&shipment), expected);
    }

    #[test]
    fn messages_are_grouped_by_output_and_partition_in_order() {
        let keys = [None, Some(0), Some(1), Some(3), None, Some(4)];
        let messages = keys
            .into_iter()
            .enumerate()
            .map(|(at, key)| (at % 2, message(at as u128, 1, 0), key))
            .collect();
        let shipment = load(vec![route(3, 10), route(2, 10)], messages);
        let expected = [
            (0, 2, vec![0, 4]),
            (1, 0, vec![1, 5]),
            (0, 1, vec![2]),
            (1, 1, vec![3]),
        ];
        let mut requests = requests(&shipment);
        requests.sort_by_key(|(_, _, ids)| ids[0]);
        // Key 3 of two partitions is 1, key 4 is 0.
        assert_eq!(requests, expected);
    }

    #[test]
    fn a_request_is_bounded_in_bytes_and_one_message_may_be_larger() {
        let sizes = [MAX_CHUNK_BYTES - 100, 10, 100, 2 * MAX_CHUNK_BYTES, 1];
        let messages = sizes
            .into_iter()
            .enumerate()
            .map(|(at, size)| (0, message(at as u128, size, 0), None))
            .collect();
        let requests = requests(&load(vec![route(1, 100)], messages));
        let ids: Vec<_> = requests.into_iter().map(|(_, _, ids)| ids).collect();
        assert_eq!(ids, [vec![0], vec![1, 2], vec![3], vec![4]]);
    }

    #[test]
    fn times_that_are_far_apart_go_out_in_requests_of_their_own() {
        let times = [
            5_000_000_000,
            5_000_000_000 + MAX_TIME_SPAN,
            1,
            2,
            u64::MAX,
            0,
        ];
        let messages = times
            .into_iter()
            .enumerate()
            .map(|(at, time)| (0, message(at as u128, 1, time), None))
            .collect();
        let requests = requests(&load(vec![route(1, 100)], messages));
        let ids: Vec<_> = requests.into_iter().map(|(_, _, ids)| ids).collect();
        assert_eq!(ids, [vec![0, 1], vec![2, 3], vec![4], vec![5]]);
    }

    #[test]
    fn what_is_confirmed_is_not_sent_again() {
        let messages = (0..4).map(|id| (0, message(id, 1, 0), None)).collect();
        let mut shipment = load(vec![route(1, 2)], messages);
        assert_eq!(shipment.first().unwrap().messages.len(), 2);
        shipment.confirm_first();
        assert_eq!(requests(&shipment), [(0, 0, vec![2, 3])]);
        shipment.confirm_first();
        assert!(shipment.first().is_none());
    }

    #[test]
    fn rerouting_moves_only_what_is_unconfirmed_of_its_output() {
        let messages = vec![
            (0, message(0, 1, 0), Some(5)),
            (1, message(1, 1, 0), Some(5)),
            (0, message(2, 1, 0), None),
            (0, message(3, 1, 0), Some(4)),
        ];
        let mut shipment = load(vec![route(6, 10), route(6, 10)], messages);
        assert!(shipment.needs(0));
        shipment.reroute(0, route(2, 10));
        assert_eq!(
            requests(&shipment),
            [(1, 5, vec![1]), (0, 1, vec![0, 2]), (0, 0, vec![3])]
        );
    }

    #[test]
    fn a_shipment_of_nothing_is_confirmed() {
        assert!(load(vec![route(1, 1)], Vec::new()).first().is_none());
    }

    proptest! {
        #[test]
        fn every_message_is_in_one_request_and_order_is_kept_per_partition(
            keys in proptest::collection::vec((0usize..3, proptest::option::of(0u32..50), 0usize..40), 0..200),
            partitions in 1u32..7,
            batch_length in 1usize..20,
        ) {
            let messages: Vec<_> = keys
                .iter()
                .enumerate()
                .map(|(id, (output, key, size))| (*output, message(id as u128, *size, id as u64), *key))
                .collect();
            let shipment = load(vec![route(partitions, batch_length); 3], messages);
            let mut seen = vec![0; keys.len()];
            let mut last: HashMap<(usize, u32), u128> = HashMap::new();
            for (output, partition, ids) in requests(&shipment) {
                prop_assert!(!ids.is_empty() && ids.len() <= batch_length);
                for id in ids {
                    let (its_output, key, _) = keys[id as usize];
                    prop_assert_eq!(output, its_output);
                    prop_assert_eq!(partition, key.map_or(partitions - 1, |key| key % partitions));
                    prop_assert!(last.insert((output, partition), id).is_none_or(|before| before < id));
                    seen[id as usize] += 1;
                }
            }
            prop_assert!(seen.into_iter().all(|times| times == 1));
        }
    }
}
