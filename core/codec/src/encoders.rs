//! The encoders by format: payload in, bytes out.
//!
//! | encoder | JSON value | text | raw bytes | Protobuf, FlatBuffers, Avro |
//! | --- | --- | --- | --- | --- |
//! | `json` | written out | a JSON string | as they are, if they are JSON | refused |
//! | `text` | written out | as it is | as they are, if they are UTF-8 | refused |
//! | `raw` | written out | as it is | as they are | as they are |

use iggy_connector_message::{Error, Schema, StreamEncoder};

/// A payload to JSON.
#[cfg(feature = "json")]
pub mod json {
    pub use crate::json::JsonStreamEncoder;
}

/// A payload to its own bytes.
#[cfg(feature = "raw")]
pub mod raw {
    pub use crate::raw::RawStreamEncoder;
}

/// A payload to UTF-8 text.
#[cfg(feature = "text")]
pub mod text {
    pub use crate::text::TextStreamEncoder;
}

/// Returns the encoder of a schema that needs no configuration.
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use iggy_connector_codec::encoders;
/// use iggy_connector_message::{Payload, Schema};
///
/// let encoder = encoders::for_schema(Schema::Json)?;
/// assert_eq!(encoder.encode(Payload::Text("hello".into()))?, br#""hello""#);
/// # Ok::<(), iggy_connector_message::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidConfigValue`] when the format's feature is not built in, or the schema cannot be written without a
/// configuration of its own.
pub fn for_schema(schema: Schema) -> Result<Box<dyn StreamEncoder>, Error> {
    match schema {
        #[cfg(feature = "json")]
        Schema::Json => Ok(Box::new(json::JsonStreamEncoder)),
        #[cfg(feature = "raw")]
        Schema::Raw => Ok(Box::new(raw::RawStreamEncoder)),
        #[cfg(feature = "text")]
        Schema::Text => Ok(Box::new(text::TextStreamEncoder)),
        other => Err(crate::unavailable(other, "encoder")),
    }
}
