//! The decoders by format: bytes in, payload out.

use iggy_connector_message::{Error, Schema, StreamDecoder};

/// JSON to a value.
#[cfg(feature = "json")]
pub mod json {
    pub use crate::json::JsonStreamDecoder;
}

/// Bytes as they are.
#[cfg(feature = "raw")]
pub mod raw {
    pub use crate::raw::RawStreamDecoder;
}

/// UTF-8 text.
#[cfg(feature = "text")]
pub mod text {
    pub use crate::text::TextStreamDecoder;
}

/// Returns the decoder of a schema that needs no configuration.
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use iggy_connector_codec::decoders;
/// use iggy_connector_message::{Payload, Schema};
///
/// let decoder = decoders::for_schema(Schema::Json)?;
/// let payload = decoder.decode(br#"{"id": 1}"#.to_vec())?;
/// assert_eq!(payload.to_string(), r#"{"id":1}"#);
/// # Ok::<(), iggy_connector_message::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidConfigValue`] when the format's feature is not built in, or the schema cannot be read without a
/// configuration of its own.
pub fn for_schema(schema: Schema) -> Result<Box<dyn StreamDecoder>, Error> {
    match schema {
        #[cfg(feature = "json")]
        Schema::Json => Ok(Box::new(json::JsonStreamDecoder)),
        #[cfg(feature = "raw")]
        Schema::Raw => Ok(Box::new(raw::RawStreamDecoder)),
        #[cfg(feature = "text")]
        Schema::Text => Ok(Box::new(text::TextStreamDecoder)),
        other => Err(crate::unavailable(other, "decoder")),
    }
}
