//! What stands behind the `?` of a route: [`query`].

use axum::http::Uri;

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
            ApiError::Invalid(format!(
                "{what}: this route takes `?{}=`",
                known.join("=`, `?")
            ))
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

#[cfg(test)]
mod tests {
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
}
