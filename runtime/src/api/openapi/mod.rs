//! Routes that come with their description: [`Routes`] is the only way into the API's router, so that no route is missing in the
//! OpenAPI document that [`Routes::document`] makes of them. The shapes are made of the types that answers are serialised from.

mod operation;
mod page;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    handler::Handler,
    http::{Method, StatusCode},
    routing::{MethodFilter, MethodRouter, on},
};
use serde_json::{Map, Value, json};

pub(super) use self::operation::Operation;
use self::{operation::Schemas, page::page};
use super::Api;

/// The name of the security scheme in the document.
const KEY: &str = "api_key";

/// The page about the routes.
pub(super) fn public() -> Routes {
    let shows = Operation::new("docs", "daemon", "Shows this document to people")
        .tells(&["text/html; charset=utf-8"], "a page");
    Routes::default().get("/docs", page, shows)
}

/// The document about the routes.
pub(super) fn keyed() -> Routes {
    let shows = Operation::new("openapi", "daemon", "Describes every route, for programs")
        .answers::<Map<String, Value>>(StatusCode::OK, "an OpenAPI document");
    let document = async |Extension(document): Extension<Arc<Value>>| Json(document);
    Routes::default().get("/openapi.json", document, shows)
}

/// A router whose every route is described.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<Api>,
    described: Vec<Described>,
}

struct Described {
    path: String,
    method: Method,
    operation: Operation,
}

impl Routes {
    /// Adds a route. `path` is axum's, whose `{parameters}` OpenAPI writes alike.
    pub(super) fn route<H, T>(
        mut self,
        method: Method,
        path: &str,
        handler: H,
        operation: Operation,
    ) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        let route: MethodRouter<Api> = on(filter(&method), handler);
        self.router = self.router.route(path, route);
        self.described.push(Described {
            path: path.to_owned(),
            method,
            operation,
        });
        self
    }

    pub(super) fn get<H, T>(self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        self.route(Method::GET, path, handler, operation)
    }

    pub(super) fn post<H, T>(self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        self.route(Method::POST, path, handler, operation)
    }

    pub(super) fn put<H, T>(self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        self.route(Method::PUT, path, handler, operation)
    }

    pub(super) fn delete<H, T>(self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        self.route(Method::DELETE, path, handler, operation)
    }

    pub(super) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.described.extend(other.described);
        self
    }

    /// Changes the router of the routes that are there already, for instance by a layer.
    pub(super) fn layered(mut self, layer: impl FnOnce(Router<Api>) -> Router<Api>) -> Self {
        self.router = layer(self.router);
        self
    }

    /// Marks the routes that are there already as open to the holder of the key only.
    pub(super) fn keyed(mut self) -> Self {
        for described in &mut self.described {
            described.operation.needs_key = true;
        }
        self
    }

    pub(super) fn into_router(self) -> Router<Api> {
        self.router
    }

    /// The OpenAPI document of all routes that are there already.
    pub(super) fn document(&self) -> Value {
        let mut schemas = Schemas::new();
        let mut paths = Map::new();
        for Described {
            path,
            method,
            operation,
        } in &self.described
        {
            let item = paths.entry(path.as_str()).or_insert_with(|| json!({}));
            item[method.as_str().to_ascii_lowercase()] = operation.described(path, &mut schemas);
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Iggy connectors: management API",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Errors are `{\"code\", \"reason\"}` with a stable code. Where `http.api_key` is set, its holder sends it \
                                in the header `api-key`; where it is not, only requests from and to this machine are served. \
                                Answers may get further fields.",
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "paths": paths,
            "components": {
                "schemas": schemas.into_definitions(),
                "securitySchemes": { KEY: { "type": "apiKey", "in": "header", "name": "api-key" } },
            },
        })
    }
}

fn filter(method: &Method) -> MethodFilter {
    // Routes are written in this crate, with methods that axum knows.
    MethodFilter::try_from(method.clone()).expect("a method of HTTP")
}
