//! Versions stand at the workspace's root and nowhere else, and every crate comes from crates.io.

use toml::{Table, Value};

use super::{
    Finding, Tree,
    manifest::{self, Dependency, Manifest},
};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

pub(super) fn manifests(tree: &Tree) -> Vec<Finding> {
    let members = manifest::all(tree);
    members
        .iter()
        .filter(|manifest| !manifest.is_outside())
        .flat_map(own_versions)
        .collect()
}

/// Where cargo would fetch something from another place than crates.io, or build with another compiler than the one at hand.
pub(super) fn registries(tree: &Tree) -> Vec<Finding> {
    let mut found: Vec<Finding> = tree
        .file("Cargo.lock")
        .map(|lock| foreign_sources(&lock.text))
        .unwrap_or_default();
    for path in tree.paths() {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.starts_with("rust-toolchain") {
            found.push(Finding::new(
                path,
                0,
                "the compiler's version stands in `rust-version` at the root",
            ));
        }
        if path.contains(".cargo/config") {
            found.push(Finding::new(
                path,
                0,
                "the build must not depend on cargo's configuration",
            ));
        }
    }
    found
}

fn own_versions(manifest: &Manifest) -> Vec<Finding> {
    let package = manifest.table.get("package").and_then(Value::as_table);
    let fields = INHERITED
        .iter()
        .filter(|field| !package.and_then(|it| it.get(**field)).is_some_and(inherits));
    let field = |field: &&str| {
        Finding::new(
            &manifest.path,
            manifest.line(field),
            format!("write `{field}.workspace = true`"),
        )
    };
    let own = manifest
        .dependencies
        .iter()
        .filter(|dependency| !is_shared(dependency));
    let dependency = |it: &Dependency| {
        let what = format!(
            "{}: write `workspace = true` and put the version into the root's Cargo.toml",
            it.name
        );
        Finding::new(&manifest.path, manifest.line(&it.name), what)
    };
    fields.map(field).chain(own.map(dependency)).collect()
}

fn inherits(value: &Value) -> bool {
    value
        .get("workspace")
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

/// A path names no version. A crate's tests use one to depend on the crate itself, with other features.
fn is_shared(dependency: &Dependency) -> bool {
    let version = dependency.as_written.get("version").is_some();
    let path = dependency.as_written.get("path").is_some();
    inherits(&dependency.as_written) || path && !version
}

fn foreign_sources(lock: &str) -> Vec<Finding> {
    let Ok(table) = lock.parse::<Table>() else {
        return vec![Finding::new("Cargo.lock", 0, "not TOML")];
    };
    let packages = table
        .get("package")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let sources = packages.filter_map(|package| {
        Some((
            package.get("name")?.as_str()?,
            package.get("source")?.as_str()?,
        ))
    });
    let foreign = sources.filter(|(_, source)| *source != CRATES_IO);
    foreign
        .map(|(name, source)| Finding::new("Cargo.lock", 0, format!("{name} comes from {source}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Tree, manifests, registries};

    const PACKAGE: &str = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n";

    fn check(body: &str, expected: &[&str]) {
        let text = format!("{PACKAGE}{body}");
        let found = manifests(&Tree::of(&[("core/a/Cargo.toml", &text)]));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn a_version_of_its_own_is_found() {
        let finding = |line: u8, name: &str| {
            format!(
                "core/a/Cargo.toml:{line}: {name}: write `workspace = true` and put the version into the root's Cargo.toml"
            )
        };
        check("[dependencies]\nb = \"1\"", &[&finding(9, "b")]);
        check(
            "[dev-dependencies]\nb = { version = \"1\" }",
            &[&finding(9, "b")],
        );
        check(
            "[build-dependencies.b]\ngit = \"https://example.com\"",
            &[&finding(8, "b")],
        );
        check(
            "[target.'cfg(unix)'.dependencies]\nb = { path = \"../b\", version = \"1\" }",
            &[&finding(9, "b")],
        );
        check(
            "[dependencies]\na = { path = \".\", version = \"1\" }",
            &[&finding(9, "a")],
        );
    }

    #[test]
    fn a_package_field_of_its_own_is_found() {
        let text = PACKAGE.replace(
            "version.workspace = true\nedition",
            "version = \"2\"\nedition",
        );
        let found = manifests(&Tree::of(&[("a/Cargo.toml", &text)]));
        assert_eq!(
            found[0].to_string(),
            "a/Cargo.toml:3: write `version.workspace = true`"
        );
        let missing = manifests(&Tree::of(&[("a/Cargo.toml", "[package]\nname = \"a\"")]));
        assert_eq!(missing.len(), 5);
    }

    #[test]
    fn what_the_workspace_decides_is_fine() {
        check(
            "[dependencies]\nb.workspace = true\nc = { workspace = true, optional = true }",
            &[],
        );
        check(
            "[dev-dependencies]\na = { path = \".\", features = [\"b\"] }\nc = { path = \"../c\" }",
            &[],
        );
        let outside = Tree::of(&[(
            "a/Cargo.toml",
            "[workspace]\n[package]\nname = \"a\"\nversion = \"1\"",
        )]);
        assert_eq!(manifests(&outside), []);
    }

    #[test]
    fn another_registry_is_found() {
        let crates_io = "[[package]]\nname = \"a\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n[[package]]\nname = \"own\"\n";
        assert_eq!(registries(&Tree::of(&[("Cargo.lock", crates_io)])), []);
        let other = format!(
            "{crates_io}[[package]]\nname = \"b\"\nsource = \"registry+https://example.com\"\n"
        );
        let tree = Tree::of(&[
            ("Cargo.lock", &other),
            ("rust-toolchain.toml", ""),
            (".cargo/config.toml", ""),
        ]);
        let found: Vec<String> = registries(&tree).into_iter().map(|it| it.path).collect();
        assert_eq!(
            found,
            ["Cargo.lock", "rust-toolchain.toml", ".cargo/config.toml"]
        );
    }
}
