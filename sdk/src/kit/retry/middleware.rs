//! An HTTP client that retries: [`HttpRetryMiddleware`], [`build_retry_client`].

use std::time::Duration;

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response, StatusCode, header::RETRY_AFTER};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next, Result};
use tracing::debug;

use super::{exponential_backoff, jitter, parse_retry_after};

/// Sends a request again when the server is overloaded, or cannot be reached.
///
/// It waits as long as the server asks for (`Retry-After`), else with exponential backoff and jitter, in both cases at most
/// `max_delay`. Only requests whose body can be sent again are retried. What is still failing after `max_retries` is returned as
/// it is.
#[derive(Clone, Debug)]
pub struct HttpRetryMiddleware {
    max_retries: u32,
    retry_delay: Duration,
    max_delay: Duration,
    name: &'static str,
}

/// Makes `client` retry. `name` stands in its log lines.
pub fn build_retry_client(
    client: reqwest::Client,
    max_retries: u32,
    retry_delay: Duration,
    max_delay: Duration,
    name: &'static str,
) -> ClientWithMiddleware {
    ClientBuilder::new(client)
        .with(HttpRetryMiddleware::new(
            max_retries,
            retry_delay,
            max_delay,
            name,
        ))
        .build()
}

/// Whether a request with this answer is worth sending again: 429 and 5xx.
pub fn is_transient_status(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

impl HttpRetryMiddleware {
    /// See [`build_retry_client`].
    pub fn new(
        max_retries: u32,
        retry_delay: Duration,
        max_delay: Duration,
        name: &'static str,
    ) -> Self {
        Self {
            max_retries,
            retry_delay,
            max_delay,
            name,
        }
    }

    /// How long to wait before the next attempt, or `None` when `result` is final.
    fn delay(&self, result: &Result<Response>, attempt: u32) -> Option<Duration> {
        if attempt >= self.max_retries {
            return None;
        }
        let backoff = || {
            jitter(exponential_backoff(
                self.retry_delay,
                attempt,
                self.max_delay,
            ))
        };
        match result {
            Ok(response) if is_transient_status(response.status()) => {
                Some(asked_for(response).unwrap_or_else(backoff))
            }
            Ok(_) => None,
            Err(error) if is_transient(error) => Some(backoff()),
            Err(_) => None,
        }
        .map(|delay| delay.min(self.max_delay))
    }
}

#[async_trait]
impl Middleware for HttpRetryMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        for attempt in 0.. {
            // A body that is a stream can be sent once.
            let Some(again) = request.try_clone() else {
                break;
            };
            let result = next.clone().run(again, extensions).await;
            let Some(delay) = self.delay(&result, attempt) else {
                return result;
            };
            debug!(
                name = self.name,
                attempt,
                ?delay,
                "an HTTP request is sent again"
            );
            tokio::time::sleep(delay).await;
        }
        next.run(request, extensions).await
    }
}

fn asked_for(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?;
    parse_retry_after(value.to_str().ok()?)
}

fn is_transient(error: &Error) -> bool {
    match error {
        Error::Reqwest(error) => error.is_connect() || error.is_timeout() || error.is_request(),
        Error::Middleware(_) => false,
    }
}
