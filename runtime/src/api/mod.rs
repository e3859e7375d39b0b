//! The management API: axum, JSON, one router for connectors mounted at `/sinks` and `/sources`.

mod auth;
mod body;
mod change;
mod configs;
mod connectors;
mod cors;
mod document;
mod dto;
mod error;
mod metrics;
mod query;
mod server;
mod system;
mod tls;

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};

pub use self::server::Listener;
use self::{auth::Auth, error::ApiError};
use crate::{
    config::{
        Reader, Secrets,
        spec::{self, Direction},
    },
    provider::{self, Provider},
    supervisor::Supervisor,
    telemetry::process::Process,
};

/// Largest request body.
const BODY_LIMIT: usize = 1024 * 1024;

/// What the routes answer from.
#[derive(Clone)]
pub struct Api {
    connectors: Supervisor,
    provider: Arc<dyn Provider>,
    /// Reads documents as the daemon reads its files.
    reader: Reader,
    /// What no message may show.
    secrets: Secrets,
    process: Arc<Mutex<Process>>,
}

impl Api {
    pub fn new(
        connectors: Supervisor,
        provider: Arc<dyn Provider>,
        reader: Reader,
        secrets: Secrets,
    ) -> Self {
        Self {
            connectors,
            provider,
            reader,
            secrets,
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
    let public = Router::new()
        .route("/", get(system::welcome))
        .route("/health", get(system::health))
        .route("/ready", get(system::ready));
    let mut keyed = Router::new()
        .route("/stats", get(system::stats))
        .route("/validate", post(change::validate))
        .nest("/sinks", connectors::router(Direction::Sink))
        .nest("/sources", connectors::router(Direction::Source));
    if let Some(path) = &http.metrics {
        keyed = keyed.route(path, get(metrics::metrics));
    }
    let keyed = keyed.route_layer(middleware::from_fn_with_state(
        auth.clone(),
        auth::require_key,
    ));
    let all = public
        .merge(keyed)
        .fallback(async || ApiError::NotFound("no such route".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(middleware::from_fn_with_state(auth, auth::refuse_foreign))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(api);
    match &http.cors {
        // Outermost: a browser asks beforehand without a key.
        Some(cors) => all.layer(cors::layer(cors)),
        None => all,
    }
}
