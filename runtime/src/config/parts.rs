//! What of a secret text is a secret by itself: [`of`]. A plugin or a library may tell a part of what it was given: the password of a URL,
//! the token of a header, a value of a connection string or of a key file.

use serde_json::Value;

use super::secrets::LONG;

/// The words before a token in a header.
const SCHEMES: [&str; 6] = ["bearer", "basic", "token", "apikey", "api-key", "digest"];
/// What names hold that have no other values than secrets.
const SURE: [&str; 3] = ["pass", "pwd", "secret"];
/// What names hold that mostly have secrets, and how they end. Such a value may also be the kind of one, which is short.
const LIKELY: [&str; 3] = ["credential", "signature", "authorization"];
const ENDS: [&str; 2] = ["sig", "auth"];
/// Which keys are secrets: there are those of partitions and of rows too.
const KEYS: [&str; 6] = ["api", "access", "account", "private", "secret", "shared"];
/// Shorter values are secrets only under a name that is sure.
const LIKELY_LENGTH: usize = 8;

/// The secret parts of a secret text, the text itself left out.
pub(super) fn of(text: &str) -> Vec<String> {
    let mut parts = vec![];
    parts.extend(after_scheme(text));
    parts.extend(password(text));
    parts.extend(pairs(text));
    if let Ok(document) = serde_json::from_str(text) {
        leaves(&document, None, &mut parts);
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
    match user.split_once(':') {
        // A name that is also the password is no secret, and would be missed everywhere else.
        Some((name, password)) => (name != password).then(|| decoded(password)),
        None => (user.len() >= LONG && !user.contains(['/', '?', '#'])).then(|| decoded(user)),
    }
}

/// `password=PASSWORD`, between whatever separates such pairs.
fn pairs(text: &str) -> impl Iterator<Item = String> {
    let separators = |letter: char| letter.is_whitespace() || "?&;,".contains(letter);
    let pairs = text
        .split(separators)
        .filter_map(|pair| pair.split_once('='));
    pairs.filter_map(|(name, value)| {
        let shortest = shortest(name)?;
        let value = decoded(value.trim_matches(['"', '\'']));
        (value.len() >= shortest).then_some(value)
    })
}

/// The texts of a document below secret names. `above` is how long they have to be for those.
fn leaves(value: &Value, above: Option<usize>, parts: &mut Vec<String>) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                let shortest = [above, shortest(name)].into_iter().flatten().min();
                leaves(value, shortest, parts);
            }
        }
        Value::Array(list) => {
            for value in list {
                leaves(value, above, parts);
            }
        }
        Value::String(text) if above.is_some_and(|shortest| text.len() >= shortest) => {
            parts.push(text.clone());
        }
        _ => {}
    }
}

/// How long a value has to be to be a secret under this name; `None` when none is.
fn shortest(name: &str) -> Option<usize> {
    let lower = name.to_ascii_lowercase();
    let holds = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let is_key = lower.strip_suffix("key");
    if holds(&SURE) {
        return Some(0);
    }
    let is_likely = holds(&LIKELY)
        || ENDS.iter().any(|end| lower.ends_with(end))
        || is_key.is_some_and(|kind| KEYS.iter().any(|known| kind.contains(known)))
        || is_token(name, &lower);
    is_likely.then_some(LIKELY_LENGTH)
}

/// Whether the word `token` ends in it: `accessToken` and `TOKENS`, and no `tokenizer`.
fn is_token(name: &str, lower: &str) -> bool {
    lower.match_indices("token").any(|(at, token)| {
        let (before, rest) = name.split_at(at + token.len());
        let rest = rest.strip_prefix(['s', 'S']).unwrap_or(rest);
        let is_lower = before.ends_with('n');
        let goes_on = |letter: char| letter.is_alphabetic() && letter.is_lowercase() == is_lower;
        !rest.starts_with(goes_on)
    })
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
        check("https://ghp_1234567890@host/repo", &["ghp_1234567890"]);
        check("redis://:hunter2@cache", &["hunter2"]);
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
            r#"{"type": "service_account", "private_key": "-----BEGIN\nabc", "client": {"auth_uri": "u", "tokens": ["t0k3n-of-it"]}}"#,
            &["-----BEGIN\nabc", "t0k3n-of-it"],
        );
        check("a=b", &[]);
        check("pwd=%zz%4", &["%zz%4"]);
        for name in [
            "api_key",
            "X-Api-Key",
            "SharedAccessKey",
            "accessToken",
            "TOKENS",
            "token_1",
        ] {
            check(&format!("{name}=0123abcd"), &["0123abcd"]);
        }
        check(
            r#"{"auth":{"type":"basic","value":"dXNlcjphYmM=","password":"pw12"}}"#,
            &["dXNlcjphYmM=", "pw12"],
        );
    }

    #[test]
    fn what_is_no_secret_in_a_secret_stays_readable() {
        check("postgres://postgres@db/x", &[]);
        check("postgres://postgres:postgres@db", &[]);
        check("https://db.example.com/x?mail=a@b", &[]);
        check("iggy://h/?partition_key=orders-of-today", &[]);
        check("tokenizer=standard TOKENIZER=standard max_tokens=4096", &[]);
        check(r#"{"auth":{"type":"basic"},"token_type":"bearer"}"#, &[]);
    }
}
