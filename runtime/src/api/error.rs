//! Errors of the API: `{"code", "reason"}` with a stable code.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::supervisor::Refused;

#[derive(Debug)]
pub(super) enum ApiError {
    Unauthorized,
    Forbidden,
    NotFound(String),
    MethodNotAllowed,
    /// What was asked for does not fit the connector's state.
    Conflict(String),
    /// It is being done, but would not survive a restart of the daemon.
    NotSaved(String),
    Ending(String),
    NotReady(String),
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let reason = refused.to_string();
        match refused {
            Refused::Stopped => Self::Conflict(reason),
            Refused::Ending => Self::Ending(reason),
            Refused::NotSaved(_) => Self::NotSaved(reason),
        }
    }
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
            Self::Conflict(reason) => (StatusCode::CONFLICT, "wrong_state", reason),
            Self::NotSaved(reason) => (StatusCode::INTERNAL_SERVER_ERROR, "not_saved", reason),
            Self::Ending(reason) => (StatusCode::SERVICE_UNAVAILABLE, "stopping", reason),
            Self::NotReady(reason) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", reason),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, reason) = self.parts();
        (status, Json(Body { code, reason })).into_response()
    }
}
