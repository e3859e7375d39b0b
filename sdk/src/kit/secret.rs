//! Texts of a configuration that are not to be shown: [`Secret`].

use std::fmt;

use serde::Deserialize;

/// A password, a token or another text of a configuration that nobody should see.
///
/// `Debug` prints `***`. With the feature `schemars` its JSON Schema is marked `writeOnly`, by which the runtime knows that it shows the
/// value nowhere: not in its API, not in its log, and not in an error of this plugin that quotes it.
///
/// ```
/// use iggy_connector_sdk::kit::Secret;
///
/// #[derive(Debug, serde::Deserialize)]
/// struct Config {
///     password: Secret,
/// }
/// # let config = Config { password: Secret::from("hunter2") };
/// assert_eq!(config.password.expose(), "hunter2");
/// assert_eq!(format!("{config:?}"), "Config { password: *** }");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "writeOnly": true })
    }
}
