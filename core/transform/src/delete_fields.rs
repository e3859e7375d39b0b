//! Removes fields of JSON payloads: [`DeleteFields`].

use iggy_connector_message::{
    DecodedMessage, Error, Payload, TopicMetadata, Transform, TransformType,
};
use serde::{Deserialize, Serialize};

use crate::{field_path::FieldPath, registry::Configured};

/// What [`DeleteFields`] does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteFieldsConfig {
    /// The fields to remove.
    pub fields: Vec<FieldPath>,
}

/// Removes fields of JSON payloads. A field that is not there is no error.
///
/// A payload that is not JSON has no fields and passes unchanged; one that is JSON but no object is an error of that message.
///
/// ```
/// use iggy_connector_transform::{DeleteFields, DeleteFieldsConfig};
///
/// let transform = DeleteFields::new(DeleteFieldsConfig {
///     fields: vec!["user.password".parse()?],
/// });
/// # Ok::<(), iggy_connector_message::Error>(())
/// ```
pub struct DeleteFields {
    fields: Vec<FieldPath>,
}

impl DeleteFields {
    /// Makes the transform.
    pub fn new(config: DeleteFieldsConfig) -> Self {
        Self {
            fields: config.fields,
        }
    }
}

impl Configured for DeleteFields {
    const TYPE: TransformType = "delete_fields";

    type Config = DeleteFieldsConfig;

    fn from_config(config: DeleteFieldsConfig) -> Result<Self, String> {
        Ok(Self::new(config))
    }
}

impl Transform for DeleteFields {
    fn r#type(&self) -> TransformType {
        Self::TYPE
    }

    fn transform(
        &self,
        _metadata: &TopicMetadata,
        mut message: DecodedMessage,
    ) -> Result<Option<DecodedMessage>, Error> {
        let Payload::Json(root) = &mut message.payload else {
            return Ok(Some(message));
        };
        for path in &self.fields {
            path.remove(root)?;
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chain::tests::{apply, message};

    fn check(fields: &[&str], payload: &str, expected: &str) {
        let transforms = [("delete_fields", json!({ "fields": fields }))];
        assert_eq!(apply(&transforms, payload).unwrap().unwrap(), expected);
    }

    #[test]
    fn named_fields_are_removed() {
        check(&["b"], r#"{"a":1,"b":{"c":2}}"#, r#"{"a":1}"#);
        check(&["a", "b.c"], r#"{"a":1,"b":{"c":2}}"#, r#"{"b":{}}"#);
        check(&["missing", "missing.too"], r#"{"a":1}"#, r#"{"a":1}"#);
        check(&[], r#"{"a":1}"#, r#"{"a":1}"#);
    }

    #[test]
    fn other_payloads_pass_unchanged() {
        let fields = vec!["a".parse().unwrap()];
        let transform = DeleteFields::new(DeleteFieldsConfig { fields });
        let topic = TopicMetadata {
            stream: "s".into(),
            topic: "t".into(),
        };
        let message = message(Payload::Text(r#"{"a":1}"#.into()));
        let transformed = transform.transform(&topic, message.clone());
        assert_eq!(transformed, Ok(Some(message)));
    }
}
