//! Errors of the API: `{"code", "reason"}` with a stable code.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

#[derive(Debug)]
pub(super) enum ApiError {
    Unauthorized,
    Forbidden,
    NotFound(String),
    MethodNotAllowed,
}

#[derive(Serialize)]
struct Body {
    code: &'static str,
    reason: String,
}

impl ApiError {
    fn parts(self) -> (StatusCode, &'static str, String) {
        match self {
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "the header api-key is missing or wrong".to_owned(),
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "without http.api_key only requests from and to this machine are served".to_owned(),
            ),
            Self::NotFound(reason) => (StatusCode::NOT_FOUND, "not_found", reason),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this route has no such method".to_owned(),
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, reason) = self.parts();
        (status, Json(Body { code, reason })).into_response()
    }
}
