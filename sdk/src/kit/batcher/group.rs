//! Calls that are being written together: [`Group`]. What must not be written since something before it comes again is refused here.

use std::collections::VecDeque;

use tokio::{sync::oneshot, time::Instant};

use super::{
    Batcher, Writer, holds_up,
    share::{Range, share, whole},
    state::{Call, State},
};
use crate::{
    Error,
    export::{Standing, refusal},
};

/// A group that is being written. Dropped before its end, the calls without an outcome go back into the buffer.
pub(super) struct Group<'a, W: Writer> {
    batcher: &'a Batcher<W>,
    /// Of all calls, in order.
    records: Vec<W::Record>,
    calls: VecDeque<Part>,
}

/// A call whose records stand in the group.
struct Part {
    number: u64,
    len: usize,
    bytes: usize,
    since: Instant,
    standing: Option<Standing>,
    tell: oneshot::Sender<Result<(), Error>>,
}

impl<'a, W: Writer> Group<'a, W> {
    pub(super) fn new(batcher: &'a Batcher<W>, calls: Vec<Call<W::Record>>) -> Self {
        let mut records = Vec::new();
        let part = |call: Call<W::Record>| {
            let len = call.records.len();
            if records.is_empty() {
                records = call.records;
            } else {
                records.extend(call.records);
            }
            Part {
                number: call.number,
                len,
                bytes: call.bytes,
                since: call.since,
                standing: call.standing,
                tell: call.tell,
            }
        };
        let (held, free): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|call| is_held(&call.standing));
        let calls = free.into_iter().map(part).collect();
        let group = Self {
            batcher,
            records,
            calls,
        };
        for call in held {
            group.refuse(call, refusal());
        }
        group
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn records(&self) -> &[W::Record] {
        &self.records
    }

    pub(super) fn has_several_calls(&self) -> bool {
        self.calls.len() > 1
    }

    /// The records of the first call that has no outcome and is to be written.
    pub(super) fn first(&mut self) -> Option<&[W::Record]> {
        while is_held(&self.calls.front()?.standing) {
            self.end_first(Err(refusal()));
        }
        let first = self.calls.front()?;
        Some(&self.records[..first.len])
    }

    /// Tells the first call what became of its records, which were written alone.
    pub(super) fn end_first(&mut self, result: Result<(), Error>) {
        if let Some(first) = self.calls.pop_front() {
            self.records.drain(..first.len);
            self.tell(first, result);
        }
    }

    /// Tells every call what became of its records. When some come again, the calls that wait behind fail with them.
    pub(super) fn end(&mut self, result: Result<(), Error>) {
        self.records.clear();
        let mut start = 0;
        while let Some(part) = self.calls.pop_front() {
            let range = Range {
                start,
                len: part.len,
                is_last: self.calls.is_empty(),
            };
            start += part.len;
            let own = match &result {
                Ok(()) => Ok(()),
                Err(error) => share(error, range),
            };
            self.tell(part, own);
        }
        if let Err(error) = result {
            self.fail_behind(&error);
        }
    }

    /// Where no standing is known, everything that waits is behind whatever failed.
    fn fail_behind(&self, error: &Error) {
        let held = |state: &mut State<_>| state.take_held(holds_up(error));
        for call in self.batcher.with(held) {
            let why = match call.standing {
                Some(_) => refusal(),
                None => whole(error),
            };
            self.refuse(call, why);
        }
    }

    fn refuse(&self, call: Call<W::Record>, why: Error) {
        self.batcher.with(|state| state.ended(call.number));
        let _ = call.tell.send(Err(why));
    }

    fn tell(&self, part: Part, result: Result<(), Error>) {
        if let (Some(standing), Err(error)) = (&part.standing, &result) {
            // Before the next group is taken: the call has not returned yet.
            standing.fails_with(error);
        }
        self.batcher.with(|state| state.ended(part.number));
        // Whoever has stopped waiting for it does not want to know.
        let _ = part.tell.send(result);
    }
}

impl<W: Writer> Drop for Group<'_, W> {
    fn drop(&mut self) {
        let mut records = std::mem::take(&mut self.records).into_iter();
        let mut unwritten = Vec::new();
        for part in self.calls.drain(..) {
            let own: Vec<_> = records.by_ref().take(part.len).collect();
            // A call that was cancelled meanwhile is not written again.
            if !part.tell.is_closed() {
                unwritten.push(Call {
                    number: part.number,
                    records: own,
                    bytes: part.bytes,
                    since: part.since,
                    standing: part.standing,
                    tell: part.tell,
                });
            }
        }
        self.batcher.change(|state| state.written(unwritten));
    }
}

fn is_held(standing: &Option<Standing>) -> bool {
    standing.as_ref().is_some_and(Standing::is_held)
}
