//! What of a secret text is a secret by itself: [`of`]. A plugin or a library may tell a part of what it was given: the password of a URL,
//! the token of a header, a value of a connection string or of a key file.

use serde_json::Value;

/// The words before a token in a header.
const SCHEMES: [&str; 6] = ["bearer", "basic", "token", "apikey", "api-key", "digest"];
/// What names of secrets hold, and how they end.
const NAMES: [&str; 7] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "signature",
    "authorization",
];
const ENDS: [&str; 3] = ["key", "sig", "auth"];

/// The secret parts of a secret text, the text itself left out.
pub(super) fn of(text: &str) -> Vec<String> {
    let mut parts = vec![];
    parts.extend(after_scheme(text));
    parts.extend(password(text));
    parts.extend(pairs(text));
    if let Ok(document) = serde_json::from_str(text) {
        leaves(&document, false, &mut parts);
    }
    parts
}

/// `Bearer TOKEN`
fn after_scheme(text: &str) -> Option<String> {
    let (scheme, token) = text.trim().split_once(' ')?;
    let scheme = scheme.trim_end_matches(':').to_ascii_lowercase();
    SCHEMES.contains(&&*scheme).then(|| token.trim().to_owned())
}

/// `scheme://user:PASSWORD@host`, and `scheme://TOKEN@host`
pub(super) fn password(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("://")?;
    // A password that is not escaped as it should be may hold what ends the part of the host.
    let (user, _) = rest.rsplit_once('@')?;
    let password = user.split_once(':').map_or(user, |(_, password)| password);
    Some(decoded(password))
}

/// `password=PASSWORD`, between whatever separates such pairs.
fn pairs(text: &str) -> impl Iterator<Item = String> {
    let separators = |letter: char| letter.is_whitespace() || "?&;,".contains(letter);
    let pairs = text
        .split(separators)
        .filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(name, _)| is_secret(name))
        .map(|(_, value)| decoded(value.trim_matches(['"', '\''])))
}

/// The texts of a document below secret names.
fn leaves(value: &Value, is_below: bool, parts: &mut Vec<String>) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                leaves(value, is_below || is_secret(name), parts);
            }
        }
        Value::Array(list) => {
            for value in list {
                leaves(value, is_below, parts);
            }
        }
        Value::String(text) if is_below => parts.push(text.clone()),
        _ => {}
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|part| name.contains(part)) || ENDS.iter().any(|end| name.ends_with(end))
}

/// As it is meant: what is shown may be written with other escapes, or with none.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(of(text), expected, "{text}");
    }

    #[test]
    fn what_is_secret_in_a_secret_is_known() {
        check("hunter2", &[]);
        check("two words", &[]);
        check("Bearer eyJhbGciOi", &["eyJhbGciOi"]);
        check("basic dTpw", &["dTpw"]);
        check("postgres://app:pw%40home@db:5432/x", &["pw@home"]);
        check("https://ghp_token@host/repo", &["ghp_token"]);
        check("mongodb://u:p/w@h/?authSource=admin&tls=true", &["p/w"]);
        check(
            "host=db user=app password='pw-at-home' sslmode=require",
            &["pw-at-home"],
        );
        check(
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=bG9uZw==;EndpointSuffix=core",
            &["bG9uZw=="],
        );
        check("sv=2024-01-01&sig=abc%2Fdef%3D", &["abc/def="]);
        check(
            r#"{"type": "service_account", "private_key": "-----BEGIN\nabc", "client": {"auth_uri": "u", "tokens": ["t"]}}"#,
            &["-----BEGIN\nabc", "t"],
        );
        check("a=b", &[]);
        check("key=%zz%4", &["%zz%4"]);
    }
}
