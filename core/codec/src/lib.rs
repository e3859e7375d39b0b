//! Decoders and encoders between bytes and payloads: one folder per format, one cargo feature each.
//!
//! The runtime builds them from a stream's `schema` ([`decoders::for_schema`], [`encoders::for_schema`]); plugins may use them
//! by name. Transforms, which change a payload, are another crate's.

pub mod decoders;
pub mod encoders;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "raw")]
mod raw;
#[cfg(feature = "text")]
mod text;

use iggy_connector_message::{Error, Schema};

/// Says why there is no decoder or encoder (`what`) of a schema, and what to do about it.
fn unavailable(schema: Schema, what: &str) -> Error {
    let reason = match schema {
        Schema::Json | Schema::Raw | Schema::Text => {
            format!("has no {what} in this build; build it with the feature `{schema}`")
        }
        Schema::Proto | Schema::FlatBuffer | Schema::Avro => {
            format!(
                "has no {what} that works without a schema of its own; use `raw` to pass its bytes on as they are"
            )
        }
    };
    Error::InvalidConfigValue(format!("schema `{schema}` {reason}"))
}

#[cfg(test)]
mod tests {
    use iggy_connector_message::Class;

    use super::*;

    const SCHEMAS: [Schema; 6] = [
        Schema::Json,
        Schema::Raw,
        Schema::Text,
        Schema::Proto,
        Schema::FlatBuffer,
        Schema::Avro,
    ];

    fn is_built_in(schema: Schema) -> bool {
        match schema {
            Schema::Json => cfg!(feature = "json"),
            Schema::Raw => cfg!(feature = "raw"),
            Schema::Text => cfg!(feature = "text"),
            Schema::Proto | Schema::FlatBuffer | Schema::Avro => false,
        }
    }

    #[test]
    fn a_schema_has_both_directions_or_an_error_that_names_it() {
        for schema in SCHEMAS {
            let decoder = decoders::for_schema(schema).map(|decoder| decoder.schema());
            let encoder = encoders::for_schema(schema).map(|encoder| encoder.schema());
            for (what, found) in [("decoder", decoder), ("encoder", encoder)] {
                if is_built_in(schema) {
                    assert_eq!(found, Ok(schema));
                    continue;
                }
                let error = found.unwrap_err();
                assert_eq!(error.class(), Class::Fatal);
                let message = error.to_string();
                assert!(
                    message.contains(&format!("schema `{schema}` has no {what}")),
                    "{message}"
                );
            }
        }
    }
}
