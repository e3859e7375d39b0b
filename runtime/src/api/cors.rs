//! Which web pages may read the API's answers.

use tower_http::cors::{Any, CorsLayer};

use crate::config::spec::{Allowed, Cors};

/// `[http.cors]` as a layer.
pub(super) fn layer(cors: &Cors) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_credentials(cors.allow_credentials)
        .allow_private_network(cors.allow_private_network)
        .expose_headers(cors.exposed_headers.clone());
    let layer = match &cors.origins {
        Allowed::Any => layer.allow_origin(Any),
        Allowed::These(origins) => layer.allow_origin(origins.clone()),
    };
    let layer = match &cors.methods {
        Allowed::Any => layer.allow_methods(Any),
        Allowed::These(methods) => layer.allow_methods(methods.clone()),
    };
    match &cors.headers {
        Allowed::Any => layer.allow_headers(Any),
        Allowed::These(headers) => layer.allow_headers(headers.clone()),
    }
}
