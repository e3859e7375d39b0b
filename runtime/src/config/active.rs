//! Which versions were activated, as it is kept beside the version files: [`ActiveVersions`]. `provider` writes the file.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    format,
    problem::{Problem, Report, Source},
    spec::Direction,
    strict,
};

/// The version of each connector that runs, where one was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct ActiveVersions {
    sinks: BTreeMap<String, Chosen>,
    sources: BTreeMap<String, Chosen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Chosen {
    version: u32,
}

impl ActiveVersions {
    /// Its name in the folder of version files.
    pub const FILE: &str = ".active_versions.toml";

    /// Reads the file; one that is not there holds no choice.
    ///
    /// # Errors
    ///
    /// It is damaged, and nobody knows which versions should run.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let remedy = "restore it, or delete it: then the highest version of each connector runs, \
                      until another is activated";
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            _ => {}
        }
        let tree = format::read(path).map_err(|problem| problem.with_remedy(remedy))?;
        let source = Source {
            file: path.to_owned(),
            lines: Arc::new(tree.lines),
            ..Source::default()
        };
        let mut report = Report::new(&source);
        let read = strict::read(tree.values, &mut report);
        match report.into_problems().into_iter().next() {
            Some(problem) => Err(problem.with_remedy(remedy)),
            None => Ok(read),
        }
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text =
            String::from("# Which version of each connector runs. Written by iggy-connectors.\n");
        for (table, chosen) in [("sinks", &self.sinks), ("sources", &self.sources)] {
            for (key, Chosen { version }) in chosen {
                // Keys are letters, digits, `_` and `-`: they need no quotes.
                text.push_str(&format!("\n[{table}.{key}]\nversion = {version}\n"));
            }
        }
        text
    }

    pub fn get(&self, direction: Direction, key: &str) -> Option<u32> {
        Some(self.of(direction).get(key)?.version)
    }

    pub fn set(&mut self, direction: Direction, key: &str, version: u32) {
        self.of_mut(direction)
            .insert(key.to_owned(), Chosen { version });
    }

    /// Returns whether there was a choice.
    pub fn remove(&mut self, direction: Direction, key: &str) -> bool {
        self.of_mut(direction).remove(key).is_some()
    }

    /// Every choice, by direction and key.
    pub fn iter(&self) -> impl Iterator<Item = (Direction, &str, u32)> {
        [Direction::Sink, Direction::Source]
            .into_iter()
            .flat_map(|direction| {
                let chosen = self.of(direction).iter();
                chosen.map(move |(key, chosen)| (direction, key.as_str(), chosen.version))
            })
    }

    fn of(&self, direction: Direction) -> &BTreeMap<String, Chosen> {
        match direction {
            Direction::Sink => &self.sinks,
            Direction::Source => &self.sources,
        }
    }

    fn of_mut(&mut self, direction: Direction) -> &mut BTreeMap<String, Chosen> {
        match direction {
            Direction::Sink => &mut self.sinks,
            Direction::Source => &mut self.sources,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ActiveVersions, Problem> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ActiveVersions::FILE);
        std::fs::write(&path, text).unwrap();
        ActiveVersions::read(&path)
    }

    #[test]
    fn what_is_written_is_read() {
        let mut active = ActiveVersions::default();
        active.set(Direction::Sink, "a-b", 3);
        active.set(Direction::Sink, "c_d", 0);
        active.set(Direction::Source, "1", u32::MAX);
        assert_eq!(read(&active.to_text()), Ok(active.clone()));
        assert!(active.remove(Direction::Sink, "c_d") && !active.remove(Direction::Source, "a-b"));
        assert_eq!(read(&active.to_text()), Ok(active));
    }

    #[test]
    fn a_file_that_is_not_there_holds_no_choice() {
        let folder = tempfile::tempdir().unwrap();
        let read = ActiveVersions::read(&folder.path().join("none"));
        assert_eq!(read, Ok(ActiveVersions::default()));
        assert_eq!(self::read(""), Ok(ActiveVersions::default()));
    }

    #[test]
    fn a_damaged_file_is_told_with_what_to_do() {
        for text in [
            "[sinks.a]\nversion = ",
            "[sinks.a]\nversion = -1",
            "[sinks.a]\nversion = \"1\"",
            "[sinks.a]",
            "[sinks]\na = 1",
            "[sinsk.a]\nversion = 1",
            "\u{0}\u{0}",
        ] {
            let problem = read(text).unwrap_err().to_string();
            assert!(
                problem.contains(ActiveVersions::FILE) && problem.contains("restore it"),
                "{text}: {problem}"
            );
        }
    }
}
