//! One connector's task: open, run, close, and start again as its policy says. It alone changes the connector's status.

use std::{panic::AssertUnwindSafe, path::PathBuf, sync::Arc};

use futures_util::FutureExt as _;
use iggy_connector_message::TopicMetadata;
use iggy_connector_transform::Chain;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::snapshot::{Reporter, Status};
use crate::{
    config::spec::{self, Restart, Streams},
    pipeline::{
        self, Attempts, Backoff, Counts, Failure, FailureKind, Monitor, Stages,
        dead_letter::Sender,
        policy::{DeadLetters, Policy},
    },
    plugin, state, stream,
};

/// What all connectors share.
pub struct Host {
    pub iggy: spec::Iggy,
    pub plugins: plugin::Registry,
    pub search_paths: Vec<PathBuf>,
    pub state: state::Folder,
}

/// The task's own data.
pub(super) struct Connector {
    pub(super) spec: Arc<spec::Connector>,
    pub(super) host: Arc<Host>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) reporter: Reporter,
    pub(super) stop: CancellationToken,
}

/// Why a run ended other than by being stopped.
enum End {
    /// The restart policy decides.
    Failed(Failure),
    /// Starting again would change nothing.
    Final(Failure),
}

/// The attempts at keeping a connection to the broker.
struct Session<'a> {
    attempts: Attempts<'a>,
    before: Counts,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            FailureKind::Invalid | FailureKind::Exhausted => Self::Final(failure),
            _ => Self::Failed(failure),
        }
    }
}

impl Connector {
    /// Runs the connector until it is stopped, ends by itself, or fails for good.
    pub(super) async fn run(self) {
        let mut restarts = match self.spec.restart {
            Restart::Never => None,
            Restart::OnFailure(backoff) => Some(Backoff::new(backoff)),
        };
        loop {
            self.reporter.status(Status::Starting);
            let failure = match self.watched().await {
                Ok(()) => return self.reporter.status(Status::Stopped),
                Err(End::Final(failure)) => {
                    error!(error = %failure, "connector stopped for good");
                    return self.reporter.error(failure.to_string(), None);
                }
                Err(End::Failed(failure)) => failure,
            };
            self.monitor.counters.error();
            let delay = restarts
                .as_mut()
                .and_then(|backoff| backoff.next(failure.retry_after));
            self.reporter.error(failure.to_string(), delay);
            let Some(delay) = delay else {
                return error!(error = %failure, "connector failed and is not started again");
            };
            warn!(error = %failure, restart_in = ?delay, "connector failed");
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.reporter.status(Status::Stopped),
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// One run, with the status following what the pipeline reports. A panic of ours ends this connector only.
    async fn watched(&self) -> Result<(), End> {
        let mut retrying = self.monitor.retrying();
        let mut stopping = false;
        let run = AssertUnwindSafe(self.drive()).catch_unwind();
        tokio::pin!(run);
        loop {
            tokio::select! {
                biased;
                ended = &mut run => return ended.unwrap_or_else(|panic| Err(End::Failed(panicked(&*panic)))),
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.reporter.status(Status::Stopping);
                }
                changed = retrying.changed(), if !stopping => {
                    if changed.is_ok() {
                        let now = retrying.borrow_and_update().clone();
                        self.reporter.retrying(now);
                    }
                }
            }
        }
    }

    async fn drive(&self) -> Result<(), End> {
        let library = self.load().await?;
        self.reporter.plugin_version(library.version());
        match &self.spec.streams {
            Streams::Inputs(inputs) => self.drive_sink(&library, inputs).await,
            Streams::Outputs(outputs) => self.drive_source(&library, outputs).await,
        }
    }

    /// Finds and loads the plugin. A library that is missing or refused stays so until somebody does something about it.
    async fn load(&self) -> Result<plugin::Library, End> {
        let refuse = |reason: String| End::Final(Failure::fatal(reason));
        let path = plugin::locate(&self.spec.path, &self.spec.origin, &self.host.search_paths)
            .map_err(|error| refuse(error.to_string()))?;
        let library = match self.host.plugins.load(&path, self.spec.direction).await {
            Ok(library) => library,
            Err(error) if error.is_retryable() => {
                return Err(End::Failed(Failure::fatal(error.to_string())));
            }
            Err(error) => return Err(refuse(error.to_string())),
        };
        info!(plugin = library.name(), version = library.version(), path = %path.display(), "plugin loaded");
        Ok(library)
    }

    async fn drive_sink(
        &self,
        library: &plugin::Library,
        inputs: &[spec::Input],
    ) -> Result<(), End> {
        let stages = inputs
            .iter()
            .map(|input| {
                Stages::of_sink(input.schema, self.transforms()?).map_err(|error| invalid(&error))
            })
            .collect::<Result<Vec<_>, End>>()?;
        let plugin = plugin::Sink::open(library, self.open(None)).await?;
        let dead_letters = self.dead_letters();
        let mut sink = pipeline::sink::Sink {
            plugin: &plugin,
            stages: &stages,
            policy: self.policy(library, dead_letters.as_ref()),
            pausing: CancellationToken::new(),
            verbose: self.spec.verbose,
            monitor: &self.monitor,
        };
        let mut session = self.session();
        let ended = loop {
            let ended = self.consume(&mut sink, inputs).await;
            if let Some(ended) = self.lost(&mut session, ended).await {
                break ended;
            }
        };
        let closed = plugin.close().await;
        Ok(ended.and(closed)?)
    }

    async fn drive_source(
        &self,
        library: &plugin::Library,
        outputs: &[spec::Output],
    ) -> Result<(), End> {
        let targets = outputs
            .iter()
            .map(|output| {
                Ok(pipeline::source::Output {
                    topic: Arc::new(TopicMetadata {
                        stream: output.stream.clone(),
                        topic: output.topic.clone(),
                    }),
                    route: output.route.clone(),
                    stages: Stages::of_source(output.schema, self.transforms()?)
                        .map_err(|error| invalid(&error))?,
                })
            })
            .collect::<Result<Vec<_>, End>>()?;
        let store = self.host.state.source(&self.spec.key);
        let saved = store.load().await?;
        let plugin = plugin::Source::open(library, self.open(saved)).await?;
        let dead_letters = self.dead_letters();
        let mut source = pipeline::source::Source {
            plugin: &plugin,
            state: &store,
            outputs: &targets,
            delivery: self.spec.delivery,
            poll_interval: outputs[0].poll_interval,
            max_in_flight: plugin.traits().max_in_flight,
            policy: self.policy(library, dead_letters.as_ref()),
            verbose: self.spec.verbose,
            monitor: &self.monitor,
        };
        let mut session = self.session();
        let ended = loop {
            let ended = self.produce(&mut source, outputs).await;
            if let Some(ended) = self.lost(&mut session, ended).await {
                break ended;
            }
        };
        let closed = plugin.close().await;
        Ok(ended.and(closed)?)
    }

    /// Says how a session with the broker ended, or waits and returns `None` when it is to be tried again; the plugin stays open
    /// meanwhile.
    async fn lost(
        &self,
        session: &mut Session<'_>,
        ended: Result<(), Failure>,
    ) -> Option<Result<(), Failure>> {
        let Err(failure) = ended else {
            return Some(Ok(()));
        };
        let counts = self.monitor.counters.read();
        if counts.progressed(&session.before) {
            session.attempts.done();
        }
        session.before = counts;
        match session.attempts.pause(failure).await {
            Ok(()) => None,
            Err(failure) if failure.kind == FailureKind::Cancelled => Some(Ok(())),
            Err(failure) => Some(Err(failure)),
        }
    }

    fn session(&self) -> Session<'_> {
        Session {
            attempts: Attempts::new(
                "connect",
                self.spec.retry.without_end(),
                &self.monitor,
                &self.stop,
            ),
            before: self.monitor.counters.read(),
        }
    }

    async fn consume<P: pipeline::SinkPlugin, D: pipeline::Producer>(
        &self,
        sink: &mut pipeline::sink::Sink<'_, P, D>,
        inputs: &[spec::Input],
    ) -> Result<(), Failure> {
        let client = stream::connect(&self.host.iggy, &self.spec.consumer_name).await?;
        let store = self.host.state.sink(&self.spec.key);
        let mut starts = stream::Starts::new(store.load().await, store);
        let consumer = stream::Consumer::join(client, inputs, self.reading(), &mut starts).await?;
        self.connected();
        sink.run(consumer, &self.stop).await
    }

    fn reading(&self) -> stream::Reading {
        stream::Reading {
            commit_interval: self.spec.commit_interval,
            delivery: self.spec.delivery,
            exclusive: self.spec.exclusive,
        }
    }

    async fn produce<P, S, D>(
        &self,
        source: &mut pipeline::source::Source<'_, P, S, D>,
        outputs: &[spec::Output],
    ) -> Result<(), Failure>
    where
        P: pipeline::SourcePlugin,
        S: pipeline::StateStore,
        D: pipeline::Producer,
    {
        let client = stream::connect(&self.host.iggy, &self.spec.consumer_name).await?;
        let producer = stream::Producer::new(client, outputs).await?;
        self.connected();
        source.run(&producer, &self.stop).await
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
        library: &plugin::Library,
        dead_letters: Option<&'a stream::DeadLetters>,
    ) -> Policy<'a, stream::DeadLetters> {
        let dead_letters = dead_letters.map(|producer| DeadLetters {
            producer,
            sender: Sender {
                connector: self.spec.key.clone(),
                direction: self.spec.direction,
                config_version: self.spec.version,
                plugin_version: library.version().to_owned(),
            },
        });
        Policy::new(
            self.spec.errors,
            self.spec.retry,
            dead_letters,
            &self.monitor,
        )
    }

    fn connected(&self) {
        self.monitor.end_retry();
        if !self.stop.is_cancelled() {
            self.reporter.status(Status::Running);
        }
    }

    fn transforms(&self) -> Result<Chain, End> {
        let transforms = self.spec.transforms.iter();
        let configs: Vec<_> = transforms
            .map(|transform| (transform.r#type.clone(), transform.config.clone()))
            .collect();
        Chain::from_config(&configs).map_err(|error| invalid(&error))
    }

    fn open(&self, state: Option<bytes::Bytes>) -> plugin::Open<'_> {
        plugin::Open {
            key: &self.spec.key,
            config: &self.spec.plugin_config.0,
            state,
            deadlines: self.spec.deadlines,
        }
    }
}

fn invalid(error: &iggy_connector_message::Error) -> End {
    End::Final(Failure::fatal(error.to_string()))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned());
    Failure::fatal(format!(
        "the connector's task panicked, which is a bug of the runtime: {text}"
    ))
}
