//! Errors of the API: `{"code", "reason"}` with a stable code.

use std::time::Duration;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    config::Problem,
    provider,
    supervisor::{NotActivated, Phase, Refused},
};

#[derive(Debug)]
pub(super) enum ApiError {
    Unauthorized,
    Forbidden,
    /// The request itself cannot be understood.
    Invalid(String),
    UnsupportedType,
    /// The most bytes that a body may have.
    TooLarge(usize),
    /// How long a body may take.
    TooSlow(Duration),
    /// A document with everything that is wrong with it.
    Problems(Vec<Problem>),
    /// Versions cannot be read or written.
    Storage(String),
    /// The configuration service does not do it.
    Service(String),
    /// The configuration service does not answer.
    Unavailable(String),
    /// The step that has failed, and why; the old version stays.
    NotActivated(Phase, String),
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

/// An error.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(super) struct Body {
    /// Stable, for programs.
    code: &'static str,
    /// For people.
    reason: String,
    /// Where an activation has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    /// Everything that is wrong with a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<Entry>>,
}

/// One thing that is wrong with a document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
struct Entry {
    path: String,
    code: &'static str,
    reason: String,
    suggestion: Option<String>,
}

impl From<Problem> for Entry {
    fn from(problem: Problem) -> Self {
        Self {
            path: problem.key,
            code: problem.code.name(),
            reason: problem.reason,
            suggestion: problem.remedy,
        }
    }
}

impl ApiError {
    /// What a provider did not do, and why: in `reason`.
    pub(super) fn of_provider(error: &provider::Error, reason: String) -> Self {
        match error {
            provider::Error::NotFound(_) => Self::NotFound(reason),
            provider::Error::Conflict(_) => Self::Conflict(reason),
            provider::Error::Damaged(_) | provider::Error::File { .. } => Self::Storage(reason),
            provider::Error::Unavailable(_) => Self::Unavailable(reason),
            provider::Error::Refused(_) | provider::Error::Reply(_) => Self::Service(reason),
        }
    }

    /// Why a version was not activated: in `reason`.
    pub(super) fn of_activation(error: &NotActivated, reason: String) -> Self {
        match error {
            NotActivated::Busy => Self::Conflict(reason),
            NotActivated::Ending => Self::Ending(reason),
            NotActivated::Undone { phase, .. } => Self::NotActivated(*phase, reason),
        }
    }

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
            Self::Invalid(reason) => (StatusCode::BAD_REQUEST, "invalid", reason),
            Self::UnsupportedType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body is JSON: send it with `content-type: application/json`".to_owned(),
            ),
            Self::TooLarge(limit) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("the body has more than {limit} bytes"),
            ),
            Self::TooSlow(limit) => (
                StatusCode::REQUEST_TIMEOUT,
                "too_slow",
                format!("the body did not arrive within {} seconds", limit.as_secs()),
            ),
            Self::Problems(problems) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_document",
                match problems.len() {
                    1 => "the document cannot be used: 1 problem".to_owned(),
                    count => format!("the document cannot be used: {count} problems"),
                },
            ),
            Self::Storage(reason) => (StatusCode::INTERNAL_SERVER_ERROR, "storage", reason),
            Self::Service(reason) => (StatusCode::BAD_GATEWAY, "service", reason),
            Self::Unavailable(reason) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason),
            Self::NotActivated(phase, reason) => {
                let status = match phase {
                    Phase::Check => StatusCode::UNPROCESSABLE_ENTITY,
                    Phase::Close | Phase::Open => StatusCode::CONFLICT,
                    Phase::Record => StatusCode::INTERNAL_SERVER_ERROR,
                };
                (status, "not_activated", reason)
            }
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
        let errors = match &self {
            Self::Problems(problems) => Some(problems.iter().cloned().map(Entry::from).collect()),
            _ => None,
        };
        let step = match &self {
            Self::NotActivated(phase, _) => Some(phase.name()),
            _ => None,
        };
        let (status, code, reason) = self.parts();
        let body = Body {
            code,
            reason,
            step,
            errors,
        };
        (status, Json(body)).into_response()
    }
}
