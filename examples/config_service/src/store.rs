//! The versions of every connector and which one is active, in memory, and in one file if there is one.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What the service itself says about a version; no part of the document.
const IDENTITY: [&str; 4] = ["type", "key", "version", "active"];

/// Sinks and sources are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Sink,
    Source,
}

/// Everything that is stored.
#[derive(Debug, Default)]
pub struct Store {
    connectors: Connectors,
    file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Connectors {
    sinks: BTreeMap<String, Connector>,
    sources: BTreeMap<String, Connector>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Connector {
    versions: BTreeMap<u32, Version>,
    /// `None`: the highest.
    active: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Version {
    created_at: String,
    document: Map<String, Value>,
}

/// Why a request cannot be met.
#[derive(Debug)]
pub enum Error {
    /// No such connector or version.
    NotFound,
    /// The active version is not deleted, and no number comes after the highest there is.
    Conflict(&'static str),
    /// The file cannot be written.
    File(io::Error),
}

impl Store {
    /// Keeps everything in `file`, and begins with what it holds.
    ///
    /// # Errors
    ///
    /// It is there and cannot be read.
    pub fn open(file: &Path) -> io::Result<Self> {
        let connectors = match fs::read(file) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Connectors::default(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            connectors,
            file: Some(file.to_owned()),
        })
    }

    /// Stores a document as the next version of a connector, and returns it as it is stored.
    pub fn create(
        &mut self,
        direction: Direction,
        key: &str,
        mut document: Map<String, Value>,
    ) -> Result<Value, Error> {
        for name in IDENTITY {
            document.shift_remove(name);
        }
        self.change(|connectors| {
            let connector = connectors
                .of_mut(direction)
                .entry(key.to_owned())
                .or_default();
            let number = match connector.versions.last_key_value() {
                None => 0,
                Some((highest, _)) => highest
                    .checked_add(1)
                    .ok_or(Error::Conflict("no number is left"))?,
            };
            let version = Version {
                created_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
                document,
            };
            let stored = version.shown(direction, key, number);
            connector.versions.insert(number, version);
            Ok(stored)
        })
    }

    /// Chooses the version that daemons run.
    pub fn activate(&mut self, direction: Direction, key: &str, version: u32) -> Result<(), Error> {
        self.change(|connectors| {
            let connector = connectors
                .of_mut(direction)
                .get_mut(key)
                .ok_or(Error::NotFound)?;
            if !connector.versions.contains_key(&version) {
                return Err(Error::NotFound);
            }
            connector.active = Some(version);
            Ok(())
        })
    }

    /// Deletes one version, or with none given the connector.
    pub fn delete(
        &mut self,
        direction: Direction,
        key: &str,
        version: Option<u32>,
    ) -> Result<(), Error> {
        self.change(|connectors| {
            let of_direction = connectors.of_mut(direction);
            let connector = of_direction.get_mut(key).ok_or(Error::NotFound)?;
            let Some(version) = version else {
                of_direction.remove(key);
                return Ok(());
            };
            if !connector.versions.contains_key(&version) {
                return Err(Error::NotFound);
            }
            if connector.active() == Some(version) {
                return Err(Error::Conflict(
                    "the version is active: activate another first",
                ));
            }
            connector.versions.remove(&version);
            Ok(())
        })
    }

    /// Every version of a connector, the oldest first.
    pub fn versions(&self, direction: Direction, key: &str) -> Vec<Value> {
        let connector = self.connectors.of(direction).get(key);
        let versions = connector
            .into_iter()
            .flat_map(|connector| &connector.versions);
        versions
            .map(|(number, version)| version.shown(direction, key, *number))
            .collect()
    }

    /// One version of a connector; with none given the active one.
    pub fn version(&self, direction: Direction, key: &str, version: Option<u32>) -> Option<Value> {
        let connector = self.connectors.of(direction).get(key)?;
        let number = version.or_else(|| connector.active())?;
        let version = connector.versions.get(&number)?;
        Some(version.shown(direction, key, number))
    }

    /// The active version of every connector.
    pub fn active_configs(&self) -> Value {
        self.connectors
            .map(|direction, key, number, version| version.shown(direction, key, number))
    }

    /// Which version of every connector is active.
    pub fn active_versions(&self) -> Value {
        self.connectors.map(
            |_, _, number, version| json!({ "version": number, "created_at": version.created_at }),
        )
    }

    /// Changes a copy, writes it, and only then takes its place.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Connectors) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut connectors = self.connectors.clone();
        let changed = change(&mut connectors)?;
        if let Some(file) = &self.file {
            write(file, &connectors).map_err(Error::File)?;
        }
        self.connectors = connectors;
        Ok(changed)
    }
}

impl Connectors {
    fn of(&self, direction: Direction) -> &BTreeMap<String, Connector> {
        match direction {
            Direction::Sink => &self.sinks,
            Direction::Source => &self.sources,
        }
    }

    fn of_mut(&mut self, direction: Direction) -> &mut BTreeMap<String, Connector> {
        match direction {
            Direction::Sink => &mut self.sinks,
            Direction::Source => &mut self.sources,
        }
    }

    /// `{"sinks": {key: …}, "sources": {key: …}}` of all active versions.
    fn map(&self, show: impl Fn(Direction, &str, u32, &Version) -> Value) -> Value {
        let table = |direction: Direction| {
            let connectors = self.of(direction).iter();
            let active = connectors.filter_map(|(key, connector)| {
                let number = connector.active()?;
                let version = connector.versions.get(&number)?;
                Some((key.clone(), show(direction, key, number, version)))
            });
            active.collect::<Map<_, _>>()
        };
        json!({ "sinks": table(Direction::Sink), "sources": table(Direction::Source) })
    }
}

impl Connector {
    fn active(&self) -> Option<u32> {
        self.active
            .or_else(|| Some(*self.versions.last_key_value()?.0))
    }
}

impl Version {
    fn shown(&self, direction: Direction, key: &str, number: u32) -> Value {
        let direction = match direction {
            Direction::Sink => "sink",
            Direction::Source => "source",
        };
        let mut shown = Map::new();
        shown.insert("type".into(), direction.into());
        shown.insert("key".into(), key.into());
        shown.insert("version".into(), number.into());
        shown.extend(self.document.clone());
        Value::Object(shown)
    }
}

/// Writes beside the file and moves it into place: whoever reads it finds the old or the new one, whole. Documents hold secrets.
fn write(path: &Path, connectors: &Connectors) -> io::Result<()> {
    let unfinished = path.with_added_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    serde_json::to_writer_pretty(&file, connectors)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(value: Value) -> Map<String, Value> {
        let Value::Object(document) = value else {
            panic!("{value}");
        };
        document
    }

    #[test]
    fn a_store_in_a_file_goes_on_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.json");
        let mut store = Store::open(&file).unwrap();
        for path in ["a", "b"] {
            let stored = store
                .create(
                    Direction::Sink,
                    "k",
                    document(json!({ "version": 9, "path": path })),
                )
                .unwrap();
            assert_eq!(stored["path"], path);
        }
        store.activate(Direction::Sink, "k", 0).unwrap();
        let store = Store::open(&file).unwrap();
        assert_eq!(store.versions(Direction::Sink, "k").len(), 2);
        assert_eq!(
            store.active_configs(),
            json!({ "sinks": { "k": { "type": "sink", "key": "k", "version": 0, "path": "a" } }, "sources": {} })
        );
        assert_eq!(store.active_versions()["sinks"]["k"]["version"], 0);
    }

    #[test]
    fn the_active_version_is_not_deleted_by_itself() {
        let mut store = Store::default();
        for _ in 0..2 {
            store.create(Direction::Source, "k", Map::new()).unwrap();
        }
        let refused = store.delete(Direction::Source, "k", Some(1));
        assert!(matches!(refused, Err(Error::Conflict(_))));
        store.delete(Direction::Source, "k", Some(0)).unwrap();
        assert!(store.version(Direction::Source, "k", None).is_some());
        store.delete(Direction::Source, "k", None).unwrap();
        let refused = store.delete(Direction::Source, "k", None);
        assert!(matches!(refused, Err(Error::NotFound)));
    }

    #[test]
    fn what_cannot_be_written_is_not_stored() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("store.json")).unwrap();
        folder.close().unwrap();
        let refused = store.create(Direction::Sink, "k", Map::new());
        assert!(matches!(refused, Err(Error::File(_))));
        assert!(store.versions(Direction::Sink, "k").is_empty());
    }
}
