//! Several batches of a partition at once, one of which fails: what follows it must not be written before it. Called as the runtime calls.
#![expect(unsafe_code, reason = "this is the host's side of the fence")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod host;
mod sink_calls;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use host::{Call, Ended, number};
use iggy_connector_sdk::{
    ConsumedMessage, Error, MessagesMetadata, Sink, TopicMetadata, async_trait,
    export::abi::{
        Nothing, Status,
        sink::{ConsumedBatch, rank},
    },
    kit::{Batcher, Limits, Writer},
    sink_connector,
};
use sink_calls::{batch, cancel, close, open, record, start_consume, wait_until};

sink_connector!(Numbers);

/// Writes numbers, each at once or through a buffer.
struct Numbers {
    instance: u32,
    is_buffered: bool,
    buffer: Batcher<List>,
}

struct List(u32);

/// A transient failure.
const BUSY: u64 = 1000;
/// Is refused for good, with whatever is written beside it.
const BAD: u64 = 1001;
/// Waits for the instance's gate before it is written.
const LATE: u64 = 1002;
/// A transient failure; the call returns when the instance's gate is open.
const BUSY_FOR_LONG: u64 = 1003;

/// What each instance has written, or was to write.
static WRITTEN: Mutex<Vec<(u32, u64)>> = Mutex::new(Vec::new());
/// What waits at a gate.
static WAITING: Mutex<BTreeSet<(u32, u64)>> = Mutex::new(BTreeSet::new());
static OPEN_GATES: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn written(instance: u32) -> Vec<u64> {
    let written = WRITTEN.lock().unwrap();
    let own = written.iter().filter(|(of, _)| *of == instance);
    own.map(|(_, number)| *number).collect()
}

fn open_gate(instance: u32) {
    OPEN_GATES.lock().unwrap().insert(instance);
}

fn is_waiting(instance: u32, number: u64) -> bool {
    WAITING.lock().unwrap().contains(&(instance, number))
}

async fn gate(instance: u32, number: u64) {
    WAITING.lock().unwrap().insert((instance, number));
    while !OPEN_GATES.lock().unwrap().contains(&instance) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Numbers {
    fn new(instance: u32, is_buffered: bool) -> Self {
        // Every call is enough for a write.
        let limits = Limits {
            records: 1,
            ..Limits::default()
        };
        Self {
            instance,
            is_buffered,
            buffer: Batcher::new(List(instance), limits),
        }
    }

    async fn write(&self, numbers: Vec<u64>) -> Result<(), Error> {
        match self.is_buffered {
            true => self.buffer.deliver(numbers).await,
            false => self.buffer.writer().write(&numbers).await,
        }
    }
}

#[async_trait]
impl Writer for List {
    type Record = u64;

    async fn write(&self, records: &[u64]) -> Result<(), Error> {
        let lines = records.iter().map(|number| (self.0, *number));
        WRITTEN.lock().unwrap().extend(lines);
        match records {
            _ if records.contains(&BAD) => Err(Error::invalid("one of them is bad")),
            _ if records.contains(&BUSY) => Err(Error::transient("busy")),
            _ if records.contains(&BUSY_FOR_LONG) => Err(Error::transient("busy")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Sink for Numbers {
    async fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn consume(
        &self,
        _topic: &TopicMetadata,
        _metadata: MessagesMetadata,
        messages: Vec<ConsumedMessage>,
    ) -> Result<(), Error> {
        let numbers = messages.iter().map(ConsumedMessage::as_type);
        let numbers: Vec<u64> = numbers.collect::<Result<_, _>>()?;
        let first = numbers[0];
        if first == LATE {
            gate(self.instance, first).await;
        }
        let written = self.write(numbers).await;
        if first == BUSY_FOR_LONG {
            gate(self.instance, first).await;
        }
        written
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn max_unsettled(&self) -> u32 {
        8
    }
}

/// A partition of an instance, as the host hands it over.
#[derive(Clone, Copy)]
struct Partition {
    instance: u32,
    id: u32,
}

impl Partition {
    fn start(self, rank: u32, numbers: &[u64]) -> Call<Nothing> {
        self.start_as(number().into(), rank, numbers)
    }

    fn start_as(self, call: u64, rank: u32, numbers: &[u64]) -> Call<Nothing> {
        let records = numbers.iter().map(|number| {
            let text = Box::leak(number.to_string().into_boxed_str());
            record(text.as_bytes())
        });
        let batch = Box::leak(Box::new(ConsumedBatch {
            partition_id: self.id,
            rank,
            ..batch(Vec::leak(records.collect()))
        }));
        start_consume(self.instance, call, batch)
    }

    fn first(self, numbers: &[u64]) -> Ended<Nothing> {
        self.start(rank::FIRST, numbers).wait()
    }

    fn behind(self, numbers: &[u64]) -> Ended<Nothing> {
        self.start(rank::BEHIND, numbers).wait()
    }
}

/// Two partitions of an instance.
fn opened(is_buffered: bool) -> (u32, Partition, Partition) {
    let instance = number();
    let opened = open(instance, &is_buffered.to_string());
    assert_eq!(opened.status, Status::OK, "{opened:?}");
    let [one, other] = [0, 1].map(|id| Partition { instance, id });
    (instance, one, other)
}

fn assert_refused(ended: &Ended<Nothing>) {
    assert_eq!(ended.status, Status::TRANSIENT);
    assert!(ended.message.contains("not tried"), "{}", ended.message);
    assert_eq!(ended.retry_after_ms, 0);
}

#[test]
fn what_follows_a_failure_is_written_when_the_host_knows_of_it() {
    for is_buffered in [false, true] {
        let (instance, one, other) = opened(is_buffered);
        assert_eq!(one.first(&[1]).status, Status::OK);
        assert_eq!(one.behind(&[2]).status, Status::OK);
        assert_eq!(one.behind(&[BUSY, 3]).message, "busy");
        assert_refused(&one.behind(&[4]));
        assert_refused(&one.behind(&[5]));
        assert_eq!(other.first(&[6]).status, Status::OK);
        assert_eq!(other.behind(&[7]).status, Status::OK);
        assert_eq!(one.first(&[8]).status, Status::OK);
        assert_eq!(one.behind(&[9]).status, Status::OK);
        assert_eq!(written(instance), [1, 2, BUSY, 3, 6, 7, 8, 9]);
        assert_eq!(close(instance).status, Status::OK);
    }
}

#[test]
fn what_is_halved_holds_what_follows_and_what_is_settled_does_not() {
    for is_buffered in [false, true] {
        let (instance, one, other) = opened(is_buffered);
        assert_eq!(one.first(&[1, BAD]).status, Status::INVALID_DATA);
        assert_refused(&one.behind(&[2]));
        assert_eq!(other.first(&[BAD]).status, Status::INVALID_DATA);
        assert_eq!(other.behind(&[3]).status, Status::OK);
        assert_eq!(written(instance), [1, BAD, BAD, 3]);
        assert_eq!(close(instance).status, Status::OK);
    }
}

#[test]
fn a_call_that_is_cancelled_holds_what_follows() {
    let (instance, one, _) = opened(true);
    let late = one.start_as(1, rank::FIRST, &[LATE]);
    wait_until(|| is_waiting(instance, LATE));
    cancel(instance, 1);
    assert_eq!(late.wait().status, Status::CANCELLED);
    assert_refused(&one.behind(&[1]));
    assert_eq!(one.first(&[2]).status, Status::OK);
    assert_eq!(written(instance), [2]);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_buffer_writes_nothing_behind_a_failure_that_was_not_returned_yet() {
    let (instance, one, other) = opened(true);
    // Its write fails, and it takes its time to say so.
    let busy = one.start(rank::FIRST, &[BUSY_FOR_LONG]);
    // This one has begun already, and comes to the buffer behind it.
    let late = one.start(rank::BEHIND, &[LATE]);
    let other_late = other.start(rank::FIRST, &[LATE, 1]);
    wait_until(|| is_waiting(instance, BUSY_FOR_LONG) && is_waiting(instance, LATE));
    // And this one is called while the failure is on its way.
    assert_refused(&one.behind(&[2]));
    assert!(!busy.has_ended());
    open_gate(instance);
    assert_eq!(busy.wait().message, "busy");
    assert_refused(&late.wait());
    assert_eq!(other_late.wait().status, Status::OK);
    assert_eq!(written(instance), [BUSY_FOR_LONG, LATE, 1]);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_host_whose_ranks_are_not_known_is_never_refused_anything() {
    let (instance, one, _) = opened(false);
    let text = [record(b"1000")];
    let older = ConsumedBatch {
        // Nothing behind it is read.
        size: 72,
        rank: rank::BEHIND,
        ..batch(&text)
    };
    for call in 0..3 {
        assert_eq!(start_consume(instance, call, &older).wait().message, "busy");
    }
    // Nor is a newer one, whose ranks are not known.
    assert_eq!(one.start(77, &[1]).wait().status, Status::OK);
    assert_eq!(written(instance), [BUSY, BUSY, BUSY, 1]);
    assert_eq!(close(instance).status, Status::OK);
}

/// A host that hands over as fast as it can and learns of failures late, as the runtime may.
#[test]
fn every_number_is_seen_first_behind_the_one_before_it() {
    const NUMBERS: u64 = 400;
    static TRIES: AtomicU64 = AtomicU64::new(0);
    for is_buffered in [false, true] {
        let (instance, one, _) = opened(is_buffered);
        let mut settled = 0;
        while settled < NUMBERS {
            let mut rank = rank::FIRST;
            let calls: Vec<_> = (settled..NUMBERS.min(settled + 8))
                .map(|number| {
                    // Of a batch that fails nothing counts as written.
                    let busy = (TRIES.fetch_add(1, Ordering::Relaxed) % 5 == 3).then_some(BUSY);
                    let numbers: Vec<_> = [number].into_iter().chain(busy).collect();
                    one.start(std::mem::replace(&mut rank, rank::BEHIND), &numbers)
                })
                .collect();
            let ended: Vec<_> = calls.iter().map(|call| call.wait().status).collect();
            let well = ended.iter().take_while(|status| **status == Status::OK);
            let well = well.count();
            assert!(
                ended[well..]
                    .iter()
                    .all(|status| *status == Status::TRANSIENT),
                "something overtook a failure: {ended:?}"
            );
            settled += well as u64;
        }
        let mut seen = written(instance);
        seen.retain(|number| *number != BUSY);
        let mut first = BTreeSet::new();
        seen.retain(|number| first.insert(*number));
        assert!(seen.is_sorted(), "{seen:?}");
        assert_eq!(seen.len() as u64, NUMBERS);
        assert_eq!(close(instance).status, Status::OK);
    }
}
