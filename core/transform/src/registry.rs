//! Which transforms there are, and how one is made from its configuration: [`from_config`].

use iggy_connector_message::{Error, Transform, TransformType};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{add_fields::AddFields, delete_fields::DeleteFields, strict};

/// Every transform by its name in a configuration. A new one is added here.
const TRANSFORMS: [(TransformType, Build); 2] = [entry::<AddFields>(), entry::<DeleteFields>()];

type Build = fn(Value) -> Result<Box<dyn Transform>, String>;

/// A transform that can be made from a configuration.
pub(crate) trait Configured: Transform + Sized + 'static {
    /// Its name.
    const TYPE: TransformType;

    /// What it reads, strictly: `#[serde(deny_unknown_fields)]`.
    type Config: DeserializeOwned;

    /// Makes it, once per connector: whatever can be prepared for the messages is prepared here.
    fn from_config(config: Self::Config) -> Result<Self, String>;
}

/// Makes the transform `type` from its configuration, which may hold `enabled` besides the transform's own keys.
///
/// `enabled` decides nothing here: [`Chain`](crate::Chain) leaves disabled transforms out.
///
/// ```
/// use serde_json::json;
///
/// let error = iggy_connector_transform::from_config("delete_fields", &json!({ "feilds": ["a"] })).err().unwrap();
/// assert!(error.to_string().ends_with("`feilds`: unknown key; did you mean `fields`?"), "{error}");
/// ```
///
/// # Errors
///
/// [`Error::InvalidConfigValue`] when there is no such transform, or its configuration is not what it should be; it names the
/// key, what is wrong with it and the nearest that would do.
pub fn from_config(r#type: &str, config: &Value) -> Result<Box<dyn Transform>, Error> {
    let Some((_, build)) = TRANSFORMS.iter().find(|(name, _)| *name == r#type) else {
        let remedy = strict::suggest(r#type, &types().collect::<Vec<_>>());
        return Err(invalid(format!("unknown transform `{type}`; {remedy}")));
    };
    strict::split_enabled(config)
        .and_then(|(_, config)| build(config))
        .map_err(|reason| invalid(format!("transform `{type}`: {reason}")))
}

/// The names of all transforms.
pub fn types() -> impl Iterator<Item = TransformType> {
    TRANSFORMS.iter().map(|(name, _)| *name)
}

const fn entry<T: Configured>() -> (TransformType, Build) {
    (T::TYPE, build::<T>)
}

fn build<T: Configured>(config: Value) -> Result<Box<dyn Transform>, String> {
    Ok(Box::new(T::from_config(strict::read(config)?)?))
}

fn invalid(reason: String) -> Error {
    Error::InvalidConfigValue(reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(r#type: &str, config: Value, expected: &str) {
        let Err(error) = from_config(r#type, &config) else {
            panic!("{type} took {config}");
        };
        assert_eq!(error, Error::InvalidConfigValue(expected.into()));
    }

    #[test]
    fn every_type_makes_a_transform_of_its_name() {
        for name in types() {
            let transform = from_config(name, &json!({ "fields": [] })).unwrap();
            assert_eq!(transform.r#type(), name);
        }
    }

    #[test]
    fn an_unknown_type_is_told_the_nearest() {
        let config = json!({});
        check(
            "add_field",
            config.clone(),
            "unknown transform `add_field`; did you mean `add_fields`?",
        );
        check(
            "zzz",
            config,
            "unknown transform `zzz`; known are `add_fields`, `delete_fields`",
        );
    }

    #[test]
    fn a_wrong_config_is_told_where_and_what() {
        let cases = [
            (json!([]), "a table is expected"),
            (json!({}), "missing field `fields`"),
            (
                json!({ "fields": [], "enable": true }),
                "`enable`: unknown key; did you mean `enabled`?",
            ),
            (
                json!({ "fields": [], "enabled": "yes" }),
                "`enabled`: true or false is expected",
            ),
            (
                json!({ "fields": [{ "kye": "a", "value": { "static": 1 } }] }),
                "`fields[0].kye`: unknown key; did you mean `key`?",
            ),
            (
                json!({ "fields": [{ "key": "a", "value": { "computed": "uuid_v5" } }] }),
                "`fields[0].value.computed`: unknown value `uuid_v5`; did you mean `uuid_v4`?",
            ),
            (
                json!({ "fields": [{ "key": "a..b", "value": { "static": 1 } }] }),
                "`fields[0].key`: the path `a..b` has an empty part; a literal dot is written `\\.`",
            ),
            (
                json!({ "fields": "a" }),
                "`fields`: invalid type: string \"a\", expected a sequence",
            ),
        ];
        for (config, expected) in cases {
            let expected = format!("transform `add_fields`: {expected}");
            check("add_fields", config, &expected);
        }
    }
}
