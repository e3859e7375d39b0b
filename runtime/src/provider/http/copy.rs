//! The last good answer of a configuration service, kept for a start at which the service is down.

use std::{fs, io, path::PathBuf, time::SystemTime};

use serde_json::{Value, json};

use crate::{
    config,
    provider::{Error, files},
};

/// Its name beside the state.
const FILE: &str = "service_configs.json";

/// A file with one answer. It holds what connectors hold, secrets too, and is for the owner alone.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    folder: PathBuf,
    base_url: String,
}

/// What was kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) configs: Value,
    /// When, for people.
    pub(super) saved_at: String,
}

impl Copy {
    /// The copy in `folder` of what the service at `base_url` answered.
    pub(super) fn new(folder: PathBuf, base_url: &str) -> Self {
        Self {
            folder,
            base_url: base_url.to_owned(),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    pub(super) async fn save(&self, configs: &Value) -> Result<(), Error> {
        let saved_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let kept = json!({ "base_url": self.base_url, "saved_at": saved_at, "configs": configs });
        let copy = self.clone();
        blocking(move || files::replace(&copy.folder, FILE, &format!("{kept:#}\n"))).await
    }

    /// What was kept of this service; otherwise why there is nothing to be had.
    pub(super) async fn read(&self) -> Result<Kept, String> {
        let copy = self.clone();
        let read = blocking(move || Ok(copy.read_now())).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn read_now(&self) -> Result<Kept, String> {
        let path = self.path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err("nothing was kept of an earlier start".into());
            }
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        let damaged = || format!("{} is damaged", path.display());
        let mut kept = config::parse_json(&text).map_err(|_| damaged())?;
        let (base_url, saved_at) = match (&kept["base_url"], &kept["saved_at"]) {
            (Value::String(base_url), Value::String(saved_at)) => (base_url, saved_at.clone()),
            _ => return Err(damaged()),
        };
        if *base_url != self.base_url {
            return Err(format!(
                "{} was kept of another service, {base_url}",
                path.display()
            ));
        }
        Ok(Kept {
            saved_at,
            configs: kept["configs"].take(),
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::Unavailable(format!("kept answer: {error}"))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_kept_is_read_by_its_owner_and_for_the_same_service() {
        let folder = tempfile::tempdir().unwrap();
        let copy = Copy::new(folder.path().into(), "http://a");
        assert!(copy.read().await.unwrap_err().contains("nothing was kept"));
        let configs = json!({ "sinks": { "z": {}, "a": { "b": null } } });
        copy.save(&configs).await.unwrap();
        assert_eq!(
            copy.read().await.unwrap().configs.to_string(),
            configs.to_string()
        );
        let mode = fs::metadata(copy.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = Copy::new(folder.path().into(), "http://b");
        let told = other.read().await.unwrap_err();
        assert!(told.contains("of another service, http://a"), "{told}");
    }

    #[tokio::test]
    async fn a_damaged_copy_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let copy = Copy::new(folder.path().into(), "http://a");
        copy.save(&json!({})).await.unwrap();
        let whole = fs::read_to_string(copy.path()).unwrap();
        for text in ["", "{}", "[1]", "null", &whole[..whole.len() / 2]] {
            fs::write(copy.path(), text).unwrap();
            let told = copy.read().await.unwrap_err();
            assert!(told.contains("is damaged"), "{text}: {told}");
        }
    }
}
