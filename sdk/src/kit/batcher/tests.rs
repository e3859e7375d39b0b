//! What a buffer promises, with a clock that is paused: nothing here waits for a real second.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    task::Poll,
};

use tokio::sync::Semaphore;

use super::*;

/// Writes into a list when it may, and answers as it was told.
struct Log {
    /// Each write's records.
    writes: Mutex<Vec<Vec<u32>>>,
    /// Answers of the next writes, then `Ok`.
    answers: Mutex<Vec<Answer>>,
    /// Writes wait for a permit.
    may_write: Semaphore,
}

type Answer = Box<dyn Fn(&[u32]) -> Result<(), Error> + Send>;

#[async_trait]
impl Writer for Log {
    type Record = u32;

    async fn write(&self, records: &[u32]) -> Result<(), Error> {
        self.may_write.acquire().await.unwrap().forget();
        self.writes.lock().unwrap().push(records.to_vec());
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            (!answers.is_empty()).then(|| answers.remove(0))
        };
        answer.map_or(Ok(()), |answer| answer(records))
    }

    fn size(&self, record: &u32) -> usize {
        *record as usize
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// As many records as `records`, as many bytes as anyone likes, an hour.
fn batcher(records: usize) -> Batcher<Log> {
    let limits = Limits {
        records,
        bytes: usize::MAX,
        age: HOUR,
    };
    with_limits(limits)
}

fn with_limits(limits: Limits) -> Batcher<Log> {
    let log = Log {
        writes: Mutex::default(),
        answers: Mutex::default(),
        may_write: Semaphore::new(1000),
    };
    Batcher::new(log, limits)
}

impl Batcher<Log> {
    fn answer(&self, answer: impl Fn(&[u32]) -> Result<(), Error> + Send + 'static) {
        self.writer.answers.lock().unwrap().push(Box::new(answer));
    }

    fn writes(&self) -> Vec<Vec<u32>> {
        self.writer.writes.lock().unwrap().clone()
    }

    fn hold(&self) {
        self.writer.may_write.forget_permits(1000);
    }

    fn release(&self) {
        self.writer.may_write.add_permits(1000);
    }
}

/// What a future brings when it is polled once.
async fn step<F: Future>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn calls_are_written_together_once_there_are_enough_records() {
    let batcher = batcher(4);
    let mut first = Box::pin(batcher.deliver(vec![1, 2]));
    assert_eq!(step(&mut first).await, None);
    assert!(batcher.writes().is_empty());
    let (first, second) = tokio::join!(first, batcher.deliver(vec![3, 4]));
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(batcher.writes(), [[1, 2, 3, 4]]);
    assert_eq!(batcher.deliver(Vec::new()).await, Ok(()), "nothing to do");
}

#[tokio::test(start_paused = true)]
async fn calls_are_written_once_there_are_enough_bytes() {
    let batcher = with_limits(Limits {
        records: 1000,
        bytes: 10,
        age: HOUR,
    });
    let ended = tokio::join!(
        batcher.deliver(vec![4]),
        batcher.deliver(vec![5]),
        batcher.deliver(vec![6, 7]),
        async {
            // The third is larger than a group, and has none of its own reasons to wait.
            batcher.deliver(vec![1]).await
        }
    );
    assert!([ended.0, ended.1, ended.2].iter().all(|it| it.is_ok()));
    assert_eq!(batcher.writes()[..2], [vec![4, 5], vec![6, 7]]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_waits_no_longer_than_it_may() {
    let batcher = with_limits(Limits {
        age: Duration::from_secs(5),
        ..Limits::default()
    });
    let begun = Instant::now();
    let (first, second) = tokio::join!(batcher.deliver(vec![1]), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        batcher.deliver(vec![2]).await
    });
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(batcher.writes(), [[1, 2]]);
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_flush_has_everything_written_and_ends_after_it() {
    let batcher = batcher(3);
    batcher.hold();
    let mut calls = [vec![1, 2], vec![3, 4], vec![5]].map(|it| Box::pin(batcher.deliver(it)));
    for call in &mut calls {
        assert_eq!(step(call).await, None);
    }
    let mut flush = Box::pin(batcher.flush());
    assert_eq!(step(&mut flush).await, None);
    batcher.release();
    let [first, second, third] = calls;
    let ended = tokio::join!(first, second, third, flush);
    assert_eq!((ended.0, ended.1, ended.2), (Ok(()), Ok(()), Ok(())));
    assert_eq!(batcher.writes(), [vec![1, 2], vec![3, 4, 5]]);
    batcher.flush().await;

    let mut later = Box::pin(batcher.deliver(vec![6]));
    assert_eq!(step(&mut later).await, None, "it came after the flush");
}

#[tokio::test(start_paused = true)]
async fn failed_records_are_told_to_the_calls_that_brought_them() {
    let batcher = batcher(5);
    batcher.answer(|records| {
        let position = |wanted| records.iter().position(|it| *it == wanted).unwrap();
        Err(Error::failed([
            (position(2), Error::invalid("two")),
            (position(4), Error::transient("four")),
        ]))
    });
    let (first, second, third) = tokio::join!(
        batcher.deliver(vec![1, 2]),
        batcher.deliver(vec![3, 4]),
        batcher.deliver(vec![5])
    );
    assert_eq!(first, Err(Error::failed([(1, Error::invalid("two"))])));
    assert_eq!(second, Err(Error::failed([(1, Error::transient("four"))])));
    assert_eq!(third, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_fails_takes_the_calls_behind_it_along_so_that_none_overtakes() {
    let batcher = batcher(2);
    batcher.hold();
    batcher.answer(|_| Err(Error::transient("down").with_retry_after(HOUR)));
    let mut calls = [vec![1], vec![2], vec![3]].map(|it| Box::pin(batcher.deliver(it)));
    for call in &mut calls {
        step(call).await;
    }
    // The first writes as soon as it sees that there are enough.
    step(&mut calls[0]).await;
    batcher.release();
    let [first, second, third] = calls;
    let (first, second, third) = tokio::join!(first, second, third);
    let down = Err(Error::transient("down").with_retry_after(HOUR));
    assert_eq!([first, second, third], [down.clone(), down.clone(), down]);
    assert_eq!(batcher.writes(), [[1, 2]], "the third was not tried");
    let (again, behind) = tokio::join!(batcher.deliver(vec![1, 2]), batcher.deliver(vec![3, 3]));
    assert_eq!((again, behind), (Ok(()), Ok(())));
    assert_eq!(batcher.writes()[1..], [[1, 2], [3, 3]]);
}

#[tokio::test(start_paused = true)]
async fn no_call_is_refused_for_a_record_of_another() {
    let batcher = batcher(6);
    for _ in 0..4 {
        batcher.answer(|records| match records.contains(&4) {
            true => Err(Error::invalid("a record is bad")),
            false => Ok(()),
        });
    }
    let (first, second, third) = tokio::join!(
        batcher.deliver(vec![1, 2]),
        batcher.deliver(vec![3, 4]),
        batcher.deliver(vec![5, 6])
    );
    assert_eq!((first, third), (Ok(()), Ok(())));
    assert_eq!(second, Err(Error::invalid("a record is bad")));
    let writes = [vec![1, 2, 3, 4, 5, 6], vec![1, 2], vec![3, 4], vec![5, 6]];
    assert_eq!(batcher.writes(), writes);
}

#[tokio::test(start_paused = true)]
async fn what_fails_while_calls_are_written_apart_fails_those_behind() {
    let batcher = batcher(6);
    batcher.answer(|_| Err(Error::invalid("a record is bad")));
    batcher.answer(|_| Ok(()));
    batcher.answer(|_| Err(Error::failed_from(1, Error::transient("down"))));
    let (first, second, third) = tokio::join!(
        batcher.deliver(vec![1, 2]),
        batcher.deliver(vec![3, 4]),
        batcher.deliver(vec![5, 6])
    );
    assert_eq!(first, Ok(()));
    assert_eq!(second, Err(Error::failed_from(1, Error::transient("down"))));
    assert_eq!(third, Err(Error::transient("down")));
    assert_eq!(batcher.writes().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_takes_its_records_out() {
    let batcher = batcher(4);
    let mut first = Box::pin(batcher.deliver(vec![1, 2]));
    let mut second = Box::pin(batcher.deliver(vec![3]));
    assert_eq!(step(&mut first).await, None);
    assert_eq!(step(&mut second).await, None);
    drop(first);
    let third = batcher.deliver(vec![4, 5, 6]);
    let (second, third) = tokio::join!(second, third);
    assert_eq!((second, third), (Ok(()), Ok(())));
    assert_eq!(batcher.writes(), [[3, 4, 5, 6]]);
    batcher.flush().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_call_that_writes_is_cancelled_the_next_one_writes() {
    let batcher = batcher(4);
    batcher.hold();
    let mut calls = [vec![1], vec![2], vec![3, 4]].map(|it| Box::pin(batcher.deliver(it)));
    for call in &mut calls {
        step(call).await;
    }
    step(&mut calls[0]).await;
    let [first, second, third] = calls;
    drop(first);
    drop(third);
    let mut flush = Box::pin(batcher.flush());
    step(&mut flush).await;
    batcher.release();
    let (second, ()) = tokio::join!(second, flush);
    assert_eq!(second, Ok(()));
    assert_eq!(batcher.writes(), [[2]], "only what is still wanted");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_while_another_writes_changes_nothing_for_the_others() {
    let batcher = batcher(2);
    batcher.hold();
    let mut first = Box::pin(batcher.deliver(vec![1]));
    let mut second = Box::pin(batcher.deliver(vec![2]));
    step(&mut first).await;
    step(&mut second).await;
    step(&mut first).await;
    drop(second);
    batcher.release();
    assert_eq!(first.await, Ok(()));
    assert_eq!(batcher.writes(), [[1, 2]]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_that_of_the_call_that_writes() {
    let batcher = std::sync::Arc::new(batcher(2));
    batcher.answer(|_| panic!("in write"));
    let call = |record| {
        let batcher = std::sync::Arc::clone(&batcher);
        tokio::spawn(async move { batcher.deliver(vec![record]).await })
    };
    let (first, second) = (call(1), call(2));
    assert!(first.await.unwrap_err().is_panic());
    batcher.flush().await;
    assert_eq!(second.await.unwrap(), Ok(()));
    assert_eq!(batcher.writes(), [vec![1, 2], vec![2]]);
}

#[tokio::test(start_paused = true)]
async fn many_calls_failures_and_cancels_lose_nothing_and_keep_the_order() {
    const CALLS: u32 = 2000;
    let batcher = batcher(50);
    let counter = AtomicU64::new(1);
    for _ in 0..CALLS / 20 {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        batcher.answer(move |_| match number % 3 {
            0 => Err(Error::transient("down")),
            _ => Ok(()),
        });
    }
    let written = AtomicUsize::new(0);
    // Eight calls at a time, as a host with `max_unsettled = 8` makes them; what fails is made again, in order.
    let mut pending: Vec<u32> = (0..CALLS).collect();
    let mut round = 0_u32;
    while !pending.is_empty() {
        round += 1;
        let now: Vec<u32> = pending.iter().copied().take(8).collect();
        let mut calls: Vec<_> = now
            .iter()
            .map(|number| (*number, Box::pin(batcher.deliver(vec![*number; 10]))))
            .collect();
        for (_, call) in &mut calls {
            step(call).await;
        }
        if round.is_multiple_of(5) {
            let position = round as usize % calls.len();
            drop(calls.remove(position));
        }
        let mut flush = pin!(batcher.flush());
        let mut done = Vec::new();
        poll_fn(|context| {
            calls.retain_mut(|(number, call)| match call.as_mut().poll(context) {
                Poll::Ready(Ok(())) => {
                    done.push(*number);
                    false
                }
                Poll::Ready(Err(_)) => false,
                Poll::Pending => true,
            });
            flush.as_mut().poll(context)
        })
        .await;
        // The outcomes that the flush has waited for.
        for (number, call) in calls {
            if call.await.is_ok() {
                done.push(number);
            }
        }
        written.fetch_add(done.len(), Ordering::Relaxed);
        pending.retain(|number| !done.contains(number));
    }
    assert_eq!(written.load(Ordering::Relaxed), CALLS as usize);
    let mut seen = std::collections::BTreeSet::new();
    for write in batcher.writes() {
        assert!(write.is_sorted(), "out of order: {write:?}");
        seen.extend(write);
    }
    assert_eq!(seen.len(), CALLS as usize);
}
