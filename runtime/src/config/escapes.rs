//! A text as it reads without its escapes, and where each byte of that stands in it: [`Plain`]. `Secrets` looks there for what nobody
//! may see, which a URL, a JSON document or a quoted text writes in another way.

use std::ops::Range;

use memchr::memmem::Finder;

/// How often escapes may have been escaped: a URL in JSON in a line of JSON.
const LEVELS: u32 = 3;

/// How a text is escaped.
#[derive(Clone, Copy)]
enum Escape {
    /// `\"`, `\n`, `\u00e9`: JSON, and quoted texts.
    Backslash,
    /// `%3D`: URLs and forms.
    Percent,
}

/// A text without escapes, and with a space for each `+`: forms write the one as the other, and everything else means what it says.
struct Plain {
    bytes: Vec<u8>,
    /// Where each byte stands in the text as it was written.
    places: Vec<Range<usize>>,
}

/// Where one of `secrets` stands in `text` with escapes in it or around it. `is_hidden` is told what stands beside it.
pub(super) fn find(
    text: &str,
    secrets: &[String],
    is_hidden: impl Fn(&str, Option<u8>, Option<u8>) -> bool,
) -> Vec<Range<usize>> {
    let mut found = vec![];
    if !secrets.is_empty() && text.contains(['\\', '%', '+']) {
        let sought: Vec<_> = secrets.iter().map(|secret| Sought::new(secret)).collect();
        let mut visit = |plain: &Plain| {
            for secret in &sought {
                plain.find(secret, &is_hidden, &mut found);
            }
        };
        let written = Plain::written(text);
        if text.contains('+') {
            visit(&written);
        }
        written.search(LEVELS, &mut visit);
    }
    found
}

/// A secret, and how it is found in a [`Plain`] text.
struct Sought<'a> {
    secret: &'a str,
    finder: Finder<'static>,
}

impl<'a> Sought<'a> {
    fn new(secret: &'a str) -> Self {
        let folded: Vec<_> = secret.bytes().map(folded).collect();
        let finder = Finder::new(&folded).into_owned();
        Self { secret, finder }
    }
}

fn folded(byte: u8) -> u8 {
    if byte == b'+' { b' ' } else { byte }
}

impl Plain {
    fn written(text: &str) -> Self {
        Self {
            bytes: text.bytes().map(folded).collect(),
            places: (0..text.len()).map(|at| at..at + 1).collect(),
        }
    }

    /// Visits what the text reads as, by each sequence of escapes.
    fn search(&self, levels: u32, visit: &mut impl FnMut(&Self)) {
        for escape in [Escape::Backslash, Escape::Percent] {
            let Some(plain) = self.without(escape) else {
                continue;
            };
            visit(&plain);
            if levels > 1 {
                plain.search(levels - 1, visit);
            }
        }
    }

    /// `None` when there is nothing of the kind in it.
    fn without(&self, escape: Escape) -> Option<Self> {
        let mut plain = Self {
            bytes: Vec::with_capacity(self.bytes.len()),
            places: Vec::with_capacity(self.bytes.len()),
        };
        let (mut at, mut has_any) = (0, false);
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            let read = match escape {
                Escape::Backslash => after_backslash(rest),
                Escape::Percent => percent(rest),
            };
            has_any |= read.is_some();
            let (length, letter) = read.unwrap_or((1, Letter::Byte(rest[0])));
            let place = self.places[at].start..self.places[at + length - 1].end;
            let mut buffer = [0; 4];
            for byte in letter.bytes(&mut buffer) {
                plain.bytes.push(folded(*byte));
                plain.places.push(place.clone());
            }
            at += length;
        }
        has_any.then_some(plain)
    }

    fn find(
        &self,
        Sought { secret, finder }: &Sought<'_>,
        is_hidden: impl Fn(&str, Option<u8>, Option<u8>) -> bool,
        found: &mut Vec<Range<usize>>,
    ) {
        let mut from = 0;
        while let Some(further) = finder.find(&self.bytes[from..]) {
            let (at, end) = (from + further, from + further + secret.len());
            let before = at.checked_sub(1).map(|at| self.bytes[at]);
            let after = self.bytes.get(end).copied();
            let hidden = is_hidden(secret, before, after);
            if hidden {
                found.push(self.places[at].start..self.places[end - 1].end);
            }
            from = if hidden { end } else { at + 1 };
        }
    }
}

/// What an escape stands for.
#[derive(Clone, Copy)]
enum Letter {
    Byte(u8),
    Char(char),
}

impl Letter {
    fn bytes(self, buffer: &mut [u8; 4]) -> &[u8] {
        match self {
            Self::Byte(byte) => {
                buffer[0] = byte;
                &buffer[..1]
            }
            Self::Char(letter) => letter.encode_utf8(buffer).as_bytes(),
        }
    }
}

/// How long the escape at the beginning is, and what it stands for.
fn percent(text: &[u8]) -> Option<(usize, Letter)> {
    match text {
        [b'%', high, low, ..] => {
            let byte = hex(&[*high, *low])?;
            Some((3, Letter::Byte(u8::try_from(byte).ok()?)))
        }
        _ => None,
    }
}

fn after_backslash(text: &[u8]) -> Option<(usize, Letter)> {
    let [b'\\', kind, rest @ ..] = text else {
        return None;
    };
    let byte = |byte| Some((2, Letter::Byte(byte)));
    match kind {
        b'"' | b'\\' | b'/' | b'\'' => byte(*kind),
        b'n' => byte(b'\n'),
        b'r' => byte(b'\r'),
        b't' => byte(b'\t'),
        b'b' => byte(8),
        b'f' => byte(12),
        b'0' => byte(0),
        b'x' => Some((4, Letter::Char(char::from_u32(hex(rest.get(..2)?)?)?))),
        b'u' => unicode(rest).map(|(length, letter)| (length + 2, Letter::Char(letter))),
        _ => None,
    }
}

/// `{e9}`, `00e9`, or the two halves of a surrogate pair.
fn unicode(text: &[u8]) -> Option<(usize, char)> {
    if let [b'{', rest @ ..] = text {
        let end = rest.iter().take(7).position(|byte| *byte == b'}')?;
        return Some((end + 2, char::from_u32(hex(&rest[..end])?)?));
    }
    let first = hex(text.get(..4)?)?;
    if let Some(letter) = char::from_u32(first) {
        return Some((4, letter));
    }
    let [b'\\', b'u', second @ ..] = &text[4..] else {
        return None;
    };
    let second = u16::try_from(hex(second.get(..4)?)?).ok()?;
    let pair = [u16::try_from(first).ok()?, second];
    let letter = char::decode_utf16(pair).next()?.ok()?;
    Some((10, letter))
}

fn hex(digits: &[u8]) -> Option<u32> {
    let are_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let text = are_hex
        .then(|| std::str::from_utf8(digits).ok())
        .flatten()?;
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn found(text: &str, secret: &str) -> Vec<String> {
        let ranges = find(text, &[secret.to_owned()], |_, _, _| true);
        let texts = ranges.into_iter().map(|range| text[range].to_owned());
        // By several sequences of escapes it may be the same.
        texts.collect::<BTreeSet<_>>().into_iter().collect()
    }

    #[test]
    fn a_text_is_found_however_it_is_escaped() {
        let secret = "pä ss\"w\\o\n=/😀";
        for written in [
            r#"p\u00e4 ss\"w\\o\n=\/\ud83d\ude00"#,
            r#"p\u{e4} ss\"w\\o\n=/😀"#,
            "p%C3%A4%20ss%22w%5Co%0A%3D%2F%F0%9F%98%80",
            "p%c3%a4+ss%22w%5co%0a=/%f0%9f%98%80",
            // A URL that was escaped again, and a quoted text in JSON.
            "p%25C3%25A4%2520ss%2522w%255Co%250A%253D%252F%25F0%259F%2598%2580",
            r#"p\u00e4 ss\\\"w\\\\o\\n=/😀"#,
        ] {
            let text = format!("<{written}>");
            assert!(
                found(&text, secret).iter().any(|found| found == written),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        for text in [
            "%",
            "%4",
            "%zz",
            r"\",
            r"\u12",
            r"\u{",
            r"\ud83d",
            r"\ud83d\u0041",
            r"\x4",
            r"\q",
        ] {
            assert_eq!(
                found(&format!("%41bcd{text}"), "Abcd"),
                ["%41bcd"],
                "{text}"
            );
        }
    }

    #[test]
    fn a_plus_is_itself_or_a_space() {
        let written = "ab+cd%2Fef%3D%3D";
        let text = format!("postgres://u:{written}@other");
        assert_eq!(found(&text, "ab+cd/ef=="), [written]);
        assert_eq!(found(&text, "ab cd/ef=="), [written]);
        assert_eq!(found("a+b%2Bc", "a+b+c"), ["a+b%2Bc"]);
        assert_eq!(found("a+b c", "a b c"), ["a+b c"]);
        assert!(found("a-b%41", "a+b").is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_found_can_be_cut_out(text in r#"[a%\\u{}0-9dé+"]{0,40}"#) {
            for range in find(&text, &["a".to_owned(), "é".to_owned()], |_, _, _| true) {
                prop_assert!(text.get(range).is_some(), "{}", text);
            }
        }
    }
}
