//! What is imported keeps its name, and its module is seen where it is used.

use super::{
    Finding, Tree,
    rust::{Import, Source},
};

pub(super) fn renames(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(|source| renamed(&source)).collect()
}

pub(super) fn globs(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(|source| globbed(&source)).collect()
}

/// Crates with a name of their own: the contract's on both sides of the fence, `abi::sink::Consume`, and what authors of plugins
/// find in the SDK.
const NAMED: [(&str, &str); 2] = [
    ("iggy_connector_abi", "abi"),
    ("iggy_connector_transform", "transforms"),
];

/// `as _` brings in a trait's methods and renames nothing.
fn renamed(source: &Source) -> Vec<Finding> {
    let imports = source.imports().into_iter().filter_map(|import| {
        let rename = import
            .rename
            .clone()
            .filter(|rename| rename != "_" && !is_named(&import.path, rename))?;
        Some((import, rename))
    });
    let what = |path: &[String], rename: &str| {
        format!(
            "`{}` is renamed to `{rename}`: refer to it through its module",
            path.join("::")
        )
    };
    imports
        .map(|(import, rename)| {
            Finding::new(&source.path, import.line, what(&import.path, &rename))
        })
        .collect()
}

fn is_named(path: &[String], rename: &str) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(path[..], [name] | [name, "self"] if NAMED.contains(&(name, rename)))
}

fn globbed(source: &Source) -> Vec<Finding> {
    let outside_tests = Source {
        code: source.code_outside_tests(),
        ..Source::new(&source.path, "")
    };
    let globs = outside_tests.imports().into_iter().filter(Import::is_glob);
    let what = |path: &[String]| format!("`{}` outside tests: name what is used", path.join("::"));
    globs
        .map(|import| Finding::new(&source.path, import.line, what(&import.path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::rust::Source, globbed, renamed};

    #[test]
    fn a_rename_is_found() {
        let source = Source::new(
            "a.rs",
            "use a::b as c;\nuse d::{Trait as _, e};\npub use f::{self as g};\nlet h = 1 as u8;",
        );
        let lines: Vec<usize> = renamed(&source).into_iter().map(|it| it.line).collect();
        assert_eq!(lines, [1, 3]);
    }

    #[test]
    fn a_crate_with_a_name_of_its_own_goes_by_it() {
        let text = "use iggy_connector_abi as abi;\nuse iggy_connector_abi::{self as abi, Completion};\n\
            use iggy_connector_abi::sink as abi;\nuse iggy_connector_abi as contract;\nuse other as abi;";
        let lines: Vec<usize> = renamed(&Source::new("a.rs", text))
            .into_iter()
            .map(|it| it.line)
            .collect();
        assert_eq!(lines, [3, 4, 5]);
    }

    #[test]
    fn a_glob_outside_tests_is_found() {
        let text = "use a::*;\nuse b::{c, d::*};\n#[cfg(test)]\nmod tests {\n use super::*;\n}\nfn f() { use g::*; }";
        let lines = |path: &str| -> Vec<usize> {
            globbed(&Source::new(path, text))
                .into_iter()
                .map(|it| it.line)
                .collect()
        };
        assert_eq!(lines("core/a/src/b.rs"), [1, 2, 7]);
        assert_eq!(lines("core/a/tests/b.rs"), [0; 0]);
    }
}
