//! The documents name scripts, files, crates, programs and tests that exist.

use std::collections::BTreeSet;

use toml::Value;

use super::{Finding, Tree, manifest, rust};

/// Options of cargo that take a crate's or a program's name.
const NAMED: [&str; 5] = ["-p", "--package", "--bin", "--example", "--test"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let names = names(tree);
    let words = test_words(tree);
    let mut found = Vec::new();
    for document in tree.ending(".md") {
        for (at, line) in document.text.lines().enumerate() {
            let wrong = missing_scripts(line, tree)
                .chain(missing_links(&document.path, line, tree))
                .chain(missing_names(line, &names))
                .chain(missing_sources(line, tree))
                .chain(missing_tests(line, &words));
            found.extend(wrong.map(|what| Finding::new(&document.path, at + 1, what)));
        }
    }
    found
}

fn missing_scripts<'a>(line: &'a str, tree: &'a Tree) -> impl Iterator<Item = String> + 'a {
    let ends = |char: char| !(char.is_alphanumeric() || matches!(char, '/' | '-' | '_' | '.'));
    let words = line
        .split(ends)
        .map(|word| word.trim_start_matches("./").trim_end_matches('.'));
    let scripts = words.filter(|word| word.starts_with("scripts/") || word.starts_with(".ci/"));
    let missing = scripts.filter(|script| !tree.exists(script.trim_end_matches('/')));
    missing.map(|script| format!("there is no `{script}`"))
}

/// Links to other files of the repository, given from the document's folder.
fn missing_links<'a>(
    document: &'a str,
    line: &'a str,
    tree: &'a Tree,
) -> impl Iterator<Item = String> + 'a {
    let targets = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#', ' ']).next());
    let local = targets.filter(|target| !target.is_empty() && !target.contains(':'));
    let missing = local.filter(|target| !tree.exists(&join(document, target)));
    missing.map(|target| format!("the link to `{target}` leads nowhere"))
}

fn join(document: &str, target: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn missing_names<'a>(
    line: &'a str,
    names: &'a BTreeSet<String>,
) -> impl Iterator<Item = String> + 'a {
    let commands = line
        .split("cargo ")
        .skip(1)
        .map(|command| command.split(['`', '#', '|']).next().unwrap_or(command));
    let missing = commands.flat_map(move |command| {
        let words: Vec<&str> = command.split_whitespace().collect();
        let named = words
            .windows(2)
            .filter(|pair| NAMED.contains(&pair[0]) && !pair[1].starts_with(['<', '{', '$']));
        named
            .map(|pair| pair[1].to_owned())
            .filter(|name| !names.contains(name))
            .collect::<Vec<_>>()
    });
    missing.map(|name| format!("no crate, program, example or test is called `{name}`"))
}

/// Rust files between backticks, given from the root.
fn missing_sources<'a>(line: &'a str, tree: &'a Tree) -> impl Iterator<Item = String> + 'a {
    let paths = quoted(line).filter(|word| {
        word.contains('/') && word.ends_with(".rs") && !word.contains(['<', '{', '*'])
    });
    let missing = paths.filter(|path| !tree.exists(path));
    missing.map(|path| format!("there is no `{path}`"))
}

/// A test is named by a sentence; nothing else between backticks has this many words.
const SENTENCE: usize = 4;

fn missing_tests<'a>(
    line: &'a str,
    words: &'a BTreeSet<String>,
) -> impl Iterator<Item = String> + 'a {
    let in_lower_case = |word: &&str| {
        word.chars()
            .all(|char| char == '_' || char.is_ascii_lowercase() || char.is_ascii_digit())
    };
    let sentences = quoted(line)
        .filter(in_lower_case)
        .filter(|word| word.split('_').count() >= SENTENCE);
    // Keys of metrics and symbols of plugins are as long, and are not tests.
    let tests = sentences.filter(|word| !word.starts_with("iggy_"));
    let missing = tests.filter(|word| !words.contains(*word));
    missing.map(|test| format!("no test is called `{test}`"))
}

/// What stands between backticks on one line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Every word of a file with tests: functions, and the names that macros make functions of.
fn test_words(tree: &Tree) -> BTreeSet<String> {
    let sources = tree
        .rust()
        .filter(|source| source.is_test() || source.code.contains("#[cfg(test)]"));
    sources
        .flat_map(|source| {
            rust::words(&source.code)
                .map(|word| word.text.to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// What the options of cargo can name: packages, their programs, and the targets that cargo finds by file.
fn names(tree: &Tree) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for manifest in manifest::all(tree) {
        for section in ["bin", "example", "test"] {
            let targets = manifest.table.get(section).and_then(Value::as_array);
            let own = targets
                .into_iter()
                .flatten()
                .filter_map(|target| target.get("name")?.as_str());
            names.extend(own.map(str::to_owned));
        }
        for folder in ["src/bin", "examples", "tests"] {
            let prefix = format!("{}/{folder}/", manifest.folder);
            let below = tree.paths().filter_map(|path| path.strip_prefix(&prefix));
            names.extend(
                below
                    .filter_map(|path| path.split('/').next())
                    .map(|name| name.trim_end_matches(".rs").to_owned()),
            );
        }
        names.insert(manifest.name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{Tree, check};

    fn found(document: &str, text: &str) -> Vec<String> {
        let tree = Tree::of(&[
            (document, text),
            ("scripts/test", ""),
            (".ci/run", ""),
            ("STYLE.md", ""),
            ("sdk/README.md", ""),
            (
                "runtime/Cargo.toml",
                "[package]\nname = \"iggy-connectors\"\n[[bin]]\nname = \"daemon\"",
            ),
            ("runtime/tests/delivery.rs", ""),
            ("runtime/examples/producer.rs", ""),
            (
                "runtime/tests/crash.rs",
                "#[test] fn nothing_is_lost_at_all() {}",
            ),
        ]);
        check(&tree)
            .into_iter()
            .map(|finding| format!("{} {}", finding.line, finding.what))
            .collect()
    }

    #[test]
    fn a_script_that_does_not_exist_is_found() {
        assert_eq!(
            found("README.md", "Run\n`./scripts/tset all`."),
            ["2 there is no `scripts/tset`"]
        );
        assert_eq!(
            found("sdk/a.md", "scripts/test/more"),
            ["1 there is no `scripts/test/more`"]
        );
        assert_eq!(
            found("README.md", "`scripts/test`, scripts/test. and .ci/run"),
            [""; 0]
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        assert_eq!(
            found("README.md", "[a](STYL.md)"),
            ["1 the link to `STYL.md` leads nowhere"]
        );
        assert_eq!(
            found("sdk/b.md", "[a](STYLE.md) [b](../a/README.md)").len(),
            2
        );
        assert_eq!(
            found(
                "sdk/b.md",
                "[a](../STYLE.md#x) [b](README.md) [c](https://a.b/c) [d](#e)"
            ),
            [""; 0]
        );
    }

    #[test]
    fn a_name_that_does_not_exist_is_found() {
        let what = |name: &str| format!("1 no crate, program, example or test is called `{name}`");
        assert_eq!(
            found("README.md", "`cargo run --bin demon -r`"),
            [what("demon")]
        );
        assert_eq!(
            found("README.md", "`cargo test -p runtime --test delivery`"),
            [what("runtime")]
        );
        assert_eq!(
            found(
                "README.md",
                "cargo run --bin daemon; cargo test -p iggy-connectors --test delivery"
            ),
            [what("daemon;")]
        );
        assert_eq!(
            found(
                "README.md",
                "cargo run --example producer && mkdir -p a # cargo"
            ),
            [what("a")]
        );
        assert_eq!(
            found("README.md", "`cargo test -p <crate>` and `mkdir -p there`"),
            [""; 0]
        );
    }

    #[test]
    fn a_source_or_test_that_does_not_exist_is_found() {
        assert_eq!(
            found("README.md", "in `runtime/tests/crsh.rs`"),
            ["1 there is no `runtime/tests/crsh.rs`"]
        );
        assert_eq!(
            found("README.md", "held by `nothing_is_lost_at_last`"),
            ["1 no test is called `nothing_is_lost_at_last`"]
        );
        let fine = "`runtime/tests/crash.rs`: `nothing_is_lost_at_all`, not `is_lost` or `iggy_source_poll_v1` or `a/<name>/lib.rs`";
        assert_eq!(found("README.md", fine), [""; 0]);
    }
}
