//! What an instance of a sink and one of a source have in common: its number, its open calls, and its end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use iggy_connector_abi::{self as abi, Completion};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Open, Traits,
    library::Library,
    log, open,
    pending::{self, Call, Value},
    ticket::{CANCEL_GRACE, Limit, Ticket},
};
use crate::pipeline::{Failure, FailureKind};

/// Numbers of instances: unique in the process, whatever library they belong to.
static NEXT: AtomicU32 = AtomicU32::new(1);

const OPENING: u8 = 0;
const OPEN: u8 = 1;
const CLOSED: u8 = 2;
const ABANDONED: u8 = 3;

/// One connector's state inside a library.
pub(super) struct Instance {
    number: u32,
    library: Library,
    calls: Calls,
    next_call: AtomicU64,
    phase: AtomicU8,
    cancel: abi::instance::Cancel,
    close: abi::instance::Plain,
    origin: log::Origin,
}

/// The calls that are not over, by their number. A call is over when its entry point has returned and it has been completed.
type Calls = Arc<watch::Sender<BTreeMap<u64, Progress>>>;

/// How far a call is. Either may come first.
#[derive(Clone, Copy, Default)]
struct Progress {
    has_returned: bool,
    is_completed: bool,
    /// It is to be cancelled, which cannot be done before its entry point has returned.
    is_unwanted: bool,
}

impl Instance {
    pub(super) fn new(
        library: &Library,
        key: &str,
        cancel: abi::instance::Cancel,
        close: abi::instance::Plain,
    ) -> Result<Arc<Self>, Failure> {
        library.check_usable()?;
        let number = NEXT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| {
                number.checked_add(1)
            })
            .map_err(|_| Failure::fatal("too many instances were opened; restart the daemon"))?;
        Ok(Arc::new(Self {
            number,
            library: library.clone(),
            calls: Arc::default(),
            next_call: AtomicU64::new(1),
            phase: AtomicU8::new(OPENING),
            cancel,
            close,
            origin: log::Origin::register(number, key),
        }))
    }

    /// Makes a call: writes it down, then hands `invoke` the instance's number, the call's, and the completion.
    ///
    /// `lent` is kept until the plugin completes, whether somebody still waits or not.
    pub(super) fn call<V: Value>(
        self: &Arc<Self>,
        name: &'static str,
        records: usize,
        lent: Option<Box<dyn Send>>,
        invoke: impl FnOnce(u32, u64, Completion<V::Wire>),
    ) -> Result<Ticket<V>, Failure> {
        self.check_usable()?;
        log::follow_level();
        let number = self.next_call.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let (outstanding, instance) = (Outstanding::begin(&self.calls, number), self.number);
        let call = Call {
            records,
            lent,
            deliver: Box::new(move |answer| {
                // Before the answer: whoever gets it may close the instance at once.
                drop(outstanding);
                // An answer that is dropped gives back what it holds.
                if sender.send(answer).is_err() {
                    log::late_completion(instance, name);
                }
            }),
        };
        let Some(completion) = pending::register::<V>(self.number, number, call) else {
            returned(&self.calls, number);
            return Err(Failure::fatal(
                "a call that never ended stands in the way; restart the connector",
            ));
        };
        invoke(self.number, number, completion);
        if returned(&self.calls, number).is_unwanted {
            self.cancel(number);
        }
        Ok(Ticket::new(self.clone(), name, number, answer))
    }

    /// As [`Instance::call`] for health and close.
    pub(super) fn plain(
        self: &Arc<Self>,
        name: &'static str,
        function: abi::instance::Plain,
    ) -> Result<Ticket<()>, Failure> {
        self.call(name, 0, None, |instance, call, completion| {
            // SAFETY: the instance is open, or is being closed after all its calls have ended (`Instance::close`).
            unsafe { function(instance, call, completion) }
        })
    }

    fn check_usable(&self) -> Result<(), Failure> {
        if self.phase.load(Ordering::Acquire) == ABANDONED {
            let message = "the instance was abandoned after a call that did not end";
            return Err(Failure::new(FailureKind::Hung, message));
        }
        self.library.check_running()
    }

    /// Asks the plugin to end a call, unless it has ended. While the entry point of the call has not returned the wish is kept until
    /// it has.
    pub(super) fn cancel(&self, call: u64) {
        if !wish_end(&self.calls, call) || self.check_usable().is_err() {
            return;
        }
        // SAFETY: the call's entry point has returned; a call that has ended meanwhile is no error. No cancel follows a shutdown
        // (`check_usable`).
        unsafe { (self.cancel)(self.number, call) }
    }

    /// Gives the instance up: no call into it follows, and its library is not used for others.
    pub(super) fn abandon(&self) {
        self.phase.store(ABANDONED, Ordering::Release);
        self.origin.outlive();
        self.library.quarantine();
    }

    /// Ends what is open, then the instance. Close is called only after every other call has been completed.
    async fn close(self: &Arc<Self>, within: Duration) -> Result<(), Failure> {
        self.drain().await?;
        let mut ticket = self.plain("close", self.close)?;
        self.phase.store(CLOSED, Ordering::Release);
        ticket.wait(Limit::Within(within)).await.map(drop)
    }

    /// Cancels calls that nobody waits for any more, and waits until the plugin has completed them.
    async fn drain(&self) -> Result<(), Failure> {
        self.check_usable()?;
        let open: Vec<u64> = self.calls.borrow().keys().copied().collect();
        for call in open {
            self.cancel(call);
        }
        self.ended(BTreeMap::is_empty).await
    }

    /// Waits until the plugin has completed the calls that were to be cancelled.
    pub(super) async fn drain_unwanted(&self) -> Result<(), Failure> {
        self.check_usable()?;
        self.ended(|calls| calls.values().all(|call| !call.is_unwanted))
            .await
    }

    /// Waits for the end of calls that were cancelled.
    async fn ended(
        &self,
        are_over: impl FnMut(&BTreeMap<u64, Progress>) -> bool,
    ) -> Result<(), Failure> {
        let mut calls = self.calls.subscribe();
        let ended = timeout(CANCEL_GRACE, calls.wait_for(are_over)).await;
        if ended.is_ok() {
            return Ok(());
        }
        self.abandon();
        let message = "a call did not end when it was cancelled; the instance is abandoned";
        Err(Failure::new(FailureKind::Hung, message))
    }
}

/// Notes that the entry point of a call has returned.
fn returned(calls: &Calls, call: u64) -> Progress {
    step(calls, call, |progress| progress.has_returned = true)
}

/// Notes that a call is to be cancelled, and tells whether that can be done now.
fn wish_end(calls: &Calls, call: u64) -> bool {
    let progress = step(calls, call, |progress| progress.is_unwanted = true);
    progress.has_returned && !progress.is_completed
}

/// Changes a call's progress, and forgets the call when it is over. One that is not known is over.
fn step(calls: &Calls, call: u64, change: impl FnOnce(&mut Progress)) -> Progress {
    let mut after = Progress {
        has_returned: true,
        is_completed: true,
        is_unwanted: false,
    };
    calls.send_if_modified(|open| {
        let Some(progress) = open.get_mut(&call) else {
            return false;
        };
        change(progress);
        after = *progress;
        let is_over = after.has_returned && after.is_completed;
        if is_over {
            open.remove(&call);
        }
        is_over
    });
    after
}

/// A call that has not been completed, until it is dropped.
struct Outstanding {
    calls: Calls,
    number: u64,
}

impl Outstanding {
    fn begin(calls: &Calls, number: u64) -> Self {
        calls.send_modify(|open| {
            open.insert(number, Progress::default());
        });
        Self {
            calls: calls.clone(),
            number,
        }
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        step(&self.calls, self.number, |progress| {
            progress.is_completed = true;
        });
    }
}

/// The entry points that begin, interrupt and end an instance.
type Calling = (
    abi::instance::OpenFn,
    abi::instance::Cancel,
    abi::instance::Plain,
);

/// Owns an instance: what is dropped without being closed is closed in the background.
pub(super) struct Handle {
    instance: Arc<Instance>,
    /// There until the open has ended.
    opening: Option<Ticket<Traits>>,
    close_within: Duration,
}

impl Handle {
    /// Opens an instance through its entry points and waits, until `stop` and within its deadline, until it is open.
    pub(super) async fn open(
        library: &Library,
        open: &Open<'_>,
        (function, cancel, close): Calling,
        stop: &CancellationToken,
    ) -> Result<(Self, Traits), Failure> {
        let instance = Instance::new(library, open.key, cancel, close)?;
        let opening = start_open(&instance, library, open, function)?;
        let mut handle = Self {
            instance,
            opening: Some(opening),
            close_within: open.deadlines.close,
        };
        let limit = Limit::Stop(stop, Some(open.deadlines.open));
        let traits = handle.opened(limit).await?;
        Ok((handle, traits))
    }

    pub(super) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Waits for the open. Until it has ended, dropping the handle leaves the rest to the background.
    async fn opened(&mut self, limit: Limit<'_>) -> Result<Traits, Failure> {
        let opening = self.opening.as_mut().expect("`open` has just put it there");
        let answer = opening.wait(limit).await;
        // The instance exists exactly when the status was ok (`OpenFn`), also when we could not read the rest.
        let phase = match &answer {
            // It may still end.
            Err(failure) if failure.kind == FailureKind::Hung => ABANDONED,
            Err(_) if !opening.was_ok() => CLOSED,
            _ => OPEN,
        };
        self.instance.phase.store(phase, Ordering::Release);
        if phase != ABANDONED {
            self.opening = None;
        }
        answer.map(|opened| opened.value)
    }

    pub(super) async fn close(self) -> Result<(), Failure> {
        self.instance.close(self.close_within).await
    }
}

fn start_open(
    instance: &Arc<Instance>,
    library: &Library,
    open: &Open<'_>,
    function: abi::instance::OpenFn,
) -> Result<Ticket<Traits>, Failure> {
    let lent = Arc::new(open::Lent::new(open, instance.number, library));
    let wire = lent.wire();
    instance.call("open", 0, Some(Box::new(lent)), |_, call, completion| {
        // SAFETY: `wire` and what it points at are kept by the call until its completion, the host's functions for ever; the number
        // is new (`OpenFn`).
        unsafe { function(wire, call, completion) }
    })
}

impl Drop for Handle {
    fn drop(&mut self) {
        let opening = self.opening.take();
        if opening.is_none() && self.instance.phase.load(Ordering::Acquire) >= CLOSED {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return self
                .instance
                .origin
                .warn("an instance was dropped outside the daemon's runtime and stays open");
        };
        runtime.spawn(end(self.instance.clone(), opening, self.close_within));
    }
}

/// Closes an instance that nobody holds any more, once its open has ended, if that made it.
async fn end(instance: Arc<Instance>, opening: Option<Ticket<Traits>>, close_within: Duration) {
    if let Some(opening) = opening
        && !opened_after_all(&instance, opening).await
    {
        return;
    }
    if let Err(error) = instance.close(close_within).await {
        instance
            .origin
            .warn(&format!("a dropped instance did not close: {error}"));
    }
}

/// Waits for an open that nobody waits for any more, however long it takes, and tells whether the instance exists.
async fn opened_after_all(instance: &Instance, mut opening: Ticket<Traits>) -> bool {
    let exists = match opening.wait(Limit::Within(Duration::ZERO)).await {
        Err(failure) if failure.kind == FailureKind::Hung => opening.late_ok().await,
        Err(_) => opening.was_ok(),
        Ok(_) => true,
    };
    // One that was abandoned because of its open may be called again, since its only call has ended.
    instance.phase.store(OPEN, Ordering::Release);
    exists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_over_when_it_has_returned_and_was_completed_in_either_order() {
        let calls = Calls::default();
        let first = Outstanding::begin(&calls, 1);
        returned(&calls, 1);
        assert!(calls.borrow().contains_key(&1));
        drop(first);
        let second = Outstanding::begin(&calls, 2);
        drop(second);
        assert!(
            calls.borrow().contains_key(&2),
            "its entry point still runs: close has to wait"
        );
        returned(&calls, 2);
        assert!(calls.borrow().is_empty());
    }

    #[test]
    fn a_wish_to_cancel_is_kept_until_the_entry_point_has_returned() {
        let calls = Calls::default();
        let outstanding = Outstanding::begin(&calls, 1);
        assert!(!wish_end(&calls, 1), "the plugin may not know the call yet");
        assert!(returned(&calls, 1).is_unwanted);
        assert!(wish_end(&calls, 1), "it may be repeated");
        drop(outstanding);
        assert!(!wish_end(&calls, 1), "it has ended");
    }

    #[test]
    fn a_call_that_ended_before_it_returned_is_not_cancelled() {
        let calls = Calls::default();
        let outstanding = Outstanding::begin(&calls, 1);
        assert!(!wish_end(&calls, 1));
        drop(outstanding);
        returned(&calls, 1);
        assert!(!wish_end(&calls, 1));
    }
}
