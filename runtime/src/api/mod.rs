//! The management API: axum, JSON, one router for connectors mounted at `/sinks` and `/sources`.

mod auth;
mod connectors;
mod cors;
mod dto;
mod error;
mod metrics;
mod server;
mod system;
mod tls;

use std::sync::{Arc, Mutex};

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};

pub use self::server::Listener;
use self::{auth::Auth, error::ApiError};
use crate::{
    config::spec::{self, Direction},
    supervisor::Supervisor,
    telemetry::process::Process,
};

/// Largest request body.
const BODY_LIMIT: usize = 1024 * 1024;

/// What the routes answer from.
#[derive(Clone)]
pub struct Api {
    connectors: Supervisor,
    process: Arc<Mutex<Process>>,
}

impl Api {
    pub fn new(connectors: Supervisor) -> Self {
        Self {
            connectors,
            process: Arc::new(Mutex::new(Process::new())),
        }
    }
}

fn router(api: Api, auth: Arc<Auth>, http: &spec::Http) -> Router {
    let public = Router::new()
        .route("/", get(system::welcome))
        .route("/health", get(system::health))
        .route("/ready", get(system::ready));
    let mut keyed = Router::new()
        .route("/stats", get(system::stats))
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
