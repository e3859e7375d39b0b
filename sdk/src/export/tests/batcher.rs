//! A sink plugin that buffers, called as the runtime calls it.
#![expect(unsafe_code, reason = "this is the host's side of the fence")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod host;
mod sink_calls;

use std::{sync::Mutex, time::Duration};

use host::{Call, number};
use iggy_connector_sdk::{
    ConsumedMessage, Error, MessagesMetadata, Sink, TopicMetadata, async_trait,
    export::abi::{Nothing, Status},
    kit::{Batcher, Limits, Writer},
    sink_connector,
};
use sink_calls::{
    EVERYTHING, batch, cancel, close, open, record, start_consume, start_flush, wait_until,
};

sink_connector!(BufferingSink);

/// Writes numbers into a list, many batches at once. A number that is not below 100 is refused, 99 is not taken for now.
struct BufferingSink {
    buffer: Batcher<List>,
}

struct List {
    instance: u32,
}

/// What each instance was given, write by write.
static WRITES: Mutex<Vec<(u32, Vec<u64>)>> = Mutex::new(Vec::new());

fn writes(instance: u32) -> Vec<Vec<u64>> {
    let writes = WRITES.lock().unwrap();
    let own = writes.iter().filter(|(of, _)| *of == instance);
    own.map(|(_, records)| records.clone()).collect()
}

impl BufferingSink {
    /// The configuration is the number of records that are written at once.
    fn new(instance: u32, records: usize) -> Self {
        let limits = Limits {
            records,
            age: Duration::from_secs(3600),
            ..Limits::default()
        };
        Self {
            buffer: Batcher::new(List { instance }, limits),
        }
    }
}

#[async_trait]
impl Writer for List {
    type Record = u64;

    async fn write(&self, records: &[u64]) -> Result<(), Error> {
        tokio::task::yield_now().await;
        let written = (self.instance, records.to_vec());
        WRITES.lock().unwrap().push(written);
        let numbers = records.iter().enumerate();
        let refused: Vec<_> = numbers
            .filter_map(|(index, number)| match number {
                0..99 => None,
                99 => Some((index, Error::transient("not now"))),
                _ => Some((index, Error::invalid("too large"))),
            })
            .collect();
        match refused.is_empty() {
            true => Ok(()),
            false => Err(Error::failed(refused)),
        }
    }
}

#[async_trait]
impl Sink for BufferingSink {
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
        self.buffer
            .deliver(numbers.collect::<Result<_, _>>()?)
            .await
    }

    async fn flush(&self) -> Result<(), Error> {
        self.buffer.flush().await;
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn max_unsettled(&self) -> u32 {
        8
    }
}

fn opened(records: usize) -> u32 {
    let instance = number();
    let opened = open(instance, &records.to_string());
    assert_eq!(opened.status, Status::OK, "{opened:?}");
    assert_eq!(opened.value.unwrap().max_unsettled, 8);
    instance
}

/// A consume that was called with these payloads, which are kept for ever.
fn start(instance: u32, call: u64, payloads: &[&'static str]) -> Call<Nothing> {
    let records: Vec<_> = payloads.iter().map(|it| record(it.as_bytes())).collect();
    let batch = Box::leak(Box::new(batch(Vec::leak(records))));
    start_consume(instance, call, batch)
}

#[test]
fn consumes_wait_until_there_are_enough_records_and_begin_in_order() {
    let instance = opened(6);
    let first = start(instance, 1, &["1", "2"]);
    let second = start(instance, 2, &["3"]);
    assert!(!first.has_ended() && !second.has_ended());
    let third = start(instance, 3, &["4", "5", "6"]);
    for consume in [first, second, third] {
        let ended = consume.wait();
        assert_eq!((ended.status, ended.failed.len()), (Status::OK, 0));
    }
    assert_eq!(writes(instance), [[1, 2, 3, 4, 5, 6]]);
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn a_flush_completes_every_consume_that_was_handed_over_before_it() {
    for _ in 0..100 {
        let instance = opened(1000);
        let consumes = [1, 2, 3].map(|call| start(instance, call, &["1"]));
        let flush = start_flush(instance, 4, &EVERYTHING);
        assert_eq!(flush.wait().status, Status::OK);
        for consume in consumes {
            assert!(consume.has_ended(), "the flush ended before it");
            assert_eq!(consume.wait().status, Status::OK);
        }
        assert_eq!(writes(instance), [[1, 1, 1]]);
        assert_eq!(close(instance).status, Status::OK);
    }
}

#[test]
fn records_that_fail_are_told_to_the_consume_that_brought_them() {
    let instance = opened(1000);
    // The second does not decode, and is told by its place all the same.
    let first = start(instance, 1, &["1", "{", "100"]);
    let second = start(instance, 2, &["2"]);
    let third = start(instance, 3, &["99", "3"]);
    let flush = start_flush(instance, 4, &EVERYTHING);
    assert_eq!(flush.wait().status, Status::OK);
    let failed = [first, second, third].map(|consume| {
        let ended = consume.wait();
        assert_eq!(ended.status, Status::OK);
        let failed = ended.failed.into_iter();
        failed
            .map(|(index, status, _)| (index, status))
            .collect::<Vec<_>>()
    });
    let invalid = |index| (index, Status::INVALID_DATA);
    assert_eq!(
        failed,
        [
            vec![invalid(1), invalid(2)],
            vec![],
            vec![(0, Status::TRANSIENT)]
        ]
    );
    assert_eq!(close(instance).status, Status::OK);
}

#[test]
fn what_is_cancelled_is_not_written() {
    let instance = opened(4);
    let cancelled = start(instance, 1, &["1", "2"]);
    let kept = start(instance, 2, &["3"]);
    cancel(instance, 1);
    assert_eq!(cancelled.wait().status, Status::CANCELLED);
    let again = start(instance, 3, &["4", "5", "6"]);
    for consume in [kept, again] {
        assert_eq!(consume.wait().status, Status::OK);
    }
    wait_until(|| !writes(instance).is_empty());
    assert_eq!(writes(instance), [[3, 4, 5, 6]]);
    assert_eq!(close(instance).status, Status::OK);
}
