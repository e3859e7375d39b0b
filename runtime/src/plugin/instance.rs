//! What an instance of a sink and one of a source have in common: its number, its open calls, and its end.

use std::{
    collections::BTreeSet,
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

/// Numbers of the calls that the plugin has not completed.
type Calls = Arc<watch::Sender<BTreeSet<u64>>>;

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
            // The first call is the open, which the contract gives the number 0.
            next_call: AtomicU64::new(0),
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
                drop(outstanding);
                // An answer that is dropped gives back what it holds.
                if sender.send(answer).is_err() {
                    log::late_completion(instance, name);
                }
            }),
        };
        let completion = pending::register::<V>(self.number, number, call).ok_or_else(|| {
            Failure::fatal("a call that never ended stands in the way; restart the connector")
        })?;
        invoke(self.number, number, completion);
        Ok(Ticket::new(self.clone(), name, number, answer))
    }

    /// As [`Instance::call`] for flush, health and close.
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

    /// Asks the plugin to end a call, unless it has ended.
    pub(super) fn cancel(&self, call: u64) {
        if !self.calls.borrow().contains(&call) || self.check_usable().is_err() {
            return;
        }
        // SAFETY: cancel may be called at any time before shutdown; a call that has ended meanwhile is no error.
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
        ticket.wait(Limit::Within(within)).await.map(|_| ())
    }

    /// Cancels calls that nobody waits for any more, and waits until the plugin has completed them.
    async fn drain(&self) -> Result<(), Failure> {
        self.check_usable()?;
        let open = self.calls.borrow().clone();
        for call in open {
            self.cancel(call);
        }
        let mut calls = self.calls.subscribe();
        let ended = timeout(CANCEL_GRACE, calls.wait_for(BTreeSet::is_empty)).await;
        if ended.is_ok() {
            return Ok(());
        }
        self.abandon();
        let message = "a call did not end when it was cancelled; the instance is abandoned";
        Err(Failure::new(FailureKind::Hung, message))
    }
}

/// A call's place among the open ones, until it is dropped.
struct Outstanding {
    calls: Calls,
    number: u64,
}

impl Outstanding {
    fn begin(calls: &Calls, number: u64) -> Self {
        calls.send_modify(|open| {
            open.insert(number);
        });
        Self {
            calls: calls.clone(),
            number,
        }
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.calls.send_modify(|open| {
            open.remove(&self.number);
        });
    }
}

/// Owns an instance: what is dropped without being closed is closed in the background.
pub(super) struct Handle {
    instance: Arc<Instance>,
    /// There until the open has ended.
    opening: Option<Ticket<Traits>>,
    close_within: Duration,
}

impl Handle {
    /// Opens an instance through `function` and waits, within its deadline, until it is open.
    pub(super) async fn open(
        library: &Library,
        open: &Open<'_>,
        function: abi::instance::OpenFn,
        cancel: abi::instance::Cancel,
        close: abi::instance::Plain,
    ) -> Result<(Self, Traits), Failure> {
        let instance = Instance::new(library, open.key, cancel, close)?;
        let opening = start_open(&instance, library, open, function)?;
        let mut handle = Self {
            instance,
            opening: Some(opening),
            close_within: open.deadlines.close,
        };
        let traits = handle.opened(open.deadlines.open).await?;
        Ok((handle, traits))
    }

    pub(super) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Waits for the open. Until it has ended, dropping the handle leaves the rest to the background.
    async fn opened(&mut self, within: Duration) -> Result<Traits, Failure> {
        let opening = self.opening.as_mut().expect("`open` has just put it there");
        let answer = opening.wait(Limit::Within(within)).await;
        self.opening = None;
        // An instance that did not open does not exist (`OpenFn`).
        let phase = if answer.is_ok() { OPEN } else { CLOSED };
        // An abandoned one stays abandoned.
        let _ = self.instance.phase.compare_exchange(
            OPENING,
            phase,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        answer.map(|(_, traits)| traits)
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
    instance.call("open", 0, Some(Box::new(lent)), |_, _, completion| {
        // SAFETY: `wire` and what it points at are kept by the call until its completion, the host's functions for ever; the number
        // is new (`OpenFn`).
        unsafe { function(wire, completion) }
    })
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.instance.phase.load(Ordering::Acquire) >= CLOSED {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return self
                .instance
                .origin
                .warn("an instance was dropped outside the daemon's runtime and stays open");
        };
        let (instance, opening) = (self.instance.clone(), self.opening.take());
        let close_within = self.close_within;
        runtime.spawn(async move {
            if let Some(mut opening) = opening
                && opening.wait(Limit::Within(Duration::ZERO)).await.is_err()
            {
                return;
            }
            if let Err(error) = instance.close(close_within).await {
                instance
                    .origin
                    .warn(&format!("a dropped instance did not close: {error}"));
            }
        });
    }
}
