//! What a transform puts into a field: [`FieldValue`] as configured, `PreparedValue` as it is made for each message.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use simd_json::OwnedValue;
use uuid::Uuid;

/// What a field is set to: `{ static = … }` or `{ computed = "…" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldValue {
    /// The same JSON value for every message.
    Static(serde_json::Value),
    /// A value made anew for every message.
    Computed(ComputedValue),
}

/// A value made anew for every message. All times of one message are of the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComputedValue {
    /// The time of day in UTC as RFC 3339 text with microseconds, for example `2026-01-31T12:00:00.000000Z`.
    DateTime,
    /// Nanoseconds since the epoch.
    TimestampNanos,
    /// Microseconds since the epoch.
    TimestampMicros,
    /// Milliseconds since the epoch.
    TimestampMillis,
    /// Seconds since the epoch.
    TimestampSeconds,
    /// A random UUID.
    UuidV4,
    /// A UUID that sorts by the time it was made.
    UuidV7,
}

/// A [`FieldValue`] in the form that costs least per message.
pub(crate) enum PreparedValue {
    Static(OwnedValue),
    Computed(ComputedValue),
}

/// The moment at which a message is transformed, as time since the epoch; a clock set before it counts as the epoch.
#[derive(Clone, Copy)]
pub(crate) struct Moment(Duration);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }
}

impl TryFrom<FieldValue> for PreparedValue {
    type Error = String;

    fn try_from(value: FieldValue) -> Result<Self, String> {
        match value {
            FieldValue::Static(value) => simd_json::serde::to_owned_value(value)
                .map(Self::Static)
                .map_err(|error| error.to_string()),
            FieldValue::Computed(computed) => Ok(Self::Computed(computed)),
        }
    }
}

impl PreparedValue {
    /// The value for the message that is transformed at this moment.
    pub(crate) fn make(&self, moment: Moment) -> OwnedValue {
        match self {
            Self::Static(value) => value.clone(),
            Self::Computed(computed) => computed.make(moment),
        }
    }
}

impl ComputedValue {
    fn make(self, Moment(elapsed): Moment) -> OwnedValue {
        match self {
            Self::DateTime => humantime::format_rfc3339_micros(UNIX_EPOCH + elapsed)
                .to_string()
                .into(),
            Self::TimestampNanos => number(elapsed.as_nanos()),
            Self::TimestampMicros => number(elapsed.as_micros()),
            Self::TimestampMillis => number(elapsed.as_millis()),
            Self::TimestampSeconds => elapsed.as_secs().into(),
            Self::UuidV4 => Uuid::new_v4().to_string().into(),
            Self::UuidV7 => Uuid::now_v7().to_string().into(),
        }
    }
}

/// 64 bits of nanoseconds last until the year 2554.
fn number(count: u128) -> OwnedValue {
    u64::try_from(count).unwrap_or(u64::MAX).into()
}

#[cfg(test)]
mod tests {
    use simd_json::json;

    use super::*;

    fn check(computed: ComputedValue, elapsed: Duration, expected: OwnedValue) {
        assert_eq!(computed.make(Moment(elapsed)), expected, "{computed:?}");
    }

    #[test]
    fn times_are_of_the_given_moment() {
        let moment = Duration::new(1_700_000_000, 123_456_789);
        check(
            ComputedValue::DateTime,
            moment,
            json!("2023-11-14T22:13:20.123456Z"),
        );
        check(
            ComputedValue::TimestampNanos,
            moment,
            json!(1_700_000_000_123_456_789_u64),
        );
        check(
            ComputedValue::TimestampMicros,
            moment,
            json!(1_700_000_000_123_456_u64),
        );
        check(
            ComputedValue::TimestampMillis,
            moment,
            json!(1_700_000_000_123_u64),
        );
        check(
            ComputedValue::TimestampSeconds,
            moment,
            json!(1_700_000_000_u64),
        );
        check(
            ComputedValue::DateTime,
            Duration::ZERO,
            json!("1970-01-01T00:00:00.000000Z"),
        );
    }

    #[test]
    fn uuids_are_of_their_version_and_never_the_same() {
        for (computed, version) in [(ComputedValue::UuidV4, 4), (ComputedValue::UuidV7, 7)] {
            let [first, second] = [(); 2].map(|()| {
                let OwnedValue::String(text) = computed.make(Moment::now()) else {
                    panic!("{computed:?}");
                };
                Uuid::parse_str(&text).unwrap()
            });
            assert_eq!(first.get_version_num(), version);
            assert_ne!(first, second);
        }
    }

    #[test]
    fn a_static_value_is_any_json() {
        let values = [
            serde_json::json!(null),
            serde_json::json!(u64::MAX),
            serde_json::json!(-1.5),
            serde_json::json!({"a": [true, {"b": "text"}]}),
        ];
        for value in values {
            let text = value.to_string();
            let prepared = PreparedValue::try_from(FieldValue::Static(value)).unwrap();
            let made = prepared.make(Moment::now());
            assert_eq!(simd_json::to_string(&made).unwrap(), text);
        }
    }
}
