//! The folder of connector files, `connectors.config_dir`.

use std::path::{Path, PathBuf};

use super::format;

/// The connector files of a folder, by name, and what should be said about the folder.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) files: Vec<PathBuf>,
    pub(super) warnings: Vec<String>,
}

/// Lists the connector files in `folder`. Hidden files and folders are skipped, and so is the `runtime` file if it stands here.
pub(super) fn list(folder: &Path, runtime: &Path) -> Folder {
    let mut listed = Folder::default();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let warning = format!("no connectors are read from {}: {error}", folder.display());
            listed.warnings.push(warning);
            return listed;
        }
    };
    let runtime = runtime.canonicalize().ok();
    for entry in entries {
        match entry {
            Ok(entry) => listed.add(entry.path(), runtime.as_deref()),
            Err(error) => listed
                .warnings
                .push(format!("{}: {error}", folder.display())),
        }
    }
    listed.files.sort();
    listed
}

impl Folder {
    fn add(&mut self, path: PathBuf, runtime: Option<&Path>) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || path.is_dir() {
            return;
        }
        if !format::is_known(&path) {
            let warning = format!(
                "{} is skipped: it is no TOML, YAML or JSON file",
                path.display()
            );
            self.warnings.push(warning);
            return;
        }
        if runtime.is_some() && path.canonicalize().ok().as_deref() == runtime {
            return;
        }
        self.files.push(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_files_of_a_known_format_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.toml",
            "a.yaml",
            "c.json",
            ".hidden.toml",
            "notes.txt",
            "config.toml",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("inner.toml")).unwrap();
        let listed = list(folder.path(), &folder.path().join("config.toml"));
        let names: Vec<_> = listed
            .files
            .iter()
            .map(|path| path.file_name().unwrap())
            .collect();
        assert_eq!(names, ["a.yaml", "b.toml", "c.json"]);
        assert_eq!(listed.warnings.len(), 1, "{:?}", listed.warnings);
        assert!(listed.warnings[0].contains("notes.txt is skipped"));
    }

    #[test]
    fn a_missing_folder_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let listed = list(&folder.path().join("none"), Path::new("config.toml"));
        assert!(listed.files.is_empty());
        assert!(listed.warnings[0].starts_with("no connectors are read from"));
    }
}
