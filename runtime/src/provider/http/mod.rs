//! Versions kept by a configuration service over HTTP, together with those in files of this machine, which it does not know.
//!
//! What the service answers is checked like any file. The last good answer is kept for a start at which the service is down.

mod client;
mod copy;
mod documents;
mod reply;
mod urls;

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use reqwest::{Method, header::HeaderValue};
use serde_json::{Value, json};
use tracing::{info, warn};

use self::{
    client::{Answer, Client, Request},
    copy::Copy,
    documents::by_key,
    urls::Urls,
};
use super::{
    Entry, Error, Id, Provider, View, entries, no_version, no_versions, still_active, still_enabled,
};
use crate::config::{self, Document, History, Reader, Version, spec::HttpProvider};

/// Keeps versions at a configuration service.
pub struct Http {
    client: Client,
    urls: Urls,
    reader: Reader,
    /// Of the files of this machine: read at the start and never written.
    fixed: History,
    copy: Copy,
    known: Mutex<Option<Known>>,
}

/// The active configurations as they were answered last.
#[derive(Clone)]
struct Known {
    configs: Value,
    tag: Option<HeaderValue>,
}

impl Http {
    /// A service as the configuration names it; `state` is the folder for the copy of its last good answer.
    ///
    /// # Errors
    ///
    /// No request can be made with these headers or with the certificates of this machine.
    pub fn new(
        service: &HttpProvider,
        state: PathBuf,
        fixed: History,
        reader: Reader,
    ) -> Result<Self, Error> {
        let urls = Urls::new(service);
        Ok(Self {
            client: Client::new(service)?,
            copy: Copy::new(state, urls.base()),
            urls,
            reader,
            fixed,
            known: Mutex::default(),
        })
    }

    /// What is to run: as the service says, or, when it cannot, as it said last.
    ///
    /// # Errors
    ///
    /// The service does not answer as it should, and nothing was kept of what it answered before.
    pub(super) async fn start(&self) -> Result<History, Error> {
        let service = self.urls.base();
        info!(service, "asking the configuration service for connectors");
        let error = match self.active_history().await {
            Ok(history) => return Ok(history),
            Err(error) => error,
        };
        let kept = match self.copy.read().await {
            Ok(kept) => kept,
            Err(reason) => return Err(without_copy(&error, &reason)),
        };
        let history = self.history(&kept.configs).map_err(|reason| {
            without_copy(&error, &format!("{}: {reason}", self.copy.path().display()))
        })?;
        warn!(
            %error, saved_at = kept.saved_at, copy = %self.copy.path().display(),
            "the configuration service cannot be asked: connectors run as it said last"
        );
        Ok(history)
    }

    /// The active versions, and all that stand in files.
    async fn active_history(&self) -> Result<History, Error> {
        let mut request = Request::get(self.urls.active_configs());
        let known = self.known().clone();
        request.known = known.as_ref().and_then(|known| known.tag.clone());
        let (value, tag) = match (self.client.send(&request).await?, known) {
            (Answer::Data { value, tag }, _) => (value, tag),
            (Answer::Unchanged, Some(known)) => return self.read(&known.configs),
            (Answer::Unchanged, None) | (Answer::Nothing { .. }, _) => {
                return Err(Error::Refused(format!(
                    "configuration service, GET {}: there is no such thing; check connectors.base_url and \
                     connectors.url_templates.get_active_configs",
                    request.url
                )));
            }
        };
        let history = self.read(&value)?;
        let is_new = self
            .known()
            .as_ref()
            .is_none_or(|known| known.configs != value);
        if is_new && let Err(error) = self.copy.save(&value).await {
            warn!(error = %error, "what the configuration service says is not kept for a start without it");
        }
        *self.known() = Some(Known {
            configs: value,
            tag,
        });
        Ok(history)
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service's versions of a connector, and which is active; `None` when it does not know the connector.
    async fn of_service(&self, id: &Id) -> Result<Option<History>, Error> {
        let url = self.urls.versions(id);
        let documents = match self.client.send(&Request::get(url.clone())).await? {
            Answer::Data {
                value: Value::Array(documents),
                ..
            } => documents,
            Answer::Data {
                value: Value::Null, ..
            }
            | Answer::Nothing { .. } => vec![],
            _ => {
                return Err(Error::Reply(format!(
                    "configuration service, GET {url}: a list is expected"
                )));
            }
        };
        if documents.is_empty() {
            return Ok(None);
        }
        let versions = documents
            .iter()
            .map(|document| self.stored(id, document, url.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut history = History::new(versions, config::ActiveVersions::default());
        if let Some(active) = self.active_version(id).await? {
            history.active.set(id.direction, &id.key, active);
        }
        Ok(Some(history))
    }

    async fn active_version(&self, id: &Id) -> Result<Option<u32>, Error> {
        let url = self.urls.active_versions();
        let Answer::Data { value, .. } = self.client.send(&Request::get(url.clone())).await? else {
            return Ok(None);
        };
        let odd =
            |reason: &str| Error::Reply(format!("configuration service, GET {url}: {reason}"));
        let found = by_key(&value)
            .map_err(|reason| odd(&reason))?
            .into_iter()
            .find(|(direction, key, _)| *direction == id.direction && *key == id.key);
        let Some((_, _, active)) = found else {
            return Ok(None);
        };
        // Some services answer with the number alone.
        let number = active.get("version").unwrap_or(active).as_u64();
        let number = number.and_then(|number| u32::try_from(number).ok());
        let told = || odd(&format!("{id} has no `version` in its answer"));
        number.map(Some).ok_or_else(told)
    }

    /// Refuses to change a connector that stands in files and that the service does not know.
    async fn changeable(&self, id: &Id) -> Result<(), Error> {
        let Some(version) = self.fixed.of(id.direction, &id.key).last() else {
            return Ok(());
        };
        match self.of_service(id).await? {
            Some(_) => Ok(()),
            None => Err(Error::Conflict(format!(
                "{id} stands in {} and not in the configuration service: change it there",
                version.place
            ))),
        }
    }

    async fn service_active(&self, id: &Id) -> Result<Option<Version>, Error> {
        let url = self.urls.active(id);
        match self.client.send(&Request::get(url.clone())).await? {
            Answer::Data {
                value: Value::Null, ..
            }
            | Answer::Nothing { .. } => Ok(None),
            Answer::Data { value, .. } => self.stored(id, &value, url).map(Some),
            Answer::Unchanged => Ok(None),
        }
    }
}

#[async_trait]
impl Provider for Http {
    async fn list(&self) -> Result<Vec<Entry>, Error> {
        let history = self.active_history().await?;
        let mut ids: Vec<_> = history
            .versions
            .iter()
            .map(|version| Id::of(&version.spec))
            .collect();
        ids.dedup();
        let mut all = vec![];
        for id in ids {
            all.extend(self.versions(&id).await?);
        }
        Ok(all)
    }

    async fn versions(&self, id: &Id) -> Result<Vec<Entry>, Error> {
        let fixed = self.fixed.of(id.direction, &id.key);
        let history = match self.of_service(id).await? {
            Some(mut history) => {
                history.add(fixed);
                history
            }
            None if fixed.is_empty() => return Err(no_versions(id)),
            None => self.fixed.clone(),
        };
        Ok(entries(&history, history.of(id.direction, &id.key)))
    }

    async fn version(&self, id: &Id, version: u32) -> Result<Entry, Error> {
        let active = self.active(id).await?;
        if active.version.spec.version == version {
            return Ok(active);
        }
        let fixed = self.fixed.of(id.direction, &id.key).iter();
        if let Some(found) = fixed.into_iter().find(|it| it.spec.version == version) {
            return Ok(Entry {
                version: found.clone(),
                active: false,
            });
        }
        let url = self.urls.version(id, version);
        let found = match self.client.send(&Request::get(url.clone())).await? {
            Answer::Data { value, .. } if !value.is_null() => {
                self.stored(id, &value, url.clone())?
            }
            _ => return Err(no_version(id, version)),
        };
        if found.spec.version != version {
            return Err(Error::Reply(format!(
                "configuration service, GET {url}: it answers with version {}",
                found.spec.version
            )));
        }
        Ok(Entry {
            version: found,
            active: false,
        })
    }

    async fn active(&self, id: &Id) -> Result<Entry, Error> {
        if let Some(version) = self.service_active(id).await? {
            return Ok(Entry {
                version,
                active: true,
            });
        }
        let fixed = entries(&self.fixed, self.fixed.of(id.direction, &id.key));
        let active = fixed.into_iter().find(|entry| entry.active);
        active.ok_or_else(|| no_versions(id))
    }

    async fn create(&self, id: &Id, document: Document) -> Result<Entry, Error> {
        self.changeable(id).await?;
        let url = self.urls.create(id);
        let request = Request {
            method: Method::POST,
            url: url.clone(),
            body: Some(Value::Object(document.without_identity().into_values())),
            known: None,
        };
        let Answer::Data { value, .. } = self.client.send(&request).await? else {
            return Err(Error::Refused(format!(
                "configuration service, POST {url}: there is no such thing; check connectors.url_templates"
            )));
        };
        let version = self.stored(id, &value, url)?;
        // It is stored: what the service does not say now does not undo that.
        let active = self.active_version(id).await.ok().flatten();
        Ok(Entry {
            active: active == Some(version.spec.version),
            version,
        })
    }

    async fn activate(&self, id: &Id, version: u32) -> Result<(), Error> {
        self.changeable(id).await?;
        let request = Request {
            method: Method::PUT,
            url: self.urls.activate(id),
            body: Some(json!({ "version": version })),
            known: None,
        };
        match self.client.send(&request).await? {
            Answer::Nothing { .. } => Err(no_version(id, version)),
            _ => Ok(()),
        }
    }

    async fn delete(&self, id: &Id, version: Option<u32>) -> Result<(), Error> {
        self.changeable(id).await?;
        let active = self.service_active(id).await?;
        match (active, version) {
            (Some(active), Some(version)) if active.spec.version == version => {
                return Err(still_active(id, version));
            }
            (Some(active), None) if active.spec.enabled => return Err(still_enabled(id)),
            _ => {}
        }
        let request = Request {
            method: Method::DELETE,
            url: self.urls.delete(id, version),
            body: None,
            known: None,
        };
        match (self.client.send(&request).await?, version) {
            (Answer::Nothing { repeated: false }, Some(version)) => Err(no_version(id, version)),
            (Answer::Nothing { repeated: false }, None) => Err(no_versions(id)),
            _ => Ok(()),
        }
    }

    async fn view(&self) -> Result<View, Error> {
        let history = self.active_history().await?;
        Ok(View::of(&history))
    }
}

fn without_copy(error: &Error, reason: &str) -> Error {
    Error::Unavailable(format!(
        "{error}; no connectors can be started without it: {reason}"
    ))
}
