//! Reads a connector's configuration. What does not fit is told by its path and by what was expected, never by its value,
//! which may be a secret.

mod key;
mod node;
mod problem;

use serde::de::DeserializeOwned;

use crate::Error;
use node::Node;
use problem::Problem;

/// Reads `text`, one JSON value, as a configuration.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let mut scratch = text.to_vec();
    let value = simd_json::to_owned_value(&mut scratch).map_err(|error| {
        // The parser's own message quotes the character it stopped at.
        Error::InvalidConfigValue(format!(
            "plugin_config is no JSON, at byte {}",
            error.index()
        ))
    })?;
    let read: Result<T, Problem> = T::deserialize(Node(&value));
    read.map_err(|problem| Error::InvalidConfigValue(problem.within(&value).to_string()))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, num::NonZeroU8};

    use serde::{Deserialize, Deserializer, de::Error as _};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        retry: Retry,
        #[serde(default)]
        hosts: Vec<Host>,
        #[serde(default)]
        ports: BTreeMap<u16, String>,
        #[serde(default)]
        mode: Mode,
        #[serde(default, deserialize_with = "quoting")]
        token: String,
        note: Option<String>,
    }

    #[derive(Debug, Default, Deserialize)]
    struct Retry {
        max: u32,
        step: Option<NonZeroU8>,
        factor: Option<f64>,
    }

    #[derive(Debug, Deserialize)]
    struct Host {
        name: String,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Fast,
        Bounded {
            limit: u32,
        },
        Named(String),
    }

    #[derive(Debug, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        retry: Retry,
    }

    fn quoting<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with("ok") {
            return Ok(text);
        }
        Err(D::Error::custom(format_args!(
            "`{text}` does not begin with ok"
        )))
    }

    fn complaint(text: &str) -> String {
        match read::<Config>(text.as_bytes()).unwrap_err() {
            Error::InvalidConfigValue(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_configuration_is_read() {
        let config: Config = read(
            br#"{"retry": {"max": 3, "step": 2, "factor": 2}, "hosts": [{"name": "a"}], "ports": {"80": "http"},
                 "mode": {"bounded": {"limit": 7}}, "token": "ok then", "note": null}"#,
        )
        .unwrap();
        assert_eq!(config.retry.max, 3);
        assert_eq!(config.retry.step, NonZeroU8::new(2));
        assert_eq!(config.retry.factor, Some(2.0));
        assert_eq!(config.hosts[0].name, "a");
        assert_eq!(config.ports[&80], "http");
        assert_eq!(config.mode, Mode::Bounded { limit: 7 });
        assert_eq!(config.token, "ok then");
        assert_eq!(config.note, None);
        assert_eq!(
            read::<Config>(br#"{"mode": "fast"}"#).unwrap().mode,
            Mode::Fast
        );
        let named = read::<Config>(br#"{"mode": {"named": "x"}}"#).unwrap();
        assert_eq!(named.mode, Mode::Named("x".into()));
        assert_eq!(read::<Flat>(br#"{"max": 3}"#).unwrap().retry.max, 3);
        read::<()>(b"null").unwrap();
    }

    #[test]
    fn what_does_not_fit_is_told_by_path_and_expectation() {
        for (text, expected) in [
            (
                r#"{"retry": {"max": "hunter2"}}"#,
                "plugin_config.retry.max: invalid type: string, expected u32",
            ),
            (
                r#"{"retry": {"max": -1}}"#,
                "plugin_config.retry.max: invalid value: integer, expected u32",
            ),
            (
                r#"{"retry": {"max": 1, "step": 0}}"#,
                "plugin_config.retry.step: invalid value: integer, expected a nonzero u8",
            ),
            (
                r#"{"retry": {}}"#,
                "plugin_config.retry: missing field `max`",
            ),
            (
                r#"{"hosts": [{"name": "a"}, {"name": 5}]}"#,
                "plugin_config.hosts[1].name: invalid type: integer, expected a string",
            ),
            (
                r#"{"ports": {"http": "x"}}"#,
                "plugin_config.ports: invalid type: string, expected u16",
            ),
            (
                r#"{"mode": "hunter2"}"#,
                "plugin_config.mode: unknown variant, expected one of `fast`, `bounded`, `named`",
            ),
            (
                r#"{"mode": {"bounded": {"limit": "hunter2"}}}"#,
                "plugin_config.mode.bounded.limit: invalid type: string, expected u32",
            ),
            (
                r#"{"mode": {"fast": 1, "bounded": 2}}"#,
                "plugin_config.mode: invalid value: map, expected one variant's name, or a map of one variant",
            ),
            (
                r#"{"token": "hunter2"}"#,
                "plugin_config.token: `***` does not begin with ok",
            ),
            (
                "[]",
                "plugin_config: invalid type: list, expected struct Config",
            ),
            (
                "3",
                "plugin_config: invalid type: integer, expected struct Config",
            ),
            (
                r#"{"note": hunter2}"#,
                "plugin_config is no JSON, at byte 9",
            ),
        ] {
            assert_eq!(complaint(text), expected);
        }
        let unknown = complaint(r#"{"tokn": "hunter2"}"#);
        assert!(
            unknown.starts_with("plugin_config: unknown field `tokn`, expected one of `retry`")
        );
    }

    #[test]
    fn values_stay_out_of_messages_about_flattened_fields() {
        let error = read::<Flat>(br#"{"max": "hunter2"}"#)
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("plugin_config: invalid type: string, expected u32"),
            "{error}"
        );
    }
}
