//! User headers: typed keys and values, and Iggy's own wire encoding of them.
//!
//! Names, constructors and bytes are those of Iggy's client, whose crate would bring its whole dependency tree to every plugin.
//! The SDK shows them to authors; the fence and the runtime carry them as bytes.

mod field;
#[cfg(feature = "iggy")]
mod iggy;
mod kind;
mod wire;

use std::collections::BTreeMap;

pub use field::{HeaderField, KeyMarker, ValueMarker};
pub use kind::HeaderKind;
pub use wire::{MAX_ENCODED_LEN, decode, encode, encoded_len};

/// User headers, sorted by key.
pub type UserHeaders = BTreeMap<HeaderKey, HeaderValue>;

/// A header's key: a typed value of 1 to 255 bytes, usually text.
///
/// ```
/// use iggy_connector_message::HeaderKey;
///
/// let key = HeaderKey::try_from("content-type")?;
/// assert_eq!(key.as_str()?, "content-type");
/// # Ok::<(), iggy_connector_message::Error>(())
/// ```
pub type HeaderKey = HeaderField<KeyMarker>;

/// A header's value: a typed value of 1 to 255 bytes.
///
/// ```
/// use iggy_connector_message::{HeaderKind, HeaderValue};
///
/// let value = HeaderValue::from(42i32);
/// assert_eq!(value.kind(), HeaderKind::Int32);
/// assert_eq!(i32::try_from(value)?, 42);
/// # Ok::<(), iggy_connector_message::Error>(())
/// ```
pub type HeaderValue = HeaderField<ValueMarker>;
