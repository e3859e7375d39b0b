//! The calls that wait in a buffer, and which of them are to be written: [`State`]. It waits for nothing.

use std::collections::{BTreeSet, VecDeque};

use tokio::{sync::oneshot, time::Instant};

use super::Limits;
use crate::{Error, export::Standing};

pub(super) struct State<T> {
    /// The next call's number.
    next: u64,
    /// Calls without an outcome.
    open: BTreeSet<u64>,
    /// Calls that are not being written, in order.
    waiting: VecDeque<Call<T>>,
    /// In all that wait.
    records: usize,
    bytes: usize,
    is_writing: bool,
    /// Calls below are written at once.
    flushed: u64,
}

/// The records of one call.
pub(super) struct Call<T> {
    pub(super) number: u64,
    pub(super) records: Vec<T>,
    pub(super) bytes: usize,
    pub(super) since: Instant,
    /// Where the call comes from a consume whose rank is known.
    pub(super) standing: Option<Standing>,
    pub(super) tell: oneshot::Sender<Result<(), Error>>,
}

/// What a call does next.
pub(super) enum Turn<T> {
    /// Write these, its own among them.
    Write(Vec<Call<T>>),
    /// Wait until something changes, or until this moment.
    Wait(Option<Instant>),
}

impl<T> State<T> {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            open: BTreeSet::new(),
            waiting: VecDeque::new(),
            records: 0,
            bytes: 0,
            is_writing: false,
            flushed: 0,
        }
    }

    /// Adds a call behind all others, and returns its number.
    pub(super) fn add(&mut self, call: Call<T>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number);
        self.count(&call);
        self.waiting.push_back(Call { number, ..call });
        number
    }

    /// What call `number` does next: the first that waits writes, when it is time.
    pub(super) fn turn(&mut self, number: u64, limits: &Limits, now: Instant) -> Turn<T> {
        let Some(first) = self.waiting.front() else {
            return Turn::Wait(None);
        };
        if self.is_writing || first.number != number {
            return Turn::Wait(None);
        }
        let due = first.since + limits.age;
        let is_due = now >= due
            || number < self.flushed
            || self.records >= limits.records
            || self.bytes >= limits.bytes;
        if !is_due {
            return Turn::Wait(Some(due));
        }
        self.is_writing = true;
        Turn::Write(self.take(limits))
    }

    /// Has all calls so far written at once. Returns the number below which they are.
    pub(super) fn flush(&mut self) -> u64 {
        self.flushed = self.next;
        self.next
    }

    /// Whether every call below `end` has its outcome.
    pub(super) fn has_ended(&self, end: u64) -> bool {
        self.open.first().is_none_or(|first| *first >= end)
    }

    /// Notes that a call has its outcome.
    pub(super) fn ended(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// Notes that a group is no longer being written. Calls that have no outcome go back to the front.
    pub(super) fn written(&mut self, unwritten: Vec<Call<T>>) {
        self.is_writing = false;
        for call in unwritten.into_iter().rev() {
            self.count(&call);
            self.waiting.push_front(call);
        }
    }

    /// Takes the calls that wait and are held; of those whose standing is not known all or none.
    pub(super) fn take_held(&mut self, are_others_held: bool) -> Vec<Call<T>> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let is_held = |call: &Call<T>| match &call.standing {
            Some(standing) => standing.is_held(),
            None => are_others_held,
        };
        let (held, free): (Vec<_>, Vec<_>) = waiting.partition(is_held);
        self.waiting = free.into();
        for call in &held {
            self.uncount(call);
        }
        held
    }

    /// Forgets a call, and returns what waited of it.
    pub(super) fn leave(&mut self, number: u64) -> Option<Call<T>> {
        self.open.remove(&number);
        let position = self.waiting.iter().position(|call| call.number == number)?;
        let call = self.waiting.remove(position)?;
        self.uncount(&call);
        Some(call)
    }

    /// As many calls from the front as fit into a group, at least one.
    fn take(&mut self, limits: &Limits) -> Vec<Call<T>> {
        let (mut records, mut bytes) = (0, 0);
        let mut taken = Vec::new();
        while let Some(first) = self.waiting.front() {
            records += first.records.len();
            bytes += first.bytes;
            let fits = records <= limits.records && bytes <= limits.bytes;
            if !fits && !taken.is_empty() {
                break;
            }
            let Some(call) = self.waiting.pop_front() else {
                break;
            };
            self.uncount(&call);
            taken.push(call);
        }
        taken
    }

    fn count(&mut self, call: &Call<T>) {
        self.records += call.records.len();
        self.bytes += call.bytes;
    }

    fn uncount(&mut self, call: &Call<T>) {
        self.records -= call.records.len();
        self.bytes -= call.bytes;
    }
}
