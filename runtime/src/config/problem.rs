//! What is wrong with a configuration: [`Problem`] and [`Problems`], and how they are gathered while it is read ([`Report`]).
//!
//! Nothing stops at the first problem: whoever reads notes it, puts a default in its place and goes on.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    path::{around, field},
    secrets::{HIDDEN, Secrets},
    suggest::did_you_mean,
};

/// One thing that is wrong. It never holds a value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub origin: Origin,
    /// The key, for example `http.address` or `sinks.stdout.streams[0].topics`; empty when it is the whole file.
    pub key: String,
    pub code: Code,
    pub reason: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File { path: PathBuf, line: Option<usize> },
    Variable(String),
}

/// The kind of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A file or variable cannot be read at all.
    Unreadable,
    /// No such key.
    UnknownKey,
    /// A key without which nothing can be done.
    Missing,
    /// A value that cannot be used.
    Invalid,
    /// Two values that exclude each other.
    Conflict,
    /// A key that is known but has no effect in this version.
    Unsupported,
}

impl Code {
    /// For programs: a code keeps its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::UnknownKey => "unknown_key",
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Unsupported => "unsupported",
        }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// The line of each key in a file, where its format tells.
pub(super) type Lines = HashMap<String, usize>;

/// The variable that set a key.
pub(super) type Variables = HashMap<String, String>;

/// Where the values of one tree come from, by their path in its file.
#[derive(Default)]
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) lines: Arc<Lines>,
    pub(super) variables: Variables,
    /// Values that must not be shown, with the texts that references put into them.
    pub(super) secrets: BTreeMap<String, Vec<String>>,
    /// What was text outside the file, and may be meant as something else.
    pub(super) texts: BTreeMap<String, String>,
}

/// Gathers the problems of one tree, or of one table in it.
pub(super) struct Report<'a> {
    source: &'a Source,
    /// The table's own key, or nothing.
    prefix: String,
    problems: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl Problems {
    /// One problem per line.
    pub fn in_lines(&self) -> String {
        let lines: Vec<_> = self.0.iter().map(Problem::to_string).collect();
        lines.join("\n")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.reason)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

impl Problem {
    /// A file that cannot be read.
    pub(super) fn unreadable(path: &Path, line: Option<usize>, reason: impl Into<String>) -> Self {
        Self {
            origin: Origin::File {
                path: path.to_owned(),
                line,
            },
            key: String::new(),
            code: Code::Unreadable,
            reason: reason.into(),
            remedy: None,
        }
    }

    #[must_use]
    pub(super) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl Source {
    /// Where a key was written: by a variable, in a line of the file, or else where the nearest table around it was.
    pub(super) fn origin(&self, key: &str) -> Origin {
        let around: Vec<_> = around(key).collect();
        let variable = around.iter().find_map(|key| self.variables.get(*key));
        if let Some(variable) = variable {
            return Origin::Variable(variable.clone());
        }
        Origin::File {
            path: self.file.clone(),
            line: around.iter().find_map(|key| self.lines.get(*key).copied()),
        }
    }

    /// A sentence about values of this tree, without those that must not be shown.
    fn hide(&self, mut reason: String) -> String {
        let secrets = Secrets::default();
        for text in self
            .secrets
            .values()
            .flatten()
            .filter(|text| !text.is_empty())
        {
            // Quoted it is the value and no word, however short it is.
            reason = reason.replace(&format!("`{text}`"), &format!("`{HIDDEN}`"));
            secrets.learn(text);
        }
        secrets.hide(&reason).into_owned()
    }
}

impl<'a> Report<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            source,
            prefix: String::new(),
            problems: vec![],
        }
    }

    /// A report about the table `key` alone.
    pub(super) fn of_table(source: &'a Source, key: &str) -> Self {
        Self {
            prefix: key.to_owned(),
            ..Self::new(source)
        }
    }

    pub(super) fn invalid(&mut self, key: &str, reason: impl Into<String>, remedy: &str) {
        self.add(key, Code::Invalid, reason, Some(remedy));
    }

    pub(super) fn missing(&mut self, key: &str, remedy: &str) {
        self.add(key, Code::Missing, "missing", Some(remedy));
    }

    pub(super) fn unsupported(&mut self, key: &str, remedy: &str) {
        self.add(key, Code::Unsupported, "not supported yet", Some(remedy));
    }

    /// Notes a problem, unless it only follows from one that is noted already: a value that could not be read is not
    /// missing too.
    pub(super) fn add(
        &mut self,
        key: &str,
        code: Code,
        reason: impl Into<String>,
        remedy: Option<&str>,
    ) {
        let key = self.full(key);
        let follows = self
            .problems
            .iter()
            .any(|noted| noted.key == key || code == Code::Missing && explains(noted, &key));
        if follows {
            return;
        }
        self.problems.push(Problem {
            origin: self.source.origin(&key),
            key,
            code,
            reason: self.source.hide(reason.into()),
            remedy: remedy.map(str::to_owned),
        });
    }

    /// Takes over a problem as it is.
    pub(super) fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn full(&self, key: &str) -> String {
        match key {
            "" => self.prefix.clone(),
            // An entry of a list.
            _ if key.starts_with('[') => format!("{}{key}", self.prefix),
            _ => field(&self.prefix, key),
        }
    }
}

/// Whether a problem explains why a key is missing: it could not be read, or it was mistyped.
fn explains(noted: &Problem, missing: &str) -> bool {
    let mistyped = || {
        let (table, key) = split(missing);
        noted.code == Code::UnknownKey
            && split(&noted.key).0 == table
            && noted.remedy.as_deref() == Some(&*did_you_mean(key))
    };
    is_inside(&noted.key, missing) || is_inside(missing, &noted.key) || mistyped()
}

/// A key's table and its own name.
fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

fn is_inside(inner: &str, outer: &str) -> bool {
    around(inner).skip(1).any(|key| key == outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_what_and_what_to_do() {
        let source = Source {
            file: "config.toml".into(),
            lines: Arc::new(Lines::from([("http".into(), 3)])),
            variables: Variables::from([("http.tls.enabled".into(), "VARIABLE".into())]),
            ..Source::default()
        };
        let mut report = Report::of_table(&source, "http");
        report.missing("address", "set it");
        report.invalid("tls.enabled", "odd", "turn it off");
        report.unsupported("", "leave it out");
        let problems = Problems(report.into_problems());
        assert_eq!(
            problems.to_string(),
            "the configuration cannot be used:\
             \n  config.toml:3: `http.address`: missing; set it\
             \n  VARIABLE: `http.tls.enabled`: odd; turn it off\
             \n  config.toml:3: `http`: not supported yet; leave it out"
        );
    }

    #[test]
    fn what_follows_from_a_problem_is_no_problem_of_its_own() {
        let source = Source::default();
        let mut report = Report::new(&source);
        report.invalid("topics[0]", "a string is expected", "quote it");
        report.missing("topics", "name one");
        report.invalid("topics[0]", "empty", "name it");
        report.missing("topic", "name one");
        let remedy = did_you_mean("path");
        report.add("sink.pth", Code::UnknownKey, "unknown", Some(&remedy));
        report.add("pth", Code::UnknownKey, "unknown", Some(&remedy));
        report.missing("path", "name one");
        report.missing("sink.path", "name one");
        report.missing("sink.key", "name one");
        let keys: Vec<_> = report
            .into_problems()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        assert_eq!(keys, ["topics[0]", "topic", "sink.pth", "pth", "sink.key"]);
    }
}
