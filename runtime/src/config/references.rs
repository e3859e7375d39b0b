//! References in values: `${env:NAME}`, `${env:NAME:-default}`, `${file:/path}`. [`Expansion`] puts in their place what they refer
//! to, and notes which values must not be shown.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    environment::Environment,
    keys::{Keys, Kind},
    path::Step,
    secrets::Secrets,
    text,
};

const ENV: &str = "${env:";
const FILE: &str = "${file:";
const DEFAULT: &str = ":-";
/// In front of a reference it means the text itself.
const ESCAPE: char = '$';
/// A larger file is not a value.
const LARGEST_FILE: u64 = 1 << 20;

/// Replaces references in one tree.
pub(super) struct Expansion<'a> {
    pub(super) environment: &'a Environment,
    pub(super) secrets: &'a Secrets,
    /// What typed keys expect: `port = "${env:PORT}"` is a number.
    pub(super) keys: &'a Keys,
    pub(super) found: Found,
}

/// What an expansion came to.
#[derive(Default)]
pub(super) struct Found {
    /// The texts that references gave, by the place of their value within the tree.
    pub(super) secrets: BTreeMap<Vec<Step>, Vec<String>>,
    /// Texts of plugins' values that a schema may want as something else, by place.
    pub(super) texts: BTreeMap<Vec<Step>, String>,
    pub(super) failures: Vec<Failure>,
}

/// A reference to nothing.
pub(super) struct Failure {
    pub(super) steps: Vec<Step>,
    pub(super) reason: String,
    pub(super) remedy: &'static str,
}

/// Why a reference gives no text.
struct Dangling {
    reason: String,
    remedy: &'static str,
}

/// What a value's references gave.
struct Expanded {
    text: String,
    secrets: Vec<String>,
}

/// Whether a text has references.
pub(super) fn is_in(text: &str) -> bool {
    text.contains(ENV) || text.contains(FILE)
}

impl Expansion<'_> {
    /// Replaces the references in `value`, which stands at `steps`.
    pub(super) fn expand(&mut self, value: &mut Value, steps: &mut Vec<Step>) {
        match value {
            Value::String(text) => {
                if let Some(expanded) = self.expand_text(text, steps) {
                    *value = expanded;
                }
            }
            Value::Array(values) => {
                for (index, value) in values.iter_mut().enumerate() {
                    steps.push(Step::Index(index));
                    self.expand(value, steps);
                    steps.pop();
                }
            }
            Value::Object(table) => {
                for (key, value) in table {
                    steps.push(Step::Key(key.clone()));
                    self.expand(value, steps);
                    steps.pop();
                }
            }
            _ => {}
        }
    }

    fn expand_text(&mut self, written: &str, steps: &[Step]) -> Option<Value> {
        if !is_in(written) {
            return None;
        }
        let expanded = match expanded(written, self.environment) {
            Ok(expanded) => expanded,
            Err(dangling) => {
                self.found.failures.push(Failure {
                    steps: steps.to_owned(),
                    reason: dangling.reason,
                    remedy: dangling.remedy,
                });
                return None;
            }
        };
        let Expanded { text, secrets } = expanded;
        let kind = self.keys.kind_at(steps);
        let typed = match kind {
            Some(kind @ (Kind::Boolean | Kind::Number | Kind::List)) => {
                text::read(&text, kind).ok()
            }
            _ => None,
        };
        if let Some(typed) = typed {
            return Some(typed);
        }
        // Who a connector is has to be told; no value of it is hidden.
        if !secrets.is_empty() && !is_identity(steps) {
            for secret in secrets.iter().chain([&text]) {
                self.secrets.learn(secret);
            }
            let secrets = secrets.into_iter().chain([text.clone()]);
            self.found
                .secrets
                .insert(steps.to_owned(), secrets.collect());
        }
        if kind.is_none_or(|kind| kind == Kind::Free) {
            self.found.texts.insert(steps.to_owned(), text.clone());
        }
        Some(Value::String(text))
    }
}

/// `type` and `key` of a connector.
fn is_identity(steps: &[Step]) -> bool {
    matches!(steps, [Step::Key(key)] if key == "type" || key == "key")
}

/// The text with everything in its place.
fn expanded(written: &str, environment: &Environment) -> Result<Expanded, Dangling> {
    let mut expanded = Expanded {
        text: String::new(),
        secrets: vec![],
    };
    let mut rest = written;
    while let Some(at) = [rest.find(ENV), rest.find(FILE)]
        .into_iter()
        .flatten()
        .min()
    {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix(ESCAPE) {
            let start = if reference.starts_with(ENV) {
                ENV
            } else {
                FILE
            };
            expanded.text.push_str(before);
            expanded.text.push_str(start);
            rest = &reference[start.len()..];
            continue;
        }
        expanded.text.push_str(before);
        let Some((inside, after)) = reference.split_once('}') else {
            return Err(Dangling {
                reason: "a reference is not closed".to_owned(),
                remedy: "end it with `}`, or write `$${` for the text itself",
            });
        };
        expanded.follow(inside, environment)?;
        rest = after;
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

impl Expanded {
    fn follow(&mut self, reference: &str, environment: &Environment) -> Result<(), Dangling> {
        if let Some(path) = reference.strip_prefix(FILE) {
            return file(Path::new(path)).map(|text| self.add_secret(text));
        }
        let reference = reference.strip_prefix(ENV).unwrap_or_default();
        let (name, default) = match reference.split_once(DEFAULT) {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        match (environment.value(name), default) {
            // As in a shell: what is set to nothing takes the default too. It stands in the file for everyone to read.
            (None | Some(""), Some(default)) => self.text.push_str(default),
            (Some(value), _) => self.add_secret(value.to_owned()),
            (None, None) if environment.is_unreadable(name) => {
                return Err(Dangling {
                    reason: format!("the variable `{name}` is not UTF-8 text"),
                    remedy: "set it to text, or use `${file:…}`",
                });
            }
            (None, None) => {
                return Err(Dangling {
                    reason: format!("the variable `{name}` is not set"),
                    remedy: "set it, or write `${env:NAME:-default}`",
                });
            }
        }
        Ok(())
    }

    fn add_secret(&mut self, text: String) {
        self.text.push_str(&text);
        self.secrets.push(text);
    }
}

/// A file's text without the line's end that editors put there.
fn file(path: &Path) -> Result<String, Dangling> {
    let dangling = |what: &str, remedy| Dangling {
        reason: format!("the file `{}` {what}", path.display()),
        remedy,
    };
    let readable = "name a file that this process may read";
    let unreadable =
        |error: std::io::Error| dangling(&format!("cannot be read: {error}"), readable);
    let about = std::fs::metadata(path).map_err(unreadable)?;
    // Reading a pipe or a device might never end.
    if !about.is_file() {
        return Err(dangling("is no regular file", readable));
    }
    if about.len() > LARGEST_FILE {
        return Err(dangling(
            "is larger than 1 MiB",
            "name a file that holds just the value",
        ));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| dangling("is not UTF-8 text", readable))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, expected: Result<&str, &str>) {
        let environment = Environment::new([("A", "1"), ("B", "two words"), ("EMPTY", "")]);
        let found = expanded(written, &environment);
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.text, expected, "{written}"),
            (Err(found), Err(expected)) => assert_eq!(found.reason, expected, "{written}"),
            _ => panic!(
                "{written}: {:?}",
                found.map(|found| found.text).map_err(|error| error.reason)
            ),
        }
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        for (written, expected) in [
            ("${env:A}", Ok("1")),
            ("x${env:A}y${env:B}z", Ok("x1ytwo wordsz")),
            ("${env:NONE:-}", Ok("")),
            ("${env:NONE:-a:-b}", Ok("a:-b")),
            ("${env:EMPTY}", Ok("")),
            ("${env:EMPTY:-d}", Ok("d")),
            ("${env:A:-d}", Ok("1")),
            ("$${env:A}", Ok("${env:A}")),
            ("$${file:/x} ${env:A}", Ok("${file:/x} 1")),
            ("${other} $A ${A}", Ok("${other} $A ${A}")),
            ("${env:NONE}", Err("the variable `NONE` is not set")),
            ("${env:}", Err("the variable `` is not set")),
            ("${env:A", Err("a reference is not closed")),
            ("${file:/}", Err("the file `/` is no regular file")),
            (
                "${file:}",
                Err("the file `` cannot be read: No such file or directory (os error 2)"),
            ),
        ] {
            check(written, expected);
        }
    }

    #[test]
    fn a_file_gives_its_text_without_the_last_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let reference = format!("<${{file:{}}}>", file.display());
        std::fs::write(&file, "a\nb\r\n").unwrap();
        check(&reference, Ok("<a\nb>"));
        std::fs::write(&file, [0xff]).unwrap();
        check(
            &reference,
            Err(&format!("the file `{}` is not UTF-8 text", file.display())),
        );
        std::fs::write(&file, vec![b'a'; LARGEST_FILE as usize + 1]).unwrap();
        check(
            &reference,
            Err(&format!(
                "the file `{}` is larger than 1 MiB",
                file.display()
            )),
        );
    }
}
