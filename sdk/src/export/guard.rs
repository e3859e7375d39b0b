//! Completes a call exactly once, whatever happens: [`Guard`].

use iggy_connector_abi::{Completion, Status};

use super::{
    calls::{Calls, Key},
    completion::{self, Value},
    outcome::Ended,
};

/// One call's duty to complete.
///
/// Dropped without an end, for example with a task that was thrown away, it completes the call as panicked or as a breach of
/// the contract. Whoever holds it drops everything else that belongs to the call first.
pub(super) struct Guard<V: Value> {
    completion: Option<Completion<V::Wire>>,
    registered: Option<(&'static Calls, Key)>,
}

impl<V: Value> Guard<V> {
    /// # Safety
    ///
    /// - `completion` came with a call that nobody else completes.
    /// - What the call lent is dropped before the guard.
    pub(super) unsafe fn new(completion: Completion<V::Wire>) -> Self {
        Self {
            completion: Some(completion),
            registered: None,
        }
    }

    /// Takes the call out of `calls` before it completes: its name may be used again from then on.
    pub(super) fn registered(mut self, calls: &'static Calls, key: Key) -> Self {
        self.registered = Some((calls, key));
        self
    }

    /// Completes the call.
    pub(super) fn complete(mut self, ended: Ended<V>) {
        self.finish(ended);
    }

    fn finish(&mut self, ended: Ended<V>) {
        let Some(completion) = self.completion.take() else {
            return;
        };
        if let Some((calls, key)) = self.registered.take() {
            calls.end(key);
        }
        // SAFETY: once, since it was taken out of the guard; what was lent is gone (`new`, obligation 2).
        unsafe { completion::complete(completion, ended) }
    }
}

impl<V: Value> Drop for Guard<V> {
    fn drop(&mut self) {
        if self.completion.is_none() {
            return;
        }
        self.finish(if std::thread::panicking() {
            Ended::badly(Status::PANICKED, "the call panicked outside of its task")
        } else {
            Ended::badly(
                Status::CONTRACT,
                "the call was thrown away before it ended; was the plugin's runtime shut down?",
            )
        });
    }
}
