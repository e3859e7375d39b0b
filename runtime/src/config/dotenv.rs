//! The `.env` file: variables for the configuration, besides those of the process, which win.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::problem::Problem;

const NAME: &str = ".env";

/// The `.env` file of the working directory, or of the nearest folder above it that has one.
pub(super) fn search(folder: &Path) -> Option<PathBuf> {
    folder
        .ancestors()
        .map(|folder| folder.join(NAME))
        .find(|file| file.is_file())
}

/// Reads a file of lines `NAME=value`: blank lines and `#` comments are left out, `export` may stand in front, and a value in quotes
/// is taken as it stands, with `\n`, `\t`, `\"` and `\\` in double ones.
pub(super) fn read(file: &Path) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        vec![Problem::unreadable(
            file,
            None,
            format!("cannot be read: {error}"),
        )]
    })?;
    let (mut variables, mut problems) = (BTreeMap::new(), vec![]);
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        match parse(line.trim()) {
            Ok(Some((name, value))) => {
                variables.insert(name, value);
            }
            Ok(None) => {}
            Err(reason) => problems.push(Problem::unreadable(file, Some(index + 1), reason)),
        }
    }
    match problems.is_empty() {
        true => Ok(variables),
        false => Err(problems),
    }
}

/// Reads one line. What is wrong with it is told without repeating it: it may hold a secret.
fn parse(line: &str) -> Result<Option<(String, String)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line
        .split_once('=')
        .ok_or("a line `NAME=value` is expected")?;
    let name = name.trim_end();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err("a name has only letters, digits and `_`");
    }
    Ok(Some((
        name.trim_start().to_owned(),
        self::value(value.trim())?,
    )))
}

fn value(written: &str) -> Result<String, &'static str> {
    let quote = match written.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => return Ok(plain(written)),
    };
    let mut value = String::new();
    let mut rest = written[1..].chars();
    while let Some(letter) = rest.next() {
        match letter {
            _ if letter == quote => return after_quote(rest.as_str()).map(|()| value),
            '\\' if quote == '"' => match rest.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(other @ ('"' | '\\' | '$')) => value.push(other),
                _ => return Err("`\\` is followed by `n`, `t`, `\"`, `\\` or `$` in quotes"),
            },
            _ => value.push(letter),
        }
    }
    Err("the quote is not closed in its line")
}

/// A value without quotes ends where a comment begins.
fn plain(written: &str) -> String {
    match written.find(" #") {
        Some(comment) => written[..comment].trim_end().to_owned(),
        None => written.to_owned(),
    }
}

fn after_quote(rest: &str) -> Result<(), &'static str> {
    match rest.trim_start() {
        "" => Ok(()),
        comment if comment.starts_with('#') => Ok(()),
        _ => Err("nothing but a comment is expected behind the quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_names_and_values() {
        let cases = [
            ("", None),
            ("# A=b", None),
            ("A=b", Some(("A", "b"))),
            ("export A_1 = b c ", Some(("A_1", "b c"))),
            ("A=", Some(("A", ""))),
            ("A=b#c # d", Some(("A", "b#c"))),
            ("A=b=c", Some(("A", "b=c"))),
            ("A='b # \\n' # c", Some(("A", "b # \\n"))),
            (r#"A="b\n\"\\\$""#, Some(("A", "b\n\"\\$"))),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(parse(line.trim()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_line_is_told_with_its_number_and_without_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(NAME);
        let lines = [
            "hunter2",
            "A B=hunter2",
            "A='hunter2",
            "A='hunter2' x",
            r#"A="hunter2\q""#,
            "=hunter2",
        ];
        std::fs::write(&file, format!("OK=1\n{}\n", lines.join("\n"))).unwrap();
        let problems = read(&file).unwrap_err();
        assert_eq!(problems.len(), lines.len());
        for (index, problem) in problems.iter().enumerate() {
            let text = problem.to_string();
            assert!(text.contains(&format!(".env:{}: ", index + 2)), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn the_nearest_file_upwards_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(folder.path().join(NAME), "").unwrap();
        assert_eq!(search(&inner), Some(folder.path().join(NAME)));
        std::fs::write(inner.join(NAME), "").unwrap();
        assert_eq!(search(&inner), Some(inner.join(NAME)));
    }
}
