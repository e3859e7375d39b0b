//! The crates' manifests: which crate stands in which folder and what it depends on, by real name.

use toml::{Table, Value};

use super::{Tree, rust};

/// One `Cargo.toml` with a package in it.
#[derive(Debug)]
pub(super) struct Manifest {
    /// Of the file, from the root.
    pub(super) path: String,
    /// The folder of the crate.
    pub(super) folder: String,
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) table: Table,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Normal,
    Dev,
    Build,
}

#[derive(Debug)]
pub(super) struct Dependency {
    /// The crate's own name, whatever the manifest calls it.
    pub(super) name: String,
    pub(super) section: Section,
    pub(super) optional: bool,
    pub(super) as_written: Value,
}

const SECTIONS: [(&str, Section); 3] = [
    ("dependencies", Section::Normal),
    ("dev-dependencies", Section::Dev),
    ("build-dependencies", Section::Build),
];

/// Every manifest of the tree; one that is no TOML is cargo's to complain about.
pub(super) fn all(tree: &Tree) -> Vec<Manifest> {
    let root: Table = tree
        .file("Cargo.toml")
        .and_then(|file| file.text.parse().ok())
        .unwrap_or_default();
    let files = tree.ending("/Cargo.toml");
    files
        .filter_map(|file| Manifest::parse(&file.path, &file.text, &root))
        .collect()
}

impl Manifest {
    pub(super) fn parse(path: &str, text: &str, root: &Table) -> Option<Self> {
        let table: Table = text.parse().ok()?;
        let name = table.get("package")?.get("name")?.as_str()?.to_owned();
        Some(Self {
            path: path.to_owned(),
            folder: path.strip_suffix("/Cargo.toml")?.to_owned(),
            name,
            dependencies: dependencies(&table, root),
            table,
            text: text.to_owned(),
        })
    }

    /// The line on which `key` is first set or heads a table; 0 when it is written in some other way.
    pub(super) fn line(&self, key: &str) -> usize {
        let names = |line: &str| {
            let start = line.trim_start().trim_start_matches('"');
            start
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(['.', ' ', '=', '"']))
                || line.trim_end().ends_with(&format!(".{key}]"))
        };
        self.text.lines().position(names).map_or(0, |at| at + 1)
    }

    /// Whether the crate is on its own, outside the repository's workspace.
    pub(super) fn is_outside(&self) -> bool {
        self.table.contains_key("workspace")
    }

    /// What the features on by default turn on, `dep:` left out.
    pub(super) fn default_features(&self) -> Vec<String> {
        let features = self.table.get("features").and_then(Value::as_table);
        let names = |feature: &str| -> Vec<String> {
            let list = features
                .and_then(|all| all.get(feature))
                .and_then(Value::as_array);
            let names = list.into_iter().flatten().filter_map(Value::as_str);
            names
                .map(|name| name.trim_start_matches("dep:").to_owned())
                .collect()
        };
        let mut found = names("default");
        let mut at = 0;
        while at < found.len() {
            let more = names(&found[at]);
            found.extend(
                more.into_iter()
                    .filter(|name| !found.contains(name))
                    .collect::<Vec<_>>(),
            );
            at += 1;
        }
        found
    }
}

/// Those of the crate itself and those it has on some platforms only.
fn dependencies(table: &Table, root: &Table) -> Vec<Dependency> {
    let targets = table.get("target").and_then(Value::as_table);
    let tables = targets
        .into_iter()
        .flatten()
        .filter_map(|(_, target)| target.as_table());
    tables
        .chain([table])
        .flat_map(|table| sections(table, root))
        .collect()
}

fn sections(table: &Table, root: &Table) -> Vec<Dependency> {
    let mut found = Vec::new();
    for (name, section) in SECTIONS {
        let entries = table.get(name).and_then(Value::as_table);
        found.extend(entries.into_iter().flatten().map(|(key, value)| {
            Dependency {
                name: real_name(key, value, root),
                section,
                optional: value
                    .get("optional")
                    .and_then(Value::as_bool)
                    .unwrap_or(false),
                as_written: value.clone(),
            }
        }));
    }
    found
}

/// A dependency may be renamed where it is used and where the workspace lists it.
fn real_name(key: &str, value: &Value, root: &Table) -> String {
    let shared = root
        .get("workspace")
        .and_then(|it| it.get("dependencies"))
        .and_then(|it| it.get(key));
    let inherits = value
        .get("workspace")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let entry = if inherits {
        shared.unwrap_or(value)
    } else {
        value
    };
    entry
        .get("package")
        .and_then(Value::as_str)
        .unwrap_or(key)
        .to_owned()
}

/// The name under which code refers to a crate.
pub(super) fn in_code(name: &str) -> String {
    name.replace('-', "_")
}

/// The line on which code first names the crate.
pub(super) fn first_use(source: &rust::Source, name: &str) -> Option<usize> {
    let name = in_code(name);
    rust::words(&source.code)
        .find(|word| word.text == name)
        .map(|word| source.line(word.at))
}

#[cfg(test)]
mod tests {
    use toml::Table;

    use super::{Manifest, Section};

    fn parse(text: &str) -> Manifest {
        let root: Table =
            "[workspace.dependencies]\nshort = { package = \"long\", version = \"1\" }"
                .parse()
                .expect("valid TOML");
        Manifest::parse("a/Cargo.toml", text, &root).expect("a package")
    }

    #[test]
    fn dependencies_of_every_section_are_found_by_their_real_names() {
        let manifest = parse(
            "[package]\nname = \"a\"\n[dependencies]\nb = \"1\"\nshort.workspace = true\n\
             [dev-dependencies]\nc = { package = \"d\", version = \"1\" }\n\
             [build-dependencies.e]\nversion = \"1\"\n\
             [target.'cfg(unix)'.dependencies]\nf = { version = \"1\", optional = true }\n",
        );
        let mut found: Vec<(&str, Section, bool)> = manifest
            .dependencies
            .iter()
            .map(|it| (it.name.as_str(), it.section, it.optional))
            .collect();
        found.sort_by_key(|(name, ..)| *name);
        assert_eq!(
            found,
            [
                ("b", Section::Normal, false),
                ("d", Section::Dev, false),
                ("e", Section::Build, false),
                ("f", Section::Normal, true),
                ("long", Section::Normal, false),
            ]
        );
        assert_eq!(
            [
                manifest.line("short"),
                manifest.line("e"),
                manifest.line("z")
            ],
            [5, 8, 0]
        );
    }

    #[test]
    fn default_features_are_followed() {
        let manifest = parse(
            "[package]\nname = \"a\"\n[features]\ndefault = [\"b\"]\nb = [\"dep:c\", \"b\"]\nd = [\"dep:e\"]\n",
        );
        assert_eq!(manifest.default_features(), ["b", "c"]);
    }
}
