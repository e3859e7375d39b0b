//! The management API: axum, JSON, one router for connectors mounted at `/sinks` and `/sources`.

mod activation;
mod auth;
mod body;
mod change;
mod choices;
mod configs;
mod connectors;
mod cors;
mod document;
mod dto;
mod error;
mod extract;
mod loggers;
mod metrics;
mod offsets;
mod openapi;
mod plugins;
mod query;
mod restart;
mod server;
mod system;
mod tls;
mod write_timeout;

use std::sync::{Arc, Mutex};

use axum::{Extension, Router, extract::DefaultBodyLimit, middleware};

pub use self::server::Listener;
use self::{auth::Auth, choices::Choices, error::ApiError};
use crate::{
    config::{
        Reader, Secrets,
        spec::{self, Direction},
    },
    provider::{self, Provider},
    supervisor::Supervisor,
    telemetry::{levels::Levels, process::Process},
};

/// Largest request body.
const BODY_LIMIT: usize = 1024 * 1024;

/// What the routes answer from.
#[derive(Clone)]
pub struct Api {
    connectors: Supervisor,
    provider: Arc<dyn Provider>,
    choices: Choices,
    /// Reads documents as the daemon reads its files.
    reader: Reader,
    /// What no message may show.
    secrets: Secrets,
    levels: Levels,
    process: Arc<Mutex<Process>>,
}

impl Api {
    pub fn new(
        connectors: Supervisor,
        provider: Arc<dyn Provider>,
        reader: Reader,
        secrets: Secrets,
        levels: Levels,
    ) -> Self {
        Self {
            connectors,
            provider,
            choices: Choices::default(),
            reader,
            secrets,
            levels,
            process: Arc::new(Mutex::new(Process::new())),
        }
    }

    /// Does something to its end, also when the client does not wait for it.
    async fn whole<T, F>(&self, work: impl FnOnce(Self) -> F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        let done = tokio::spawn(work(self.clone())).await;
        done.unwrap_or_else(|error| Err(ApiError::Storage(error.to_string())))
    }

    /// Why the provider did not do something.
    fn failed(&self, error: &provider::Error) -> ApiError {
        let causes =
            std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        let reason = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        ApiError::of_provider(error, self.secrets.hide(&reason).into_owned())
    }
}

fn router(api: Api, auth: Arc<Auth>, http: &spec::Http) -> Router {
    let guard = middleware::from_fn_with_state(auth.clone(), auth::require_key);
    let metrics = http.metrics.as_deref().map(metrics::routes);
    let keyed = system::keyed()
        .merge(openapi::keyed())
        .merge(metrics.unwrap_or_default())
        .merge(change::validation())
        .merge(plugins::routes())
        .merge(loggers::routes())
        .merge(connectors::routes(Direction::Sink))
        .merge(connectors::routes(Direction::Source))
        .keyed()
        .layered(|router| router.route_layer(guard));
    let routes = system::public().merge(openapi::public()).merge(keyed);
    let document = Arc::new(routes.document());
    let all = routes
        .into_router()
        .fallback(async || ApiError::NotFound("no such route".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(Extension(document))
        .layer(middleware::from_fn_with_state(auth, auth::refuse_foreign))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(api);
    match &http.cors {
        // Outermost: a browser asks beforehand without a key.
        Some(cors) => all.layer(cors::layer(cors)),
        None => all,
    }
}
