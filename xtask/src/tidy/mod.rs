//! The rules of ARCHITECTURE.md and STYLE.md that a program can hold, each a function from text to findings. `cargo test -p
//! xtask` runs every one over the whole repository; `cargo run -p xtask -- tidy` prints what they find.

mod crates;
mod docs;
mod fence;
mod files;
mod imports;
mod manifest;
mod modules;
mod rust;
mod tree;
mod unfinished;
mod versions;

use std::{fmt, path::PathBuf};

pub(crate) use tree::Tree;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// From 1; 0 when the whole file is meant.
    line: usize,
    what: String,
}

/// One line per finding, as compilers print them, so that editors can jump there.
pub(crate) fn run(tree: &Tree) -> Vec<String> {
    let checks = CHECKS.iter().flat_map(|(_, check)| check(tree));
    checks.map(|finding| finding.to_string()).collect()
}

/// The repository's root, wherever the command was started.
pub(crate) fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map_or(xtask.clone(), PathBuf::from)
}

type Check = fn(&Tree) -> Vec<Finding>;

const CHECKS: [(&str, Check); 11] = [
    ("crates", crates::check),
    ("fence", fence::check),
    ("modules", modules::check),
    ("headers", files::headers),
    ("names", files::names),
    ("renames", imports::renames),
    ("globs", imports::globs),
    ("unfinished", unfinished::check),
    ("versions", versions::manifests),
    ("registries", versions::registries),
    ("docs", docs::check),
];

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.what),
            line => write!(formatter, "{}:{line}: {}", self.path, self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CHECKS, Tree, root};

    /// One test per rule over the whole repository, so that a failure names the rule.
    macro_rules! the_repository_holds {
        ($($test:ident: $check:literal,)*) => {
            $(#[test]
            fn $test() {
                let (_, check) = CHECKS.iter().find(|(name, _)| *name == $check).expect("a known check");
                let tree = Tree::read(&root()).expect("the repository is readable");
                let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
                assert!(found.is_empty(), "\n{}\n", found.join("\n"));
            })*

            #[test]
            fn every_check_has_a_test() {
                let tested = [$($check),*];
                for (name, _) in CHECKS {
                    assert!(tested.contains(&name), "`{name}` has no test over the repository");
                }
            }
        };
    }

    the_repository_holds! {
        crates_depend_downwards: "crates",
        unsafe_stays_at_the_fence: "fence",
        runtime_modules_depend_downwards: "modules",
        every_file_says_what_it_is: "headers",
        no_file_is_named_for_nothing: "names",
        nothing_is_renamed_on_import: "renames",
        globs_stay_in_tests: "globs",
        nothing_is_left_unfinished: "unfinished",
        versions_stand_at_the_root: "versions",
        every_crate_comes_from_crates_io: "registries",
        documents_name_what_exists: "docs",
    }

    #[test]
    fn the_repository_is_found() {
        let tree = Tree::read(&root()).expect("the repository is readable");
        assert!(
            tree.rust().count() > 50,
            "few sources in {}",
            root().display()
        );
        assert!(tree.file("Cargo.lock").is_some());
    }
}
