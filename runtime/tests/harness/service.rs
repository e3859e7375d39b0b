//! A configuration service in this process that can be down, slow, wrong and killed.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use config_service::{Direction, Service, Store, router};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, time::Instant};

use super::{daemon::PATIENCE, port::Port};

/// The key that it asks for.
pub const API_KEY: &str = "s3cret-key";

/// One service, on one address however often it is killed.
pub struct ConfigService {
    /// Its own: when it is shut down, connections break.
    runtime: Option<Runtime>,
    port: Port,
    pub service: Service,
    script: Script,
}

/// What goes wrong with one request.
#[derive(Clone)]
pub enum Fault {
    Status(u16),
    /// Status 429 with this `Retry-After`.
    Later(&'static str),
    /// Status 200 with this body.
    Body(Vec<u8>),
    /// Status 200 with a body that never ends.
    Endless,
    /// A redirect to this address.
    Elsewhere(String),
    /// No answer.
    Silence,
    /// No answer either, but it was done.
    Unanswered,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
}

#[derive(Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Default)]
struct Scripted {
    /// For the next requests, one each.
    next: VecDeque<Fault>,
    /// For all others that change something.
    changes: Option<Fault>,
    /// For all others.
    always: Option<Fault>,
    /// Puts answers under `data.configs`, beside an empty `error`.
    wrapped: bool,
    seen: Vec<Seen>,
}

impl ConfigService {
    pub async fn start() -> Self {
        let mut service = Self {
            runtime: None,
            port: Port::reserve(),
            service: Service::new(Store::default(), Some(API_KEY)),
            script: Script::default(),
        };
        service.restart().await;
        service
    }

    /// Comes up again with everything it held.
    pub async fn restart(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (service, script) = (self.service.clone(), self.script.clone());
        let address = self.port.address();
        let started = runtime.spawn(async move {
            let listener = bind(address).await;
            let routes: Router =
                router(service).layer(middleware::from_fn_with_state(script, play));
            tokio::spawn(async move { axum::serve(listener, routes).await });
        });
        started.await.unwrap();
        self.runtime = Some(runtime);
    }

    /// Ends it at once, whatever it was answering. Nobody can reach it afterwards.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime does not wait within another one.
            let ending = std::thread::spawn(|| runtime.shutdown_timeout(PATIENCE));
            ending.join().unwrap();
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// What goes wrong with the next requests.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script.0.lock().unwrap().next.extend(faults);
    }

    /// What goes wrong with all requests from now on.
    pub fn fail(&self, fault: Option<Fault>) {
        self.script.0.lock().unwrap().always = fault;
    }

    /// What goes wrong with all requests from now on that change something.
    pub fn fail_changes(&self, fault: Option<Fault>) {
        self.script.0.lock().unwrap().changes = fault;
    }

    pub fn wrap(&self) {
        self.script.0.lock().unwrap().wrapped = true;
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.script.0.lock().unwrap().seen)
    }

    /// Waits for a request.
    pub async fn asked(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.seen().is_empty() {
            assert!(Instant::now() < deadline, "nobody asks the service");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stores a version as somebody else would.
    pub async fn store(&self, direction: Direction, key: &str, document: Value) -> u32 {
        let Value::Object(document) = document else {
            panic!("{document}");
        };
        let key = key.to_owned();
        let stored = self
            .service
            .with(move |store| store.create(direction, &key, document))
            .await
            .unwrap();
        stored["version"].as_u64().unwrap() as u32
    }

    pub async fn activate(&self, direction: Direction, key: &str, version: u32) {
        let key = key.to_owned();
        let activated = self
            .service
            .with(move |store| store.activate(direction, &key, version));
        activated.await.unwrap();
    }
}

impl Drop for ConfigService {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The one that was killed may not have let go of the address yet.
async fn bind(address: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn play(State(script): State<Script>, request: Request, next: Next) -> Response {
    let (fault, wrapped) = script.next(&request);
    match fault {
        None if wrapped => wrap(next.run(request).await).await,
        None => next.run(request).await,
        Some(Fault::Status(status)) => {
            let reason = json!({ "code": "fault", "reason": "on request" }).to_string();
            (StatusCode::from_u16(status).unwrap(), reason).into_response()
        }
        Some(Fault::Later(when)) => {
            let headers = [(header::RETRY_AFTER, when)];
            (StatusCode::TOO_MANY_REQUESTS, headers).into_response()
        }
        Some(Fault::Body(body)) => body.into_response(),
        Some(Fault::Endless) => {
            let pieces = std::iter::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 20]));
            Body::from_stream(futures_util::stream::iter(pieces)).into_response()
        }
        Some(Fault::Elsewhere(url)) => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, url)]).into_response()
        }
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Unanswered) => {
            next.run(request).await;
            std::future::pending().await
        }
    }
}

impl Script {
    fn next(&self, request: &Request) -> (Option<Fault>, bool) {
        let mut scripted = self.0.lock().unwrap();
        scripted.seen.push(Seen {
            method: request.method().to_string(),
            path: request.uri().to_string(),
            headers: request.headers().clone(),
        });
        let changes = request.method() != Method::GET;
        let fault = scripted
            .next
            .pop_front()
            .or_else(|| scripted.changes.clone().filter(|_| changes))
            .or_else(|| scripted.always.clone());
        (fault, scripted.wrapped)
    }
}

async fn wrap(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let data: Value = serde_json::from_slice(&body).unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    let wrapped = match parts.status.is_success() {
        true => json!({ "data": { "configs": data }, "error": null }),
        false => json!({ "error": data }),
    };
    Response::from_parts(parts, wrapped.to_string().into())
}
