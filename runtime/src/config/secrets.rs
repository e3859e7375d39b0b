//! Texts that must not be shown wherever they turn up: [`Secrets`]. Whoever writes logs and errors passes them through it.
//!
//! Where a configuration itself is shown, its `Document` knows the secret places; this is for what others make of the values.

use std::{
    borrow::Cow,
    fmt,
    ops::Range,
    sync::{Arc, PoisonError, RwLock},
};

use super::{escapes, parts};

/// What is shown instead.
pub(super) const HIDDEN: &str = "***";

/// Shorter texts occur in ordinary words, and nothing would be readable without them.
const SHORTEST: usize = 4;
/// From this length on a text is hidden even inside a word.
pub(super) const LONG: usize = 12;
/// Stands where a long text was cut, perhaps in the midst of a secret.
const CUT: char = '…';

/// The secret texts of a configuration. Clones share them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Vec<String>>>);

impl Secrets {
    /// Hides `text` from now on, its lines, and what is secret in it by itself.
    pub fn learn(&self, text: &str) {
        let parts = parts::of(text);
        let texts = parts.iter().map(String::as_str).chain([text]);
        let forms = texts.flat_map(|text| text.lines().map(str::trim).chain([text]));
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms.filter(|form| is_telling(form)) {
            if !known.iter().any(|known| known == form) {
                known.push(form.to_owned());
            }
        }
        // A secret that holds another one is hidden as a whole.
        known.sort_by_key(|text| std::cmp::Reverse(text.len()));
    }

    /// The text with `***` in place of every secret, also of one that is escaped, or cut off at its end.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let standing = known.iter().flat_map(|secret| standing(text, secret));
        let mut found: Vec<_> = standing.collect();
        found.extend(escapes::find(text, &known, |secret, before, after| {
            let letter = |byte: Option<u8>| byte.filter(u8::is_ascii).map(char::from);
            is_hidden(secret, letter(before), letter(after))
        }));
        found.extend(cut(text, &known));
        match found.is_empty() {
            true => Cow::Borrowed(text),
            false => Cow::Owned(without(text, found)),
        }
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

/// Where a secret stands in a text as it is.
fn standing<'a>(text: &'a str, secret: &'a str) -> impl Iterator<Item = Range<usize>> {
    let ranges = text
        .match_indices(secret)
        .map(|(at, secret)| at..at + secret.len());
    ranges.filter(move |range| {
        let before = text[..range.start].chars().next_back();
        is_hidden(secret, before, text[range.end..].chars().next())
    })
}

fn is_hidden(secret: &str, before: Option<char>, after: Option<char>) -> bool {
    secret.len() >= LONG || !(is_in_word(before) || is_in_word(after))
}

/// Where a secret begins that was cut off.
fn cut(text: &str, known: &[String]) -> Vec<Range<usize>> {
    let cuts: Vec<_> = text.match_indices(CUT).map(|(at, _)| at).collect();
    let mut found = vec![];
    if !cuts.is_empty() {
        for secret in known {
            let beginnings = beginnings(text.as_bytes(), secret.as_bytes(), &cuts);
            found.extend(beginnings.filter(|place| place.len() >= SHORTEST));
        }
    }
    found
}

/// The longest beginning of the secret before each of the `ends`, which ascend. Each byte of the text is read once, however it repeats
/// itself: it may be anybody's.
fn beginnings(text: &[u8], secret: &[u8], ends: &[usize]) -> impl Iterator<Item = Range<usize>> {
    let shorter = shorter(secret);
    let (mut at, mut length) = (0, 0);
    ends.iter().map(move |end| {
        for byte in &text[at..*end] {
            length = longer(secret, &shorter, length, *byte);
            if length == secret.len() {
                length = shorter[length];
            }
        }
        at = *end;
        end - length..*end
    })
}

/// For each beginning of the secret, how long the longest is that it ends with, itself left out.
fn shorter(secret: &[u8]) -> Vec<usize> {
    let mut lengths = vec![0; 2.min(secret.len())];
    for byte in secret.iter().skip(1) {
        lengths.push(longer(secret, &lengths, lengths[lengths.len() - 1], *byte));
    }
    lengths
}

/// How much of the secret's beginning stands before and at `byte`, when `length` of it stands before.
fn longer(secret: &[u8], shorter: &[usize], mut length: usize, byte: u8) -> usize {
    while length > 0 && secret[length] != byte {
        length = shorter[length];
    }
    length + usize::from(secret[length] == byte)
}

/// The text with `***` in these places; where some overlap, once.
fn without(text: &str, mut places: Vec<Range<usize>>) -> String {
    places.sort_by_key(|place| place.start);
    let (mut shown, mut at) = (String::new(), 0);
    for Range { start, end } in places {
        if start >= at {
            shown.push_str(&text[at..start]);
            shown.push_str(HIDDEN);
        }
        at = at.max(end);
    }
    shown.push_str(&text[at..]);
    shown
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
    fn a_secret_inside_another_text_is_hidden_however_that_writes_it() {
        let secrets = Secrets::default();
        for text in [
            "p=a s/s",
            "Bearer eyJhbGciOiJIUzI1NiJ9",
            "postgres://app:pw%40home@db/x",
            "quo\"ted\\one",
        ] {
            secrets.learn(text);
        }
        let cases = [
            // In URLs.
            ("http://h/?q=p%3Da%20s%2Fs&x=1", "http://h/?q=***&x=1"),
            ("http://h/?q=p%3da+s/s&x=1", "http://h/?q=***&x=1"),
            ("http://u:p=a s/s@h", "http://u:***@h"),
            ("to postgres://app:pw%40home@db/x", "to ***"),
            ("for app: pw@home was refused", "for app: *** was refused"),
            ("postgres://app:pw%40home@other", "postgres://app:***@other"),
            // In headers.
            ("sent Bearer eyJhbGciOiJIUzI1NiJ9", "sent ***"),
            (
                "Authorization: bearer eyJhbGciOiJIUzI1NiJ9;",
                "Authorization: bearer ***;",
            ),
            // In JSON, and in a line of JSON.
            (r#"{"a":"quo\"ted\\one"}"#, r#"{"a":"***"}"#),
            (
                r#"{"a":"{\"b\":\"quo\\\"ted\\\\one\"}"}"#,
                r#"{"a":"{\"b\":\"***\"}"}"#,
            ),
            (r#"{"a":"1:\np=a s/s"}"#, r#"{"a":"1:\n***"}"#),
            (r#"{"a":"p=a s\/s"}"#, r#"{"a":"***"}"#),
            (r#"{"a":"p\u003da s/s"}"#, r#"{"a":"***"}"#),
            // Cut off.
            ("token eyJhbGciOi… and more", "token ***… and more"),
            ("it is 100%\\sure + safe…", "it is 100%\\sure + safe…"),
        ];
        for (text, expected) in cases {
            assert_eq!(secrets.hide(text), expected);
        }
    }

    #[test]
    fn the_longest_beginning_of_a_cut_secret_is_hidden() {
        let secrets = Secrets::default();
        secrets.learn("ababababc");
        secrets.learn("abab…ab");
        let cases = [
            ("xaabababab…", "xa***…"),
            ("xaba…", "xaba…"),
            ("abababab", "abababab"),
            ("abab…a…", "***…"),
            ("ababababcabab…", "ababababc***…"),
            ("abab… ababab…", "***… ***…"),
        ];
        for (text, expected) in cases {
            let all: Vec<_> = secrets.0.read().unwrap().clone();
            assert_eq!(without(text, cut(text, &all)), expected, "{text}");
        }
    }

    #[test]
    fn a_text_made_to_be_slow_is_not() {
        let secrets = Secrets::default();
        for number in 0..50 {
            secrets.learn(&format!("{}{number}", "a".repeat(1024)));
        }
        let began = std::time::Instant::now();
        for piece in [
            "…",
            "aaaaaaaaaaaaa…",
            "%25252561",
            r"\\u0061…",
            "a%61",
            r"a+%61…\\",
        ] {
            let text = piece.repeat((64 << 10) / piece.len());
            let text = format!("{text} %61{}0", "a".repeat(1023));
            assert!(secrets.hide(&text).ends_with(" ***"), "{piece}");
        }
        // A product of the lengths would take many minutes.
        assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    }

    #[test]
    fn a_secret_that_holds_another_is_hidden_as_a_whole() {
        let secrets = Secrets::default();
        secrets.learn("hunter2");
        secrets.learn("user:hunter2@host");
        assert_eq!(secrets.hide("to user:hunter2@host"), "to ***");
    }
}
