//! `start_from`, as it is written in an entry of `streams`: [`Start`].

use std::{
    borrow::Cow,
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::spec::StartFrom;

const EXPECTED: &str =
    "`first`, `last`, `next`, `offset:42` or `timestamp:2026-01-31T12:00:00Z` is expected";
/// `+01:00`.
const ZONE_LEN: usize = 6;

/// Where a group begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start(pub(super) StartFrom);

impl StartFrom {
    /// Reads `first`, `last`, `next`, `offset:42` or `timestamp:2026-01-31T12:00:00Z`.
    ///
    /// # Errors
    ///
    /// Says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        Start::parse(text).map(|start| start.0)
    }
}

impl Start {
    fn parse(text: &str) -> Result<Self, String> {
        let start = match text.split_once(':') {
            None => match text {
                "first" => Some(StartFrom::First),
                "last" => Some(StartFrom::Last),
                "next" => Some(StartFrom::Next),
                _ => None,
            },
            Some(("offset", number)) => offset(number).map(StartFrom::Offset),
            Some(("timestamp", time)) => match timestamp(time) {
                Some(micros) => Some(StartFrom::Timestamp(micros)),
                None => {
                    let example = "for example 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00";
                    return Err(format!(
                        "a time of RFC 3339 since 1970 is expected behind `timestamp:`, {example}"
                    ));
                }
            },
            Some(_) => None,
        };
        start.map(Self).ok_or_else(|| EXPECTED.to_owned())
    }
}

/// Digits only: `parse` alone would take a sign.
fn offset(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// Microseconds since the epoch.
fn timestamp(text: &str) -> Option<u64> {
    let (local, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, "+00:00"),
        None => text.split_at_checked(text.len().checked_sub(ZONE_LEN)?)?,
    };
    let (sign, zone) = zone.split_at_checked(1)?;
    let (hours, minutes) = zone.split_once(':')?;
    let (hours, minutes) = (two_digits(hours, 23)?, two_digits(minutes, 59)?);
    let ahead = Duration::from_secs((hours * 60 + minutes) * 60);
    let local = local.to_ascii_uppercase();
    // What is left may not hold a second zone, which the parser would not mind.
    if !local
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"-:.T".contains(&byte))
    {
        return None;
    }
    let utc = format!("{local}Z");
    let local = humantime::parse_rfc3339(&utc).ok()?;
    let since = local.duration_since(UNIX_EPOCH).ok()?;
    let since = match sign {
        "+" => since.checked_sub(ahead)?,
        "-" => since.checked_add(ahead)?,
        _ => return None,
    };
    u64::try_from(since.as_micros()).ok()
}

fn two_digits(text: &str, most: u64) -> Option<u64> {
    let number = (text.len() == 2).then(|| offset(text))??;
    (number <= most).then_some(number)
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Self::parse(&text).map_err(de::Error::custom),
            _ => Err(de::Error::custom(EXPECTED)),
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Start {
    fn schema_name() -> Cow<'static, str> {
        "StartFrom".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let examples = [
            "first",
            "last",
            "next",
            "offset:42",
            "timestamp:2026-01-31T12:00:00Z",
        ];
        json_schema!({ "type": "string", "examples": examples })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_own_form() {
        let noon = 1_769_860_800_000_000;
        for (text, expected) in [
            ("first", StartFrom::First),
            ("last", StartFrom::Last),
            ("next", StartFrom::Next),
            ("offset:0", StartFrom::Offset(0)),
            ("offset:18446744073709551615", StartFrom::Offset(u64::MAX)),
            ("timestamp:2026-01-31T12:00:00Z", StartFrom::Timestamp(noon)),
            ("timestamp:2026-01-31t12:00:00z", StartFrom::Timestamp(noon)),
            (
                "timestamp:2026-01-31T13:30:00+01:30",
                StartFrom::Timestamp(noon),
            ),
            (
                "timestamp:2026-01-31T07:00:00-05:00",
                StartFrom::Timestamp(noon),
            ),
            (
                "timestamp:2026-01-31T12:00:00.25Z",
                StartFrom::Timestamp(noon + 250_000),
            ),
        ] {
            let start = Start::parse(text).unwrap();
            assert_eq!(start.0, expected, "{text}");
            assert_eq!(Start::parse(&start.to_string()), Ok(start), "{start}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_is_expected() {
        for text in [
            "",
            "First",
            "latest",
            "offset",
            "offset:",
            "offset:-1",
            "offset:+1",
            "offset: 1",
            "offset:18446744073709551616",
            "first:1",
            "42",
        ] {
            assert_eq!(Start::parse(text), Err(EXPECTED.to_owned()), "{text}");
        }
        for text in [
            "timestamp:",
            "timestamp:now",
            "timestamp:2026-01-31",
            "timestamp:2026-01-31T12:00:00",
            "timestamp:2026-02-30T12:00:00Z",
            "timestamp:1969-12-31T23:59:59Z",
            "timestamp:1970-01-01T00:00:00+01:00",
            "timestamp:2026-01-31T12:00:00+1:00",
            "timestamp:2026-01-31T12:00:00+24:00",
            "timestamp:2026-01-31T12:00:00é0:00",
            "timestamp:2026-01-31T12:00:00ZZ",
        ] {
            let reason = Start::parse(text).unwrap_err();
            assert!(reason.contains("RFC 3339"), "{text}: {reason}");
        }
    }
}
