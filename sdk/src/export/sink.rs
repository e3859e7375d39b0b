//! A sink's entry points.

use std::sync::Arc;

use iggy_connector_abi::{
    Completion, Nothing, Status,
    instance::{Open, Traits},
    sink::ConsumedBatch,
};
use tracing::Span;

use super::{
    guard::Guard,
    instances::{Instance, Instances},
    open::{self, Opened, Request},
    outcome::Ended,
    panics::catch,
    records,
    task::Work,
};
use crate::{Error, Sink, SinkConstructor, sink::Batch};

type Connector = Box<dyn Sink>;

static SINKS: Instances<Connector> = Instances::new();

/// See [`iggy_connector_abi::instance::OpenFn`].
///
/// # Safety
///
/// As there.
pub unsafe fn open<A, F: SinkConstructor<A>>(
    open: *const Open,
    completion: Completion<Traits>,
    plugin: &str,
    constructor: F,
) {
    let work = |request, span| -> Work<Opened<Connector>> {
        Box::pin(async move { Ended::of(create(request, span, constructor).await) })
    };
    // SAFETY: the caller's promise, passed on.
    let _ = catch(|| unsafe { open::begin(open, completion, plugin, &SINKS, work) });
}

/// See [`iggy_connector_abi::sink::Consume`].
///
/// # Safety
///
/// As there.
pub unsafe fn consume(
    instance: u32,
    call: u64,
    batch: *const ConsumedBatch,
    completion: Completion<Nothing>,
) {
    // SAFETY: this call's only guard; the task that holds the batch drops it before the guard.
    let guard = unsafe { Guard::new(completion) };
    // SAFETY: lent until the completion (`Consume`), which the guard makes last.
    let batch = unsafe { records::batch(batch) };
    let _ = catch(|| SINKS.call(instance, call, guard, |sink| deliver(sink, batch)));
}

/// See [`iggy_connector_abi::sink::FLUSH`].
///
/// # Safety
///
/// As [`iggy_connector_abi::instance::Plain`].
pub unsafe fn flush(instance: u32, call: u64, completion: Completion<Nothing>) {
    // SAFETY: this call's only guard; nothing is lent.
    let guard = unsafe { Guard::new(completion) };
    let _ = catch(|| {
        SINKS.call(instance, call, guard, |sink| {
            Box::pin(async move { Ended::of(sink.connector.flush().await) })
        })
    });
}

/// See [`iggy_connector_abi::sink::HEALTH`].
///
/// # Safety
///
/// As [`iggy_connector_abi::instance::Plain`].
pub unsafe fn health(instance: u32, call: u64, completion: Completion<Nothing>) {
    // SAFETY: this call's only guard; nothing is lent.
    let guard = unsafe { Guard::new(completion) };
    let _ = catch(|| {
        SINKS.call(instance, call, guard, |sink| {
            Box::pin(async move { Ended::of(sink.connector.health_check().await) })
        })
    });
}

/// See [`iggy_connector_abi::sink::CLOSE`].
///
/// # Safety
///
/// As [`iggy_connector_abi::instance::Plain`].
pub unsafe fn close(instance: u32, call: u64, completion: Completion<Nothing>) {
    // SAFETY: this call's only guard; nothing is lent.
    let guard = unsafe { Guard::new(completion) };
    let _ = catch(|| {
        SINKS.close(instance, call, guard, |mut sink| {
            Box::pin(async move { Ended::of(sink.close().await) })
        })
    });
}

/// See [`iggy_connector_abi::instance::Cancel`].
pub fn cancel(instance: u32, call: u64) {
    let _ = catch(|| SINKS.cancel(instance, call));
}

async fn create<A, F: SinkConstructor<A>>(
    request: Request,
    span: Span,
    constructor: F,
) -> Result<Opened<Connector>, Error> {
    let config = request.config()?;
    let mut sink = constructor.construct(request.number, config);
    sink.open().await?;
    Ok(Opened {
        number: request.number,
        traits: Traits {
            size: size_of::<Traits>() as u32,
            exclusive: u32::from(sink.exclusive()),
            max_unsettled: sink.max_unsettled(),
            max_in_flight: 0,
        },
        instance: Instance {
            span,
            connector: Box::new(sink),
        },
        instances: &SINKS,
    })
}

fn deliver(sink: Arc<Instance<Connector>>, batch: Result<Batch<'static>, String>) -> Work<()> {
    Box::pin(async move {
        let batch = match batch {
            Ok(batch) => batch,
            Err(message) => return Ended::badly(Status::CONTRACT, message),
        };
        Ended::of_batch(sink.connector.consume_batch(batch).await, batch.len())
    })
}
