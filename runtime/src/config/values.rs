//! Values that are written as text and mean something else: [`HumanDuration`], [`ByteSize`], [`Secret`].

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longer waits are mistakes, and some would overflow a clock.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A duration with a unit, for example `5ms`, `1 s` or `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HumanDuration(pub(super) Duration);

/// A number of bytes: `256 MiB`, `10 MB`, `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteSize(pub(super) u64);

/// A text that is never shown: it prints and serializes as `***`, or as nothing when it is empty.
#[derive(Clone)]
pub(super) struct Secret(SecretString);

impl HumanDuration {
    pub(super) const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub(super) const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Reads a duration as it is written in a configuration.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= LONGEST => Ok(Self(duration)),
            Ok(_) => Err("a duration of at most ten years is expected".into()),
            Err(_) => {
                Err("a duration with a unit is expected, for example \"5ms\" or \"1m 30s\"".into())
            }
        }
    }
}

impl ByteSize {
    /// Reads a size as it is written in a configuration.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let bytes = number
            .parse::<u64>()
            .ok()
            .zip(bytes_of(unit.trim()))
            .and_then(|(number, unit)| number.checked_mul(unit));
        match bytes {
            Some(bytes) => Ok(Self(bytes)),
            None => Err("a number of bytes is expected, for example \"256 MiB\" or 4096".into()),
        }
    }
}

fn bytes_of(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "tb" => 1000 * 1000 * 1000 * 1000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    })
}

impl Secret {
    pub(super) fn is_empty(&self) -> bool {
        self.0.expose_secret().is_empty()
    }

    /// The secret, or nothing when it is empty.
    pub(super) fn into_option(self) -> Option<SecretString> {
        (!self.is_empty()).then_some(self.0)
    }

    pub(super) fn into_inner(self) -> SecretString {
        self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(SecretString::from(text))
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::from("")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "" } else { "***" })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = units
            .into_iter()
            .find(|(shift, _)| self.0 > 0 && self.0.trailing_zeros() >= *shift);
        match whole {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text,
            // A number has no unit; nothing is the same in all of them.
            other => other.to_string(),
        };
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own error about a number would repeat it.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self::from(text.as_str())),
            _ => Err(de::Error::custom("a string is expected")),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["5ms", "1 s", "1m 30s"] })
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "examples": ["256 MiB", 4096] })
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let cases = [
            (json!("5ms"), Some(HumanDuration::millis(5))),
            (json!("1 s"), Some(HumanDuration::secs(1))),
            (json!("1m 30s"), Some(HumanDuration::secs(90))),
            (json!("0s"), Some(HumanDuration::secs(0))),
            (json!("0"), Some(HumanDuration::secs(0))),
            (json!(0), Some(HumanDuration::secs(0))),
            (json!(5), None),
            (json!("5"), None),
            (json!("-5ms"), None),
            (json!("11years"), None),
            (json!(""), None),
            (json!(true), None),
        ];
        for (written, expected) in cases {
            let shown = written.to_string();
            let read = serde_json::from_value::<HumanDuration>(written);
            assert_eq!(read.ok(), expected, "{shown}");
        }
    }

    #[test]
    fn sizes_may_have_a_unit() {
        let cases = [
            (json!("256 MiB"), Some(256 << 20)),
            (json!("1gib"), Some(1 << 30)),
            (json!("10 MB"), Some(10_000_000)),
            (json!("4096"), Some(4096)),
            (json!(4096), Some(4096)),
            (json!("1.5 MiB"), None),
            (json!("MiB"), None),
            (json!("1 MiBs"), None),
            (json!(-1), None),
            (json!("20000000 TiB"), None),
        ];
        for (written, expected) in cases {
            let shown = written.to_string();
            let read = serde_json::from_value::<ByteSize>(written);
            assert_eq!(read.ok().map(|size| size.0), expected, "{shown}");
        }
    }

    #[test]
    fn a_written_value_reads_the_same() {
        for size in [0, 1, 1000, 1024, 3 << 20, 256 << 20, (1 << 30) + 1] {
            let text = ByteSize(size).to_string();
            assert_eq!(ByteSize::parse(&text), Ok(ByteSize(size)), "{text}");
        }
        for millis in [0, 5, 100, 1500, 90_000] {
            let written = serde_json::to_value(HumanDuration::millis(millis)).unwrap();
            let read = serde_json::from_value::<HumanDuration>(written).unwrap();
            assert_eq!(read, HumanDuration::millis(millis));
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret: Secret = serde_json::from_value(json!("hunter2")).unwrap();
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_value(&secret).unwrap(), json!("***"));
        assert_eq!(secret.into_inner().expose_secret(), "hunter2");
        let error = serde_json::from_value::<Secret>(json!(1234)).unwrap_err();
        assert!(!error.to_string().contains("1234"), "{error}");
        assert!(Secret::default().into_option().is_none());
    }
}
