//! Reads connectors, from files and from documents: once at start for [`super::load`], later for whoever watches and changes them.

use std::path::{Path, PathBuf};

use super::{
    active::ActiveVersions,
    document::Document,
    environment::Environment,
    folder,
    overrides::{self, Assignments, Name},
    problem::{Lines, Problem},
    secrets::Secrets,
    spec::Direction,
    tables::{self, Keyring, Table},
    versions::{Candidate, History, Place, Version},
};

/// Reads connectors as the daemon does at its start: with the same environment.
#[derive(Clone)]
pub struct Reader {
    /// The runtime file: it is no connector, and plugins of documents are looked for beside it.
    file: PathBuf,
    environment: Environment,
    secrets: Secrets,
}

/// What was read, beside what is wrong with the place itself.
pub(super) struct Read {
    /// The versions in the runtime file.
    pub(super) inline: Vec<Version>,
    /// All versions, those among them.
    pub(super) history: History,
    pub(super) problem: Option<Problem>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(file: PathBuf, environment: Environment, secrets: Secrets) -> Self {
        Self {
            file,
            environment,
            secrets,
        }
    }

    /// Reads a document that says what connector `key` should be; `place` is where to say that its problems are.
    pub fn document(
        &self,
        direction: Direction,
        key: &str,
        document: Document,
        place: Place,
    ) -> Version {
        let name = Name {
            direction,
            key: key.to_owned(),
        };
        let (mut assignments, _) =
            overrides::of_connectors(&self.environment, std::slice::from_ref(&name));
        let table = Table::of_document(document, &self.file, name, place);
        let candidate = self.read(table, assignments.remove(0), &Keyring::default());
        Version {
            spec: candidate.spec.expect("its direction and key are given"),
            problems: candidate.problems,
            document: candidate.document,
            place: candidate.place,
        }
    }

    /// Reads the connectors of a folder, which belong to one history with those `inline` in the runtime file.
    ///
    /// # Errors
    ///
    /// The record of active versions is damaged.
    pub fn folder(&self, folder: &Path, inline: &[Version]) -> Result<History, Problem> {
        let active = ActiveVersions::read(&folder.join(ActiveVersions::FILE))?;
        let names = inline.iter().map(|version| Name {
            direction: version.spec.direction,
            key: version.spec.key.clone(),
        });
        let (tables, broken, warnings) = self.open(folder);
        let (read, _) = self.read_all(names.collect(), tables);
        let mut history = History::of_candidates([broken, read].concat(), active);
        history.add(inline);
        history.warnings = warnings;
        Ok(history)
    }

    /// Reads the connectors of the runtime file and those of a folder. Warnings about variables that name none of them stand with
    /// those about the folder.
    pub(super) fn everything(&self, mut tables: Vec<Table>, folder: Option<&Path>) -> Read {
        let inline = tables.len();
        let (mut active, mut problem) = (ActiveVersions::default(), None);
        let (mut candidates, mut warnings) = (vec![], vec![]);
        if let Some(folder) = folder {
            match ActiveVersions::read(&folder.join(ActiveVersions::FILE)) {
                Ok(read) => active = read,
                Err(damaged) => problem = Some(damaged),
            }
            let (of_folder, broken, about) = self.open(folder);
            tables.extend(of_folder);
            candidates.extend(broken);
            warnings.extend(about);
        }
        let (read, unused) = self.read_all(vec![], tables);
        let of_file = History::of_candidates(read[..inline].to_vec(), ActiveVersions::default());
        candidates.extend(read);
        let mut history = History::of_candidates(candidates, active);
        history.warnings = [unused, warnings].concat();
        Read {
            inline: of_file.versions,
            history,
            problem,
        }
    }

    /// The tables of a folder's files, those that cannot be read, and what should be said about the folder.
    fn open(&self, folder: &Path) -> (Vec<Table>, Vec<Candidate>, Vec<String>) {
        let listed = folder::list(folder, &self.file);
        let (mut tables, mut broken) = (vec![], vec![]);
        for file in &listed.files {
            match tables::open(file) {
                Ok(table) => tables.push(table),
                Err(problem) => broken.push(Candidate {
                    spec: None,
                    problems: vec![problem],
                    document: Document::default(),
                    place: Place::File(file.clone()),
                }),
            }
        }
        (tables, broken, listed.warnings)
    }

    /// Reads tables with what the environment says about them; `others` are connectors that a variable may mean as well.
    fn read_all(&self, others: Vec<Name>, tables: Vec<Table>) -> (Vec<Candidate>, Vec<String>) {
        let skipped = others.len();
        let names: Vec<_> = others
            .into_iter()
            .chain(tables.iter().filter_map(Table::name))
            .collect();
        let (assignments, warnings) = overrides::of_connectors(&self.environment, &names);
        let mut assignments = assignments.into_iter().skip(skipped);
        let keyring = Keyring::default();
        let candidates = tables
            .into_iter()
            .map(|table| {
                let named = table.name().and_then(|_| assignments.next());
                self.read(table, named.unwrap_or_default(), &keyring)
            })
            .collect();
        (candidates, warnings)
    }

    fn read(&self, table: Table, assignments: Assignments, keyring: &Keyring) -> Candidate {
        table.read(assignments, &self.environment, keyring, &self.secrets)
    }
}

impl Table {
    fn of_document(document: Document, file: &Path, name: Name, place: Place) -> Self {
        Self {
            file: file.to_owned(),
            name: Some(name),
            place,
            ..Self::of_file(document.into_values(), file, Lines::new())
        }
    }
}
