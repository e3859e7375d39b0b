//! What routes are told besides documents: what stands behind the `?` ([`query`], [`flag`]), and numbers ([`whole`]).

use axum::http::Uri;
use serde_json::Value;

use super::error::ApiError;

/// The values of the `known` keys, each at most once.
///
/// # Errors
///
/// A key that the route does not know, or twice the same.
pub(super) fn query<'a, const N: usize>(
    uri: &'a Uri,
    known: [&str; N],
) -> Result<[Option<&'a str>; N], ApiError> {
    let mut values = [None; N];
    let pairs = uri.query().unwrap_or_default().split('&');
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let refuse = |what: &str| {
            let takes = match known.is_empty() {
                true => "nothing there".to_owned(),
                false => format!("`?{}=`", known.join("=`, `?")),
            };
            ApiError::Invalid(format!("{what}: this route takes {takes}"))
        };
        let Some(place) = known.iter().position(|known| *known == key) else {
            return Err(refuse("unknown key in the query"));
        };
        if values[place].replace(value).is_some() {
            return Err(refuse("a key stands twice in the query"));
        }
    }
    Ok(values)
}

/// `true` or `false`, where it is said.
///
/// # Errors
///
/// It is something else.
pub(super) fn flag(name: &str, value: Option<&str>) -> Result<Option<bool>, ApiError> {
    match value {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(ApiError::Invalid(format!("`{name}` is `true` or `false`"))),
    }
}

/// A whole number, also when it is written as `2.0`: to JSON Schema both are integers.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let written_with_point = || {
        let number = value.as_f64()?;
        let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
        is_whole.then_some(number as u64)
    };
    value.as_u64().or_else(written_with_point)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_holds_known_keys_once() {
        let read = |text: &str| {
            let uri: Uri = text.parse().unwrap();
            query(&uri, ["a", "b"])
                .map(|found| found.map(|value| value.map(str::to_owned)))
                .ok()
        };
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(read("/x"), Some([None, None]));
        assert_eq!(read("/x?"), Some([None, None]));
        assert_eq!(read("/x?b=1&a="), Some([text(""), text("1")]));
        assert_eq!(read("/x?a"), Some([text(""), None]));
        assert_eq!(read("/x?a=1&a=2"), None);
        assert_eq!(read("/x?c=1"), None);
    }

    #[test]
    fn whole_numbers_are_versions_however_they_are_written() {
        assert_eq!(whole(&json!(2)), Some(2));
        assert_eq!(whole(&json!(2.0)), Some(2));
        for value in [
            json!(2.5),
            json!(-1),
            json!(-1.0),
            json!(1e300),
            json!("2"),
            json!(null),
        ] {
            assert_eq!(whole(&value), None, "{value}");
        }
    }
}
