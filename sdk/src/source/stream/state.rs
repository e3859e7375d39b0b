//! What a streaming source has sent and is not settled, and what a poll gets of it: [`State`]. It decides and waits for nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::Gate;
use crate::{
    ConnectorState, Error, Schema,
    source::{
        AckError, Receipt, Settled, SourceBatch, SourceBatchResult, SourceMessage, Wishes,
        sender::Tracker,
    },
};

/// Most that waits in the channel, and most in one batch, in units of [`cost`].
pub(super) const CAPACITY: u32 = 1024;
/// A message costs one unit, and one more for each of these.
const BYTES_PER_UNIT: usize = 16 * 1024;
/// How long the first message of a batch waits for others while earlier batches are on their way, unless the host says something else.
const LINGER: Duration = Duration::from_millis(5);

/// Messages of one schema that were sent together.
pub(in crate::source) struct Entry {
    messages: Vec<SourceMessage>,
    schema: Schema,
    state: Option<ConnectorState>,
    tracker: Option<Tracker>,
    /// Given back when the messages leave the channel.
    room: Option<OwnedSemaphorePermit>,
    since: Instant,
}

/// See the module.
pub(super) struct State {
    /// Which run of `start` may send.
    run: u64,
    gate: Arc<Gate>,
    phase: Phase,
    has_sender: bool,
    /// The source is being drained: senders wait.
    is_held: bool,
    channel: VecDeque<Entry>,
    /// Messages in the channel.
    waiting: usize,
    /// How many messages the last poll wanted at most.
    most: usize,
    /// The next new batch's place in the order of all.
    next: u64,
    /// Batches whose result is not known, by poll.
    offered: BTreeMap<u64, Offered>,
    /// Batches that were nacked, by place.
    again: BTreeMap<u64, Arc<SourceBatch>>,
}

/// How far `start` is.
enum Phase {
    Running,
    /// It has returned. What it has left behind may go on sending.
    Returned,
    /// To be told to a poll, once everything that was sent before has been offered.
    Failed(Fault),
    /// The failure was told: the next poll begins anew.
    Over,
    Closed,
}

/// Entries that were not taken.
#[derive(Debug)]
pub(super) enum Refused<E> {
    /// Nothing is taken any more.
    Closed(E),
    /// Nothing is taken until the source goes on.
    Held(E),
}

/// How `start` has failed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::source) enum Fault {
    Error(Error),
    Panicked(String),
}

struct Offered {
    place: u64,
    batch: Arc<SourceBatch>,
    /// By position in the batch.
    trackers: Vec<(u32, Tracker)>,
}

/// What a poll gets.
#[derive(Debug)]
pub(super) enum Next {
    Batch(Arc<SourceBatch>),
    Failed(Fault),
    /// `start` has to begin anew.
    Start,
    /// Nothing until something changes, or until this moment.
    Wait(Option<Instant>),
}

/// Trackers with what they are to tell, once no lock is held.
pub(super) type Told = Vec<(Tracker, Result<Receipt, AckError>)>;

impl Entry {
    pub(in crate::source) fn of(message: SourceMessage) -> Self {
        Self {
            schema: message.schema,
            messages: vec![message],
            ..Self::empty()
        }
    }

    /// By runs of equal schema; the state is that after the last one.
    pub(super) fn all(messages: Vec<SourceMessage>, state: Option<ConnectorState>) -> Vec<Self> {
        let mut entries: Vec<Self> = Vec::new();
        for message in messages {
            match entries.last_mut() {
                Some(entry) if entry.schema == message.schema => entry.messages.push(message),
                _ => entries.push(Self::of(message)),
            }
        }
        match entries.last_mut() {
            Some(last) => last.state = state,
            None if state.is_some() => entries.push(Self {
                state,
                ..Self::empty()
            }),
            None => {}
        }
        entries
    }

    pub(in crate::source) fn tracked(mut self, tracker: Tracker) -> Self {
        self.tracker = Some(tracker);
        self
    }

    pub(super) fn holding(&mut self, room: OwnedSemaphorePermit) {
        self.room = Some(room);
    }

    pub(super) fn cost(&self) -> u32 {
        cost(&self.messages)
    }

    /// The message of an entry that was made of one.
    pub(super) fn into_message(mut self) -> Option<SourceMessage> {
        self.messages.pop()
    }

    fn empty() -> Self {
        Self {
            messages: Vec::new(),
            schema: Schema::default(),
            state: None,
            tracker: None,
            room: None,
            since: Instant::now(),
        }
    }
}

/// What messages take of the channel: one that is larger than the whole takes the whole.
fn cost(messages: &[SourceMessage]) -> u32 {
    let units = messages
        .iter()
        .map(|message| 1 + message.message.payload.len() / BYTES_PER_UNIT)
        .sum::<usize>()
        .max(1);
    u32::try_from(units).map_or(CAPACITY, |units| units.min(CAPACITY))
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            run: 0,
            gate: Arc::default(),
            phase: Phase::Over,
            has_sender: false,
            is_held: false,
            channel: VecDeque::new(),
            waiting: 0,
            most: usize::MAX,
            next: 0,
            offered: BTreeMap::new(),
            again: BTreeMap::new(),
        }
    }

    /// Begins a run of `start`; what an earlier one has left behind can send no more.
    pub(super) fn begin(&mut self) -> (u64, Arc<Gate>) {
        self.run += 1;
        self.gate = Arc::default();
        self.phase = Phase::Running;
        self.has_sender = true;
        (self.run, Arc::clone(&self.gate))
    }

    /// Takes entries into the channel, or gives them back. Returns whether a waiting poll should look.
    pub(super) fn add<E: IntoIterator<Item = Entry>>(
        &mut self,
        run: u64,
        entries: E,
    ) -> Result<bool, Refused<E>> {
        if run != self.run || !matches!(self.phase, Phase::Running | Phase::Returned) {
            return Err(Refused::Closed(entries));
        }
        if self.is_held {
            return Err(Refused::Held(entries));
        }
        let was_empty = self.channel.is_empty();
        for entry in entries {
            self.waiting += entry.messages.len();
            self.channel.push_back(entry);
        }
        Ok(was_empty || self.is_full())
    }

    /// Takes nothing more while the source is being drained. Returns whether senders that wait should look.
    pub(super) fn hold(&mut self, is_held: bool) -> bool {
        std::mem::replace(&mut self.is_held, is_held) && !is_held
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    pub(super) fn no_sender(&mut self, run: u64) {
        if run == self.run {
            self.has_sender = false;
        }
    }

    pub(super) fn returned(&mut self, run: u64, result: Result<(), Fault>) {
        if run != self.run || !matches!(self.phase, Phase::Running) {
            return;
        }
        self.phase = match result {
            Ok(()) => Phase::Returned,
            Err(fault) => {
                self.gate.close();
                Phase::Failed(fault)
            }
        };
    }

    /// Takes what poll number `poll` gets.
    pub(super) fn next(&mut self, poll: u64, wishes: &Wishes, now: Instant) -> Next {
        self.most = wishes.most();
        if let Some(entry) = self.again.first_entry() {
            let place = *entry.key();
            // Later batches are nacked one after another: until the last one is, order could be lost.
            if self.offered.values().any(|offered| offered.place > place) {
                return Next::Wait(None);
            }
            let batch = entry.remove();
            return self.offer(poll, place, batch, Vec::new());
        }
        if let Some(first) = self.channel.front() {
            let due = first.since + self.linger(wishes);
            let may_linger =
                !self.is_held && matches!(self.phase, Phase::Running | Phase::Returned);
            if may_linger && !self.is_full() && now < due {
                return Next::Wait(Some(due));
            }
            return self.fill(poll, self.most);
        }
        match self.phase {
            Phase::Returned if !self.has_sender => Next::Batch(ended()),
            Phase::Closed => Next::Batch(ended()),
            // A failure is told, and `start` begun anew, when the source goes on.
            _ if self.is_held => Next::Batch(Arc::default()),
            Phase::Running | Phase::Returned => Next::Wait(None),
            Phase::Over => Next::Start,
            Phase::Failed(_) => match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Failed(fault) => Next::Failed(fault),
                _ => Next::Start,
            },
        }
    }

    /// Notes what became of a batch. A nacked one is offered again.
    pub(super) fn settle(&mut self, settled: &Settled) -> Told {
        let Some(Offered {
            place,
            batch,
            trackers,
        }) = self.offered.remove(&settled.poll)
        else {
            return Told::new();
        };
        if settled.result == SourceBatchResult::Nack {
            self.again.insert(place, batch);
            return told(trackers, |_| Err(AckError::Nacked));
        }
        told(trackers, |index| Ok(settled.receipt(index)))
    }

    /// Ends everything. What is returned holds trackers, which tell when they are dropped.
    pub(super) fn close(&mut self) -> impl Sized + use<> {
        self.phase = Phase::Closed;
        self.is_held = false;
        self.gate.close();
        self.waiting = 0;
        (
            std::mem::take(&mut self.channel),
            std::mem::take(&mut self.offered),
            std::mem::take(&mut self.again),
        )
    }

    /// How long a message waits for others. Unless it is said, a lone one does not.
    fn linger(&self, wishes: &Wishes) -> Duration {
        wishes.linger.unwrap_or(match self.offered.is_empty() {
            true => Duration::ZERO,
            false => LINGER,
        })
    }

    /// Whether waiting longer would not make the next batch larger.
    fn is_full(&self) -> bool {
        self.waiting >= self.most || self.gate.is_full()
    }

    /// Makes a batch of what is in the channel. What was sent together stays together, even if there is more of it than `most`.
    fn fill(&mut self, poll: u64, most: usize) -> Next {
        let mut batch = SourceBatch::default();
        let mut trackers = Vec::new();
        let mut size = 0;
        while let Some(entry) = self.channel.front() {
            let cost = entry.cost();
            let fits = batch.messages.len() + entry.messages.len() <= most
                && size + cost <= CAPACITY
                && (entry.schema == batch.schema || entry.messages.is_empty());
            if !batch.messages.is_empty() && !fits {
                break;
            }
            let Some(entry) = self.channel.pop_front() else {
                break;
            };
            size += cost;
            self.waiting -= entry.messages.len();
            if batch.messages.is_empty() {
                batch.schema = entry.schema;
            }
            if let Some(tracker) = entry.tracker {
                trackers.push((batch.messages.len() as u32, tracker));
            }
            batch.messages.extend(entry.messages);
            batch.state = entry.state.or(batch.state);
        }
        let place = self.next;
        self.next += 1;
        self.offer(poll, place, Arc::new(batch), trackers)
    }

    fn offer(
        &mut self,
        poll: u64,
        place: u64,
        batch: Arc<SourceBatch>,
        trackers: Vec<(u32, Tracker)>,
    ) -> Next {
        let offered = Offered {
            place,
            batch: Arc::clone(&batch),
            trackers,
        };
        self.offered.insert(poll, offered);
        Next::Batch(batch)
    }
}

/// Says that the source has ended. It is made anew for each poll that gets here, and not kept.
fn ended() -> Arc<SourceBatch> {
    Arc::new(SourceBatch::default().and_end())
}

fn told(trackers: Vec<(u32, Tracker)>, what: impl Fn(u32) -> Result<Receipt, AckError>) -> Told {
    let told = trackers.into_iter();
    told.map(|(index, tracker)| (tracker, what(index)))
        .collect()
}
