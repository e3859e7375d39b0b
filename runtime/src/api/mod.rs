//! The management API: axum, JSON, one router for connectors mounted at `/sinks` and `/sources`.

mod auth;
mod connectors;
mod dto;
mod error;
mod system;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::error::ApiError;
use crate::{
    config::spec::{self, Direction},
    supervisor::Handle,
    telemetry::process::Process,
};

/// How long open connections may take to finish when the daemon stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Largest request body.
const BODY_LIMIT: usize = 1024 * 1024;

/// What the routes answer from.
#[derive(Clone)]
pub struct Api {
    connectors: Arc<[Handle]>,
    process: Arc<Mutex<Process>>,
    auth: Arc<auth::Auth>,
}

/// A listening API that does not answer yet.
pub struct Listener {
    socket: TcpListener,
    auth: auth::Auth,
}

impl Listener {
    /// Binds the configured address.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or it is not loopback and no key is set.
    pub async fn bind(http: &spec::Http) -> Result<Self, String> {
        let refuse =
            |error: std::io::Error| format!("http.address = \"{}\": {error}", http.address);
        let socket = TcpListener::bind(&http.address).await.map_err(refuse)?;
        let address = socket.local_addr().map_err(refuse)?;
        if http.api_key.is_none() && !address.ip().is_loopback() {
            return Err(format!(
                "http.address = \"{}\" can be reached from other machines: set http.api_key, or listen on 127.0.0.1",
                http.address
            ));
        }
        let auth = auth::Auth::new(http.api_key.clone());
        Ok(Self { socket, auth })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until `stop`, then gives open connections a moment.
    pub async fn serve(self, connectors: Arc<[Handle]>, stop: CancellationToken) {
        let api = Api {
            connectors,
            process: Arc::new(Mutex::new(Process::new())),
            auth: Arc::new(self.auth),
        };
        if let Ok(address) = self.socket.local_addr() {
            info!("management API on http://{address}");
            info!(
                "try: curl http://{address}/stats (also /sinks, /sources, /health); Ctrl-C drains and stops"
            );
        }
        let stopped = stop.clone().cancelled_owned();
        let serve = axum::serve(self.socket, router(api))
            .with_graceful_shutdown(stopped)
            .into_future();
        let closed = async {
            stop.cancelled().await;
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        tokio::select! {
            biased;
            served = serve => {
                if let Err(error) = served {
                    warn!(%error, "management API ended");
                }
            }
            () = closed => warn!("management API closed with requests still open"),
        }
    }
}

fn router(api: Api) -> Router {
    let public = Router::new()
        .route("/", get(system::welcome))
        .route("/health", get(system::health));
    let keyed = Router::new()
        .route("/stats", get(system::stats))
        .nest("/sinks", connectors::router(Direction::Sink))
        .nest("/sources", connectors::router(Direction::Source))
        .route_layer(middleware::from_fn_with_state(
            api.clone(),
            auth::require_key,
        ));
    public
        .merge(keyed)
        .fallback(async || ApiError::NotFound("no such route".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(middleware::from_fn_with_state(
            api.clone(),
            auth::refuse_foreign,
        ))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(api)
}
