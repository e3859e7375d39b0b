//! A request's body: one JSON table, in bounded space and time. [`Table`] is its extractor.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use futures_util::StreamExt as _;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{BODY_LIMIT, error::ApiError};
use crate::config;

/// How long a client may take to send a body, from its first byte to its last.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Of a body that is too large, so much is read and thrown away.
const MOST_READ: usize = 16 * BODY_LIMIT;

/// A body that is a JSON table.
pub(super) struct Table(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Table {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedType);
        }
        let received = timeout(BODY_TIMEOUT, receive(request.into_body())).await;
        let bytes = received.unwrap_or(Err(ApiError::TooSlow(BODY_TIMEOUT)))?;
        table(&bytes).map(Self).map_err(ApiError::Invalid)
    }
}

/// The whole body. Of one that is too large the rest is read too, as far as that is bearable: a client that is cut off while it sends
/// does not read why.
async fn receive(body: Body) -> Result<Vec<u8>, ApiError> {
    let mut chunks = body.into_data_stream();
    let (mut bytes, mut length) = (vec![], 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| ApiError::Invalid(error.to_string()))?;
        length += chunk.len();
        if length > MOST_READ {
            break;
        }
        match length > BODY_LIMIT {
            true => bytes = vec![],
            false => bytes.extend_from_slice(&chunk),
        }
    }
    match length {
        ..=BODY_LIMIT => Ok(bytes),
        _ => Err(ApiError::TooLarge(BODY_LIMIT)),
    }
}

/// `application/json`, or another type that is JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

fn table(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| format!("the body is not UTF-8: {error}"))?;
    // This error tells line and column; the strict reader also finds keys that stand twice.
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| format!("the body is not JSON: {error}"))?;
    match config::parse_json(text) {
        Ok(Value::Object(table)) => Ok(table),
        Ok(_) => Err("the body is JSON, but no table".to_owned()),
        Err(reason) => Err(format!("the body cannot be used: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, response::IntoResponse as _};
    use futures_util::{StreamExt as _, stream};
    use tokio::time::Instant;

    use super::*;

    fn request(body: Body) -> Request {
        let request = Request::post("/validate").header("content-type", "application/json");
        request.body(body).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_to_its_end_is_waited_for_in_bounds() {
        let piece = || Ok::<_, std::io::Error>("{");
        let silent = stream::iter([piece()]).chain(stream::pending());
        let trickling = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(" "), ()))
        });
        for body in [Body::from_stream(silent), Body::from_stream(trickling)] {
            let began = Instant::now();
            let Err(error) = Table::from_request(request(body), &()).await else {
                panic!("a body without an end was taken");
            };
            assert_eq!(began.elapsed().as_secs(), BODY_TIMEOUT.as_secs());
            assert_eq!(error.into_response().status(), StatusCode::REQUEST_TIMEOUT);
        }
    }

    #[test]
    fn a_body_is_one_json_table() {
        let reason = |body: &str| table(body.as_bytes()).unwrap_err();
        assert_eq!(table(br#"{"a":1}"#).unwrap()["a"], 1);
        assert!(reason("{\n  \"a\": }").contains("line 2 column 8"));
        assert!(reason("[]").contains("no table"));
        assert!(
            reason(r#"{"a":1,"a":2}"#).contains("`a`"),
            "{}",
            reason(r#"{"a":1,"a":2}"#)
        );
        assert!(reason("").contains("line 1"));
        assert!(table(b"\xff").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn only_json_is_taken() {
        for (kind, taken) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/json", false),
            ("text/plain", false),
            ("", false),
        ] {
            let headers = [(header::CONTENT_TYPE, kind.parse().unwrap())];
            assert_eq!(is_json(&headers.into_iter().collect()), taken, "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
