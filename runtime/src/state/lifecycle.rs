//! Which connectors an operator has paused or stopped: [`Lifecycle`], in `lifecycle.json`, so that it holds over a restart of the
//! daemon. The supervisor asks at start and tells of every command.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    folder::{Folder, blocking},
    slots::{beside, sync_parent},
};
use crate::{config::spec::Direction, pipeline::Failure};

const NAME: &str = "lifecycle.json";
const VERSION: u32 = 1;

/// What a connector stays over a restart of the daemon. One that is not listed runs, when it is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    Paused,
    Stopped,
}

/// What the operators want, in memory and in a file. Clones are the same.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    wanted: Mutex<Wanted>,
    /// Locked while the file is written.
    writing: Mutex<()>,
    /// The folder's lock is kept as long as somebody may write.
    _folder: Folder,
}

#[derive(Debug)]
struct Wanted {
    revision: u64,
    /// The revision that the file has.
    saved: u64,
    kept: BTreeMap<(Direction, String), Kept>,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    connectors: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    r#type: Direction,
    key: String,
    state: Kept,
}

impl Lifecycle {
    /// Reads the file of `folder`; a missing one is an empty one. Blocks shortly: called once, before anything runs.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not what this daemon writes. What an operator has stopped must not start because of that.
    pub fn open(folder: &Folder) -> Result<Self, Failure> {
        let path = folder.path().join(NAME);
        let kept = match fs::read(&path) {
            Ok(bytes) => parse(&bytes).map_err(|how| damaged(&path, &how))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(damaged(&path, &error.to_string())),
        };
        Ok(Self(Arc::new(Inner {
            path,
            wanted: Mutex::new(Wanted {
                revision: 0,
                saved: 0,
                kept,
            }),
            writing: Mutex::new(()),
            _folder: folder.clone(),
        })))
    }

    pub fn get(&self, direction: Direction, key: &str) -> Option<Kept> {
        let wanted = self.0.wanted();
        wanted.kept.get(&(direction, key.to_owned())).copied()
    }

    /// Notes what is wanted from now on; [`Lifecycle::save`] makes it last.
    pub fn set(&self, direction: Direction, key: &str, kept: Option<Kept>) {
        let mut wanted = self.0.wanted();
        let name = (direction, key.to_owned());
        let before = match kept {
            Some(kept) => wanted.kept.insert(name, kept),
            None => wanted.kept.remove(&name),
        };
        if before != kept {
            wanted.revision += 1;
        }
    }

    /// Returns when everything noted before is on disk. Several that wait share one write.
    ///
    /// # Errors
    ///
    /// It could not be written. The next save tries again.
    pub async fn save(&self) -> Result<(), Failure> {
        if self.0.unsaved().is_none() {
            return Ok(());
        }
        let inner = self.0.clone();
        blocking(move || inner.save()).await
    }
}

impl Inner {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file lacks, and the revision that it has with it.
    fn unsaved(&self) -> Option<(u64, String)> {
        let wanted = self.wanted();
        (wanted.revision != wanted.saved).then(|| (wanted.revision, format(&wanted.kept)))
    }

    fn save(&self) -> Result<(), Failure> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((revision, text)) = self.unsaved() else {
            return Ok(());
        };
        replace(&self.path, &text).map_err(|error| {
            Failure::transient(format!("write {}: {error}", self.path.display()))
        })?;
        self.wanted().saved = revision;
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<(Direction, String), Kept>, String> {
    let written: Written = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if written.version != VERSION {
        return Err(format!("it has version {}", written.version));
    }
    let mut kept = BTreeMap::new();
    for Entry { r#type, key, state } in written.connectors {
        if let Some(_twice) = kept.insert((r#type, key.clone()), state) {
            return Err(format!("{} {key} is listed twice", r#type.name()));
        }
    }
    Ok(kept)
}

fn format(kept: &BTreeMap<(Direction, String), Kept>) -> String {
    let entry = |((direction, key), state): (&(Direction, String), &Kept)| Entry {
        r#type: *direction,
        key: key.clone(),
        state: *state,
    };
    let written = Written {
        version: VERSION,
        connectors: kept.iter().map(entry).collect(),
    };
    let mut text = serde_json::to_string_pretty(&written).expect("keys are text, so it is JSON");
    text.push('\n');
    text
}

/// Replaces the file as a whole: after a crash it is the old one or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = beside(path);
    // One that a crash has left might be readable by others.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_parent(path)
}

fn damaged(path: &Path, how: &str) -> Failure {
    Failure::fatal(format!(
        "{} says which connectors are paused or stopped, and cannot be used ({how}): mend it, or delete it to start every enabled \
         connector",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    fn opened(dir: &TempDir) -> Result<Lifecycle, Failure> {
        Lifecycle::open(&Folder::open(dir.path()).unwrap())
    }

    #[tokio::test]
    async fn what_was_saved_is_read_back_also_of_connectors_that_nobody_knows() {
        let dir = TempDir::new().unwrap();
        let lifecycle = opened(&dir).unwrap();
        lifecycle.set(Direction::Sink, "one", Some(Kept::Paused));
        lifecycle.set(Direction::Source, "one", Some(Kept::Stopped));
        lifecycle.set(Direction::Sink, "two", Some(Kept::Stopped));
        lifecycle.save().await.unwrap();
        drop(lifecycle);

        let again = opened(&dir).unwrap();
        again.set(Direction::Sink, "two", None);
        again.save().await.unwrap();
        drop(again);

        let again = opened(&dir).unwrap();
        assert_eq!(again.get(Direction::Sink, "one"), Some(Kept::Paused));
        assert_eq!(again.get(Direction::Source, "one"), Some(Kept::Stopped));
        assert_eq!(again.get(Direction::Sink, "two"), None);
        let mode = fs::metadata(dir.path().join(NAME)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert!(!dir.path().join("lifecycle.json.new").exists());
    }

    #[tokio::test]
    async fn nothing_is_written_while_nothing_changes() {
        let dir = TempDir::new().unwrap();
        let lifecycle = opened(&dir).unwrap();
        lifecycle.set(Direction::Sink, "one", None);
        lifecycle.save().await.unwrap();
        assert!(!dir.path().join(NAME).exists());
    }

    #[test]
    fn a_file_that_is_not_as_written_is_refused_with_its_path_and_what_to_do() {
        let whole =
            r#"{"version": 1, "connectors": [{"type": "sink", "key": "one", "state": "paused"}]}"#;
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(NAME);
        fs::write(&path, whole).unwrap();
        opened(&dir).unwrap();
        let twice = whole.replace(
            "}]",
            r#"}, {"type": "sink", "key": "one", "state": "stopped"}]"#,
        );
        let mut wrong = vec![
            String::new(),
            "null".to_owned(),
            twice,
            whole.replace('1', "2"),
            whole.replace("paused", "parked"),
            whole.replace("sink", "sinks"),
            whole.replace("\"key\"", "\"kye\""),
            whole.replace("\"version\"", "\"more\": 1, \"version\""),
            format!("{whole}x"),
        ];
        wrong.extend((1..whole.len()).map(|len| whole[..len].to_owned()));
        for text in wrong {
            fs::write(&path, &text).unwrap();
            let failure = opened(&dir).unwrap_err();
            assert!(
                failure.message.contains("lifecycle.json") && failure.message.contains("delete it"),
                "{text}: {failure}"
            );
        }
    }

    #[tokio::test]
    async fn a_save_that_failed_is_tried_again_by_the_next() {
        let dir = TempDir::new().unwrap();
        let lifecycle = opened(&dir).unwrap();
        lifecycle.set(Direction::Sink, "one", Some(Kept::Paused));
        let blocker = dir.path().join("lifecycle.json.new");
        fs::create_dir(&blocker).unwrap();
        let failure = lifecycle.save().await.unwrap_err();
        assert!(failure.message.contains("lifecycle.json"), "{failure}");
        fs::remove_dir(&blocker).unwrap();
        lifecycle.save().await.unwrap();
        drop(lifecycle);
        assert_eq!(
            opened(&dir).unwrap().get(Direction::Sink, "one"),
            Some(Kept::Paused)
        );
    }
}
