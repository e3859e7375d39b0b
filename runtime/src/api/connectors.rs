//! `/sinks` and `/sources`: the same routes over connectors of one direction.

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};

use super::{
    Api,
    dto::{Connector, Details},
    error::ApiError,
};
use crate::config::spec::Direction;

pub(super) fn router(direction: Direction) -> Router<Api> {
    Router::new()
        .route("/", get(move |api| list(direction, api)))
        .route("/{key}", get(move |api, key| details(direction, api, key)))
}

async fn list(direction: Direction, State(api): State<Api>) -> Json<Vec<Connector>> {
    let of_direction = api
        .connectors
        .iter()
        .filter(|handle| handle.spec.direction == direction);
    Json(of_direction.map(Connector::from).collect())
}

async fn details(
    direction: Direction,
    State(api): State<Api>,
    Path(key): Path<String>,
) -> Result<Json<Details>, ApiError> {
    let found = api
        .connectors
        .iter()
        .find(|handle| handle.spec.direction == direction && handle.spec.key == key);
    let Some(handle) = found else {
        return Err(ApiError::NotFound(format!(
            "no {} has the key {key}",
            direction.name()
        )));
    };
    Ok(Json(handle.into()))
}
