//! Finds the file of a plugin that a configuration names: [`locate`]. The supervisor calls it before each start.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

/// Where a plugin is looked for by its file name, after the configured paths, the executable's and the working directory.
const SYSTEM: [&str; 6] = [
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
];
const SUFFIXES: [&str; 3] = [".so", ".dylib", ".dll"];

/// No file was found for a plugin.
#[derive(Debug)]
pub struct NotFound {
    /// The path as it was written.
    pub path: String,
    /// Every place that was looked at, in order.
    pub looked_at: Vec<PathBuf>,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.looked_at.is_empty() {
            return write!(f, "`{}` does not name a plugin's file", self.path);
        }
        write!(
            f,
            "plugin `{}` not found; build it, or add its folder to plugins.search_paths; looked at:",
            self.path
        )?;
        for place in &self.looked_at {
            write!(f, " {}", place.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for NotFound {}

/// Returns the absolute path of the plugin's file.
///
/// `path` is as written in the configuration file `origin`; `search_paths` come before the built-in places.
///
/// # Errors
///
/// [`NotFound`] with every place that was looked at.
pub fn locate(path: &str, origin: &Path, search_paths: &[PathBuf]) -> Result<PathBuf, NotFound> {
    let executable = env::current_exe()
        .ok()
        .and_then(|file| Some(file.parent()?.to_owned()));
    let places = Places {
        working: env::current_dir().unwrap_or_default(),
        executable,
        search_paths,
    };
    let looked_at = places.candidates(Path::new(path), origin);
    match looked_at.iter().position(|candidate| candidate.is_file()) {
        Some(found) => Ok(looked_at[found].clone()),
        None => Err(NotFound {
            path: path.to_owned(),
            looked_at,
        }),
    }
}

/// The folders that a search depends on.
struct Places<'a> {
    working: PathBuf,
    executable: Option<PathBuf>,
    search_paths: &'a [PathBuf],
}

impl Places<'_> {
    /// Every file that `path` may mean, best first, each once.
    fn candidates(&self, path: &Path, origin: &Path) -> Vec<PathBuf> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Vec::new();
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut candidates: Vec<PathBuf> = Vec::new();
        for place in self.folders(folder, origin) {
            for name in file_names(name) {
                let candidate = self.working.join(&place).join(name);
                if !candidates.contains(&candidate) {
                    candidates.push(candidate);
                }
            }
        }
        candidates
    }

    /// The folders to look in for a path that was written with `folder`.
    fn folders(&self, folder: &Path, origin: &Path) -> Vec<PathBuf> {
        if folder.is_absolute() {
            return vec![folder.to_owned()];
        }
        let mut folders = vec![folder.to_owned()];
        folders.extend(origin.parent().map(|beside| beside.join(folder)));
        folders.extend_from_slice(self.search_paths);
        if let Some(executable) = &self.executable {
            folders.push(executable.clone());
            folders.push(executable.join("deps"));
        }
        folders.push(PathBuf::new());
        folders.extend(SYSTEM.map(PathBuf::from));
        folders
    }
}

/// The names that a file written as `name` may have: with the platform's suffix unless it has one, and with the prefix `lib`.
fn file_names(name: &str) -> Vec<String> {
    let full = if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        name.to_owned()
    } else {
        format!("{name}{}", env::consts::DLL_SUFFIX)
    };
    if full.starts_with("lib") {
        return vec![full];
    }
    let prefixed = format!("lib{full}");
    vec![full, prefixed]
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn candidates(path: &str, search_paths: &[PathBuf]) -> Vec<String> {
        let places = Places {
            working: "/work dir".into(),
            executable: Some("/opt/bin".into()),
            search_paths,
        };
        places
            .candidates(Path::new(path), Path::new("/etc/connectors/a.toml"))
            .into_iter()
            .map(|candidate| candidate.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn an_absolute_path_is_looked_for_only_there() {
        assert_eq!(candidates("/p/libx.so", &[]), ["/p/libx.so"]);
        assert_eq!(candidates("/p/x", &[]), ["/p/x.so", "/p/libx.so"]);
    }

    #[test]
    fn a_suffix_is_kept_and_a_missing_one_appended() {
        for (written, names) in [
            ("x", vec!["x.so", "libx.so"]),
            ("libx", vec!["libx.so"]),
            ("libx.so", vec!["libx.so"]),
            ("libx.dylib", vec!["libx.dylib"]),
            ("x.dll", vec!["x.dll", "libx.dll"]),
            ("x.v2", vec!["x.v2.so", "libx.v2.so"]),
        ] {
            assert_eq!(file_names(written), names);
        }
    }

    #[test]
    fn a_relative_path_is_looked_for_in_the_documented_order() {
        let searched = [PathBuf::from("/plugins"), PathBuf::from("here")];
        assert_eq!(
            candidates("target/libx", &searched),
            [
                "/work dir/target/libx.so",
                "/etc/connectors/target/libx.so",
                "/plugins/libx.so",
                "/work dir/here/libx.so",
                "/opt/bin/libx.so",
                "/opt/bin/deps/libx.so",
                "/work dir/libx.so",
                "/usr/local/lib/libx.so",
                "/usr/local/lib64/libx.so",
                "/usr/lib/libx.so",
                "/usr/lib64/libx.so",
                "/lib/libx.so",
                "/lib64/libx.so",
            ]
        );
    }

    #[test]
    fn a_plain_name_is_looked_for_once_in_each_place() {
        let places = candidates("libx", &[]);
        let mut once = places.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), places.len());
    }

    #[test]
    fn what_is_found_is_absolute_and_what_is_not_lists_every_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libfound.so");
        std::fs::write(&file, "").unwrap();
        let searched = [folder.path().to_owned()];
        assert_eq!(locate("found", Path::new(""), &searched).unwrap(), file);

        let error = locate("lost", Path::new(""), &searched).unwrap_err();
        let text = error.to_string();
        for place in &error.looked_at {
            assert!(text.contains(place.to_str().unwrap()), "{text}");
        }
        assert!(error.looked_at.contains(&folder.path().join("liblost.so")));
    }

    #[test]
    fn a_path_without_a_file_name_is_said_to_be_none() {
        for path in ["", "/", ".."] {
            let error = locate(path, Path::new("a.toml"), &[]).unwrap_err();
            assert!(error.to_string().contains("does not name"), "{error}");
        }
    }
}
