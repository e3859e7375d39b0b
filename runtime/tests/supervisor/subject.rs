//! One connector of the daemon, over the API and through the files that its plugin reads and leaves: what `trial` does to it and sees
//! of it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use iggy_connectors::config::spec::Direction;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    acts::{Candidate, Opens},
    ground::{self, Ground},
    harness::daemon::Daemon,
    model::Model,
};

pub struct Subject {
    pub model: Model,
    /// Its route.
    pub path: String,
    pub key: String,
    topic: Value,
    /// Where its plugin looks for what to do, and leaves what it does.
    folder: PathBuf,
    pub activation: Option<Activation>,
    /// How many versions the API has shown, and which was active.
    pub shown: Option<(usize, u32)>,
}

/// An activation that was asked for.
pub struct Activation {
    pub version: u32,
    pub candidate: Candidate,
    /// Something else may have been asked meanwhile.
    pub is_alone: bool,
    pub answer: JoinHandle<(u16, Value)>,
}

impl Subject {
    /// Makes a connector by its first version.
    pub async fn create(ground: &Ground, direction: Direction, name: &str) -> Self {
        let key = format!("{name}-{}", direction.name());
        let folder = ground.home.path().join(&key);
        fs::create_dir(&folder).unwrap();
        let (stream, topic) = (&ground.topic.stream, &ground.topic.name);
        let topic = match direction {
            Direction::Sink => {
                json!({ "stream": stream, "topics": [topic], "schema": "raw", "consumer_group": key })
            }
            Direction::Source => json!({ "stream": stream, "topic": topic, "schema": "raw" }),
        };
        let subject = Self {
            model: Model::new(direction),
            path: format!("/{}s/{key}", direction.name()),
            key,
            topic,
            folder,
            activation: None,
            shown: None,
        };
        let stored = subject.store(&ground.daemon, Candidate::Good).await;
        assert_eq!(stored, 0);
        subject
    }

    /// Stores a version. Returns its number.
    pub async fn store(&self, daemon: &Daemon, candidate: Candidate) -> u32 {
        let document = self.document(candidate);
        let configs = format!("{}/configs", self.path);
        let (status, stored) = daemon.send(Method::POST, &configs, Some(&document)).await;
        assert_eq!(status, 200, "{stored}");
        u32::try_from(stored["version"].as_u64().unwrap()).unwrap()
    }

    pub fn document(&self, candidate: Candidate) -> Value {
        let backoff = json!({ "initial_backoff": "1ms", "max_backoff": "2ms" });
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut document = json!({
            "path": ground::library(self.model.direction),
            "enabled": candidate != Candidate::Disabled,
            "streams": [self.topic],
            "restart": backoff,
            "retry": backoff,
            "health": { "interval": "10ms", "failures": 1, "action": "restart" },
            "plugin_config": {
                "deed": file("deed"),
                "open_deed": file("open_deed"),
                "close_deed": file("close_deed"),
                "health_deed": file("health_deed"),
                "instances": file("instances"),
            },
        });
        let config = &mut document["plugin_config"];
        match self.model.direction {
            Direction::Sink => {
                config["ledger"] = file("ledger").into();
                config["exclusive"] = (candidate == Candidate::Exclusive).into();
            }
            Direction::Source => {
                config["result_deed"] = file("result_deed").into();
                config["acked"] = file("acked").into();
                config["until"] = file("until").into();
                config["batch"] = 5.into();
                config["interval_ms"] = 5.into();
            }
        }
        match candidate {
            Candidate::Unopenable(deed) => {
                config["open"] = deed.into();
                document["open_timeout"] = if deed == "wait" { "50ms" } else { "30s" }.into();
                document["restart"] = json!({ "policy": "never" });
            }
            Candidate::Delicate => document["health"]["action"] = "stop".into(),
            _ => {}
        }
        document
    }

    /// Asks for a version in the place of the one that there is.
    pub fn activate(&self, daemon: &Arc<Daemon>, version: u32) -> JoinHandle<(u16, Value)> {
        let (daemon, path) = (daemon.clone(), format!("{}/configs/active", self.path));
        let wanted = json!({ "version": version });
        tokio::spawn(async move { daemon.send(Method::PUT, &path, Some(&wanted)).await })
    }

    /// Tells the plugin what to do from now on.
    pub fn tell(&self, file: &str, deed: &str) {
        // The plugin may read it at any moment.
        let (unfinished, file) = (self.folder.join("unfinished"), self.folder.join(file));
        fs::write(&unfinished, deed).unwrap();
        fs::rename(unfinished, file).unwrap();
    }

    pub fn untell(&self, file: &str) {
        let _there_may_be_none = fs::remove_file(self.folder.join(file));
    }

    /// Whether there is something that the plugin has not done yet.
    pub fn is_told(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }

    /// How opens go from now on.
    pub fn open(&self, opens: Opens) {
        match opens {
            Opens::Well => self.untell("open_deed"),
            Opens::Badly(times, deed) => self.tell("open_deed", &format!("{times} {deed}")),
            Opens::Never => self.tell("open_deed", "invalid"),
            Opens::Hang => self.tell("open_deed", "wait"),
        }
    }

    /// Instances that are open.
    pub fn instances(&self) -> usize {
        files(&self.folder.join("instances"))
    }

    /// Those of a daemon that was killed have gone with it.
    pub fn forget_instances(&self) {
        let _there_may_be_none = fs::remove_dir_all(self.folder.join("instances"));
    }

    pub fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        let whole = text.lines().filter(|line| line.ends_with(" ."));
        whole.map(str::to_owned).collect()
    }

    /// What the daemon keeps of it as its operator has left it.
    pub fn kept(&self) -> Option<Value> {
        let state = self.model.kept?;
        let state = format!("{state:?}").to_lowercase();
        Some(json!({ "type": self.model.direction.name(), "key": self.key, "state": state }))
    }

    /// The names of its versions' files.
    pub fn versions(&self) -> BTreeSet<String> {
        let (key, direction) = (&self.key, self.model.direction.name());
        let numbers = self.model.versions.keys();
        numbers
            .map(|number| format!("{key}_{direction}_v{number}.toml"))
            .collect()
    }

    /// What the daemon keeps of which version was chosen.
    pub fn choice(&self) -> Option<String> {
        let (direction, key) = (self.model.direction.name(), &self.key);
        let version = self.model.chosen?;
        Some(format!("[{direction}s.{key}]\nversion = {version}"))
    }
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
