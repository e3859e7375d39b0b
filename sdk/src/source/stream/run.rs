//! A run of `start` as its senders see it: [`Run`]; and what the senders, the polls and the task of `start` share: [`Shared`].

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, Semaphore, TryAcquireError};

use super::{
    Entry,
    state::{CAPACITY, Refused, State},
};
use crate::{
    ConnectorState,
    source::{Closed, SourceMessage, TrySendError},
};

/// The state, and who waits for it to change.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) changed: Notify,
}

/// One run of `start`, held by its senders. When the last one is gone nothing can come any more.
pub(in crate::source) struct Run {
    pub(super) number: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) gate: Arc<Gate>,
    pub(super) declined: Arc<AtomicBool>,
}

/// The way into the channel during one run.
pub(super) struct Gate {
    room: Arc<Semaphore>,
    /// Never has a permit: waiting for one ends when it is closed.
    open: Semaphore,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State::new()),
            changed: Notify::new(),
        }
    }

    /// Looks at the state. Nothing in `look` can leave it half changed.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state, and wakes who waits for that.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = self.with(change);
        self.changed.notify_waiters();
        changed
    }

    /// Lets senders wait, or go on, as [`State::hold`] says.
    pub(super) fn hold(&self, is_held: bool) {
        if self.with(|state| state.hold(is_held)) {
            self.changed.notify_waiters();
        }
    }

    /// Waits while senders are to wait.
    async fn released(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // What changes from here on is noticed.
            changed.as_mut().enable();
            if !self.with(|state| state.is_held()) {
                return;
            }
            changed.await;
        }
    }
}

impl Run {
    pub(in crate::source) fn decline(&self) {
        self.declined.store(true, Ordering::Relaxed);
    }

    pub(in crate::source) async fn send(&self, mut entry: Entry) -> Result<(), Closed> {
        let room = Arc::clone(&self.gate.room).acquire_many_owned(entry.cost());
        entry.holding(room.await.map_err(|_| Closed)?);
        self.add([entry]).await
    }

    pub(in crate::source) async fn send_all(
        &self,
        messages: Vec<SourceMessage>,
        state: Option<ConnectorState>,
    ) -> Result<(), Closed> {
        let mut entries = Entry::all(messages, state);
        let cost = entries.iter().map(|entry| u64::from(entry.cost())).sum();
        let cost = u32::try_from(u64::min(cost, CAPACITY.into())).unwrap_or(CAPACITY);
        let room = Arc::clone(&self.gate.room).acquire_many_owned(cost);
        let room = room.await.map_err(|_| Closed)?;
        match entries.last_mut() {
            Some(last) => last.holding(room),
            None => return Ok(()),
        }
        self.add(entries).await
    }

    pub(in crate::source) fn try_send(&self, message: SourceMessage) -> Result<(), TrySendError> {
        let mut entry = Entry::of(message);
        let room = Arc::clone(&self.gate.room).try_acquire_many_owned(entry.cost());
        let refused = match room {
            Ok(room) => {
                entry.holding(room);
                match self.try_add([entry]) {
                    Ok(()) => return Ok(()),
                    Err(Refused::Held([entry])) => (entry, TryAcquireError::NoPermits),
                    Err(Refused::Closed([entry])) => (entry, TryAcquireError::Closed),
                }
            }
            Err(reason) => (entry, reason),
        };
        let (entry, reason) = refused;
        let message = Box::new(entry.into_message().unwrap_or_default());
        Err(match reason {
            TryAcquireError::NoPermits => TrySendError::Full(message),
            TryAcquireError::Closed => TrySendError::Closed(message),
        })
    }

    pub(in crate::source) fn is_closed(&self) -> bool {
        self.gate.room.is_closed()
    }

    pub(in crate::source) async fn closed(&self) {
        // The error is what is waited for.
        let _ = self.gate.open.acquire().await;
    }

    /// Adds entries for which there is room; waits while senders are to wait.
    async fn add<E: IntoIterator<Item = Entry>>(&self, mut entries: E) -> Result<(), Closed> {
        loop {
            entries = match self.try_add(entries) {
                Ok(()) => return Ok(()),
                Err(Refused::Closed(_)) => return Err(Closed),
                Err(Refused::Held(entries)) => entries,
            };
            self.shared.released().await;
        }
    }

    fn try_add<E: IntoIterator<Item = Entry>>(&self, entries: E) -> Result<(), Refused<E>> {
        if self.shared.with(|state| state.add(self.number, entries))? {
            self.shared.changed.notify_waiters();
        }
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.shared.change(|state| state.no_sender(self.number));
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("number", &self.number)
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

impl Gate {
    pub(super) fn is_full(&self) -> bool {
        self.room.available_permits() == 0
    }

    pub(super) fn close(&self) {
        self.room.close();
        self.open.close();
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(CAPACITY as usize)),
            open: Semaphore::new(0),
        }
    }
}
