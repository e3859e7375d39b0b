//! User headers: typed keys and values, and Iggy's own wire encoding of them.
//!
//! Names, constructors and bytes are those of Iggy's client, whose crate would bring its whole dependency tree to every plugin.

use std::{collections::BTreeMap, marker::PhantomData};

use crate::Error;

/// User headers, sorted by key.
pub type UserHeaders = BTreeMap<HeaderKey, HeaderValue>;

/// A header's key: a typed value of 1 to 255 bytes, usually text.
pub type HeaderKey = HeaderField<KeyMarker>;

/// A header's value: a typed value of 1 to 255 bytes.
pub type HeaderValue = HeaderField<ValueMarker>;

/// Tells a key from a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyMarker;

/// Tells a value from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueMarker;

/// The type of a header's key or value. Numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum HeaderKind {
    /// Bytes, 1 to 255.
    Raw = 1,
    /// UTF-8 text, 1 to 255 bytes.
    String = 2,
    /// One byte, 0 or 1.
    Bool = 3,
    /// 1 byte.
    Int8 = 4,
    /// 2 bytes.
    Int16 = 5,
    /// 4 bytes.
    Int32 = 6,
    /// 8 bytes.
    Int64 = 7,
    /// 16 bytes.
    Int128 = 8,
    /// 1 byte.
    Uint8 = 9,
    /// 2 bytes.
    Uint16 = 10,
    /// 4 bytes.
    Uint32 = 11,
    /// 8 bytes.
    Uint64 = 12,
    /// 16 bytes.
    Uint128 = 13,
    /// 4 bytes.
    Float32 = 14,
    /// 8 bytes.
    Float64 = 15,
}

/// A typed key or value; use it as [`HeaderKey`] or [`HeaderValue`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderField<T> {
    kind: HeaderKind,
    value: Vec<u8>,
    marker: PhantomData<T>,
}

/// Reads headers in Iggy's wire encoding. No bytes are no headers.
///
/// # Errors
///
/// [`Error::InvalidRecordValue`] when the bytes are cut, a kind is unknown, or a value does not fit its kind.
pub fn decode(bytes: &[u8]) -> Result<UserHeaders, Error> {
    let _ = bytes;
    Err(Error::InvalidRecord)
}

/// Writes headers in Iggy's wire encoding, ordered by key.
pub fn encode(headers: &UserHeaders) -> Vec<u8> {
    let _ = headers;
    Vec::new()
}
