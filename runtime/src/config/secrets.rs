//! Texts that must not be shown wherever they turn up: [`Secrets`]. Whoever writes logs and errors passes them through it.
//!
//! Where a configuration itself is shown, its `Document` knows the secret places; this is for what others make of the values.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// What is shown instead.
pub(super) const HIDDEN: &str = "***";

/// Shorter texts occur in ordinary words, and nothing would be readable without them.
const SHORTEST: usize = 4;
/// From this length on a text is hidden even inside a word.
const LONG: usize = 12;

/// The secret texts of a configuration. Clones share them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Vec<String>>>);

impl Secrets {
    /// Hides `text` from now on, and its lines, and what it looks like inside quotes.
    pub fn learn(&self, text: &str) {
        let quoted = format!("{text:?}");
        let lines = text.lines().map(str::trim);
        let forms = lines.chain([text, &quoted[1..quoted.len() - 1]]);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms.filter(|form| is_telling(form)) {
            if !known.iter().any(|known| known == form) {
                known.push(form.to_owned());
            }
        }
        // A secret that holds another one is hidden as a whole.
        known.sort_by_key(|text| std::cmp::Reverse(text.len()));
    }

    /// The text with `***` in place of every secret.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut shown = Cow::Borrowed(text);
        for secret in known.iter() {
            if let Some(hidden) = without(&shown, secret) {
                shown = Cow::Owned(hidden);
            }
        }
        shown
    }
}

/// Prints nothing of what it holds.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(***)")
    }
}

/// Whether a text says anything: small numbers and `true` are everywhere.
fn is_telling(text: &str) -> bool {
    let is_small_number = text.len() < 6 && text.parse::<f64>().is_ok();
    text.len() >= SHORTEST && !is_small_number && !["true", "false"].contains(&text)
}

/// The text without a secret in it; `None` when it is not there.
fn without(text: &str, secret: &str) -> Option<String> {
    let mut shown = String::new();
    let mut rest = text;
    let mut before = None;
    let mut found = false;
    while let Some(at) = rest.find(secret) {
        let (head, tail) = (&rest[..at], &rest[at + secret.len()..]);
        shown.push_str(head);
        let left = head.chars().next_back().or(before);
        let is_inside_a_word = is_in_word(left) || is_in_word(tail.chars().next());
        let hidden = secret.len() >= LONG || !is_inside_a_word;
        shown.push_str(if hidden { HIDDEN } else { secret });
        found |= hidden;
        before = secret.chars().next_back();
        rest = tail;
    }
    shown.push_str(rest);
    found.then_some(shown)
}

fn is_in_word(letter: Option<char>) -> bool {
    letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_words_are_not() {
        let secrets = Secrets::default();
        for text in [
            "postgres",
            "hunter2-hunter2",
            "line one\nline \"two\"",
            "abc",
            "8090",
            "true",
            "",
        ] {
            secrets.learn(text);
        }
        let cases = [
            ("postgres://u:hunter2-hunter2@h", "***://u:***@h"),
            (
                "iggy_connector_postgres_sink",
                "iggy_connector_postgres_sink",
            ),
            ("postgress postgres", "postgress ***"),
            ("xhunter2-hunter2x", "x***x"),
            ("line one and line \"two\"", "*** and ***"),
            (r#"{"a":"line one\nline \"two\""}"#, r#"{"a":"***"}"#),
            ("abc 8090 true", "abc 8090 true"),
        ];
        for (text, expected) in cases {
            assert_eq!(secrets.hide(text), expected);
        }
        assert_eq!(format!("{secrets:?}"), "Secrets(***)");
    }

    #[test]
    fn a_secret_that_holds_another_is_hidden_as_a_whole() {
        let secrets = Secrets::default();
        secrets.learn("hunter2");
        secrets.learn("user:hunter2@host");
        assert_eq!(secrets.hide("to user:hunter2@host"), "to ***");
    }
}
