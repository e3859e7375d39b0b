//! Sets fields of JSON payloads to fixed or computed values: [`AddFields`].

use iggy_connector_message::{
    DecodedMessage, Error, Payload, TopicMetadata, Transform, TransformType,
};
use serde::{Deserialize, Serialize};

use crate::{
    field_path::FieldPath,
    field_value::{FieldValue, Moment, PreparedValue},
    registry::Configured,
};

/// What [`AddFields`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddFieldsConfig {
    /// The fields to set, in order.
    pub fields: Vec<Field>,
}

/// One field to set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Which field.
    pub key: FieldPath,
    /// To what.
    pub value: FieldValue,
}

/// Sets fields of JSON payloads, replacing what they were. The objects on the way to a field are made where missing.
///
/// A payload that is not JSON has no fields and passes unchanged; one that is JSON but no object is an error of that message.
///
/// ```
/// use iggy_connector_transform::{AddFields, AddFieldsConfig, Field, FieldValue};
///
/// let fields = vec![Field {
///     key: "meta.origin".parse()?,
///     value: FieldValue::Static("sensor-7".into()),
/// }];
/// let transform = AddFields::new(AddFieldsConfig { fields })?;
/// # Ok::<(), iggy_connector_message::Error>(())
/// ```
pub struct AddFields {
    fields: Vec<(FieldPath, PreparedValue)>,
}

impl AddFields {
    /// Prepares the values, so that a message costs no more than a copy of them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfigValue`] when a static value cannot be held as JSON.
    pub fn new(config: AddFieldsConfig) -> Result<Self, Error> {
        Self::from_config(config).map_err(Error::InvalidConfigValue)
    }
}

impl Configured for AddFields {
    const TYPE: TransformType = "add_fields";

    type Config = AddFieldsConfig;

    fn from_config(config: AddFieldsConfig) -> Result<Self, String> {
        let fields = config
            .fields
            .into_iter()
            .map(|field| Ok((field.key, PreparedValue::try_from(field.value)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self { fields })
    }
}

impl Transform for AddFields {
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
        let moment = Moment::now();
        for (path, value) in &self.fields {
            path.set(root, value.make(moment))?;
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chain::tests::{apply, message};

    fn check(fields: serde_json::Value, payload: &str, expected: &str) {
        let transforms = [("add_fields", json!({ "fields": fields }))];
        assert_eq!(apply(&transforms, payload).unwrap().unwrap(), expected);
    }

    #[test]
    fn fields_are_set_in_order() {
        check(
            json!([{ "key": "message", "value": { "static": "hello" } }]),
            r#"{"id":1}"#,
            r#"{"id":1,"message":"hello"}"#,
        );
        check(
            json!([
                { "key": "a", "value": { "static": { "b": 1 } } },
                { "key": "a.c", "value": { "static": [2, null] } },
            ]),
            r#"{"a":"replaced"}"#,
            r#"{"a":{"b":1,"c":[2,null]}}"#,
        );
        check(json!([]), r#"{"id":1}"#, r#"{"id":1}"#);
    }

    #[test]
    fn computed_times_of_one_message_agree() {
        let fields = json!([
            { "key": "millis", "value": { "computed": "timestamp_millis" } },
            { "key": "text", "value": { "computed": "date_time" } },
        ]);
        let transforms = [("add_fields", json!({ "fields": fields }))];
        let payload = apply(&transforms, "{}").unwrap().unwrap();
        let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
        let time = humantime::parse_rfc3339(payload["text"].as_str().unwrap()).unwrap();
        let millis = time
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis();
        assert_eq!(u128::from(payload["millis"].as_u64().unwrap()), millis);
    }

    #[test]
    fn other_payloads_pass_unchanged() {
        let field = Field {
            key: "a".parse().unwrap(),
            value: FieldValue::Static(1.into()),
        };
        let transform = AddFields::new(AddFieldsConfig {
            fields: vec![field],
        })
        .unwrap();
        let topic = TopicMetadata {
            stream: "s".into(),
            topic: "t".into(),
        };
        for payload in [
            Payload::Raw(b"{}".to_vec()),
            Payload::Text("{}".into()),
            Payload::Avro(vec![0]),
        ] {
            let message = message(payload);
            let transformed = transform.transform(&topic, message.clone());
            assert_eq!(transformed, Ok(Some(message)));
        }
    }
}
