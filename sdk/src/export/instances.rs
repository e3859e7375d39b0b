//! The instances of a library and the calls on them: [`Instances`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use iggy_connector_abi::Status;
use tracing::Span;

use super::{
    calls::{Calls, lock},
    completion::Value,
    guard::Guard,
    library,
    outcome::Ended,
    task::{Task, Work},
};

/// Every instance of a library, by number. A library has one of these: the process may load it for many connectors.
pub(super) struct Instances<C> {
    opened: Mutex<BTreeMap<u32, Arc<Instance<C>>>>,
    calls: Calls,
}

/// One connector's state inside the plugin.
pub(super) struct Instance<C> {
    pub(super) span: Span,
    pub(super) connector: C,
}

impl<C: Send + Sync + 'static> Instances<C> {
    pub(super) const fn new() -> Self {
        Self {
            opened: Mutex::new(BTreeMap::new()),
            calls: Calls::new(),
        }
    }

    /// Adds an instance, or gives it back when the number is taken.
    pub(super) fn add(&self, number: u32, instance: Instance<C>) -> Result<(), Instance<C>> {
        let mut opened = lock(&self.opened);
        if opened.contains_key(&number) {
            return Err(instance);
        }
        opened.insert(number, Arc::new(instance));
        Ok(())
    }

    fn get(&self, number: u32) -> Option<Arc<Instance<C>>> {
        lock(&self.opened).get(&number).map(Arc::clone)
    }

    fn remove(&self, number: u32) -> Option<Arc<Instance<C>>> {
        lock(&self.opened).remove(&number)
    }

    /// Runs `work` on an instance, as the call that `guard` completes.
    pub(super) fn call<V: Value>(
        &'static self,
        number: u32,
        call: u64,
        guard: Guard<V>,
        work: impl FnOnce(Arc<Instance<C>>) -> Work<V>,
    ) {
        let Some(instance) = self.get(number) else {
            return guard.complete(unknown(number));
        };
        let span = instance.span.clone();
        self.start(number, call, span, guard, || work(instance));
    }

    /// Takes an instance out and runs `work` on it alone, as the call that `guard` completes.
    pub(super) fn close<V: Value>(
        &'static self,
        number: u32,
        call: u64,
        guard: Guard<V>,
        work: impl FnOnce(C) -> Work<V>,
    ) {
        let Some(instance) = self.remove(number) else {
            return guard.complete(unknown(number));
        };
        match Arc::try_unwrap(instance) {
            Ok(instance) => {
                let span = instance.span;
                self.start(number, call, span, guard, || work(instance.connector));
            }
            Err(shared) => {
                // Dropped by whichever call still holds it.
                drop(shared);
                guard.complete(Ended::badly(
                    Status::CONTRACT,
                    format!("instance {number} was closed while one of its calls was under way"),
                ));
            }
        }
    }

    /// Runs `work` as the call that `guard` completes.
    pub(super) fn start<V: Value>(
        &'static self,
        number: u32,
        call: u64,
        span: Span,
        guard: Guard<V>,
        work: impl FnOnce() -> Work<V>,
    ) {
        let Some(cancel) = self.calls.begin((number, call)) else {
            return guard.complete(Ended::badly(
                Status::CONTRACT,
                format!("call {call} of instance {number} is still under way"),
            ));
        };
        let guard = guard.registered(&self.calls, (number, call));
        library::spawn(Task::new(work(), span, cancel, guard));
    }

    /// Asks a call to end.
    pub(super) fn cancel(&self, number: u32, call: u64) {
        self.calls.cancel((number, call));
    }
}

fn unknown<V>(number: u32) -> Ended<V> {
    Ended::badly(Status::CONTRACT, format!("there is no instance {number}"))
}
