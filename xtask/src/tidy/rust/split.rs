//! Tells code from comments and blanks strings, so that a rule about a word never trips over prose or test data.

/// The code and the comments of a file, each with every line and column of the other left blank.
pub(super) fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let mut views = Views::default();
    let mut at = 0;
    while at < chars.len() {
        let (end, kind) = piece(&chars, at);
        views.push(&chars[at..end], kind);
        at = end;
    }
    (views.code, views.comments)
}

#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Literal,
}

#[derive(Default)]
struct Views {
    code: String,
    comments: String,
}

impl Views {
    fn push(&mut self, piece: &[char], kind: Kind) {
        for char in piece {
            let (code, comment) = match kind {
                _ if *char == '\n' => ('\n', '\n'),
                Kind::Code => (*char, ' '),
                Kind::Comment => (' ', *char),
                Kind::Literal => (' ', ' '),
            };
            self.code.push(code);
            self.comments.push(comment);
        }
    }
}

/// Where the piece that starts at `at` ends, and what it is.
fn piece(chars: &[char], at: usize) -> (usize, Kind) {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => (line_end(chars, at), Kind::Comment),
        '/' if next == Some('*') => (block_end(chars, at), Kind::Comment),
        '"' => (string_end(chars, at + 1), Kind::Literal),
        '\'' => char_end(chars, at).map_or((at + 1, Kind::Code), |end| (end, Kind::Literal)),
        'r' if starts_word(chars, at) => {
            raw_end(chars, at + 1).map_or((at + 1, Kind::Code), |end| (end, Kind::Literal))
        }
        _ => (at + 1, Kind::Code),
    }
}

fn line_end(chars: &[char], at: usize) -> usize {
    let length = chars[at..].iter().position(|char| *char == '\n');
    length.map_or(chars.len(), |length| at + length)
}

/// Block comments nest in Rust.
fn block_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) if depth == 1 => return at + 2,
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `'a'` and `'\n'` are literals; the `'a` of a lifetime is not.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    if chars.get(at + 1) == Some(&'\\') {
        let close = chars.get(at + 3..)?.iter().position(|char| *char == '\'')?;
        return Some(at + 3 + close + 1);
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

/// Raw strings also start with `br` and `cr`; an `r` at the end of any other word does not open one.
fn starts_word(chars: &[char], at: usize) -> bool {
    let in_word = |at: usize| chars[at] == '_' || chars[at].is_alphanumeric();
    match at {
        0 => true,
        _ if !in_word(at - 1) => true,
        _ => matches!(chars[at - 1], 'b' | 'c') && (at == 1 || !in_word(at - 2)),
    }
}

/// The end of a raw string whose hashes start at `at`; none when it is a raw identifier.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at..].iter().take_while(|char| **char == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let closes = |quote: usize| {
        chars[quote] == '"'
            && chars[quote + 1..]
                .iter()
                .take_while(|char| **char == '#')
                .count()
                >= hashes
    };
    let close = (at + hashes + 1..chars.len()).find(|quote| closes(*quote));
    Some(close.map_or(chars.len(), |quote| quote + 1 + hashes))
}

#[cfg(test)]
mod tests {
    use super::split;

    fn check(text: &str, code: &str, comments: &str) {
        let (found_code, found_comments) = split(text);
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&found_code), code, "code of {text:?}");
        assert_eq!(squeeze(&found_comments), comments, "comments of {text:?}");
        assert_eq!(
            found_code.chars().count(),
            text.chars().count(),
            "columns of {text:?}"
        );
    }

    #[test]
    fn code_comments_and_literals_are_told_apart() {
        check("a // b\nc", "a c", "// b");
        check("a /* b /* c */ d */ e", "a e", "/* b /* c */ d */");
        check(r#"a("// b", c)"#, "a( , c)", "");
        check(r#"a("\" unsafe") b"#, "a( ) b", "");
        check("r#\"a \" // b\"# c", "c", "");
        check("br\"a\\\" c", "b c", "");
        check("r#type", "r#type", "");
        check("var\"a\"", "var", "");
        check("'\"' a", "a", "");
        check("'\\'' a '\\u{1f}' b", "a b", "");
        check("fn f<'a>(a: &'a str) // b", "fn f<'a>(a: &'a str)", "// b");
        check("\"a\nb\" c // ä", "c", "// ä");
        check("/* open", "", "/* open");
        check("\"open", "", "");
    }
}
