//! Calls the author's type directly: [`Native`].

use std::{
    collections::BTreeMap,
    future::poll_fn,
    marker::PhantomData,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
};

use async_trait::async_trait;

use super::{
    Batch, OpenSink, OpenSource, Outcome, Polled, SinkPlugin, SourcePlugin, Status, Traits,
};
use crate::{
    ConnectorState, Error, Sink, SinkConstructor, SourceConstructor, config,
    export::{Ended, guarded},
    source::{Driver, Settled, SourceBatch, SourceBatchResult, Wishes},
};

/// The number that instances under test get.
const ID: u32 = 1;

/// A plugin that is the author's type, called directly.
///
/// ```
/// # use iggy_connector_sdk::testing::Native;
/// # struct MySink; struct MySource;
/// # fn plugins<A, B>(sink: impl iggy_connector_sdk::SinkConstructor<A>, source: impl iggy_connector_sdk::SourceConstructor<B>) {
/// let sink = Native::sink(sink); // usually `MySink::new`
/// let source = Native::source(source);
/// # }
/// ```
#[derive(Debug)]
pub struct Native<F, A> {
    constructor: F,
    arguments: PhantomData<fn(A)>,
}

struct NativeSink<S>(S);

struct NativeSource {
    source: Driver,
    polls: AtomicU64,
}

impl<F, A> Native<F, A> {
    fn new(constructor: F) -> Self {
        Self {
            constructor,
            arguments: PhantomData,
        }
    }
}

impl<A, F: SinkConstructor<A>> Native<F, A> {
    /// A sink, by its constructor.
    pub fn sink(constructor: F) -> Self {
        Self::new(constructor)
    }
}

impl<A, F: SourceConstructor<A>> Native<F, A> {
    /// A source, by its constructor.
    pub fn source(constructor: F) -> Self {
        Self::new(constructor)
    }
}

#[async_trait]
impl<A, F> SinkPlugin for Native<F, A>
where
    A: 'static,
    F: SinkConstructor<A> + Clone + Sync,
{
    async fn open(&self, config: &str) -> Result<Box<dyn OpenSink>, Outcome> {
        watch(async {
            let config = config::read(config.as_bytes())?;
            let mut sink = self.constructor.clone().construct(ID, config);
            sink.open().await?;
            Ok(Box::new(NativeSink(sink)) as Box<dyn OpenSink>)
        })
        .await
    }
}

#[async_trait]
impl<S: Sink> OpenSink for NativeSink<S> {
    fn traits(&self) -> Traits {
        Traits {
            max_unsettled: self.0.max_unsettled().max(1),
            max_in_flight: 1,
            exclusive: self.0.exclusive(),
        }
    }

    async fn consume(&self, batch: &Batch) -> Outcome {
        let lending = batch.lending();
        let lent = batch.lent(&lending);
        match guarded(self.0.consume_batch(lent)).await {
            Ok(result) => Ended::of_batch(result, lent.len()).into(),
            Err(message) => panicked(message),
        }
    }

    async fn consume_cancelled(&self, batch: &Batch) -> Option<Outcome> {
        at_once(self.consume(batch)).await
    }

    async fn flush(&self) -> Outcome {
        outcome(self.0.flush()).await
    }

    async fn health(&self) -> Outcome {
        outcome(self.0.health_check()).await
    }

    async fn close(mut self: Box<Self>) -> Outcome {
        outcome(self.0.close()).await
    }
}

#[async_trait]
impl<A, F> SourcePlugin for Native<F, A>
where
    A: 'static,
    F: SourceConstructor<A> + Clone + Sync,
{
    async fn open(
        &self,
        config: &str,
        state: Option<ConnectorState>,
    ) -> Result<Box<dyn OpenSource>, Outcome> {
        watch(async {
            let config = config::read(config.as_bytes())?;
            let source = self.constructor.clone().construct(ID, config, state);
            Ok(Box::new(NativeSource {
                source: Driver::open(source).await?,
                polls: AtomicU64::new(0),
            }) as Box<dyn OpenSource>)
        })
        .await
    }
}

#[async_trait]
impl OpenSource for NativeSource {
    fn traits(&self) -> Traits {
        Traits {
            max_unsettled: 1,
            max_in_flight: self.source.max_in_flight(),
            exclusive: self.source.exclusive(),
        }
    }

    async fn poll(&self) -> Result<Polled, Outcome> {
        let poll = self.polls.fetch_add(1, Ordering::Relaxed);
        let polled = guarded(self.source.poll(poll, Wishes::default())).await;
        let mut polled = polled.map_err(panicked)?;
        match polled.value.take() {
            Some(batch) => Ok(Polled {
                poll,
                batch: SourceBatch::clone(&batch),
            }),
            None => Err(polled.into()),
        }
    }

    async fn poll_cancelled(&self) -> Option<Result<Polled, Outcome>> {
        at_once(self.poll()).await
    }

    async fn settle(&self, poll: u64, result: SourceBatchResult) -> Outcome {
        let settled = Settled {
            poll,
            result,
            undelivered: BTreeMap::new(),
        };
        match guarded(self.source.settle(&settled)).await {
            Ok(told) => told.into(),
            Err(message) => panicked(message),
        }
    }

    async fn health(&self) -> Outcome {
        outcome(self.source.health()).await
    }

    async fn close(self: Box<Self>) -> Outcome {
        outcome(self.source.close()).await
    }
}

async fn watch<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Outcome> {
    match guarded(call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Ended::<()>::of(Err(error)).into()),
        Err(message) => Err(panicked(message)),
    }
}

async fn outcome(call: impl Future<Output = Result<(), Error>>) -> Outcome {
    match watch(call).await {
        Ok(()) => Ended::well(()).into(),
        Err(outcome) => outcome,
    }
}

/// Runs a call up to its first wait, and drops it there.
async fn at_once<T>(call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn panicked(message: String) -> Outcome {
    Ended::<()>::badly(Status::PANICKED, message).into()
}
