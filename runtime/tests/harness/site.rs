//! A configuration in a folder of its own, as tests write and load it.

use std::{fs, path::PathBuf};

use iggy_connectors::config::{Environment, Loaded, Problems, load_with, spec};
use tempfile::TempDir;

/// A sink in a runtime file.
pub const SINK: &str = r#"
[sinks.stdout]
path = "libstdout"
[[sinks.stdout.streams]]
stream = "s"
topics = ["t"]
"#;

/// A folder with a runtime file and whatever a test puts beside it.
pub struct Site {
    pub folder: TempDir,
    pub file: PathBuf,
    pub variables: Vec<(String, String)>,
}

impl Site {
    pub fn new(name: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        Self {
            folder,
            file,
            variables: vec![],
        }
    }

    pub fn toml(text: &str) -> Self {
        Self::new("config.toml", text)
    }

    /// Puts a file into the folder of connectors, which the environment names.
    pub fn with_connector(mut self, name: &str, text: &str) -> Self {
        let folder = self.folder.path().join("connectors");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
        let folder = folder.to_str().unwrap().to_owned();
        self.variables
            .push(("IGGY_CONNECTORS_CONNECTORS_CONFIG_DIR".into(), folder));
        self
    }

    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub fn load(&self) -> Result<Loaded, Problems> {
        let variables = self.variables.iter();
        let environment =
            Environment::new(variables.map(|(name, value)| (name.as_str(), value.as_str())));
        load_with(Some(&self.file), &environment)
    }

    pub fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The problems of the runtime file, without the folder's name in front.
    pub fn problems(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let Err(Problems(problems)) = self.load() else {
            panic!("the configuration was accepted");
        };
        problems
            .iter()
            .map(|problem| problem.to_string().replace(&folder, ""))
            .collect()
    }

    /// Why the only connector cannot be used, one problem per line.
    pub fn reasons(&self) -> Vec<String> {
        let loaded = self.loaded();
        assert_eq!(loaded.unusable.len(), 1, "{loaded:?}");
        let folder = format!("{}/", self.folder.path().display());
        loaded.unusable[0]
            .reason
            .lines()
            .map(|line| line.replace(&folder, ""))
            .collect()
    }
}

/// The only connector, which can be used.
pub fn the_connector(loaded: &Loaded) -> &spec::Connector {
    assert!(loaded.unusable.is_empty(), "{:?}", loaded.unusable);
    assert_eq!(loaded.connectors.len(), 1);
    &loaded.connectors[0]
}
