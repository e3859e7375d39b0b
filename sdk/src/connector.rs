//! How a macro makes a connector from its type: the constructor's arguments are told apart by type inference.

use serde::de::DeserializeOwned;

use crate::{ConnectorState, Sink, Source};

/// `fn new(id: u32, config: Config) -> Self` of a sink. Implemented for every such function; use it through
/// [`crate::sink_connector!`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no constructor of a sink",
    note = "a sink is made by `fn new(id: u32, config: Config) -> Self`, where `Config: serde::de::DeserializeOwned`"
)]
pub trait SinkConstructor<Arguments>: Send + 'static {
    /// The sink's configuration.
    type Config: DeserializeOwned;
    /// The sink.
    type Sink: Sink + 'static;

    /// Calls the function.
    fn construct(self, id: u32, config: Self::Config) -> Self::Sink;
}

impl<F, C, S> SinkConstructor<(u32, C)> for F
where
    F: FnOnce(u32, C) -> S + Send + 'static,
    C: DeserializeOwned,
    S: Sink + 'static,
{
    type Config = C;
    type Sink = S;

    fn construct(self, id: u32, config: C) -> S {
        self(id, config)
    }
}

/// `fn new(id: u32, config: Config) -> Self` of a source, or one that takes an `Option<ConnectorState>` besides.
/// Implemented for every such function; use it through [`crate::source_connector!`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no constructor of a source",
    note = "a source is made by `fn new(id: u32, config: Config) -> Self` or `fn new(id: u32, config: Config, state: Option<ConnectorState>) -> Self`, where `Config: serde::de::DeserializeOwned`"
)]
pub trait SourceConstructor<Arguments>: Send + 'static {
    /// The source's configuration.
    type Config: DeserializeOwned;
    /// The source.
    type Source: Source + 'static;

    /// Calls the function.
    fn construct(
        self,
        id: u32,
        config: Self::Config,
        state: Option<ConnectorState>,
    ) -> Self::Source;
}

impl<F, C, S> SourceConstructor<(u32, C)> for F
where
    F: FnOnce(u32, C) -> S + Send + 'static,
    C: DeserializeOwned,
    S: Source + 'static,
{
    type Config = C;
    type Source = S;

    fn construct(self, id: u32, config: C, _state: Option<ConnectorState>) -> S {
        self(id, config)
    }
}

impl<F, C, S> SourceConstructor<(u32, C, Option<ConnectorState>)> for F
where
    F: FnOnce(u32, C, Option<ConnectorState>) -> S + Send + 'static,
    C: DeserializeOwned,
    S: Source + 'static,
{
    type Config = C;
    type Source = S;

    fn construct(self, id: u32, config: C, state: Option<ConnectorState>) -> S {
        self(id, config, state)
    }
}
