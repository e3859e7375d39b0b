//! Reads connectors, from files and from documents: once at start for [`super::load`], later for whoever watches and changes them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{
    active::ActiveVersions,
    document::Document,
    folder,
    format::{self, Tree},
    problem::{Code, Lines, Problem, Report, Source, Variables},
    resolve::{self, Given},
    spec::Direction,
    strict,
    versions::{Candidate, History, Place, Version},
};

/// Reads connectors as the daemon does at its start.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The runtime file: it is no connector, and plugins of documents are looked for beside it.
    file: PathBuf,
}

impl Reader {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// Reads a document that says what connector `key` should be; `place` is where to say that its problems are.
    pub fn document(
        &self,
        direction: Direction,
        key: &str,
        document: Document,
        place: Place,
    ) -> Version {
        let shown = PathBuf::from(place.to_string());
        let (lines, variables) = (Lines::new(), Variables::new());
        let mut report = Report::new(Source {
            file: &shown,
            lines: &lines,
            variables: &variables,
        });
        let given = Given {
            direction: Some(direction),
            key: Some(key),
            file: &self.file,
        };
        let spec = resolve::connector(document.values().clone(), given, &mut report)
            .expect("its direction and key are given");
        Version {
            spec,
            problems: report.into_problems(),
            document,
            place,
        }
    }

    /// Reads the connectors of a folder, which belong to one history with those `inline` in the runtime file.
    ///
    /// # Errors
    ///
    /// The record of active versions is damaged.
    pub fn folder(&self, folder: &Path, inline: &[Version]) -> Result<History, Problem> {
        let active = ActiveVersions::read(&folder.join(ActiveVersions::FILE))?;
        let listed = folder::list(folder, &self.file);
        let files = listed.files.iter().map(|file| self.connector(file));
        let mut history = History::of_candidates(files.collect(), active);
        history.add(inline);
        history.warnings = listed.warnings;
        Ok(history)
    }

    /// Reads a connector that stands in the runtime file.
    pub(super) fn inline(
        &self,
        direction: Direction,
        key: &str,
        table: Value,
        source: Source<'_>,
    ) -> Version {
        let mut report = Report::of_table(source, &format!("{}s.{key}", direction.name()));
        let table = match table {
            Value::Object(table) => table,
            other => {
                let reason = format!("a table is expected, not {}", strict::kind(&other));
                report.add("", Code::Invalid, reason, None);
                Map::new()
            }
        };
        let given = Given {
            direction: Some(direction),
            key: Some(key),
            file: source.file,
        };
        let document = Document::new(table.clone());
        Version {
            spec: resolve::connector(table, given, &mut report)
                .expect("its direction and key are given"),
            problems: report.into_problems(),
            document,
            place: Place::Inline(source.file.to_owned()),
        }
    }

    /// Reads a connector from a file of its own.
    fn connector(&self, file: &Path) -> Candidate {
        let place = Place::File(file.to_owned());
        let Tree { values, lines } = match format::read(file) {
            Ok(tree) => tree,
            Err(problem) => {
                return Candidate {
                    spec: None,
                    problems: vec![problem],
                    document: Document::default(),
                    place,
                };
            }
        };
        let variables = Variables::new();
        let mut report = Report::new(Source {
            file,
            lines: &lines,
            variables: &variables,
        });
        let given = Given {
            direction: None,
            key: None,
            file,
        };
        let document = Document::new(values.clone());
        Candidate {
            spec: resolve::connector(values, given, &mut report),
            problems: report.into_problems(),
            document,
            place,
        }
    }
}
