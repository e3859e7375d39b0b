//! A file opens by saying what it is, and has a name that means something.

use super::{Finding, Tree};

pub(super) fn headers(tree: &Tree) -> Vec<Finding> {
    let sources = tree.ending(".rs").filter(|file| !is_misuse(&file.path));
    let silent = sources.filter(|file| !says_what_it_is(&file.text));
    silent
        .map(|file| {
            Finding::new(
                &file.path,
                1,
                "open the file with `//!`: what it is and who calls it",
            )
        })
        .collect()
}

fn says_what_it_is(text: &str) -> bool {
    text.strip_prefix("//!")
        .is_some_and(|rest| !rest.lines().next().unwrap_or_default().trim().is_empty())
}

/// Programs that must not compile: their first lines are part of what the compiler's messages quote.
fn is_misuse(path: &str) -> bool {
    path.contains("/tests/ui/")
}

/// Names that say nothing: whatever stands in such a file belongs to something that has a name.
const NOTHING: [&str; 10] = [
    "util", "utils", "helper", "helpers", "common", "manager", "managers", "context", "misc",
    "shared",
];

pub(super) fn names(tree: &Tree) -> Vec<Finding> {
    let named = tree
        .paths()
        .filter(|path| path.ends_with(".rs") || !path.contains('.'));
    let empty = named.filter(|path| NOTHING.contains(&stem(path)));
    empty
        .map(|path| Finding::new(path, 0, "name it after what stands in it"))
        .collect()
}

fn stem(path: &str) -> &str {
    path.rsplit('/')
        .next()
        .unwrap_or(path)
        .trim_end_matches(".rs")
}

#[cfg(test)]
mod tests {
    use super::{Tree, headers, names, says_what_it_is};

    #[test]
    fn a_file_without_a_first_sentence_is_found() {
        for silent in [
            "",
            "use a;",
            "//!",
            "//!\n//! Late.",
            "// Not a doc.",
            "\n//! Late.",
            "/// Of an item.",
        ] {
            assert!(!says_what_it_is(silent), "{silent:?}");
        }
        assert!(says_what_it_is("//! Something.\n\nuse a;"));
        let tree = Tree::of(&[
            ("a/b.rs", "use a;"),
            ("sdk/tests/ui/c.rs", "fn main() {}"),
            ("d.md", ""),
        ]);
        let found: Vec<String> = headers(&tree).into_iter().map(|it| it.path).collect();
        assert_eq!(found, ["a/b.rs"]);
    }

    #[test]
    fn an_empty_name_is_found() {
        let tree = Tree::of(&[
            ("a/utils.rs", ""),
            ("a/common/mod.rs", ""),
            ("a/common", ""),
            ("a/context.md", ""),
            ("uncommon.rs", ""),
        ]);
        let found: Vec<String> = names(&tree).into_iter().map(|it| it.path).collect();
        assert_eq!(found, ["a/utils.rs", "a/common"]);
    }
}
