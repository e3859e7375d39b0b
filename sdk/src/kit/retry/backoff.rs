//! How long to wait: [`exponential_backoff`], [`jitter`], [`parse_duration`].

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use crate::kit::HumanDuration;

/// What is waited when neither a value nor its default is a duration.
const LAST_RESORT: Duration = Duration::from_secs(1);

/// The delay before the attempt after `attempt` failures more than the first: `base`, twice that, and so on, up to `max`.
///
/// ```
/// use std::time::Duration;
/// use iggy_connector_sdk::retry::exponential_backoff;
///
/// let delay = |attempt| exponential_backoff(Duration::from_millis(200), attempt, Duration::from_secs(1));
/// assert_eq!([0, 1, 2, 3].map(|attempt| delay(attempt).as_millis()), [200, 400, 800, 1000]);
/// ```
pub fn exponential_backoff(base: Duration, attempt: u32, max: Duration) -> Duration {
    let factor = 2_u32.saturating_pow(attempt);
    base.saturating_mul(factor).min(max)
}

/// The delay, longer or shorter by up to a fifth, so that many clients do not come back at once.
pub fn jitter(delay: Duration) -> Duration {
    // The keys of a hash map are random, which is all that is needed here.
    let random = RandomState::new().hash_one(0_u8);
    let part = random as f64 / u64::MAX as f64;
    let jittered = delay.as_secs_f64() * (0.8 + 0.4 * part);
    Duration::try_from_secs_f64(jittered).unwrap_or(delay)
}

/// Reads a duration like `"5s"`, or takes `default` where there is none. What is no duration is logged, and the default taken;
/// a configuration that uses [`HumanDuration`] is refused instead.
pub fn parse_duration(value: Option<&str>, default: &str) -> Duration {
    let read = |text: &str| match text.parse::<HumanDuration>() {
        Ok(duration) => Some(duration.get()),
        Err(error) => {
            tracing::warn!(%error, default, "a duration is not used");
            None
        }
    };
    value
        .and_then(read)
        .or_else(|| read(default))
        .unwrap_or(LAST_RESORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_never_passes_its_bound() {
        let max = Duration::from_secs(30);
        for attempt in [31, 32, 64, u32::MAX] {
            assert_eq!(
                exponential_backoff(Duration::from_millis(1), attempt, max),
                max
            );
        }
        assert_eq!(exponential_backoff(Duration::ZERO, 5, max), Duration::ZERO);
        assert_eq!(
            exponential_backoff(Duration::MAX, 5, Duration::MAX),
            Duration::MAX
        );
    }

    #[test]
    fn jitter_stays_within_a_fifth_and_varies() {
        let delay = Duration::from_secs(10);
        let jittered: Vec<_> = (0..100).map(|_| jitter(delay)).collect();
        let within = Duration::from_secs(8)..=Duration::from_secs(12);
        assert!(jittered.iter().all(|delay| within.contains(delay)));
        assert!(jittered.iter().any(|delay| *delay != jittered[0]));
        assert_eq!(jitter(Duration::ZERO), Duration::ZERO);
        jitter(Duration::MAX);
    }

    #[test]
    fn what_is_no_duration_falls_back() {
        for (value, default, seconds) in [
            (Some("5s"), "9s", 5),
            (None, "9s", 9),
            (Some("soon"), "9s", 9),
            (Some("soon"), "later", 1),
        ] {
            assert_eq!(parse_duration(value, default), Duration::from_secs(seconds));
        }
    }
}
