//! The consumes that a plugin has not completed, in the order of their batches. A lane begins them and takes their outcomes.
//!
//! Outcomes are taken in order, so only the first call is polled; the others go on in the plugin meanwhile. Memory for them is
//! kept from one batch to the next.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;

use crate::pipeline::{Consumed, Failure, Rank};

/// What a consume ended with.
pub(super) type Outcome = Result<Consumed, Failure>;

/// Calls that were begun and whose outcomes were not taken. Dropping one cancels it.
pub(super) struct Calls<'a> {
    begun: VecDeque<Call<'a>>,
    spare: Vec<ReusableBoxFuture<'a, Outcome>>,
    count: u64,
    has_cancelled: bool,
}

struct Call<'a> {
    number: u64,
    since: Instant,
    /// Made with the plugin.
    is_real: bool,
    state: State<'a>,
}

enum State<'a> {
    Running(ReusableBoxFuture<'a, Outcome>),
    Ended(Outcome),
}

/// The first call, while it has not ended.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) since: Instant,
}

impl<'a> Calls<'a> {
    pub(super) fn new() -> Self {
        Self {
            begun: VecDeque::new(),
            spare: Vec::new(),
            count: 0,
            has_cancelled: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.begun.len()
    }

    /// How a batch stands that is handed over now, when what fails is tried again.
    pub(super) fn rank(&self) -> Rank {
        match self.begun.iter().any(|call| call.is_real) {
            true => Rank::Behind,
            false => Rank::First,
        }
    }

    /// How many were begun so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Begins a call behind the others. It is polled here, which is what makes the entry calls in order.
    pub(super) async fn begin(&mut self, call: impl Future<Output = Outcome> + Send + 'a) {
        let mut running = match self.spare.pop() {
            Some(mut spare) => {
                spare.set(call);
                spare
            }
            None => ReusableBoxFuture::new(call),
        };
        let first = poll_fn(|context| Poll::Ready(running.poll(context))).await;
        let state = match first {
            Poll::Ready(outcome) => {
                self.spare.push(running);
                State::Ended(outcome)
            }
            Poll::Pending => State::Running(running),
        };
        self.push(state, true);
    }

    /// Puts an outcome behind the others for which no call is needed.
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.push(State::Ended(outcome), false);
    }

    fn push(&mut self, state: State<'a>, is_real: bool) {
        self.count += 1;
        self.begun.push_back(Call {
            number: self.count,
            since: Instant::now(),
            is_real,
            state,
        });
    }

    /// Waits for the first call's outcome and takes it; for ever when there is none. Dropping the future loses nothing.
    pub(super) async fn first(&mut self) -> Outcome {
        poll_fn(|context| self.poll_first(context)).await
    }

    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        let Some(first) = self.begun.pop_front() else {
            return Poll::Pending;
        };
        let mut running = match first.state {
            State::Ended(outcome) => return Poll::Ready(outcome),
            State::Running(running) => running,
        };
        let polled = running.poll(context);
        if polled.is_ready() {
            self.spare.push(running);
        } else {
            let state = State::Running(running);
            self.begun.push_front(Call { state, ..first });
        }
        polled
    }

    /// The first call, unless it has ended as far as is known.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let Call {
            number,
            since,
            state: State::Running(_),
            ..
        } = *self.begun.front()?
        else {
            return None;
        };
        Some(Waiting { number, since })
    }

    /// Cancels every call.
    pub(super) fn cancel(&mut self) {
        for call in self.begun.drain(..) {
            self.has_cancelled |= matches!(call.state, State::Running(_));
        }
    }

    /// Cancels the first calls that have not ended, at most so many, and gives them this outcome.
    pub(super) fn fail(&mut self, most: usize, failure: &Failure) {
        for call in self.begun.iter_mut().take(most) {
            if matches!(call.state, State::Running(_)) {
                call.state = State::Ended(Err(failure.clone()));
                self.has_cancelled = true;
            }
        }
    }

    /// Whether calls were cancelled since this was asked last: they may not have ended yet.
    pub(super) fn take_cancelled(&mut self) -> bool {
        std::mem::take(&mut self.has_cancelled)
    }
}
