//! The variables that a configuration is read with: [`Environment`], of the process and of a `.env` file.
//!
//! What they set is decided in `overrides`; what refers to them, in `references`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    dotenv,
    problem::{Code, Origin, Problem},
};

/// Variables that are meant for this program begin so.
pub(super) const PREFIX: &str = "IGGY_CONNECTORS_";
/// Names the runtime file.
pub(super) const CONFIG_PATH: &str = "IGGY_CONNECTORS_CONFIG_PATH";
/// Names the runtime file too; kept for those who set it already.
pub(super) const OLDER_CONFIG_PATH: &str = "IGGY_CONNECTORS_RUNTIME_CONFIG_PATH";
/// Names the `.env` file.
pub(super) const ENV_PATH: &str = "IGGY_CONNECTORS_ENV_PATH";

/// The variables that a configuration is read with.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Those whose value is not text.
    unreadable: BTreeSet<String>,
    /// What is wrong with the `.env` file.
    problems: Vec<Problem>,
}

impl Environment {
    /// The environment of this process, and the `.env` file that it names or that stands in the working directory or above it.
    pub fn of_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => {
                    environment.variables.insert(name, value);
                }
                Err(_) => {
                    environment.unreadable.insert(name);
                }
            }
        }
        environment.with_file(&std::env::current_dir().unwrap_or_default())
    }

    /// An environment of these variables, for tests and for whoever embeds the runtime.
    pub fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            ..Self::default()
        }
    }

    /// Adds the variables of the `.env` file that the environment names, or else of the nearest one from `folder` upwards. What is
    /// set already stays.
    #[must_use]
    pub fn with_file(mut self, folder: &Path) -> Self {
        let file = match self.get(ENV_PATH) {
            Some(named) => Some(PathBuf::from(named)),
            None => dotenv::search(folder),
        };
        match file.map(|file| dotenv::read(&file)) {
            None => {}
            Some(Err(problems)) => self.problems.extend(problems),
            Some(Ok(variables)) => {
                for (name, value) in variables {
                    if !self.unreadable.contains(&name) {
                        self.variables.entry(name).or_insert(value);
                    }
                }
            }
        }
        self
    }

    /// A variable that is set to something.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    /// A variable, which may be set to nothing.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Whether a variable is set to what is no text.
    pub(super) fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains(name)
    }

    /// The variables that are meant for this program.
    pub(super) fn ours(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What is wrong with the `.env` file, and with variables that are meant for this program.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let ours = self
            .unreadable
            .iter()
            .filter(|name| name.starts_with(PREFIX));
        let unreadable = ours.map(|name| Problem {
            origin: Origin::Variable(name.clone()),
            key: String::new(),
            code: Code::Invalid,
            reason: "its value is not UTF-8 text".to_owned(),
            remedy: None,
        });
        self.problems.iter().cloned().chain(unreadable).collect()
    }
}
