//! Documents in the answers of a configuration service, read as those in files are.

use serde_json::Value;
use tracing::warn;

use super::{
    super::{Error, Id},
    Http,
    reply::shortened,
};
use crate::config::{self, Code, Document, History, Place, Problem, Version, spec::Direction};

impl Http {
    pub(super) fn read(&self, configs: &Value) -> Result<History, Error> {
        self.history(configs).map_err(|reason| {
            let url = self.urls.active_configs();
            Error::Reply(format!("configuration service, GET {url}: {reason}"))
        })
    }

    /// Reads `{"sinks": {key: document}, "sources": {key: document}}`.
    pub(super) fn history(&self, configs: &Value) -> Result<History, String> {
        let mut history = self.fixed.clone();
        let mut versions = vec![];
        for (direction, key, document) in by_key(configs)? {
            let Ok(id) = Id::new(direction, key) else {
                warn!(
                    key = shortened(key),
                    "skipped: no connector can have this key"
                );
                continue;
            };
            let version = self.document(&id, document, self.urls.active_configs());
            history.active.set(direction, key, version.spec.version);
            versions.push(version);
        }
        history.add(&versions);
        Ok(history)
    }

    /// Reads one document of the service. One that is no table is a version with that problem.
    fn document(&self, id: &Id, document: &Value, url: String) -> Version {
        let place = Place::Service(url);
        let Value::Object(values) = document else {
            let mut version =
                self.reader
                    .document(id.direction, &id.key, Document::default(), place.clone());
            version.problems = vec![Problem {
                origin: config::Origin::File {
                    path: place.to_string().into(),
                    line: None,
                },
                key: format!("{}s.{}", id.direction.name(), id.key),
                code: Code::Invalid,
                reason: "a table is expected".into(),
                remedy: None,
            }];
            return version;
        };
        let document = Document::of_json(values.clone());
        self.reader.document(id.direction, &id.key, document, place)
    }

    /// A document that the service answers by itself must say which version it is.
    pub(super) fn stored(&self, id: &Id, document: &Value, url: String) -> Result<Version, Error> {
        if document.get("version").and_then(Value::as_u64).is_none() {
            return Err(Error::Reply(format!(
                "configuration service, {url}: no document with a `version` in its answer"
            )));
        }
        Ok(self.document(id, document, url))
    }
}

/// What stands under `sinks` and `sources`, one of which must be there: an answer to something else is no empty list.
pub(super) fn by_key(value: &Value) -> Result<Vec<(Direction, &str, &Value)>, String> {
    let mut found = vec![];
    let mut is_there = false;
    for (direction, name) in [(Direction::Sink, "sinks"), (Direction::Source, "sources")] {
        match value.get(name) {
            None => continue,
            Some(Value::Null) => {}
            Some(Value::Object(table)) => {
                let of_direction = table.iter();
                found.extend(of_direction.map(|(key, value)| (direction, key.as_str(), value)));
            }
            Some(_) => return Err(format!("a table is expected at `{name}`")),
        }
        is_there = true;
    }
    match is_there {
        true => Ok(found),
        false => Err("neither `sinks` nor `sources` is in its answer; say with connectors.response.data_path where they are".into()),
    }
}
