//! Trying again: delays ([`exponential_backoff`], [`jitter`], [`parse_retry_after`]), a [`CircuitBreaker`], and with the feature
//! `http` a client that retries by itself.
//!
//! The runtime retries every batch that fails with a transient error, for ever and with backoff. A connector retries by itself
//! only what is cheaper to repeat than a whole batch.

mod backoff;
mod circuit_breaker;
#[cfg(feature = "http")]
mod connectivity;
#[cfg(feature = "http")]
mod middleware;
mod retry_after;
#[cfg(test)]
#[cfg(feature = "http")]
mod tests;

pub use backoff::{exponential_backoff, jitter, parse_duration};
pub use circuit_breaker::CircuitBreaker;
#[cfg(feature = "http")]
pub use connectivity::{ConnectivityConfig, check_connectivity, check_connectivity_with_retry};
#[cfg(feature = "http")]
pub use middleware::{HttpRetryMiddleware, build_retry_client, is_transient_status};
pub use retry_after::parse_retry_after;
