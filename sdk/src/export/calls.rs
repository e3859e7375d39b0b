//! The calls that are under way, so that they can be cancelled: [`Calls`], [`Cancel`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

/// Names a call: its instance's number, its own.
pub(super) type Key = (u32, u64);

/// The calls of a library that are under way.
pub(super) struct Calls(Mutex<BTreeMap<Key, Arc<Cancel>>>);

/// Whether a call is to end.
#[derive(Default)]
pub(super) struct Cancel(Mutex<Wish>);

#[derive(Default)]
enum Wish {
    #[default]
    Run,
    /// The call's task waits, to be woken through this.
    Wait(Waker),
    End,
}

impl Calls {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Adds a call, or returns `None` when one of this name is under way.
    pub(super) fn begin(&self, key: Key) -> Option<Arc<Cancel>> {
        let mut calls = lock(&self.0);
        if calls.contains_key(&key) {
            return None;
        }
        Some(Arc::clone(calls.entry(key).or_default()))
    }

    pub(super) fn end(&self, key: Key) {
        lock(&self.0).remove(&key);
    }

    /// Asks a call to end; one that is unknown has ended.
    pub(super) fn cancel(&self, key: Key) {
        let call = lock(&self.0).get(&key).map(Arc::clone);
        if let Some(call) = call {
            call.ask();
        }
    }
}

impl Cancel {
    /// Whether the call is to end. If not, `waker` is woken when it is.
    pub(super) fn is_asked(&self, waker: &Waker) -> bool {
        let mut wish = lock(&self.0);
        match &mut *wish {
            Wish::End => return true,
            Wish::Wait(known) => known.clone_from(waker),
            Wish::Run => *wish = Wish::Wait(waker.clone()),
        }
        false
    }

    fn ask(&self) {
        let before = std::mem::replace(&mut *lock(&self.0), Wish::End);
        if let Wish::Wait(waker) = before {
            waker.wake();
        }
    }
}

/// Nothing behind these locks can be left half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
