//! Finds the runtime's configuration file.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{
    environment::{self, Environment},
    format,
    problem::Problem,
};

/// The file in the working directory when nothing else is said, without its extension.
const DEFAULT: &str = "config";

/// The runtime's file, and what should be said about how it was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) path: PathBuf,
    pub(super) warning: Option<String>,
}

/// Finds the file: as `given`, else as the environment says, else `config.*` in the working directory. A path without a known
/// extension is tried with each.
pub(super) fn locate(given: Option<&Path>, environment: &Environment) -> Result<Located, Problem> {
    let written = given.map(Path::to_owned).or_else(|| {
        let names = [environment::CONFIG_PATH, environment::OLDER_CONFIG_PATH];
        names
            .into_iter()
            .find_map(|name| environment.get(name))
            .map(PathBuf::from)
    });
    let stem = written.unwrap_or_else(|| PathBuf::from(DEFAULT));
    if format::is_known(&stem) {
        return Ok(Located {
            path: stem,
            warning: None,
        });
    }
    let found: Vec<_> = candidates(&stem).filter(|path| path.is_file()).collect();
    match found.as_slice() {
        [] => Err(not_found(&stem)),
        [path] => Ok(Located {
            path: path.clone(),
            warning: None,
        }),
        [path, others @ ..] => Ok(Located {
            path: path.clone(),
            warning: Some(format!(
                "{} is read, and not {}; name the one that is meant with its extension",
                path.display(),
                list(others)
            )),
        }),
    }
}

fn candidates(stem: &Path) -> impl Iterator<Item = PathBuf> {
    format::EXTENSIONS.into_iter().map(move |extension| {
        let mut path = OsString::from(stem);
        path.push(".");
        path.push(extension);
        PathBuf::from(path)
    })
}

fn not_found(stem: &Path) -> Problem {
    let tried: Vec<_> = candidates(stem).collect();
    let reason = format!("no configuration file; tried {}", list(&tried));
    let remedy = format!("name one with `--config` or `{}`", environment::CONFIG_PATH);
    Problem::unreadable(stem, None, reason).with_remedy(remedy)
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        folder
    }

    fn variables(entries: &[(&str, &Path)]) -> Environment {
        Environment::new(
            entries
                .iter()
                .map(|(name, path)| (*name, path.to_str().unwrap())),
        )
    }

    #[test]
    fn the_argument_wins_over_the_variables() {
        let [one, two, three] = ["one.toml", "two.yaml", "three.json"].map(Path::new);
        let newer = (environment::CONFIG_PATH, two);
        let older = (environment::OLDER_CONFIG_PATH, three);
        let cases = [
            (Some(one), variables(&[newer, older]), one),
            (None, variables(&[newer, older]), two),
            (None, variables(&[older]), three),
        ];
        for (given, environment, expected) in cases {
            assert_eq!(locate(given, &environment).unwrap().path, expected);
        }
    }

    #[test]
    fn an_empty_variable_says_nothing() {
        let environment = variables(&[
            (environment::CONFIG_PATH, Path::new("")),
            (environment::OLDER_CONFIG_PATH, Path::new("a.toml")),
        ]);
        assert_eq!(
            locate(None, &environment).unwrap().path,
            Path::new("a.toml")
        );
    }

    #[test]
    fn a_path_without_an_extension_is_tried_with_each() {
        for extension in ["toml", "yaml", "yml", "json"] {
            let file = format!("config.prod.{extension}");
            let folder = folder(&[&file]);
            let stem = folder.path().join("config.prod");
            let located = locate(Some(&stem), &variables(&[])).unwrap();
            assert_eq!(located.path, folder.path().join(file));
            assert_eq!(located.warning, None);
        }
    }

    #[test]
    fn two_files_that_fit_are_told() {
        let folder = folder(&["config.json", "config.toml"]);
        let located = locate(Some(&folder.path().join("config")), &variables(&[])).unwrap();
        assert_eq!(located.path, folder.path().join("config.toml"));
        assert!(located.warning.unwrap().contains("config.json"));
    }

    #[test]
    fn a_missing_file_is_told_with_what_was_tried() {
        let folder = folder(&[]);
        let stem = folder.path().join("config");
        let problem = locate(Some(&stem), &variables(&[]))
            .unwrap_err()
            .to_string();
        for part in [
            "config.toml",
            "config.json",
            "--config",
            "IGGY_CONNECTORS_CONFIG_PATH",
        ] {
            assert!(problem.contains(part), "{problem}");
        }
    }
}
