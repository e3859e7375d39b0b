//! The HTTP side: one route per template, errors as `{"code", "reason"}`, an `ETag` where daemons poll.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::store::{Direction, Error, Store};

/// The header that carries the key.
const KEY_HEADER: &str = "api-key";

/// What the routes answer from.
#[derive(Clone)]
pub struct Service {
    store: Arc<Mutex<Store>>,
    /// Hash of the key that requests must carry: comparing two hashes takes the same time wherever the keys differ.
    key: Option<blake3::Hash>,
}

#[derive(Deserialize)]
struct Chosen {
    version: u32,
}

#[derive(Deserialize)]
struct Which {
    version: Option<u32>,
}

type Answer = Result<Response, Error>;

impl Service {
    pub fn new(store: Store, api_key: Option<&str>) -> Self {
        Self {
            store: Arc::new(Mutex::new(store)),
            key: api_key.map(|key| blake3::hash(key.as_bytes())),
        }
    }

    /// Runs `work` on the store where it may block: a change is written before it is answered.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> T {
        let store = self.store.clone();
        let work = move || work(&mut store.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Everything that daemons ask for, at the default templates.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/configs/active", get(active_configs))
        .route("/configs/active/versions", get(active_versions))
        .nest("/sinks", of_direction(Direction::Sink))
        .nest("/sources", of_direction(Direction::Source))
        .layer(middleware::from_fn_with_state(service.clone(), require_key))
        .with_state(service)
}

fn of_direction(direction: Direction) -> Router<Service> {
    let versions = get(move |service, key| versions(direction, service, key))
        .post(move |service, key, document| create(direction, service, key, document))
        .delete(move |service, key, which| delete(direction, service, key, which));
    let active = get(move |service, key| active(direction, service, key))
        .put(move |service, key, chosen| activate(direction, service, key, chosen));
    let version = get(move |service, path| version(direction, service, path));
    Router::new()
        .route("/{key}/configs", versions)
        .route("/{key}/configs/active", active)
        .route("/{key}/configs/{version}", version)
}

async fn require_key(State(service): State<Service>, request: Request, next: Next) -> Response {
    let given = request.headers().get(KEY_HEADER);
    let given = given.map(|key| blake3::hash(key.as_bytes()));
    if service.key.is_some() && service.key != given {
        let reason = "the header api-key is missing or wrong";
        return refusal(StatusCode::UNAUTHORIZED, "unauthorized", reason);
    }
    next.run(request).await
}

/// Daemons ask for this again and again: who has it already gets no body.
async fn active_configs(State(service): State<Service>, headers: HeaderMap) -> Response {
    let body = service
        .with(|store| store.active_configs().to_string())
        .await;
    let tag = format!("\"{}\"", blake3::hash(body.as_bytes()));
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let headers = [
        (header::ETAG, tag),
        (header::CONTENT_TYPE, "application/json".into()),
    ];
    (headers, body).into_response()
}

async fn active_versions(State(service): State<Service>) -> Json<Value> {
    Json(service.with(|store| store.active_versions()).await)
}

async fn versions(
    direction: Direction,
    State(service): State<Service>,
    Path(key): Path<String>,
) -> Json<Vec<Value>> {
    Json(
        service
            .with(move |store| store.versions(direction, &key))
            .await,
    )
}

async fn version(
    direction: Direction,
    State(service): State<Service>,
    Path((key, version)): Path<(String, u32)>,
) -> Answer {
    let found = service.with(move |store| store.version(direction, &key, Some(version)));
    found
        .await
        .map(|found| Json(found).into_response())
        .ok_or(Error::NotFound)
}

async fn active(
    direction: Direction,
    State(service): State<Service>,
    Path(key): Path<String>,
) -> Answer {
    let found = service.with(move |store| store.version(direction, &key, None));
    found
        .await
        .map(|found| Json(found).into_response())
        .ok_or(Error::NotFound)
}

async fn create(
    direction: Direction,
    State(service): State<Service>,
    Path(key): Path<String>,
    Json(document): Json<Map<String, Value>>,
) -> Answer {
    let stored = service.with(move |store| store.create(direction, &key, document));
    Ok(Json(stored.await?).into_response())
}

async fn activate(
    direction: Direction,
    State(service): State<Service>,
    Path(key): Path<String>,
    Json(chosen): Json<Chosen>,
) -> Answer {
    let version = chosen.version;
    let activated = service.with(move |store| store.activate(direction, &key, version));
    activated.await?;
    Ok(Json(json!({ "version": version })).into_response())
}

async fn delete(
    direction: Direction,
    State(service): State<Service>,
    Path(key): Path<String>,
    Query(which): Query<Which>,
) -> Answer {
    let deleted = service.with(move |store| store.delete(direction, &key, which.version));
    deleted.await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => {
                let reason = "no such connector or version";
                refusal(StatusCode::NOT_FOUND, "not_found", reason)
            }
            Self::Conflict(reason) => refusal(StatusCode::CONFLICT, "conflict", reason),
            Self::File(error) => {
                let reason = format!("the store cannot be written: {error}");
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "store", &reason)
            }
        }
    }
}

fn refusal(status: StatusCode, code: &str, reason: &str) -> Response {
    (status, Json(json!({ "code": code, "reason": reason }))).into_response()
}
