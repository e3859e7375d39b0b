//! Configuration files of all formats, read as one ordered tree: [`read`].

mod json;
mod toml;
mod yaml;

use std::path::Path;

use serde_json::{Map, Value};

use super::problem::{Lines, Problem};

/// The known formats' extensions, in the order in which a path without one is tried.
pub(super) const EXTENSIONS: [&str; 4] = ["toml", "yaml", "yml", "json"];

/// A file's values in file order.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) values: Map<String, Value>,
    pub(super) lines: Lines,
}

/// Why a text is not of its format, and in which line. It never holds the text itself, which may be a secret.
#[derive(Debug)]
struct Malformed {
    line: Option<usize>,
    reason: String,
}

/// Reads a file by its extension.
pub(super) fn read(path: &Path) -> Result<Tree, Problem> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Problem::unreadable(path, None, format!("cannot be read: {error}")))?;
    parse(path, text.trim_start_matches('\u{feff}'))
}

/// Reads JSON that is no file, as strictly as one.
pub fn parse_json(text: &str) -> Result<Value, String> {
    json::value(text).map_err(|malformed| malformed.reason)
}

/// Whether a text in TOML says what `values` do.
pub(super) fn parses_to(text: &str, values: &Map<String, Value>) -> bool {
    toml::parse(text).is_ok_and(|tree| tree.values == *values)
}

/// Whether a path ends in a known extension.
pub(super) fn is_known(path: &Path) -> bool {
    extension(path).is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

fn parse(path: &Path, text: &str) -> Result<Tree, Problem> {
    let parsed = match extension(path).as_deref() {
        Some("toml") => toml::parse(text),
        Some("yaml" | "yml") => yaml::parse(text),
        Some("json") => json::parse(text),
        _ => {
            let remedy = format!("name it `.{}`", EXTENSIONS.join("`, `."));
            let problem = Problem::unreadable(path, None, "its extension tells no known format");
            return Err(problem.with_remedy(remedy));
        }
    };
    parsed.map_err(|Malformed { line, reason }| Problem::unreadable(path, line, reason))
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

impl Malformed {
    fn new(line: Option<usize>, reason: impl Into<String>) -> Self {
        Self {
            line,
            reason: reason.into(),
        }
    }
}

/// Where the lines of a text end.
struct Breaks(Vec<usize>);

impl Breaks {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(place, _)| place).collect())
    }

    /// The line, from 1, of a place in the text.
    fn line(&self, place: usize) -> usize {
        self.0.partition_point(|end| *end < place) + 1
    }
}

/// Takes the values of a file.
fn tree(root: Value, lines: Lines) -> Result<Tree, Malformed> {
    let values = match root {
        Value::Object(values) => values,
        // An empty YAML file.
        Value::Null => Map::new(),
        _ => {
            return Err(Malformed::new(
                None,
                "a table is expected, not a single value or a list",
            ));
        }
    };
    Ok(Tree { values, lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(file: &str, text: &str) -> Vec<String> {
        let tree = parse(Path::new(file), text).unwrap();
        tree.values.keys().cloned().collect()
    }

    fn error(file: &str, text: &str) -> String {
        parse(Path::new(file), text).unwrap_err().to_string()
    }

    #[test]
    fn every_format_keeps_the_order_of_the_file() {
        assert_eq!(keys("c.toml", "[z]\n[a]\nb = 1\n[m]"), ["z", "a", "m"]);
        assert_eq!(keys("c.yaml", "z: {}\na: {b: 1}\nm: {}"), ["z", "a", "m"]);
        assert_eq!(keys("c.YML", "z: {}\na: {b: 1}\nm: {}"), ["z", "a", "m"]);
        assert_eq!(
            keys("c.json", r#"{"z": {}, "a": {"b": 1}, "m": {}}"#),
            ["z", "a", "m"]
        );
    }

    #[test]
    fn an_empty_file_is_an_empty_table() {
        assert!(keys("c.toml", "").is_empty());
        assert!(keys("c.yaml", "# nothing").is_empty());
        assert!(keys("c.json", "{}").is_empty());
    }

    #[test]
    fn repeated_keys_are_refused_in_every_format() {
        assert_eq!(
            error("c.toml", "a = 1\nb = 2\na = 3"),
            "c.toml:3: duplicate key"
        );
        assert!(error("c.yaml", "a: 1\nb: 2\na: 3").contains("duplicate"));
        assert_eq!(
            error("c.json", "{\"a\": 1,\n\"b\": {\"c\": 1, \"c\": 2}}"),
            "c.json:2: duplicate key `c`"
        );
    }

    #[test]
    fn a_malformed_file_is_told_by_line_without_its_text() {
        let cases = [
            ("c.toml", "a = 1\npassword = \"hunter2\nb = 2", "c.toml:2: "),
            ("c.yaml", "a: 1\npassword: \"hunter2\nb: [", "c.yaml"),
            (
                "c.json",
                "{\"a\": 1,\n \"password\": \"hunter2\" 3}",
                "c.json:2: ",
            ),
        ];
        for (file, text, start) in cases {
            let error = error(file, text);
            assert!(error.starts_with(start), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (file, text) in [("c.yaml", "- 1"), ("c.json", "[1]"), ("c.json", "3")] {
            assert!(error(file, text).contains("a table is expected"), "{text}");
        }
    }

    #[test]
    fn an_unknown_extension_is_told_the_known_ones() {
        assert_eq!(
            error("c.ini", ""),
            "c.ini: its extension tells no known format; name it `.toml`, `.yaml`, `.yml`, `.json`"
        );
    }

    #[test]
    fn nesting_without_end_does_not_end_the_process() {
        for file in ["c.toml", "c.yaml", "c.json"] {
            let nested = "[".repeat(20_000);
            assert!(parse(Path::new(file), &format!("a = {nested}")).is_err());
            assert!(parse(Path::new(file), &nested).is_err());
        }
    }
}
