//! A source's entry points.

use std::sync::Arc;

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
    settlement::{self, Settled},
    task::Work,
};
use crate::{
    Error, Source, SourceConstructor,
    source::{NotPolled, Unsettled},
};

/// A source and the batches whose result it does not know yet.
pub(super) struct Connector {
    source: Box<dyn Source>,
    unsettled: Unsettled,
}

static SOURCES: Instances<Connector> = Instances::new();

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
    let work = |request, span| -> Work<Opened<Connector>> {
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
    // SAFETY: lent until the completion (`Poll`). Its wishes have no counterpart in `Source`.
    if unsafe { abi::read(request) }.is_none() {
        let message = "the request is null, misaligned or shorter than the contract says";
        return guard.complete(Ended::badly(Status::CONTRACT, message));
    }
    let _ = catch(|| SOURCES.call(instance, call, guard, |source| next(source, call)));
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
            Work::new(async move { Ended::of(source.connector.source.health_check().await) })
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
        SOURCES.close(instance, call, guard, |mut connector| {
            Work::new(async move { Ended::of(connector.source.close().await) })
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
) -> Result<Opened<Connector>, Error> {
    let config = request.config()?;
    let mut source = constructor.construct(request.number, config, request.state.take());
    source.open().await?;
    Ok(Opened {
        number: request.number,
        traits: Traits {
            size: size_of::<Traits>() as u32,
            exclusive: u32::from(source.exclusive()),
            max_unsettled: 0,
            max_in_flight: source.max_in_flight(),
            streams: Slice::EMPTY,
        },
        instance: Instance {
            span,
            connector: Connector {
                source: Box::new(source),
                unsettled: Unsettled::default(),
            },
        },
        instances: &SOURCES,
    })
}

fn next(source: Arc<Instance<Connector>>, call: u64) -> Work<Produced> {
    Work::new(async move {
        let Connector { source, unsettled } = &source.connector;
        let polled = source.poll_batch().await;
        Ended::of(polled.map(|batch| {
            unsettled.add(call, &batch);
            Produced::from(batch)
        }))
    })
}

fn tell(source: Arc<Instance<Connector>>, settled: Result<Settled, String>) -> Work<()> {
    Work::new(async move {
        let settled = match settled {
            Ok(settled) => settled,
            Err(message) => return Ended::badly(Status::CONTRACT, message),
        };
        let Connector { source, unsettled } = &source.connector;
        match unsettled.settle(source.as_ref(), settled).await {
            Ok(told) => Ended::of(told),
            Err(NotPolled) => Ended::badly(Status::CONTRACT, settled.refusal()),
        }
    })
}
