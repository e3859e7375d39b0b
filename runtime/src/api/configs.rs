//! `/{kind}/{key}/configs`: the versions of a connector. Their activation is in `activation`.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{Uri, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::{Map, Value, json};

use super::{
    Api,
    connectors::find,
    document::{self, shown},
    error::ApiError,
    query::query,
};
use crate::{
    config::spec::Direction,
    provider::{Entry, Id},
};

/// The key of a connector, and a version of it as it was written.
type OfVersion = Path<(String, String)>;

pub(super) fn router(direction: Direction) -> Router<Api> {
    Router::new()
        .route(
            "/{key}/configs",
            get(move |api, key| list(direction, api, key)),
        )
        .route(
            "/{key}/configs/active",
            get(move |api, key| active(direction, api, key)),
        )
        .route(
            "/{key}/configs/plugin",
            get(move |api, key, uri| plugin(direction, api, key, uri)),
        )
        .route(
            "/{key}/configs/{version}",
            get(move |api, version| one(direction, api, version)),
        )
        .route(
            "/{key}/transforms",
            get(move |api, key| transforms(direction, api, key)),
        )
}

async fn list(
    direction: Direction,
    State(api): State<Api>,
    Path(key): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    let id = id(direction, &key, &api)?;
    let entries = api.provider.versions(&id).await;
    let mut documents = vec![];
    for entry in entries.map_err(|error| api.failed(&error))? {
        documents.push(shown(&api, &entry).await);
    }
    Ok(Json(documents))
}

async fn one(
    direction: Direction,
    State(api): State<Api>,
    Path((key, version)): OfVersion,
) -> Result<Json<Value>, ApiError> {
    let id = id(direction, &key, &api)?;
    let entry = api.provider.version(&id, number(&version)?).await;
    let entry = entry.map_err(|error| api.failed(&error))?;
    Ok(Json(shown(&api, &entry).await))
}

async fn active(
    direction: Direction,
    State(api): State<Api>,
    Path(key): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let entry = active_entry(&api, &id(direction, &key, &api)?).await?;
    Ok(Json(shown(&api, &entry).await))
}

async fn plugin(
    direction: Direction,
    State(api): State<Api>,
    Path(key): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let [format] = query(&uri, ["format"])?;
    let entry = active_entry(&api, &id(direction, &key, &api)?).await?;
    let written = entry.version.spec.plugin_config_format.as_deref();
    let config = document::plugin_config(&api, &entry.version).await;
    let config = config.unwrap_or_else(|| Value::Object(Map::new()));
    in_format(format.or(written).unwrap_or("json"), &config)
}

/// A plugin's configuration in one of the formats of `plugin_config_format`.
fn in_format(format: &str, config: &Value) -> Result<Response, ApiError> {
    let cannot =
        |reason: String| ApiError::Invalid(format!("it cannot be shown in {format}: {reason}"));
    let (kind, text) = match format {
        "json" => ("application/json", config.to_string()),
        "yaml" => (
            "application/yaml",
            serde_norway::to_string(config).map_err(|error| cannot(error.to_string()))?,
        ),
        "toml" => (
            "application/toml",
            toml::to_string_pretty(config).map_err(|error| cannot(error.to_string()))?,
        ),
        "text" => (
            "text/plain; charset=utf-8",
            match config {
                Value::String(text) => text.clone(),
                other => format!("{other:#}"),
            },
        ),
        _ => {
            return Err(ApiError::Invalid(
                "`format` is `json`, `yaml`, `toml` or `text`".to_owned(),
            ));
        }
    };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

async fn transforms(
    direction: Direction,
    State(api): State<Api>,
    Path(key): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    let spec = find(direction, &api, &key)?.spec();
    let transforms = spec.transforms.iter();
    let shown = transforms
        .map(|transform| json!({ "type": transform.r#type, "config": transform.config.shown() }));
    Ok(Json(shown.collect()))
}

pub(super) fn id(direction: Direction, key: &str, api: &Api) -> Result<Id, ApiError> {
    Id::new(direction, key).map_err(|error| api.failed(&error))
}

async fn active_entry(api: &Api, id: &Id) -> Result<Entry, ApiError> {
    let entry = api.provider.active(id).await;
    entry.map_err(|error| api.failed(&error))
}

pub(super) fn number(version: &str) -> Result<u32, ApiError> {
    let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| version.parse().ok()).flatten();
    number.ok_or_else(|| {
        ApiError::NotFound("versions are numbers from 0; there is also `active`".to_owned())
    })
}
