//! Conversions to and from the Iggy client's own headers, for plugins that use the client too (feature `iggy`).

use iggy_common::IggyError;

use super::{HeaderField, HeaderKind};
use crate::Error;

/// # Errors
///
/// [`Error::InvalidRecordValue`] when the client's field breaks the client's own limits.
impl<T, M> TryFrom<&iggy_common::HeaderField<M>> for HeaderField<T> {
    type Error = Error;

    fn try_from(field: &iggy_common::HeaderField<M>) -> Result<Self, Error> {
        let kind = HeaderKind::from_code(field.kind().as_code())?;
        Self::from_raw(kind, field.as_bytes())
    }
}

/// # Errors
///
/// The client's own, which knows the same kinds and lengths.
impl<T, M> TryFrom<&HeaderField<T>> for iggy_common::HeaderField<M> {
    type Error = IggyError;

    fn try_from(field: &HeaderField<T>) -> Result<Self, IggyError> {
        let kind = iggy_common::HeaderKind::from_code(field.kind().as_code())?;
        Self::from_raw(kind, field.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use crate::{HeaderKey, HeaderKind};

    #[test]
    fn fields_come_back_from_the_client_as_they_were() {
        for key in [
            HeaderKey::try_from("content-type").unwrap(),
            HeaderKey::from(42_u128),
            HeaderKey::from(true),
            HeaderKey::from_raw(HeaderKind::Raw, &[0xff; 255]).unwrap(),
        ] {
            let theirs = iggy_common::HeaderKey::try_from(&key).unwrap();
            assert_eq!(theirs.as_bytes(), key.as_bytes());
            assert_eq!(HeaderKey::try_from(&theirs).unwrap(), key);
        }
    }
}
