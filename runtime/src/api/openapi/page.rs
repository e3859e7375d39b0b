//! `GET /docs`: a page that shows the document of `GET /openapi.json`. It is one file without anything from elsewhere.

use axum::{
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    response::IntoResponse,
};

const PAGE: &str = include_str!("page.html");
/// Nothing but what is in the page runs, and it reaches this daemon only.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page says nothing of this daemon: where a key is needed, its reader enters it there.
pub(in crate::api) async fn page() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, PAGE)
}
