//! Requests to a configuration service, repeated when that may help.

use std::time::{Duration, SystemTime};

use reqwest::{
    Method, Response, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tracing::debug;

use super::reply::{Layout, Read, shortened};
use crate::{
    config::spec::{Backoff, HttpProvider},
    provider::Error,
};

/// The largest answer that is read: thousands of connectors.
const MAX_REPLY: usize = 16 << 20;

/// What is read of a refusal.
const MAX_REFUSAL: usize = 64 << 10;

/// Speaks to one service.
pub(super) struct Client {
    http: reqwest::Client,
    /// `None`: a request is made once.
    retry: Option<Backoff>,
    layout: Layout,
}

/// One request, to be made once or more often.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) body: Option<Value>,
    /// The tag of an answer that is known already.
    pub(super) known: Option<HeaderValue>,
}

/// What a service answered.
#[derive(Debug)]
pub(super) enum Answer {
    Data {
        value: Value,
        tag: Option<HeaderValue>,
    },
    /// What is known already.
    Unchanged,
    /// There is no such thing; `repeated`: perhaps since an earlier attempt of the same request.
    Nothing { repeated: bool },
}

/// An attempt that failed.
struct Failed {
    error: Error,
    again: Again,
    /// The service asks for this wait.
    asked: Option<Duration>,
}

/// Whether another attempt may help.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    /// The request was not taken.
    Yes,
    /// Nobody knows whether the request was taken.
    IfHarmless,
}

impl Request {
    pub(super) fn get(url: String) -> Self {
        Self {
            method: Method::GET,
            url,
            body: None,
            known: None,
        }
    }

    /// Whether making it twice comes to the same as making it once.
    fn is_harmless(&self) -> bool {
        self.method != Method::POST
    }
}

impl Client {
    pub(super) fn new(service: &HttpProvider) -> Result<Self, Error> {
        let unusable = |error: &dyn std::error::Error| {
            Error::Refused(format!("requests to {}: {error}", service.base_url))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &service.request_headers {
            let name = HeaderName::try_from(name).map_err(|error| unusable(&error))?;
            let mut value =
                HeaderValue::try_from(value.expose_secret()).map_err(|error| unusable(&error))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(service.timeout)
            // The headers are for this service and not for the one it names.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| unusable(&error))?;
        Ok(Self {
            http,
            retry: service.retry,
            layout: Layout {
                data_path: service.data_path.clone(),
                error_path: service.error_path.clone(),
            },
        })
    }

    /// Makes a request, more than once if it fails for the moment.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failed = match self.attempt(request).await {
                Ok(Answer::Nothing { .. }) => {
                    return Ok(Answer::Nothing {
                        repeated: attempts > 1,
                    });
                }
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let Some(wait) = self.wait(attempts, &failed, request) else {
                return Err(failed.into_error(request));
            };
            // Whoever asks says once what came of it.
            debug!(error = %failed.error, again_in = ?wait, "the configuration service failed");
            tokio::time::sleep(wait).await;
        }
    }

    /// How long to wait before the next attempt, `None` when there is none. The service may ask for more than the backoff has
    /// come to, but not for more than the longest one.
    fn wait(&self, attempts: u32, failed: &Failed, request: &Request) -> Option<Duration> {
        let retry = self.retry.filter(|retry| attempts < retry.max_attempts)?;
        let may_help = match failed.again {
            Again::No => false,
            Again::Yes => true,
            Again::IfHarmless => request.is_harmless(),
        };
        let grown = retry
            .multiplier
            .powi(attempts.saturating_sub(1).min(1000) as i32);
        let wait = Duration::try_from_secs_f64(retry.initial.as_secs_f64() * grown)
            .map_or(retry.max, |wait| wait.min(retry.max));
        let wait = failed
            .asked
            .map_or(wait, |asked| asked.max(wait).min(retry.max));
        may_help.then_some(wait)
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, Failed> {
        let mut builder = self.http.request(request.method.clone(), &request.url);
        if let Some(tag) = &request.known {
            builder = builder.header(header::IF_NONE_MATCH, tag);
        }
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        let response = builder
            .send()
            .await
            .map_err(|error| Failed::unreachable(request, &error))?;
        match response.status() {
            StatusCode::NOT_MODIFIED if request.known.is_some() => Ok(Answer::Unchanged),
            StatusCode::NOT_FOUND => Ok(Answer::Nothing { repeated: false }),
            status if status.is_success() => self.read(request, response).await,
            status => Err(self.refused(request, status, response).await),
        }
    }

    async fn read(&self, request: &Request, mut response: Response) -> Result<Answer, Failed> {
        let tag = response.headers().get(header::ETAG).cloned();
        let body = match bounded(&mut response, MAX_REPLY).await {
            Ok(Some(body)) => body,
            Ok(None) => {
                let reason = format!("its answer is longer than {} MiB", MAX_REPLY >> 20);
                return Err(Failed::odd(request, &reason));
            }
            Err(error) => return Err(Failed::unreachable(request, &error)),
        };
        match self.layout.read(&body) {
            Read::Data(value) => Ok(Answer::Data { value, tag }),
            Read::Odd(reason) => Err(Failed::odd(request, &reason)),
            Read::Error(reason) => Err(Failed {
                error: Error::Refused(told(request, &reason)),
                again: Again::No,
                asked: None,
            }),
        }
    }

    async fn refused(
        &self,
        request: &Request,
        status: StatusCode,
        mut response: Response,
    ) -> Failed {
        let asked = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|asked| retry_after(asked.to_str().ok()?));
        let body = bounded(&mut response, MAX_REFUSAL).await;
        let reason = body
            .ok()
            .flatten()
            .and_then(|body| self.layout.reason(&body));
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; check connectors.request_headers"
            }
            status if status.is_redirection() => {
                "; it is not followed elsewhere: name that address in connectors.base_url"
            }
            _ => "",
        };
        let reason = reason
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        let text = told(request, &format!("it answers {status}{reason}{hint}"));
        let (error, again) = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                (Error::Unavailable(text), Again::Yes)
            }
            status if status.is_server_error() => (Error::Unavailable(text), Again::IfHarmless),
            StatusCode::CONFLICT => (Error::Conflict(text), Again::No),
            status if status.is_client_error() => (Error::Refused(text), Again::No),
            _ => (Error::Reply(text), Again::No),
        };
        Failed {
            error,
            again,
            asked,
        }
    }
}

impl Failed {
    fn unreachable(request: &Request, error: &reqwest::Error) -> Self {
        let again = match error.is_connect() {
            true => Again::Yes,
            false => Again::IfHarmless,
        };
        let reason = match error.is_timeout() {
            true => "it does not answer in time (connectors.timeout)".to_owned(),
            false => last_cause(error),
        };
        Self {
            error: Error::Unavailable(told(request, &reason)),
            again,
            asked: None,
        }
    }

    fn odd(request: &Request, reason: &str) -> Self {
        Self {
            error: Error::Reply(told(request, reason)),
            again: Again::No,
            asked: None,
        }
    }

    /// Says when a request that must not be repeated may have been carried out.
    fn into_error(self, request: &Request) -> Error {
        match self.error {
            Error::Unavailable(text)
                if !request.is_harmless() && self.again == Again::IfHarmless =>
            {
                Error::Unavailable(format!(
                    "{text}; it may have been stored all the same: look before trying again"
                ))
            }
            error => error,
        }
    }
}

fn told(request: &Request, what: &str) -> String {
    format!(
        "configuration service, {} {}: {what}",
        request.method, request.url
    )
}

/// The cause that says something: those above it name what they were doing, and the URL once more.
fn last_cause(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes
        .last()
        .map_or_else(|| error.to_string(), |cause| shortened(&cause.to_string()))
}

/// Reads a body; `None` when it is longer than `most`.
async fn bounded(response: &mut Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Seconds, or the time to wait for.
fn retry_after(written: &str) -> Option<Duration> {
    if let Ok(seconds) = written.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = httpdate::parse_http_date(written).ok()?;
    Some(time.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn client(max_attempts: u32) -> Client {
        let backoff = Backoff {
            initial: SECOND,
            max: 5 * SECOND,
            multiplier: 2.0,
            jitter: 0.0,
            max_attempts,
        };
        Client::new(&HttpProvider {
            base_url: "http://h".into(),
            timeout: SECOND,
            request_headers: vec![],
            retry: Some(backoff),
            url_templates: crate::config::UrlTemplates::default(),
            data_path: None,
            error_path: None,
        })
        .unwrap()
    }

    fn failed(again: Again, asked: Option<Duration>) -> Failed {
        Failed {
            error: Error::Unavailable("down".into()),
            again,
            asked,
        }
    }

    #[test]
    fn waits_grow_and_are_bounded_whatever_the_service_asks_for() {
        let client = client(10);
        let get = Request::get("http://h".into());
        let wait = |attempts: u32, asked: Option<Duration>| {
            client.wait(attempts, &failed(Again::Yes, asked), &get)
        };
        assert_eq!(wait(1, None), Some(SECOND));
        assert_eq!(wait(2, None), Some(2 * SECOND));
        assert_eq!(wait(9, None), Some(5 * SECOND));
        assert_eq!(wait(10, None), None);
        assert_eq!(wait(1, Some(3 * SECOND)), Some(3 * SECOND));
        assert_eq!(wait(2, Some(Duration::ZERO)), Some(2 * SECOND));
        assert_eq!(wait(1, Some(Duration::MAX)), Some(5 * SECOND));
    }

    #[test]
    fn what_may_have_been_stored_is_not_sent_again() {
        let client = client(10);
        let mut post = Request::get("http://h".into());
        post.method = Method::POST;
        let wait = |again: Again, request: &Request| {
            client.wait(1, &failed(again, None), request).is_some()
        };
        assert!(wait(Again::Yes, &post) && !wait(Again::IfHarmless, &post));
        let get = Request::get("http://h".into());
        assert!(wait(Again::IfHarmless, &get) && !wait(Again::No, &get));
        let told = failed(Again::IfHarmless, None)
            .into_error(&post)
            .to_string();
        assert!(told.contains("may have been stored"), "{told}");
        let told = failed(Again::Yes, None).into_error(&post).to_string();
        assert!(!told.contains("may have been stored"), "{told}");
    }

    #[test]
    fn waits_are_read_as_seconds_or_dates() {
        assert_eq!(retry_after(" 3 "), Some(3 * SECOND));
        assert_eq!(
            retry_after("Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO)
        );
        assert!(retry_after("Fri, 31 Dec 9999 23:59:59 GMT").unwrap() > 1_000_000 * SECOND);
        for nonsense in ["", "-1", "1.5", "soon", "Wed, 99 Oct 2015 07:28:00 GMT"] {
            assert_eq!(retry_after(nonsense), None, "{nonsense}");
        }
    }
}
