//! A source's entry points.

use std::{sync::Arc, time::Duration};

use iggy_connector_abi::{
    self as abi, Completion, Nothing, Slice, Status,
    instance::{Open, Traits},
    source::{PollRequest, ProducedBatch, Settlement},
};
use tracing::Span;

use super::{
    guard::Guard,
    instances::{Instance, Instances},
    open::{self, Opened, Request},
    outcome::Ended,
    panics::catch,
    produced::Produced,
    settlement,
    task::Work,
};
use crate::{
    Error, SourceConstructor,
    source::{Driver, Settled, Wishes},
    streams,
};

static SOURCES: Instances<Driver> = Instances::new();

/// See [`iggy_connector_abi::instance::OpenFn`].
///
/// # Safety
///
/// As there.
pub unsafe fn open<A, F: SourceConstructor<A>>(
    open: *const Open,
    call: u64,
    completion: Completion<Traits>,
    plugin: &str,
    constructor: F,
) {
    let work = |request, span| -> Work<Opened<Driver>> {
        Work::new(async move { Ended::of(create(request, span, constructor).await) })
    };
    // SAFETY: the caller's promise, passed on.
    let _ = catch(|| unsafe { open::begin(open, call, completion, plugin, &SOURCES, work) });
}

/// See [`iggy_connector_abi::source::Poll`].
///
/// # Safety
///
/// As there.
pub unsafe fn poll(
    instance: u32,
    call: u64,
    request: *const PollRequest,
    completion: Completion<ProducedBatch>,
) {
    // SAFETY: this call's only guard; the request is not kept.
    let guard = unsafe { Guard::new(completion) };
    // SAFETY: lent until the completion (`Poll`).
    let Some(request) = (unsafe { abi::read(request) }) else {
        let message = "the request is null, misaligned or shorter than the contract says";
        return guard.complete(Ended::badly(Status::CONTRACT, message));
    };
    let wishes = wishes(&request);
    let _ = catch(|| SOURCES.call(instance, call, guard, |source| next(source, call, wishes)));
}

/// See [`iggy_connector_abi::source::Settle`].
///
/// # Safety
///
/// As there.
pub unsafe fn settle(
    instance: u32,
    call: u64,
    settlement: *const Settlement,
    completion: Completion<Nothing>,
) {
    // SAFETY: this call's only guard; the settlement is copied below.
    let guard = unsafe { Guard::new(completion) };
    // SAFETY: lent until the completion (`Settle`).
    let settled = unsafe { settlement::read(settlement) };
    let _ = catch(|| SOURCES.call(instance, call, guard, |source| tell(source, settled)));
}

/// See [`iggy_connector_abi::source::HEALTH`].
///
/// # Safety
///
/// As [`iggy_connector_abi::instance::Plain`].
pub unsafe fn health(instance: u32, call: u64, completion: Completion<Nothing>) {
    // SAFETY: this call's only guard; nothing is lent.
    let guard = unsafe { Guard::new(completion) };
    let _ = catch(|| {
        SOURCES.call(instance, call, guard, |source| {
            Work::new(async move { Ended::of(source.connector.health().await) })
        })
    });
}

/// See [`iggy_connector_abi::source::CLOSE`].
///
/// # Safety
///
/// As [`iggy_connector_abi::instance::Plain`].
pub unsafe fn close(instance: u32, call: u64, completion: Completion<Nothing>) {
    // SAFETY: this call's only guard; nothing is lent.
    let guard = unsafe { Guard::new(completion) };
    let _ = catch(|| {
        SOURCES.close(instance, call, guard, |source| {
            Work::new(async move { Ended::of(source.close().await) })
        })
    });
}

/// See [`iggy_connector_abi::instance::Cancel`].
pub fn cancel(instance: u32, call: u64) {
    let _ = catch(|| SOURCES.cancel(instance, call));
}

async fn create<A, F: SourceConstructor<A>>(
    mut request: Request,
    span: Span,
    constructor: F,
) -> Result<Opened<Driver>, Error> {
    let config = request.config()?;
    let source = constructor.construct(request.number, config, request.state.take());
    let source = Driver::open(source).await?;
    Ok(Opened {
        number: request.number,
        streams: streams::written(&source.streams()),
        traits: Traits {
            size: size_of::<Traits>() as u32,
            exclusive: u32::from(source.exclusive()),
            max_unsettled: 0,
            max_in_flight: source.max_in_flight(),
            streams: Slice::EMPTY,
            drains: u32::from(source.drains()),
            reserved: 0,
        },
        instance: Instance {
            span,
            connector: source,
        },
        instances: &SOURCES,
    })
}

fn wishes(request: &PollRequest) -> Wishes {
    Wishes {
        max_messages: request.max_messages,
        max_wait: match request.max_wait_ms {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        },
        linger: match request.linger_us {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        },
        draining: request.draining != 0,
    }
}

fn next(source: Arc<Instance<Driver>>, call: u64, wishes: Wishes) -> Work<Produced> {
    Work::new(async move {
        source
            .connector
            .poll(call, wishes)
            .await
            .map(Produced::from)
    })
}

fn tell(source: Arc<Instance<Driver>>, settled: Result<Settled, String>) -> Work<()> {
    Work::new(async move {
        match settled {
            Ok(settled) => source.connector.settle(&settled).await,
            Err(message) => Ended::badly(Status::CONTRACT, message),
        }
    })
}
