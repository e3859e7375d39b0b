//! All libraries that are loaded or could be: [`Survey`]. One that is not loaded is looked at by a process of its own, the command line's
//! `plugins`: loading runs code of it, which must neither end nor hang the daemon, and never leaves a process again.

use std::{
    collections::HashMap,
    env,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::{process::Command, sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{Library, Listed, copies};

/// How long a library may take to be loaded and asked what it is.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// What of the environment the system's loader may need. Anything else is none of a plugin's business that nobody has chosen.
const KEPT: [&str; 3] = ["LD_LIBRARY_PATH", "PATH", "TMPDIR"];

/// What was found out about libraries that are not loaded.
#[derive(Default)]
pub(super) struct Survey {
    seen: Mutex<HashMap<PathBuf, (blake3::Hash, Listed)>>,
}

/// A library that is loaded or could be.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Surveyed {
    #[serde(flatten)]
    pub listed: Listed,
    /// Hash of the file's content, BLAKE3; null for a file that cannot be read.
    pub hash: Option<String>,
    /// Whether the daemon has loaded it.
    pub loaded: bool,
}

impl Survey {
    /// Looks at `files`, one after the other, and adds what is loaded from elsewhere.
    pub(super) async fn of(
        &self,
        files: Vec<PathBuf>,
        loaded: HashMap<blake3::Hash, Library>,
        one_at_a_time: &Semaphore,
    ) -> Vec<Surveyed> {
        // It is never closed; whoever waits here waits for files to be read, within `LOOK_TIMEOUT` each.
        let _turn = one_at_a_time.acquire().await;
        let mut left = loaded.clone();
        let mut surveyed = Vec::new();
        for path in files {
            let (hash, listed) = match hash(&path).await {
                Ok(hash) => (Some(hash), self.look(&path, hash, &loaded).await),
                Err(reason) => (None, Listed::refused(&path, reason)),
            };
            let library = hash.and_then(|hash| {
                left.remove(&hash);
                loaded.get(&hash)
            });
            surveyed.push(Surveyed {
                listed,
                hash: hash.map(|hash| hash.to_hex().to_string()),
                loaded: library.is_some(),
            });
        }
        // Their files are gone, or have another content by now.
        surveyed.extend(left.into_iter().map(|(hash, library)| Surveyed {
            listed: Listed::plugin(library.path(), library.descriptor()),
            hash: Some(hash.to_hex().to_string()),
            loaded: true,
        }));
        surveyed
    }

    async fn look(
        &self,
        path: &Path,
        hash: blake3::Hash,
        loaded: &HashMap<blake3::Hash, Library>,
    ) -> Listed {
        if let Some(library) = loaded.get(&hash) {
            return Listed::plugin(path, library.descriptor());
        }
        if let Some((_, listed)) = self.seen().get(path).filter(|(seen, _)| *seen == hash) {
            return listed.clone();
        }
        match look(path).await {
            Ok(listed) => {
                // Unless the file was replaced meanwhile, and this is about another content.
                if self::hash(path).await == Ok(hash) {
                    self.seen().insert(path.to_owned(), (hash, listed.clone()));
                }
                listed
            }
            Err(reason) => Listed::refused(path, reason),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (blake3::Hash, Listed)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the file holds now.
pub(super) async fn hash(path: &Path) -> Result<blake3::Hash, String> {
    let file = path.to_owned();
    let hashed = spawn_blocking(move || copies::hash(&file)).await;
    let hashed = hashed.map_err(|error| error.to_string())?;
    hashed.map_err(|error| format!("read plugin `{}`: {error}", path.display()))
}

/// Has another process load the library as this one would, with the same environment, and say what it is.
///
/// # Errors
///
/// That process did not come back, or not in time.
pub(super) async fn try_load(path: &Path) -> Result<Listed, String> {
    ask(&mut Command::new(program()?), path).await
}

/// What another process says that the library is.
async fn look(path: &Path) -> Result<Listed, String> {
    let kept = KEPT
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)));
    ask(Command::new(program()?).env_clear().envs(kept), path).await
}

async fn ask(program: &mut Command, path: &Path) -> Result<Listed, String> {
    let asked = program
        .args(["plugins", "--json", "--"])
        .arg(path)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let about = |what: &str| format!("plugin `{}` {what}", path.display());
    match timeout(LOOK_TIMEOUT, asked).await {
        Ok(Ok(output)) => said(&output).ok_or_else(|| {
            about(&format!(
                "ended the process that looked at it ({})",
                output.status
            ))
        }),
        Ok(Err(error)) => Err(about(&format!("could not be looked at: {error}"))),
        Err(_) => Err(about(&format!(
            "did not finish loading within {} s; an initialiser of the library may never return",
            LOOK_TIMEOUT.as_secs()
        ))),
    }
}

fn said(output: &Output) -> Option<Listed> {
    let listed: Vec<Listed> = serde_json::from_slice(&output.stdout).ok()?;
    listed.into_iter().next()
}

/// This very program, also when its file has been replaced.
fn program() -> Result<PathBuf, String> {
    match cfg!(target_os = "linux") {
        true => Ok(PathBuf::from("/proc/self/exe")),
        false => env::current_exe().map_err(|error| error.to_string()),
    }
}
