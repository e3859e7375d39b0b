//! The source's configuration: as written ([`Written`]), and resolved.

use std::{ops::Range, time::Duration};

use iggy_connector_sdk::kit::HumanDuration;
use schemars::JsonSchema;
use serde::Deserialize;

/// What one poll may make at most, in bytes: it is made in memory.
const LARGEST_POLL: u64 = 256 * 1024 * 1024;

/// `[plugin_config]` of a random source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "Written")]
#[schemars(with = "Written")]
pub struct RandomSourceConfig {
    /// Time between two polls.
    pub(crate) interval: Duration,
    /// Messages after which the source rests.
    pub(crate) max_count: Option<u64>,
    /// How many messages a poll makes.
    pub(crate) messages: Range<u64>,
    /// Length of a message's text.
    pub(crate) payload_size: usize,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Written {
    /// Time between two polls. The first one comes at once. Default: "1s".
    interval: HumanDuration,
    /// Messages after which the source rests, counted over all its runs. Default: no limit.
    max_count: Option<u64>,
    /// How many messages a poll makes: a random number from the first up to but not the second. Default: [10, 50].
    messages_range: Option<[u64; 2]>,
    /// Makes exactly so many messages a poll; in place of `messages_range`.
    messages_count: Option<u64>,
    /// Length of a message's text, in characters. Default: 100.
    payload_size: usize,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            interval: HumanDuration::new(Duration::from_secs(1)),
            max_count: None,
            messages_range: None,
            messages_count: None,
            payload_size: 100,
        }
    }
}

impl TryFrom<Written> for RandomSourceConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let messages = written.messages()?;
        let largest = messages.end.saturating_mul(written.payload_size as u64);
        if largest > LARGEST_POLL {
            return Err(format!(
                "messages_range times payload_size is {largest} bytes a poll, more than {LARGEST_POLL}"
            ));
        }
        Ok(Self {
            interval: written.interval.get(),
            max_count: written.max_count,
            messages,
            payload_size: written.payload_size,
        })
    }
}

impl Written {
    fn messages(&self) -> Result<Range<u64>, String> {
        match (self.messages_range, self.messages_count) {
            (Some(_), Some(_)) => {
                Err("messages_range and messages_count exclude each other".to_owned())
            }
            (Some([min, max]), None) if min < max => Ok(min..max),
            (Some(_), None) => {
                Err("messages_range: the first number has to be below the second".to_owned())
            }
            (None, Some(count)) => Ok(count..count.saturating_add(1)),
            (None, None) => Ok(10..50),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(written: Written) -> Result<RandomSourceConfig, String> {
        RandomSourceConfig::try_from(written)
    }

    #[test]
    fn without_keys_it_makes_ten_to_forty_nine_messages_a_second() {
        let config = resolved(Written::default()).unwrap();
        assert_eq!(config.interval, Duration::from_secs(1));
        assert_eq!(config.messages, 10..50);
        assert_eq!((config.payload_size, config.max_count), (100, None));
    }

    #[test]
    fn a_count_is_a_range_of_one() {
        let written = Written {
            messages_count: Some(7),
            ..Written::default()
        };
        assert_eq!(resolved(written).unwrap().messages, 7..8);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (range, count, payload_size) in [
            (Some([5, 5]), None, 1),
            (Some([6, 5]), None, 1),
            (Some([1, 5]), Some(1), 1),
            (Some([1, u64::MAX]), None, 100),
            (None, Some(u64::MAX), 100),
            (None, None, usize::MAX),
        ] {
            let written = Written {
                messages_range: range,
                messages_count: count,
                payload_size,
                ..Written::default()
            };
            assert!(
                resolved(written).is_err(),
                "{range:?} {count:?} {payload_size}"
            );
        }
    }
}
