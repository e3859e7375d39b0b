//! Log levels that are changed while the daemon runs: [`Levels`]. The management API sets them; `logging` makes the filters of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{task::AbortHandle, time::sleep};
use tracing::info;

use super::export::TRACES;

/// The most targets that may have a level of their own.
const MOST: usize = 256;
/// The longest name of a target.
const LONGEST: usize = 256;
/// The longest time for which a level may be changed; without one it stays until the daemon ends.
const LONGEST_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Makes the filters anew with these directives beside what is configured.
pub(super) type Apply = Box<dyn Fn(&[String]) -> Result<(), String> + Send + Sync>;

/// The least that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The levels that were changed. Clones are the same.
#[derive(Clone)]
pub struct Levels(Arc<Inner>);

struct Inner {
    configured: String,
    apply: Apply,
    changed: Mutex<BTreeMap<String, Changed>>,
}

#[derive(Clone)]
struct Changed {
    level: Level,
    until: Option<SystemTime>,
    /// Waits for the end of the time.
    end: Option<AbortHandle>,
}

/// A target whose level was changed.
pub struct Target {
    pub name: String,
    pub level: Level,
    pub until: Option<SystemTime>,
}

impl Levels {
    pub(super) fn new(configured: String, apply: Apply) -> Self {
        Self(Arc::new(Inner {
            configured,
            apply,
            changed: Mutex::default(),
        }))
    }

    /// What is logged where nothing was changed, as it is written.
    pub fn configured(&self) -> &str {
        &self.0.configured
    }

    /// Every target whose level was changed.
    pub fn changed(&self) -> Vec<Target> {
        let changed = self.lock();
        let targets = changed.iter().map(|(name, changed)| Target {
            name: name.clone(),
            level: changed.level,
            until: changed.until,
        });
        targets.collect()
    }

    /// Changes the level of a target and of what is below it, for ever or for a time.
    ///
    /// # Errors
    ///
    /// The target cannot have a level, the time is too long, or there are too many.
    pub fn set(&self, target: &str, level: Level, time: Option<Duration>) -> Result<(), String> {
        check(target)?;
        if time.is_some_and(|time| time > LONGEST_TIME) {
            return Err("`for` is 30 days at most".to_owned());
        }
        let until = time.map(|time| SystemTime::now() + time);
        let mut changed = self.lock();
        if changed.len() >= MOST && !changed.contains_key(target) {
            return Err(format!("{MOST} targets have levels: take one back first"));
        }
        let end = time.map(|time| tokio::spawn(self.clone().end(target.to_owned(), until, time)));
        let wanted = Changed {
            level,
            until,
            end: end.map(|end| end.abort_handle()),
        };
        let before = changed.insert(target.to_owned(), wanted);
        if let Some(end) = before.and_then(|before| before.end) {
            end.abort();
        }
        self.apply(changed)?;
        info!(of = target, ?level, ?time, "log level changed");
        Ok(())
    }

    /// Logs of a target what is configured again.
    ///
    /// # Errors
    ///
    /// The logs cannot be changed any more.
    pub fn take_back(&self, target: &str) -> Result<(), String> {
        let mut changed = self.lock();
        let Some(before) = changed.remove(target) else {
            return Ok(());
        };
        if let Some(end) = before.end {
            end.abort();
        }
        self.apply(changed)?;
        info!(of = target, "log level is as configured again");
        Ok(())
    }

    /// Takes a level back when its time is over, unless it was changed meanwhile.
    async fn end(self, target: String, until: Option<SystemTime>, time: Duration) {
        sleep(time).await;
        let is_same = self.lock().get(&target).is_some_and(|it| it.until == until);
        if is_same && let Err(error) = self.take_back(&target) {
            info!(of = target, %error, "log level not taken back");
        }
    }

    /// The lock is held meanwhile: of two changes at once the filters must show the later one.
    fn apply(&self, changed: MutexGuard<'_, BTreeMap<String, Changed>>) -> Result<(), String> {
        let directive =
            |(name, changed): (&String, &Changed)| format!("{name}={}", changed.level.name());
        let directives: Vec<_> = changed.iter().map(directive).collect();
        (self.0.apply)(&directives)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Changed>> {
        self.0
            .changed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Whether a target may have a level: a path of modules, as logs show it.
fn check(target: &str) -> Result<(), String> {
    let is_path = |part: &str| {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        !part.is_empty() && part.bytes().all(is_word)
    };
    if target.len() > LONGEST || !target.split("::").all(is_path) {
        return Err("a target is a path of modules such as `iggy_connectors::stream`".to_owned());
    }
    if target.starts_with(TRACES) {
        return Err(format!(
            "what is below `{TRACES}` is for traces and is never logged"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_modules_are_targets() {
        for (target, taken) in [
            ("iggy", true),
            ("iggy_connectors::api", true),
            ("opentelemetry-otlp", true),
            ("", false),
            ("a::", false),
            ("a=debug,b", false),
            ("a[span]", false),
            ("info,", false),
            (TRACES, false),
        ] {
            assert_eq!(check(target).is_ok(), taken, "{target}");
        }
    }
}
