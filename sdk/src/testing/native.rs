//! Calls the author's type directly: [`Native`].

use std::{
    future::poll_fn,
    marker::PhantomData,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
};

use async_trait::async_trait;

use super::{
    Batch, OpenSink, OpenSource, Outcome, Polled, SinkPlugin, SourcePlugin, Status, Traits,
};
use crate::{
    ConnectorState, Error, Sink, SinkConstructor, Source, SourceConstructor, config,
    export::{Ended, catch},
    source::{NotPolled, Settled, SourceBatchResult, Unsettled},
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

struct NativeSource<S> {
    source: S,
    unsettled: Unsettled,
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
            let mut source = self.constructor.clone().construct(ID, config, state);
            source.open().await?;
            Ok(Box::new(NativeSource {
                source,
                unsettled: Unsettled::default(),
                polls: AtomicU64::new(0),
            }) as Box<dyn OpenSource>)
        })
        .await
    }
}

#[async_trait]
impl<S: Source> OpenSource for NativeSource<S> {
    fn traits(&self) -> Traits {
        Traits {
            max_unsettled: 1,
            max_in_flight: self.source.max_in_flight().max(1),
            exclusive: self.source.exclusive(),
        }
    }

    async fn poll(&self) -> Result<Polled, Outcome> {
        let poll = self.polls.fetch_add(1, Ordering::Relaxed);
        let batch = watch(self.source.poll_batch()).await?;
        self.unsettled.add(poll, &batch);
        Ok(Polled { poll, batch })
    }

    async fn poll_cancelled(&self) -> Option<Result<Polled, Outcome>> {
        at_once(self.poll()).await
    }

    async fn settle(&self, poll: u64, result: SourceBatchResult) -> Outcome {
        let settled = Settled { poll, result };
        match guarded(self.unsettled.settle(&self.source, settled)).await {
            Ok(Ok(told)) => Ended::of(told).into(),
            Ok(Err(NotPolled)) => Ended::<()>::badly(Status::CONTRACT, settled.refusal()).into(),
            Err(message) => panicked(message),
        }
    }

    async fn health(&self) -> Outcome {
        outcome(self.source.health_check()).await
    }

    async fn close(mut self: Box<Self>) -> Outcome {
        outcome(self.source.close()).await
    }
}

/// Runs a call to its end. A panic is told as one.
async fn guarded<T>(call: impl Future<Output = T>) -> Result<T, String> {
    let mut call = pin!(AssertUnwindSafe(call));
    poll_fn(|context| match catch(|| call.as_mut().poll(context)) {
        Ok(step) => step.map(Ok),
        Err(message) => Poll::Ready(Err(message)),
    })
    .await
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
