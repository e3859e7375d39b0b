//! Enough of Rust's grammar for the checks: code and comments told apart, words, `use` trees, test modules. No parser: a rule
//! that needs one is left to clippy.

mod split;
mod uses;

pub(super) use uses::Import;

/// One source file. `code` and `comments` keep every line where it stands in the file; strings are blank in both.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    pub(super) code: String,
    pub(super) comments: String,
}

/// An identifier or keyword, and the offset in the code at which it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) at: usize,
    pub(super) text: &'a str,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let (code, comments) = split::split(text);
        Self {
            path: path.to_owned(),
            code,
            comments,
        }
    }

    /// Whether cargo builds the whole file for tests, benches or a crate's examples only.
    pub(super) fn is_test(&self) -> bool {
        let folder = |name: &str| self.path.split('/').any(|part| part == name);
        folder("tests")
            || folder("benches")
            || self.path.contains("/examples/")
            || self.path.ends_with("/tests.rs")
    }

    /// The code without the modules and items of `#[cfg(test)]`; empty for a test file.
    pub(super) fn code_outside_tests(&self) -> String {
        if self.is_test() {
            String::new()
        } else {
            without_tests(&self.code)
        }
    }

    pub(super) fn imports(&self) -> Vec<Import> {
        uses::imports(&self.code)
    }

    /// The line of an offset in `code` or `comments`, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        line(&self.code, at)
    }
}

pub(super) fn words(code: &str) -> impl Iterator<Item = Word<'_>> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(|char: char| char == '_' || char.is_alphabetic())?;
        let length = code[start..].find(|char: char| char != '_' && !char.is_alphanumeric());
        let end = length.map_or(code.len(), |length| start + length);
        rest = end;
        Some(Word {
            at: start,
            text: &code[start..end],
        })
    })
}

/// What follows the word, blanks left out.
pub(super) fn after<'a>(code: &'a str, word: Word<'_>) -> &'a str {
    code[word.at + word.text.len()..].trim_start()
}

pub(super) fn line(text: &str, at: usize) -> usize {
    text.as_bytes()[..at]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// How a test module is switched: on its own, or together with a platform.
const TEST_ONLY: [&str; 2] = ["#[cfg(test)]", "#[cfg(all(test,"];

/// Blanks every item that is built for tests only, up to its closing brace or semicolon.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = TEST_ONLY.iter().filter_map(|start| rest.find(start)).min() {
        let end = at + item_length(&rest[at..]);
        out.push_str(&rest[..at]);
        out.extend(rest[at..end].chars().filter(|char| *char == '\n'));
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn item_length(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, char) in item.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

#[cfg(test)]
mod tests {
    use super::{Source, words};

    #[test]
    fn words_are_found_with_their_lines() {
        let source = Source::new("a.rs", "fn a() {\n  let b_1 = 2;\n}");
        let found: Vec<(usize, &str)> = words(&source.code)
            .map(|word| (source.line(word.at), word.text))
            .collect();
        assert_eq!(found, [(1, "fn"), (1, "a"), (2, "let"), (2, "b_1")]);
    }

    #[test]
    fn test_modules_are_cut_and_lines_stay() {
        let source = Source::new(
            "src/a.rs",
            "use a;\n#[cfg(test)]\nmod tests {\n fn f() { '{' }\n}\nuse b;\n#[cfg(test)]\nmod more;\nuse c;",
        );
        assert_eq!(
            source.code_outside_tests(),
            "use a;\n\n\n\n\nuse b;\n\n\nuse c;"
        );
    }

    #[test]
    fn a_test_file_has_no_code_outside_tests() {
        for path in [
            "runtime/tests/a.rs",
            "runtime/benches/b.rs",
            "core/a/src/tests.rs",
        ] {
            assert_eq!(
                Source::new(path, "fn a() {}").code_outside_tests(),
                "",
                "{path}"
            );
        }
    }
}
