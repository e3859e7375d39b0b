//! Stops asking a service that keeps failing: [`CircuitBreaker`].

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Opens after so many failures in a row, and lets calls through again after a while. The first failure after that opens it
/// again at once; a success closes it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use iggy_connector_sdk::retry::CircuitBreaker;
///
/// let breaker = CircuitBreaker::new(2, Duration::from_secs(30));
/// breaker.record_failure().await;
/// assert!(!breaker.is_open().await);
/// breaker.record_failure().await;
/// assert!(breaker.is_open().await);
/// breaker.record_success();
/// assert!(!breaker.is_open().await);
/// # });
/// ```
#[derive(Debug)]
pub struct CircuitBreaker {
    threshold: u32,
    cool_down: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_since: Option<Instant>,
}

impl CircuitBreaker {
    /// One that opens after `threshold` failures in a row, for `cool_down`. With a threshold of 0 it never opens.
    pub fn new(threshold: u32, cool_down: Duration) -> Self {
        Self {
            threshold,
            cool_down,
            state: Mutex::default(),
        }
    }

    /// Notes that a call went well.
    pub fn record_success(&self) {
        *self.state() = State::default();
    }

    /// Notes that a call failed.
    pub async fn record_failure(&self) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if self.threshold > 0 && state.failures >= self.threshold {
            state.open_since = Some(Instant::now());
        }
    }

    /// Whether calls are to be refused now.
    pub async fn is_open(&self) -> bool {
        let open_since = self.state().open_since;
        open_since.is_some_and(|since| since.elapsed() < self.cool_down)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOL_DOWN: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn it_opens_cools_down_and_opens_again_at_the_first_failure() {
        let breaker = CircuitBreaker::new(3, COOL_DOWN);
        for _ in 0..3 {
            assert!(!breaker.is_open().await);
            breaker.record_failure().await;
        }
        assert!(breaker.is_open().await);
        tokio::time::advance(COOL_DOWN).await;
        assert!(!breaker.is_open().await);
        breaker.record_failure().await;
        assert!(breaker.is_open().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_begins_the_count_anew() {
        let breaker = CircuitBreaker::new(2, COOL_DOWN);
        for _ in 0..5 {
            breaker.record_failure().await;
            breaker.record_success();
        }
        assert!(!breaker.is_open().await);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_threshold_it_never_opens() {
        let breaker = CircuitBreaker::new(0, COOL_DOWN);
        breaker.record_failure().await;
        assert!(!breaker.is_open().await);
    }
}
