//! Runs an open connector against the broker: connect, run the pipeline's loop, and connect again when the connection is lost, with the
//! plugin open all the time. `open` calls it.

use std::{convert::Infallible, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    open::{Built, Sink, Source},
    work::Run,
};
use crate::{
    config::spec::Streams,
    pipeline::{
        self, Attempts, Counts, Failure, FailureKind,
        dead_letter::Sender,
        policy::{DeadLetters, Policy},
        source::{DRAIN, tell_undrained},
    },
    plugin, state, stream,
};

type Pipeline<'a> =
    pipeline::source::Source<'a, plugin::Source, state::FileStore, stream::DeadLetters>;

/// The attempts at keeping a connection to the broker.
struct Session<'a> {
    attempts: Attempts<'a>,
    before: Counts,
    run: &'a Run,
}

/// Runs a sink until it is stopped, or until something fails.
pub(super) async fn consume(sink: &Sink, run: &Run) -> Result<(), Failure> {
    let dead_letters = sink.built.dead_letters();
    let pipeline = pipeline::sink::Sink {
        plugin: &sink.plugin,
        inputs: &sink.inputs,
        policy: sink.built.policy(dead_letters.as_ref(), run),
        delivery: sink.built.spec.delivery,
        max_unsettled: sink.plugin.traits().max_unsettled,
        max_in_flight: sink.built.spec.max_in_flight,
        verbose: sink.built.spec.verbose,
        benchmark: sink.built.spec.benchmark,
        monitor: &run.monitor,
        pausing: run.halt.pausing.clone(),
    };
    let mut session = Session::new(&sink.built, run, &run.halt.stop);
    loop {
        let ended = match until(&run.halt.stop, join(sink)).await {
            Ok(Some(consumer)) => {
                session.connected();
                let consumer = consumer.telling(run.monitor.clone());
                pipeline.run(consumer, &run.halt.stop).await
            }
            Ok(None) => return Ok(()),
            Err(failure) => Err(failure),
        };
        let Err(failure) = ended else { return Ok(()) };
        if let Some(ended) = session.lost(failure).await {
            return ended;
        }
    }
}

/// Runs a source until it is stopped, until it ends by itself, or until something fails.
pub(super) async fn produce(source: &Source, run: &Run) -> Result<(), Failure> {
    let dead_letters = source.built.dead_letters();
    let Streams::Outputs(outputs) = &source.built.spec.streams else {
        return Err(Failure::fatal("a source has no inputs"));
    };
    let mut pipeline = pipeline::source::Source {
        plugin: &source.plugin,
        state: &source.state,
        outputs: &source.outputs,
        poll_interval: outputs[0].poll_interval,
        max_in_flight: source.plugin.traits().max_in_flight,
        drains: source.plugin.traits().drains,
        delivery: source.built.spec.delivery,
        policy: source.built.policy(dead_letters.as_ref(), run),
        verbose: source.built.spec.verbose,
        benchmark: source.built.spec.benchmark,
        monitor: &run.monitor,
    };
    let ended = produce_until(&run.halt.stop, source, &mut pipeline, run).await?;
    if ended == Ended::Early && pipeline.drains {
        // Without a connection nobody has asked for what it has taken. There is time to make one.
        let over = CancellationToken::new();
        let drained = tokio::select! {
            biased;
            never = cancel_after(DRAIN, &over) => match never {},
            drained = produce_until(&over, source, &mut pipeline, run) => drained?,
        };
        if drained == Ended::Early {
            tell_undrained();
        }
    }
    Ok(())
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// There was no connection when it was over.
    Early,
    Well,
}

/// Runs a source over one connection after the other; none is made any more when it is `over`.
async fn produce_until(
    over: &CancellationToken,
    source: &Source,
    pipeline: &mut Pipeline<'_>,
    run: &Run,
) -> Result<Ended, Failure> {
    let mut session = Session::new(&source.built, run, over);
    loop {
        let ended = match until(over, reach(source)).await {
            Ok(Some(producer)) => {
                session.connected();
                pipeline.run(&producer, &run.halt.stop).await
            }
            Ok(None) => return Ok(Ended::Early),
            Err(failure) => Err(failure),
        };
        let Err(failure) = ended else {
            return Ok(Ended::Well);
        };
        if let Some(ended) = session.lost(failure).await {
            return ended.map(|()| Ended::Early);
        }
    }
}

async fn cancel_after(time: Duration, token: &CancellationToken) -> Infallible {
    tokio::time::sleep(time).await;
    token.cancel();
    std::future::pending().await
}

async fn join(sink: &Sink) -> Result<stream::Consumer, Failure> {
    let Streams::Inputs(inputs) = &sink.built.spec.streams else {
        return Err(Failure::fatal("a sink has no outputs"));
    };
    let client = sink.built.connect().await?;
    let spec = &sink.built.spec;
    let reading = stream::Reading {
        commit_interval: spec.commit_interval,
        delivery: spec.delivery,
        exclusive: spec.exclusive,
    };
    let store = sink.built.host.state.sink(&spec.key);
    let mut starts = stream::Starts::new(store.load().await, store);
    stream::Consumer::join(client, inputs, reading, &mut starts).await
}

async fn reach(source: &Source) -> Result<stream::Producer, Failure> {
    let Streams::Outputs(outputs) = &source.built.spec.streams else {
        return Err(Failure::fatal("a source has no inputs"));
    };
    let client = source.built.connect().await?;
    stream::Producer::new(client, outputs).await
}

/// `None` when the stop comes first: a broker that does not answer must not hold up a stop. The connection goes with the future.
async fn until<T>(
    stop: &CancellationToken,
    connecting: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(None),
        connected = connecting => connected.map(Some),
    }
}

impl<'a> Session<'a> {
    /// Attempts are made until it is `over`.
    fn new(built: &Built, run: &'a Run, over: &'a CancellationToken) -> Self {
        let retry = built.spec.retry.without_end();
        Self {
            attempts: Attempts::new("connect", retry, &run.monitor, over),
            before: run.monitor.counters.read(),
            run,
        }
    }

    fn connected(&self) {
        self.run.monitor.end_retry();
        self.run
            .progress
            .send_modify(|progress| progress.is_connected = true);
    }

    /// Waits and returns `None` when the connection is to be made again. Otherwise it is over, or it has failed for good.
    async fn lost(&mut self, failure: Failure) -> Option<Result<(), Failure>> {
        let counts = self.run.monitor.counters.read();
        if counts.progressed(&self.before) {
            self.attempts.done();
        }
        self.before = counts;
        match self.attempts.pause(failure).await {
            Ok(()) => None,
            Err(failure) if failure.kind == FailureKind::Cancelled => Some(Ok(())),
            Err(failure) => Some(Err(failure)),
        }
    }
}

impl Built {
    async fn connect(&self) -> Result<stream::Client, Failure> {
        stream::connect(&self.host.iggy, &self.spec.consumer_name).await
    }

    fn dead_letters(&self) -> Option<stream::DeadLetters> {
        let dlq = self.spec.dlq.as_ref()?;
        Some(stream::DeadLetters::new(
            &self.host.iggy,
            dlq,
            &self.spec.consumer_name,
        ))
    }

    fn policy<'a>(
        &'a self,
        dead_letters: Option<&'a stream::DeadLetters>,
        run: &'a Run,
    ) -> Policy<'a, stream::DeadLetters> {
        let dead_letters = dead_letters.map(|producer| DeadLetters {
            producer,
            sender: Sender {
                connector: self.spec.key.clone(),
                direction: self.spec.direction,
                config_version: self.spec.version,
                plugin_version: self.plugin_version.clone(),
                secrets: self.host.secrets.clone(),
            },
        });
        Policy::new(
            self.spec.errors,
            self.spec.retry,
            dead_letters,
            &run.monitor,
        )
    }
}
