//! Builds a connector from its specification and opens its plugin: what the daemon's connectors are made of. `session` runs them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use iggy_connector_message::TopicMetadata;
use iggy_connector_transform::Chain;
use tracing::{info, warn};

use super::{
    offsets::{Manner, Move, NotReset, Reset},
    session,
    work::{End, Instance, Opener, Run},
};
use crate::{
    config::{
        self, Guarded, PluginSchema, Secrets,
        spec::{self, Direction, Streams},
    },
    pipeline::{Failure, FailureKind, Monitor, Stages, sink::Input, source::Output},
    plugin, state,
};

/// What all connectors share.
pub struct Host {
    pub iggy: spec::Iggy,
    pub plugins: plugin::Registry,
    pub search_paths: Vec<PathBuf>,
    pub state: state::Folder,
    /// What no message may show.
    pub secrets: Secrets,
}

/// A connector whose plugin is open.
pub(super) enum Open {
    Sink(Sink),
    Source(Source),
}

/// What both directions have.
pub(super) struct Built {
    pub(super) spec: Arc<spec::Connector>,
    pub(super) host: Arc<Host>,
    pub(super) plugin_version: String,
    /// `plugin_config` as the plugin wants it.
    pub(super) plugin_config: Guarded,
}

pub(super) struct Sink {
    pub(super) built: Built,
    pub(super) plugin: plugin::Sink,
    /// By `[[streams]]` entry.
    pub(super) inputs: Vec<Input>,
}

pub(super) struct Source {
    pub(super) built: Built,
    pub(super) plugin: plugin::Source,
    pub(super) outputs: Vec<Output>,
    pub(super) state: state::FileStore,
}

impl Opener for Arc<Host> {
    type Instance = Open;

    async fn check(&self, spec: Arc<spec::Connector>) -> Result<(), End> {
        let library = load(self, &spec).await?;
        plugin_config(self, &spec, &library).map(|_| ())
    }

    async fn open(&self, spec: Arc<spec::Connector>, run: Run) -> Result<Open, End> {
        let library = tokio::select! {
            biased;
            () = run.halt.stop.cancelled() => return Err(End::Failed(cancelled())),
            library = load(self, &spec) => library?,
        };
        run.progress.send_modify(|progress| {
            progress.plugin_version = Some(library.version().to_owned());
        });
        let plugin_config = plugin_config(self, &spec, &library)?;
        let built = Built {
            plugin_config,
            spec,
            host: self.clone(),
            plugin_version: library.version().to_owned(),
        };
        match built.spec.direction {
            Direction::Sink => built.open_sink(&library, &run).await,
            Direction::Source => built.open_source(&library, &run).await,
        }
    }

    async fn reset(
        &self,
        spec: Arc<spec::Connector>,
        reset: Reset,
        manner: Manner,
    ) -> Result<Vec<Move>, NotReset> {
        Host::reset(self, &spec, &reset, manner).await
    }

    async fn watch(&self, spec: Arc<spec::Connector>, monitor: &Monitor) {
        Host::watch(self, &spec, monitor).await;
    }
}

impl Instance for Open {
    fn is_exclusive(&self) -> bool {
        match self {
            Self::Sink(sink) => sink.plugin.traits().exclusive,
            Self::Source(source) => source.plugin.traits().exclusive,
        }
    }

    fn streams(&self) -> Option<Streams> {
        let (Self::Sink(Sink { built, .. }) | Self::Source(Source { built, .. })) = self;
        Some(built.spec.streams.clone())
    }

    async fn run(&self, run: &Run) -> Result<(), End> {
        let ended = match self {
            Self::Sink(sink) => session::consume(sink, run).await,
            Self::Source(source) => session::produce(source, run).await,
        };
        Ok(ended?)
    }

    async fn health(&self, within: Duration) -> Result<(), Failure> {
        match self {
            Self::Sink(sink) => sink.plugin.health(within).await,
            Self::Source(source) => source.plugin.health(within).await,
        }
    }

    async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Sink(sink) => sink.plugin.close().await,
            Self::Source(source) => source.plugin.close().await,
        }
    }
}

impl Built {
    async fn open_sink(mut self, library: &plugin::Library, run: &Run) -> Result<Open, End> {
        // What stands in the file is checked before anything is opened.
        let mut inputs = self.inputs()?;
        let plugin = plugin::Sink::open_until(library, self.opening(None), &run.halt.stop).await?;
        if inputs.is_empty() {
            self.take_proposal(plugin.traits(), library)?;
            inputs = self.inputs()?;
        }
        Ok(Open::Sink(Sink {
            built: self,
            plugin,
            inputs,
        }))
    }

    async fn open_source(mut self, library: &plugin::Library, run: &Run) -> Result<Open, End> {
        let mut outputs = self.outputs()?;
        let state = self.host.state.source(&self.spec.key);
        // A save of an earlier run that has not ended is waited for.
        let saved = tokio::select! {
            biased;
            () = run.halt.stop.cancelled() => return Err(End::Failed(cancelled())),
            saved = state.load() => saved?,
        };
        let plugin =
            plugin::Source::open_until(library, self.opening(saved), &run.halt.stop).await?;
        if outputs.is_empty() {
            self.take_proposal(plugin.traits(), library)?;
            outputs = self.outputs()?;
        }
        let plugin = plugin.wishing(wishes(&self.spec.streams));
        Ok(Open::Source(Source {
            built: self,
            plugin,
            outputs,
            state,
        }))
    }

    /// By `[[streams]]` entry of a sink.
    fn inputs(&self) -> Result<Vec<Input>, End> {
        let Streams::Inputs(inputs) = &self.spec.streams else {
            return Ok(Vec::new());
        };
        let built = inputs.iter().map(|input| {
            Ok(Input {
                stages: Stages::of_sink(input.schema, self.transforms()?)
                    .map_err(|error| invalid(&error))?,
                // A consume that waits for its flush is not to miss its deadline meanwhile.
                batch_timeout: input.batch_timeout.min(self.spec.deadlines.consume / 2),
            })
        });
        built.collect()
    }

    /// By `[[streams]]` entry of a source.
    fn outputs(&self) -> Result<Vec<Output>, End> {
        let Streams::Outputs(outputs) = &self.spec.streams else {
            return Ok(Vec::new());
        };
        let built = outputs.iter().map(|output| {
            Ok(Output {
                topic: Arc::new(TopicMetadata {
                    stream: output.stream.clone(),
                    topic: output.topic.clone(),
                }),
                route: output.route.clone(),
                stages: Stages::of_source(output.schema, self.transforms()?)
                    .map_err(|error| invalid(&error))?,
            })
        });
        built.collect()
    }

    /// The configuration names no streams: those are taken that the plugin proposes.
    fn take_proposal(
        &mut self,
        traits: &plugin::Traits,
        library: &plugin::Library,
    ) -> Result<(), End> {
        let refuse = |reason: String| End::Final(Failure::fatal(reason));
        let name = library.name();
        let entries = traits.streams.as_deref().map_err(|why| {
            refuse(format!(
                "plugin `{name}` proposes streams that cannot be read: {why}"
            ))
        })?;
        let streams = config::proposed(&self.spec, name, entries).map_err(refuse)?;
        info!(
            plugin = name,
            "reading and writing the streams that the plugin proposes"
        );
        self.spec = Arc::new(spec::Connector {
            streams,
            ..spec::Connector::clone(&self.spec)
        });
        Ok(())
    }

    fn transforms(&self) -> Result<Chain, End> {
        let transforms = self.spec.transforms.iter();
        let configs: Vec<_> = transforms
            .map(|transform| (transform.r#type.clone(), transform.config.expose().clone()))
            .collect();
        Chain::from_config(&configs).map_err(|error| invalid(&error))
    }

    fn opening(&self, state: Option<bytes::Bytes>) -> plugin::Open<'_> {
        plugin::Open {
            key: &self.spec.key,
            config: self.plugin_config.expose(),
            state,
            deadlines: self.spec.deadlines,
        }
    }
}

/// Finds and loads the plugin. A library that is missing or refused stays so until somebody does something about it.
async fn load(host: &Host, spec: &spec::Connector) -> Result<plugin::Library, End> {
    let refuse = |reason: String| End::Final(Failure::fatal(reason));
    let path = plugin::locate(&spec.path, &spec.origin, &host.search_paths)
        .map_err(|error| refuse(error.to_string()))?;
    let library = match host.plugins.load(&path, spec.direction).await {
        Ok(library) => library,
        Err(error) if error.is_retryable() => {
            return Err(End::Failed(Failure::fatal(error.to_string())));
        }
        Err(error) => return Err(refuse(error.to_string())),
    };
    info!(plugin = library.name(), version = library.version(), path = %path.display(), "plugin loaded");
    Ok(library)
}

fn wishes(streams: &Streams) -> plugin::Wishes {
    let Streams::Outputs(outputs) = streams else {
        return plugin::Wishes::default();
    };
    let lengths = outputs.iter().map(|output| output.batch_length);
    plugin::Wishes {
        max_messages: lengths.max().unwrap_or(0),
        linger: outputs.iter().find_map(|output| output.linger),
    }
}

/// The plugin's configuration as its schema wants it. One that does not fit is not even handed over.
fn plugin_config(
    host: &Host,
    spec: &spec::Connector,
    library: &plugin::Library,
) -> Result<Guarded, End> {
    let written = &spec.plugin_config;
    let Some(schema) = &library.descriptor().config_schema else {
        return Ok(written.clone());
    };
    let schema = match PluginSchema::parse(schema) {
        Ok(schema) => schema,
        Err(error) => {
            warn!(%error, plugin = library.name(), "the plugin's configuration schema cannot be used: nothing is checked before it is opened");
            return Ok(written.clone());
        }
    };
    written
        .fitted(&schema, &host.secrets)
        .map_err(|problems| End::Final(Failure::fatal(problems.in_lines())))
}

fn cancelled() -> Failure {
    Failure::new(FailureKind::Cancelled, "it was ended while it was opened")
}

fn invalid(error: &iggy_connector_message::Error) -> End {
    End::Final(Failure::fatal(error.to_string()))
}
