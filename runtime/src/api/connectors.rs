//! `/sinks` and `/sources`: the same routes over connectors of one direction.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::Value;

use super::{
    Api, change, configs,
    dto::{Connector, Details, hidden, shown},
    error::ApiError,
};
use crate::{
    config::spec::Direction,
    supervisor::{Handle, Request},
};

/// The last segment of a command's route, and what it asks for.
const COMMANDS: [(&str, Request); 5] = [
    ("restart", Request::Restart),
    ("pause", Request::Pause),
    ("resume", Request::Resume),
    ("stop", Request::Stop),
    ("start", Request::Start),
];

pub(super) fn router(direction: Direction) -> Router<Api> {
    let lists = Router::new()
        .route("/", get(move |api| list(direction, api)))
        .route("/{key}", get(move |api, key| details(direction, api, key)))
        .merge(configs::router(direction))
        .merge(change::router(direction));
    COMMANDS.into_iter().fold(lists, |router, (name, request)| {
        router.route(
            &format!("/{{key}}/{name}"),
            post(move |api, key| command(direction, request, api, key)),
        )
    })
}

async fn list(direction: Direction, State(api): State<Api>) -> Json<Vec<Value>> {
    let all = api.connectors.all();
    let of_direction = all.iter().filter(|handle| handle.direction == direction);
    Json(of_direction.map(shown::<Connector>).collect())
}

async fn details(
    direction: Direction,
    State(api): State<Api>,
    Path(key): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let handle = find(direction, &api, &key)?;
    Ok(Json(shown::<Details>(&handle)))
}

/// Answers when the command is accepted and saved; it is carried out meanwhile.
async fn command(
    direction: Direction,
    request: Request,
    State(api): State<Api>,
    Path(key): Path<String>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let handle = find(direction, &api, &key)?;
    let snapshot = handle.request(request).await?;
    let answer = Connector::of(&handle, snapshot);
    Ok((StatusCode::ACCEPTED, Json(hidden(&handle, &answer))))
}

pub(super) fn find(direction: Direction, api: &Api, key: &str) -> Result<Handle, ApiError> {
    let found = api.connectors.find(direction, key);
    found.ok_or_else(|| ApiError::NotFound(format!("no {} has the key {key}", direction.name())))
}
