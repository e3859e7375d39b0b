//! `/plugins`: the libraries that are loaded, and those that the daemon would find.

use axum::{Json, extract::State, http::StatusCode};

use super::{
    Api,
    error::ApiError,
    extract::Named,
    openapi::{Operation, Routes},
};
use crate::supervisor::Plugin;

pub(super) fn routes() -> Routes {
    let listed = Operation::new(
        "list_plugins",
        "plugins",
        "Lists the libraries that are loaded or found",
    )
    .answers::<Vec<Plugin>>(StatusCode::OK, "ordered by path");
    let named = Operation::new(
        "get_plugin",
        "plugins",
        "Shows the libraries of a plugin's name",
    )
    .answers::<Vec<Plugin>>(StatusCode::OK, "several where there are several files")
    .refuses(
        StatusCode::BAD_REQUEST,
        "the name in the path cannot be read",
    )
    .refuses(StatusCode::NOT_FOUND, "no plugin has this name");
    Routes::default()
        .get("/plugins", list, listed)
        .get("/plugins/{name}", one, named)
}

async fn list(State(api): State<Api>) -> Json<Vec<Plugin>> {
    Json(api.connectors.plugins().await)
}

async fn one(
    State(api): State<Api>,
    Named(name): Named<String>,
) -> Result<Json<Vec<Plugin>>, ApiError> {
    let mut plugins = api.connectors.plugins().await;
    plugins.retain(|plugin| plugin.surveyed.listed.name.as_ref() == Some(&name));
    match plugins.is_empty() {
        true => Err(ApiError::NotFound(format!("no plugin is called {name}"))),
        false => Ok(Json(plugins)),
    }
}
