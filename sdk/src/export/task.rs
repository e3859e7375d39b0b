//! One call at work: [`Task`].

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tracing::Span;

use super::{
    calls::Cancel,
    completion::Value,
    guard::Guard,
    outcome::Ended,
    panics::{catch, discard},
};
use iggy_connector_abi::Status;

/// What a call does, ending in how it ended.
pub(super) struct Work<V> {
    future: Doing<V>,
    held: Held,
}

type Doing<V> = Pin<Box<dyn Future<Output = Ended<V>> + Send>>;

/// Dropped after the call's completion.
type Held = Option<Box<dyn Send>>;

impl<V> Work<V> {
    pub(super) fn new(future: impl Future<Output = Ended<V>> + Send + 'static) -> Self {
        Self {
            future: Box::pin(future),
            held: None,
        }
    }

    /// Keeps `held` until the call has completed.
    pub(super) fn holding(mut self, held: impl Send + 'static) -> Self {
        self.held = Some(Box::new(held));
        self
    }
}

/// The author's future, watched.
///
/// It ends when the future does, panics, or is cancelled. In each case the future is dropped before the call completes, also
/// when the task itself is thrown away: `Drop` empties `work`, and the guard completes after that.
pub(super) struct Task<V: Value> {
    work: Option<Doing<V>>,
    span: Span,
    cancel: Arc<Cancel>,
    guard: Option<Guard<V>>,
    /// After the guard: fields are dropped in order.
    held: Held,
}

impl<V: Value> Task<V> {
    pub(super) fn new(work: Work<V>, span: Span, cancel: Arc<Cancel>, guard: Guard<V>) -> Self {
        Self {
            work: Some(work.future),
            span,
            cancel,
            guard: Some(guard),
            held: work.held,
        }
    }

    fn step(&mut self, context: &mut Context<'_>) -> Poll<Ended<V>> {
        if self.cancel.is_asked(context.waker()) {
            return Poll::Ready(Ended::cancelled());
        }
        let Some(work) = &mut self.work else {
            return Poll::Ready(Ended::badly(Status::CONTRACT, "polled after its end"));
        };
        match catch(|| work.as_mut().poll(context)) {
            Ok(step) => step,
            Err(message) => Poll::Ready(Ended::badly(Status::PANICKED, message)),
        }
    }

    /// Drops the future. How the call ended if that panics: what the author's code holds is then in an unknown state.
    fn drop_work(&mut self) -> Option<Ended<V>> {
        let dropped = discard(self.work.take());
        dropped
            .err()
            .map(|message| Ended::badly(Status::PANICKED, message))
    }
}

impl<V: Value> Future for Task<V> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        let span = task.span.clone();
        let entered = span.enter();
        let Poll::Ready(mut ended) = task.step(context) else {
            return Poll::Pending;
        };
        if let Some(panicked) = task.drop_work() {
            let _ = discard(std::mem::replace(&mut ended, panicked));
        }
        drop(entered);
        if let Some(guard) = task.guard.take() {
            guard.complete(ended);
        }
        task.held = None;
        Poll::Ready(())
    }
}

impl<V: Value> Drop for Task<V> {
    fn drop(&mut self) {
        let span = self.span.clone();
        let entered = span.enter();
        let panicked = self.drop_work();
        drop(entered);
        if let (Some(guard), Some(panicked)) = (self.guard.take(), panicked) {
            guard.complete(panicked);
        }
    }
}
