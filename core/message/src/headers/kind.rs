//! The types that a header's key or value can have: [`HeaderKind`], with its code on the wire, name and size.

use std::{fmt, str::FromStr};

use crate::Error;

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

/// Every kind with its name and, where it has one, its size; the place in the list is the code less one.
const KINDS: [(HeaderKind, &str, Option<usize>); 15] = [
    (HeaderKind::Raw, "raw", None),
    (HeaderKind::String, "string", None),
    (HeaderKind::Bool, "bool", Some(1)),
    (HeaderKind::Int8, "int8", Some(1)),
    (HeaderKind::Int16, "int16", Some(2)),
    (HeaderKind::Int32, "int32", Some(4)),
    (HeaderKind::Int64, "int64", Some(8)),
    (HeaderKind::Int128, "int128", Some(16)),
    (HeaderKind::Uint8, "uint8", Some(1)),
    (HeaderKind::Uint16, "uint16", Some(2)),
    (HeaderKind::Uint32, "uint32", Some(4)),
    (HeaderKind::Uint64, "uint64", Some(8)),
    (HeaderKind::Uint128, "uint128", Some(16)),
    (HeaderKind::Float32, "float32", Some(4)),
    (HeaderKind::Float64, "float64", Some(8)),
];

impl HeaderKind {
    /// The number that stands for the kind on the wire.
    pub const fn as_code(&self) -> u8 {
        *self as u8
    }

    /// The kind that a number on the wire stands for.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecordValue`] when no kind has this number.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        KINDS
            .iter()
            .map(|(kind, ..)| *kind)
            .find(|kind| kind.as_code() == code)
            .ok_or_else(|| Error::InvalidRecordValue(format!("unknown header kind {code}")))
    }

    /// How many bytes a value of this kind has, or `None` when it may have 1 to 255.
    pub(super) const fn size(self) -> Option<usize> {
        KINDS[self as usize - 1].2
    }
}

/// The name in lower case: `raw`, `string`, `bool`, `int8`, …
impl fmt::Display for HeaderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(KINDS[*self as usize - 1].1)
    }
}

impl FromStr for HeaderKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        KINDS
            .iter()
            .find(|(_, known, _)| *known == name)
            .map(|(kind, ..)| *kind)
            .ok_or_else(|| Error::InvalidRecordValue(format!("unknown header kind `{name}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_code_and_by_name() {
        for (place, (kind, name, _)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind.as_code() as usize, place + 1);
            assert_eq!(HeaderKind::from_code(kind.as_code()), Ok(kind));
            assert_eq!(name.parse(), Ok(kind));
            assert_eq!(kind.to_string(), name);
        }
    }

    #[test]
    fn unknown_codes_and_names_are_refused() {
        for code in [0, 16, 255] {
            assert!(HeaderKind::from_code(code).is_err());
        }
        assert!("Int8".parse::<HeaderKind>().is_err());
    }
}
