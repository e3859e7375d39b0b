//! Whether a service answers, asked before a connector opens: [`check_connectivity`], [`check_connectivity_with_retry`].

use std::time::Duration;

use reqwest::{Client, Url};
use tracing::warn;

use super::{exponential_backoff, is_transient_status, jitter};
use crate::Error;

/// How patiently [`check_connectivity_with_retry`] asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectivityConfig {
    /// Attempts after the first.
    pub max_open_retries: u32,
    /// Longest wait between two attempts.
    pub open_retry_max_delay: Duration,
    /// Wait before the second attempt; it doubles with each further one.
    pub retry_delay: Duration,
}

/// Asks `url` once. `name` stands in the error.
///
/// # Errors
///
/// [`Error::Connection`] when nobody answers or the server is overloaded, [`Error::PermanentHttpError`] when it refuses.
pub async fn check_connectivity(client: &Client, url: Url, name: &str) -> Result<(), Error> {
    // A URL may carry credentials or a token: errors tell the host only.
    let host = url.host_str().unwrap_or("a URL without a host").to_owned();
    let answer = client.get(url).send().await.map_err(|error| {
        Error::Connection(format!("{name}: {host} does not answer"))
            .with_source(&error.without_url())
    })?;
    let status = answer.status();
    if is_transient_status(status) {
        return Err(Error::Connection(format!(
            "{name}: {host} answers {status}"
        )));
    }
    if status.is_client_error() {
        return Err(Error::PermanentHttpError(format!(
            "{name}: {host} answers {status}"
        )));
    }
    Ok(())
}

/// Asks `url` until it answers, as often as `config` says. `name` and `id` (the connector's) stand in the log.
///
/// # Errors
///
/// The last error of [`check_connectivity`]; at once when the server refuses.
pub async fn check_connectivity_with_retry(
    client: &Client,
    url: Url,
    name: &str,
    id: u32,
    config: &ConnectivityConfig,
) -> Result<(), Error> {
    let mut attempt = 0;
    loop {
        let error = match check_connectivity(client, url.clone(), name).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if attempt >= config.max_open_retries || error.class() != crate::Class::Transient {
            return Err(error);
        }
        let delay = exponential_backoff(config.retry_delay, attempt, config.open_retry_max_delay);
        warn!(name, id, attempt, %error, "the service cannot be reached yet");
        tokio::time::sleep(jitter(delay)).await;
        attempt += 1;
    }
}
