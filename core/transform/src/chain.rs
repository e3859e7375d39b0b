//! The transforms of one connector, in file order: [`Chain`].

use iggy_connector_message::{DecodedMessage, Error, TopicMetadata, Transform};
use serde_json::Value;

use crate::{registry, strict};

/// The transforms of one connector, applied in the order in which its file names them.
///
/// ```
/// use iggy_connector_transform::Chain;
/// use serde_json::json;
///
/// let chain = Chain::from_config(&[
///     ("delete_fields".into(), json!({ "fields": ["user.password"] })),
///     ("add_fields".into(), json!({ "fields": [{ "key": "seen_at", "value": { "computed": "date_time" } }] })),
/// ])?;
/// assert!(!chain.is_empty());
/// # Ok::<(), iggy_connector_message::Error>(())
/// ```
#[derive(Default)]
pub struct Chain {
    steps: Vec<Step>,
    configs: Vec<(String, Value)>,
}

struct Step {
    /// Place in the file from 1, disabled ones counted: a type may occur more than once.
    place: usize,
    transform: Box<dyn Transform>,
}

impl Chain {
    /// Makes the transforms from their types and configurations. Those with `enabled = false` are checked, listed by
    /// [`Chain::transforms`], and left out.
    ///
    /// # Errors
    ///
    /// The first error of [`from_config`](crate::from_config), with the transform's place from 1.
    pub fn from_config(configs: &[(String, Value)]) -> Result<Self, Error> {
        let mut steps = vec![];
        for (place, (r#type, config)) in (1..).zip(configs) {
            let transform = registry::from_config(r#type, config)
                .map_err(|error| located(format_args!("transforms, entry {place}"), &error))?;
            if strict::split_enabled(config).is_ok_and(|(enabled, _)| enabled) {
                steps.push(Step { place, transform });
            }
        }
        Ok(Self {
            steps,
            configs: configs.to_vec(),
        })
    }

    /// Sends a message through all transforms. `None` means that one of them dropped it.
    ///
    /// # Errors
    ///
    /// The error of the first transform that cannot do its work, of the same class, with the transform's name and place.
    pub fn apply(
        &self,
        topic: &TopicMetadata,
        message: DecodedMessage,
    ) -> Result<Option<DecodedMessage>, Error> {
        let mut message = message;
        for Step { place, transform } in &self.steps {
            let transformed = transform.transform(topic, message).map_err(|error| {
                let name = transform.r#type();
                located(format_args!("transform `{name}` (entry {place})"), &error)
            })?;
            let Some(kept) = transformed else {
                return Ok(None);
            };
            message = kept;
        }
        Ok(Some(message))
    }

    /// Whether messages pass unchanged, so that they need not be decoded.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Every transform's type and configuration as given, disabled ones too, in order.
    pub fn transforms(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.configs
            .iter()
            .map(|(r#type, config)| (r#type.as_str(), config))
    }
}

/// Says where an error happened and keeps the rest of it.
fn located(place: std::fmt::Arguments<'_>, error: &Error) -> Error {
    let located = Error::of_class(error.class(), format!("{place}: {error}"));
    match error.retry_after() {
        Some(delay) => located.with_retry_after(delay),
        None => located,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use iggy_connector_message::{Class, Payload, Schema};
    use serde_json::json;

    use super::*;

    pub(crate) fn message(payload: Payload) -> DecodedMessage {
        DecodedMessage {
            id: Some(1),
            offset: Some(2),
            checksum: None,
            timestamp: None,
            origin_timestamp: None,
            headers: None,
            payload,
        }
    }

    fn chain(configs: &[(&str, Value)]) -> Result<Chain, Error> {
        let configs: Vec<_> = configs
            .iter()
            .map(|(r#type, config)| ((*r#type).to_owned(), config.clone()))
            .collect();
        Chain::from_config(&configs)
    }

    /// Sends JSON text through a chain and returns it as text.
    pub(crate) fn apply(configs: &[(&str, Value)], json: &str) -> Result<Option<String>, Error> {
        let payload = Schema::Json.try_into_payload(json.as_bytes().to_vec())?;
        let topic = TopicMetadata {
            stream: "stream".into(),
            topic: "topic".into(),
        };
        let transformed = chain(configs)?.apply(&topic, message(payload))?;
        Ok(transformed.map(|message| message.payload.to_string()))
    }

    fn add(key: &str) -> (&'static str, Value) {
        let field = json!({ "key": key, "value": { "static": 1 } });
        ("add_fields", json!({ "fields": [field] }))
    }

    fn delete(key: &str) -> (&'static str, Value) {
        ("delete_fields", json!({ "fields": [key] }))
    }

    #[test]
    fn transforms_are_applied_in_the_given_order() {
        let there = |configs: &[(&str, Value)]| apply(configs, "{}").unwrap().unwrap();
        assert_eq!(there(&[add("a"), delete("a")]), "{}");
        assert_eq!(there(&[delete("a"), add("a")]), r#"{"a":1}"#);
        assert_eq!(
            there(&[add("a"), delete("a"), add("a.b")]),
            r#"{"a":{"b":1}}"#
        );
    }

    #[test]
    fn an_empty_chain_changes_nothing() {
        assert!(chain(&[]).unwrap().is_empty());
        assert_eq!(apply(&[], "[1]").unwrap().unwrap(), "[1]");
    }

    #[test]
    fn disabled_transforms_are_listed_but_not_applied() {
        let off = json!({ "enabled": false, "fields": ["a"] });
        let on = json!({ "enabled": true, "fields": ["b"] });
        let configs = [
            ("delete_fields", off.clone()),
            ("delete_fields", on.clone()),
        ];
        let listed = chain(&configs).unwrap();
        assert_eq!(
            listed.transforms().collect::<Vec<_>>(),
            [("delete_fields", &off), ("delete_fields", &on)]
        );
        assert!(chain(&configs[..1]).unwrap().is_empty());
        let applied = apply(&configs, r#"{"a":1,"b":2}"#).unwrap();
        assert_eq!(applied.unwrap(), r#"{"a":1}"#);
    }

    #[test]
    fn a_disabled_transform_is_checked_too() {
        let typo = ("delete_fields", json!({ "enabled": false, "feilds": [] }));
        let error = chain(&[add("a"), typo]).err().unwrap();
        assert_eq!(error.class(), Class::Fatal);
        assert_eq!(
            error.to_string(),
            "transforms, entry 2: invalid config value: transform `delete_fields`: `feilds`: unknown key; did you mean `fields`?"
        );
    }

    #[test]
    fn an_error_names_the_transform_and_keeps_its_class() {
        let error = apply(&[delete("b"), add("a.b")], r#"{"a":[]}"#).unwrap_err();
        assert_eq!(error.class(), Class::Invalid);
        assert_eq!(
            error.to_string(),
            "transform `add_fields` (entry 2): invalid record: field `a.b`: `a` is an array, not an object"
        );
    }
}
