//! An OpenTelemetry collector that keeps everything as it came.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, http::Uri, routing::post};
use tokio::{net::TcpListener, time::Instant};

use super::daemon::PATIENCE;

/// What came, by the path that it was sent to.
type Kept = Arc<Mutex<Vec<(String, Bytes)>>>;

/// A collector for OTLP over HTTP. It ends with the runtime of its test.
pub struct Collector {
    pub url: String,
    kept: Kept,
}

impl Collector {
    pub async fn start() -> Self {
        let kept = Kept::default();
        let keep = post(async |State(kept): State<Kept>, uri: Uri, body: Bytes| {
            kept.lock().unwrap().push((uri.path().to_owned(), body));
        });
        let routes = Router::new()
            .route("/v1/logs", keep.clone())
            .route("/v1/traces", keep)
            .with_state(kept.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, kept }
    }

    /// Everything that was sent to a path, in one piece: texts stand in OTLP as they are.
    pub fn text(&self, path: &str) -> String {
        let kept = self.kept.lock().unwrap();
        let sent = kept.iter().filter(|(to, _)| to == path);
        sent.map(|(_, body)| String::from_utf8_lossy(body).into_owned())
            .collect()
    }

    /// Waits until something with this in it was sent to a path.
    pub async fn wait_for(&self, path: &str, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.text(path).contains(part) {
            assert!(Instant::now() < deadline, "no {part:?} at {path}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}
