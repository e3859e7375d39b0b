//! Nothing is left for later: no marks in comments, no code that panics because it was not written, no test switched off.

use super::{
    Finding, Tree,
    rust::{self, Source},
};

const MARKS: [&str; 5] = ["TODO", "FIXME", "XXX", "TEMP", "HACK"];
const MACROS: [&str; 2] = ["todo", "unimplemented"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(|source| unfinished(&source)).collect()
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let marks = rust::words(&source.comments).filter(|word| MARKS.contains(&word.text));
    let macros = rust::words(&source.code).filter(|word| {
        MACROS.contains(&word.text) && rust::after(&source.code, *word).starts_with('!')
    });
    let ignored = rust::words(&source.code)
        .filter(|word| word.text == "ignore" && is_attribute(&source.code, *word));
    let finding = |word: rust::Word<'_>| {
        Finding::new(
            &source.path,
            source.line(word.at),
            format!("`{}`: finish it or take it out", word.text),
        )
    };
    marks.chain(macros).chain(ignored).map(finding).collect()
}

fn is_attribute(code: &str, word: rust::Word<'_>) -> bool {
    let opens = code[..word.at].trim_end().ends_with("#[");
    opens
        || code[..word.at].trim_end().ends_with(',')
            && code[..word.at]
                .rfind("#[cfg_attr(")
                .is_some_and(|at| !code[at..word.at].contains(']'))
}

#[cfg(test)]
mod tests {
    use super::{super::rust::Source, unfinished};

    fn check(text: &str, lines: &[usize]) {
        let found: Vec<usize> = unfinished(&Source::new("a.rs", text))
            .into_iter()
            .map(|it| it.line)
            .collect();
        assert_eq!(found, lines, "{text}");
    }

    #[test]
    fn what_is_left_for_later_is_found() {
        check("// TODO: more", &[1]);
        check("\n/* FIXME */", &[2]);
        check("fn f() {\n todo!() }", &[2]);
        check("unimplemented !(\"a\")", &[1]);
        check("#[test]\n#[ignore]\nfn f() {}", &[2]);
        check("#[ignore = \"slow\"]", &[1]);
        check("#[cfg_attr(miri, ignore)]", &[1]);
    }

    #[test]
    fn the_words_alone_are_fine() {
        check("let a = \"TODO\"; // to do", &[]);
        check("fn ignore(todo: u8) { f(todo, ignore) }", &[]);
    }
}
