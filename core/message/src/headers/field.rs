//! One typed key or value of a header: [`HeaderField`], made from and turned into the types of Rust.
//!
//! A field is valid from the moment it exists: 1 to 255 bytes, and as many as its kind has.

use std::{fmt, marker::PhantomData, str::FromStr};

use super::HeaderKind;
use crate::Error;

/// The most bytes that one key or value can have.
const MAX_LEN: usize = 255;

/// A typed key or value; use it as [`HeaderKey`](crate::HeaderKey) or [`HeaderValue`](crate::HeaderValue).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderField<T> {
    kind: HeaderKind,
    value: Vec<u8>,
    marker: PhantomData<T>,
}

/// Tells a key from a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyMarker;

/// Tells a value from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueMarker;

impl<T> HeaderField<T> {
    /// Takes bytes as they are on the wire.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecordValue`] when there are none, more than 255, or not as many as the kind has.
    pub fn from_raw(kind: HeaderKind, value: &[u8]) -> Result<Self, Error> {
        check_len(kind, value.len())?;
        Ok(Self::new(kind, value.to_vec()))
    }

    /// The type of the value.
    pub fn kind(&self) -> HeaderKind {
        self.kind
    }

    /// The bytes as they are on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.value
    }

    /// The value of a field of kind [`HeaderKind::Raw`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecordValue`] when it has another kind.
    pub fn as_raw(&self) -> Result<&[u8], Error> {
        self.expect(HeaderKind::Raw)
    }

    /// The value of a field of kind [`HeaderKind::String`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecordValue`] when it has another kind or is not UTF-8.
    pub fn as_str(&self) -> Result<&str, Error> {
        std::str::from_utf8(self.expect(HeaderKind::String)?)
            .map_err(|_| Error::InvalidRecordValue("a string header is not UTF-8".into()))
    }

    /// The value of a field of kind [`HeaderKind::Bool`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecordValue`] when it has another kind or is neither 0 nor 1.
    pub fn as_bool(&self) -> Result<bool, Error> {
        match self.expect(HeaderKind::Bool)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Error::InvalidRecordValue(
                "a bool header is neither 0 nor 1".into(),
            )),
        }
    }

    /// The value as text, whatever its kind is: for people to read, not for programs.
    pub fn to_string_value(&self) -> String {
        match self.kind {
            HeaderKind::Raw => self.value.escape_ascii().to_string(),
            HeaderKind::String => String::from_utf8_lossy(&self.value).into_owned(),
            HeaderKind::Bool => (self.value != [0]).to_string(),
            _ => self.number_to_string().unwrap_or_default(),
        }
    }

    fn new(kind: HeaderKind, value: Vec<u8>) -> Self {
        Self {
            kind,
            value,
            marker: PhantomData,
        }
    }

    fn expect(&self, kind: HeaderKind) -> Result<&[u8], Error> {
        if self.kind != kind {
            let reason = format!("a header of kind {} is not of kind {kind}", self.kind);
            return Err(Error::InvalidRecordValue(reason));
        }
        Ok(&self.value)
    }

    fn array<const N: usize>(&self, kind: HeaderKind) -> Result<[u8; N], Error> {
        let value = self.expect(kind)?;
        value.try_into().map_err(|_| wrong_len(kind, value.len()))
    }
}

fn check_len(kind: HeaderKind, len: usize) -> Result<(), Error> {
    let fits = kind
        .size()
        .map_or((1..=MAX_LEN).contains(&len), |size| size == len);
    if fits {
        Ok(())
    } else {
        Err(wrong_len(kind, len))
    }
}

fn wrong_len(kind: HeaderKind, len: usize) -> Error {
    let wanted = kind
        .size()
        .map_or_else(|| "1 to 255".to_owned(), |size| size.to_string());
    Error::InvalidRecordValue(format!(
        "a header of kind {kind} has {len} bytes instead of {wanted}"
    ))
}

/// Kind and value, for example `int32: 42`.
impl<T> fmt::Display for HeaderField<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.to_string_value())
    }
}

impl<T> FromStr for HeaderField<T> {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        Self::try_from(value)
    }
}

impl<T> TryFrom<&str> for HeaderField<T> {
    type Error = Error;

    fn try_from(value: &str) -> Result<Self, Error> {
        Self::from_raw(HeaderKind::String, value.as_bytes())
    }
}

impl<T> TryFrom<String> for HeaderField<T> {
    type Error = Error;

    fn try_from(value: String) -> Result<Self, Error> {
        check_len(HeaderKind::String, value.len())?;
        Ok(Self::new(HeaderKind::String, value.into_bytes()))
    }
}

impl<T> TryFrom<&[u8]> for HeaderField<T> {
    type Error = Error;

    fn try_from(value: &[u8]) -> Result<Self, Error> {
        Self::from_raw(HeaderKind::Raw, value)
    }
}

impl<T> TryFrom<Vec<u8>> for HeaderField<T> {
    type Error = Error;

    fn try_from(value: Vec<u8>) -> Result<Self, Error> {
        check_len(HeaderKind::Raw, value.len())?;
        Ok(Self::new(HeaderKind::Raw, value))
    }
}

impl<T> From<bool> for HeaderField<T> {
    fn from(value: bool) -> Self {
        Self::new(HeaderKind::Bool, vec![u8::from(value)])
    }
}

/// Implements the way from a field to a type of Rust, by value and by reference, through an accessor.
macro_rules! into_rust {
    ($($type:ty: |$field:ident| $value:expr;)*) => {$(
        impl<T> TryFrom<&HeaderField<T>> for $type {
            type Error = Error;

            fn try_from($field: &HeaderField<T>) -> Result<Self, Error> {
                $value
            }
        }

        impl<T> TryFrom<HeaderField<T>> for $type {
            type Error = Error;

            fn try_from(field: HeaderField<T>) -> Result<Self, Error> {
                Self::try_from(&field)
            }
        }
    )*};
}

/// Implements the way from a number to a field and back.
macro_rules! numbers {
    ($($kind:ident $type:ident $accessor:ident;)*) => {
        impl<T> HeaderField<T> {
            $(
                #[doc = concat!("The value of a field of kind [`HeaderKind::", stringify!($kind), "`].")]
                ///
                /// # Errors
                ///
                /// [`Error::InvalidRecordValue`] when it has another kind.
                pub fn $accessor(&self) -> Result<$type, Error> {
                    self.array(HeaderKind::$kind).map($type::from_le_bytes)
                }
            )*

            fn number_to_string(&self) -> Option<String> {
                match self.kind {
                    $(HeaderKind::$kind => self.$accessor().ok().map(|number| number.to_string()),)*
                    HeaderKind::Raw | HeaderKind::String | HeaderKind::Bool => None,
                }
            }
        }

        $(
            impl<T> From<$type> for HeaderField<T> {
                fn from(value: $type) -> Self {
                    Self::new(HeaderKind::$kind, value.to_le_bytes().to_vec())
                }
            }

            into_rust! { $type: |field| field.$accessor(); }
        )*
    };
}

numbers! {
    Int8 i8 as_int8;
    Int16 i16 as_int16;
    Int32 i32 as_int32;
    Int64 i64 as_int64;
    Int128 i128 as_int128;
    Uint8 u8 as_uint8;
    Uint16 u16 as_uint16;
    Uint32 u32 as_uint32;
    Uint64 u64 as_uint64;
    Uint128 u128 as_uint128;
    Float32 f32 as_float32;
    Float64 f64 as_float64;
}

into_rust! {
    bool: |field| field.as_bool();
    String: |field| field.as_str().map(str::to_owned);
    Vec<u8>: |field| field.as_raw().map(<[u8]>::to_vec);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeaderKey, HeaderValue};

    #[test]
    fn a_value_comes_back_as_it_went_in() {
        assert_eq!(bool::try_from(HeaderValue::from(true)), Ok(true));
        assert_eq!(i8::try_from(HeaderValue::from(i8::MIN)), Ok(i8::MIN));
        assert_eq!(u128::try_from(&HeaderValue::from(u128::MAX)), Ok(u128::MAX));
        assert_eq!(f64::try_from(HeaderValue::from(0.1)), Ok(0.1));
        let text = HeaderKey::try_from("ключ").unwrap();
        assert_eq!(String::try_from(text), Ok("ключ".to_owned()));
        let bytes = HeaderKey::try_from([0xff, 0].as_slice()).unwrap();
        assert_eq!(Vec::try_from(bytes), Ok(vec![0xff, 0]));
    }

    #[test]
    fn another_kind_is_not_read() {
        let error = HeaderValue::from(1u8).as_int8().unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid record: a header of kind uint8 is not of kind int8"
        );
        assert!(HeaderValue::try_from("1").unwrap().as_raw().is_err());
    }

    #[test]
    fn only_1_to_255_bytes_fit() {
        for (len, fits) in [(0, false), (1, true), (255, true), (256, false)] {
            let text = "a".repeat(len);
            assert_eq!(HeaderKey::try_from(text.as_str()).is_ok(), fits, "{len}");
            assert_eq!(HeaderKey::try_from(text.clone()).is_ok(), fits, "{len}");
            assert_eq!(text.parse::<HeaderKey>().is_ok(), fits, "{len}");
            assert_eq!(HeaderKey::try_from(text.as_bytes()).is_ok(), fits, "{len}");
            assert_eq!(
                HeaderKey::try_from(text.into_bytes()).is_ok(),
                fits,
                "{len}"
            );
        }
    }

    #[test]
    fn bytes_that_do_not_fit_their_kind_are_refused() {
        assert!(HeaderValue::from_raw(HeaderKind::Int32, &[1, 2, 3]).is_err());
        assert!(HeaderValue::from_raw(HeaderKind::Bool, &[]).is_err());
        let odd = HeaderValue::from_raw(HeaderKind::Bool, &[7]).unwrap();
        assert!(odd.as_bool().is_err());
        let odd = HeaderValue::from_raw(HeaderKind::String, &[0xff]).unwrap();
        assert!(odd.as_str().is_err());
    }

    #[test]
    fn every_kind_reads_as_text() {
        let cases: [(HeaderValue, &str); 6] = [
            (true.into(), "bool: true"),
            ((-5i128).into(), "int128: -5"),
            (7u16.into(), "uint16: 7"),
            (0.5f32.into(), "float32: 0.5"),
            ("text".parse().unwrap(), "string: text"),
            (vec![b'a', 0].try_into().unwrap(), r"raw: a\x00"),
        ];
        for (field, text) in cases {
            assert_eq!(field.to_string(), text);
        }
    }
}
