//! Who may call: the holder of the `api-key`, or, where none is set, programs on this machine but no web page.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header},
    middleware::Next,
    response::Response,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::error::ApiError;

/// The header that carries the key.
const KEY_HEADER: &str = "api-key";

pub(super) struct Auth {
    /// Hash of the key: comparing two hashes takes the same time wherever the keys differ.
    key: Option<blake3::Hash>,
}

impl Auth {
    pub(super) fn new(key: Option<SecretString>) -> Self {
        Self {
            key: key.map(|key| blake3::hash(key.expose_secret().as_bytes())),
        }
    }
}

/// Refuses requests without the configured key.
pub(super) async fn require_key(
    State(auth): State<Arc<Auth>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Some(expected) = auth.key else {
        return Ok(next.run(request).await);
    };
    let given = request
        .headers()
        .get(KEY_HEADER)
        .map(|key| blake3::hash(key.as_bytes()));
    // `blake3::Hash` compares in constant time.
    if given != Some(expected) {
        return Err(ApiError::Unauthorized);
    }
    Ok(next.run(request).await)
}

/// Without a key, refuses what a browser sends for a foreign page: such a page must not be able to drive the daemon.
pub(super) async fn refuse_foreign(
    State(auth): State<Arc<Auth>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if auth.key.is_none() && !is_local(request.headers()) {
        return Err(ApiError::Forbidden);
    }
    Ok(next.run(request).await)
}

fn is_local(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .map(|host| host.to_str().ok().is_some_and(is_loopback));
    let origin = headers.get(header::ORIGIN).map(|origin| {
        let uri = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.parse::<Uri>().ok());
        uri.is_some_and(|uri| {
            uri.authority()
                .is_some_and(|authority| is_loopback(authority.as_str()))
        })
    });
    host.unwrap_or(true) && origin.unwrap_or(true)
}

/// Whether `host[:port]` names this machine.
fn is_loopback(authority: &str) -> bool {
    let Ok(uri) = authority.parse::<axum::http::uri::Authority>() else {
        return false;
    };
    let host = uri.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for (authority, expected) in [
            ("localhost", true),
            ("LOCALHOST:8081", true),
            ("127.0.0.1:8081", true),
            ("[::1]:8081", true),
            ("example.com", false),
            ("localhost.example.com", false),
            ("192.168.0.1:8081", false),
            ("", false),
            ("user@localhost@evil.com", false),
        ] {
            assert_eq!(is_loopback(authority), expected, "{authority}");
        }
    }

    #[test]
    fn a_foreign_page_is_not_local() {
        let headers = |pairs: &[(&'static str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect::<HeaderMap>()
        };
        assert!(is_local(&headers(&[("host", "localhost:8081")])));
        assert!(is_local(&headers(&[
            ("host", "127.0.0.1:8081"),
            ("origin", "http://localhost:3000")
        ])));
        assert!(!is_local(&headers(&[
            ("host", "127.0.0.1:8081"),
            ("origin", "https://example.com")
        ])));
        assert!(!is_local(&headers(&[("host", "rebound.example.com:8081")])));
        assert!(!is_local(&headers(&[
            ("host", "localhost"),
            ("origin", "null")
        ])));
    }
}
