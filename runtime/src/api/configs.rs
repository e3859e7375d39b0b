//! `/{kind}/{key}/configs`: the versions of a connector. Their activation is in `activation`.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Api,
    connectors::{find, kind, of_one},
    document::{self, Shape, shown},
    error::ApiError,
    extract::Named,
    openapi::{Operation, Routes},
    query::query,
};
use crate::{
    config::spec::Direction,
    provider::{Entry, Id},
};

const PLAIN: &str = "text/plain; charset=utf-8";

/// A transform with its configuration.
#[derive(Serialize, JsonSchema)]
struct Transform {
    r#type: String,
    config: Value,
}

/// The key of a connector, and a version of it as it was written.
type OfVersion = Named<(String, String)>;

pub(super) fn routes(direction: Direction) -> Routes {
    let (one, all) = (direction.name(), kind(direction));
    let path = |rest| format!("/{all}/{{key}}/{rest}");
    let versions = read(format!("list_{one}_configs"), all, "Lists every version")
        .answers::<Vec<Shape>>(StatusCode::OK, "the newest last");
    let version = read(format!("get_{one}_config"), all, "Shows a version")
        .answers::<Shape>(StatusCode::OK, "its document");
    let active_version = read(
        format!("get_{one}_active_config"),
        all,
        "Shows the active version",
    )
    .answers::<Shape>(StatusCode::OK, "its document");
    let plugin_config = read(
        format!("get_{one}_plugin_config"),
        all,
        "Shows the plugin's part of the active version",
    )
    .query(
        "format",
        "how to write it; else as `plugin_config_format` says, else in JSON",
        json!({ "enum": ["json", "yaml", "toml", "text"] }),
    )
    .answers::<Value>(StatusCode::OK, "an empty table when it is not set")
    .tells(&["application/yaml", "application/toml", PLAIN], "the same");
    let chain = of_one(
        format!("get_{one}_transforms"),
        all,
        "Shows the transforms in their order",
    )
    .answers::<Vec<Transform>>(StatusCode::OK, "as they run now");
    Routes::default()
        .get(
            &path("configs"),
            move |api, key| list(direction, api, key),
            versions,
        )
        .get(
            &path("configs/active"),
            move |api, key| active(direction, api, key),
            active_version,
        )
        .get(
            &path("configs/plugin"),
            move |api, key, uri| plugin(direction, api, key, uri),
            plugin_config,
        )
        .get(
            &path("configs/{version}"),
            move |api, version| self::one(direction, api, version),
            version,
        )
        .get(
            &path("transforms"),
            move |api, key| transforms(direction, api, key),
            chain,
        )
}

/// An operation on the stored versions of a connector.
pub(super) fn read(id: String, tag: &'static str, summary: &'static str) -> Operation {
    of_one(id, tag, summary)
        .refuses(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the versions cannot be read or written",
        )
        .refuses(
            StatusCode::BAD_GATEWAY,
            "the configuration service does not do it",
        )
        .refuses(
            StatusCode::SERVICE_UNAVAILABLE,
            "the configuration service does not answer",
        )
}

async fn list(
    direction: Direction,
    State(api): State<Api>,
    Named(key): Named<String>,
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
    Named((key, version)): OfVersion,
) -> Result<Json<Value>, ApiError> {
    let id = id(direction, &key, &api)?;
    let entry = api.provider.version(&id, number(&version)?).await;
    let entry = entry.map_err(|error| api.failed(&error))?;
    Ok(Json(shown(&api, &entry).await))
}

async fn active(
    direction: Direction,
    State(api): State<Api>,
    Named(key): Named<String>,
) -> Result<Json<Value>, ApiError> {
    let entry = active_entry(&api, &id(direction, &key, &api)?).await?;
    Ok(Json(shown(&api, &entry).await))
}

async fn plugin(
    direction: Direction,
    State(api): State<Api>,
    Named(key): Named<String>,
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
            PLAIN,
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
    Named(key): Named<String>,
) -> Result<Json<Vec<Transform>>, ApiError> {
    let spec = find(direction, &api, &key)?.spec();
    let transforms = spec.transforms.iter();
    let shown = transforms.map(|transform| Transform {
        r#type: transform.r#type.to_string(),
        config: transform.config.shown(),
    });
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
