//! `use` declarations, taken apart into one entry per imported name.

use super::{Word, after, line, words};

/// One name that a `use` declaration brings in: `use a::{b as c, d::*}` gives two.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Import {
    pub(in super::super) line: usize,
    pub(in super::super) path: Vec<String>,
    pub(in super::super) rename: Option<String>,
}

impl Import {
    pub(in super::super) fn is_glob(&self) -> bool {
        self.path.last().is_some_and(|last| last == "*")
    }
}

pub(super) fn imports(code: &str) -> Vec<Import> {
    let declarations = words(code).filter(|word| word.text == "use" && is_declaration(code, *word));
    declarations.flat_map(|word| names(code, word)).collect()
}

/// `impl Trait + use<'a>` captures lifetimes and imports nothing.
fn is_declaration(code: &str, word: Word<'_>) -> bool {
    !after(code, word).starts_with('<')
}

fn names(code: &str, word: Word<'_>) -> Vec<Import> {
    let rest = &code[word.at + word.text.len()..];
    let tree = &rest[..rest.find(';').unwrap_or(rest.len())];
    let mut found = Vec::new();
    expand(&[], tree, line(code, word.at), &mut found);
    found
}

fn expand(prefix: &[String], tree: &str, line: usize, found: &mut Vec<Import>) {
    let (path, group) = match tree.split_once('{') {
        Some((path, group)) => (
            path,
            Some(group.rsplit_once('}').map_or(group, |(group, _)| group)),
        ),
        None => (tree, None),
    };
    let (path, rename) = match path.split_once(" as ") {
        Some((path, rename)) => (path, Some(rename.trim().to_owned())),
        None => (path, None),
    };
    let parts = path
        .split("::")
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let path: Vec<String> = prefix
        .iter()
        .cloned()
        .chain(parts.map(str::to_owned))
        .collect();
    match group {
        Some(group) => branches(group).for_each(|branch| expand(&path, branch, line, found)),
        None => found.push(Import { line, path, rename }),
    }
}

/// The parts of a group: commas inside a nested group do not separate.
fn branches(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = group.split(move |char| {
        match char {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        char == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::imports;

    fn check(code: &str, expected: &[&str]) {
        let found: Vec<String> = imports(code)
            .into_iter()
            .map(|import| match import.rename {
                Some(rename) => format!("{} {} as {rename}", import.line, import.path.join("::")),
                None => format!("{} {}", import.line, import.path.join("::")),
            })
            .collect();
        assert_eq!(found, expected, "{code}");
    }

    #[test]
    fn every_imported_name_is_found() {
        check("use a;", &["1 a"]);
        check("use ::a::b;", &["1 a::b"]);
        check(
            "pub(crate) use a::{b, c::{self, d as e}, f::*};",
            &["1 a::b", "1 a::c::self", "1 a::c::d as e", "1 a::f::*"],
        );
        check("\n\nuse a::{\n    b,\n    c,\n};", &["3 a::b", "3 a::c"]);
        check("use a::Trait as _;", &["1 a::Trait as _"]);
        check("fn f() -> impl A + use<'a> { 1 as u8; }", &[]);
    }
}
