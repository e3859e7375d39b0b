//! A sink's entry points.

use std::sync::Arc;

use iggy_connector_abi::{
    Completion, Nothing, Slice, Status,
    instance::{Open, Traits},
    sink::{ConsumedBatch, FlushRequest},
};
use tracing::Span;

use super::{
    guard::Guard,
    instances::{Instance, Instances},
    open::{self, Opened, Request},
    order::{Order, Partition},
    outcome::Ended,
    panics::catch,
    records,
    standing::{Rank, Watch},
    task::Work,
};
use crate::{Error, Sink, SinkConstructor, sink::Batch, streams};

/// A sink and the order of what it is handed.
pub(super) struct Connector {
    sink: Box<dyn Sink>,
    order: Arc<Order>,
}

static SINKS: Instances<Connector> = Instances::new();

/// See [`iggy_connector_abi::instance::OpenFn`].
///
/// # Safety
///
/// As there.
pub unsafe fn open<A, F: SinkConstructor<A>>(
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
    let _ = catch(|| unsafe { open::begin(open, call, completion, plugin, &SINKS, work) });
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

/// See [`iggy_connector_abi::sink::Flush`].
///
/// # Safety
///
/// As there.
pub unsafe fn flush(
    instance: u32,
    call: u64,
    request: *const FlushRequest,
    completion: Completion<Nothing>,
) {
    // SAFETY: this call's only guard; the request is read below, and not kept.
    let guard = unsafe { Guard::new(completion) };
    // SAFETY: lent until the completion (`Flush`).
    let about = unsafe { records::flush(request) };
    let _ = catch(|| SINKS.call(instance, call, guard, |sink| settle(sink, about)));
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
            Work::new(async move { Ended::of(sink.connector.sink.health_check().await) })
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
        SINKS.close(instance, call, guard, |mut connector| {
            Work::new(async move { Ended::of(connector.sink.close().await) })
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
        streams: streams::written(&sink.streams()),
        traits: Traits {
            size: size_of::<Traits>() as u32,
            exclusive: u32::from(sink.exclusive()),
            max_unsettled: sink.max_unsettled(),
            max_in_flight: 0,
            streams: Slice::EMPTY,
            drains: 0,
            reserved: 0,
        },
        instance: Instance {
            span,
            connector: Connector {
                sink: Box::new(sink),
                order: Arc::default(),
            },
        },
        instances: &SINKS,
    })
}

fn deliver(
    sink: Arc<Instance<Connector>>,
    batch: Result<(Batch<'static>, Rank), String>,
) -> Work<()> {
    let (batch, rank) = match batch {
        Ok(batch) => batch,
        Err(message) => return Work::new(async { Ended::badly(Status::CONTRACT, message) }),
    };
    let partition = Partition::new(batch.stream(), batch.topic(), batch.partition_id());
    let (place, turn) = sink.connector.order.join(partition);
    let watch = Watch::new(&turn, rank, batch.len());
    let consume = async move {
        let author = || sink.connector.sink.consume_batch(batch);
        let consumed = turn.run(|| watch.run(author)).await;
        Ended::of_batch(consumed, batch.len())
    };
    Work::new(consume).holding(place)
}

fn settle(sink: Arc<Instance<Connector>>, about: Result<Option<Partition>, String>) -> Work<()> {
    let before = match about {
        Ok(about) => sink.connector.order.before(about),
        Err(message) => return Work::new(async { Ended::badly(Status::CONTRACT, message) }),
    };
    Work::new(async move {
        // What has not begun yet, the sink could not flush.
        before.begun().await;
        let flushed = sink.connector.sink.flush().await;
        if flushed.is_ok() {
            before.completed().await;
        }
        Ended::of(flushed)
    })
}
