//! `unsafe` stands at the fence between the runtime and a plugin, and nowhere else.

use super::{
    Finding, Tree,
    rust::{self, Source},
};

/// The contract, its two sides, and plugins that break it on purpose.
const FENCE: [&str; 4] = [
    "core/abi/",
    "sdk/src/export/",
    "runtime/src/plugin/",
    "runtime/tests/plugins/",
];
/// What the macros write into a plugin: exported symbols, whose bodies only call `export`.
const MACROS: &str = "sdk/src/macros.rs";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(|source| outside(&source)).collect()
}

fn outside(source: &Source) -> Vec<Finding> {
    if FENCE.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let words =
        rust::words(&source.code).filter(|word| matches!(word.text, "unsafe" | "unsafe_code"));
    let refused = words.filter(|word| !is_exported_symbol(source, *word) && !is_ban(source, *word));
    let finding = |word: rust::Word<'_>| {
        let what = format!("`{}` outside the fence: {}", word.text, FENCE.join(", "));
        Finding::new(&source.path, source.line(word.at), what)
    };
    refused.map(finding).collect()
}

/// A crate that forbids unsafe code names it too.
fn is_ban(source: &Source, word: rust::Word<'_>) -> bool {
    let before = source.code[..word.at].trim_end();
    word.text == "unsafe_code" && (before.ends_with("forbid(") || before.ends_with("deny("))
}

/// What an exported symbol cannot do without: its attribute, its type, and one call that passes the host's promise on.
fn is_exported_symbol(source: &Source, word: rust::Word<'_>) -> bool {
    let rest = rust::after(&source.code, word);
    let passes_on = rest
        .strip_prefix('{')
        .is_some_and(|body| body.trim_start().starts_with("$crate::export::"));
    source.path == MACROS
        && (rest.starts_with("(no_mangle)") || rest.starts_with("extern") || passes_on)
}

#[cfg(test)]
mod tests {
    use super::{super::rust::Source, outside};

    fn check(path: &str, text: &str, lines: &[usize]) {
        let found: Vec<usize> = outside(&Source::new(path, text))
            .into_iter()
            .map(|it| it.line)
            .collect();
        assert_eq!(found, lines, "{path}: {text}");
    }

    #[test]
    fn unsafe_outside_the_fence_is_found() {
        check("runtime/src/pipeline/sink.rs", "\nunsafe { f() }", &[2]);
        check("runtime/src/plugin.rs", "unsafe fn f() {}", &[1]);
        check("sdk/src/lib.rs", "#![allow(unsafe_code)]", &[1]);
        check(
            "sdk/src/macros.rs",
            "unsafe { f() }\n#[unsafe(no_mangle)]\nunsafe fn f()\n#![allow(unsafe_code)]",
            &[1, 3, 4],
        );
        check("sinks/a_sink/src/lib.rs", "#[unsafe(no_mangle)]", &[1]);
    }

    #[test]
    fn unsafe_at_the_fence_is_fine() {
        check("core/abi/src/sink.rs", "unsafe { f() }", &[]);
        check("sdk/src/export/sink.rs", "unsafe { f() }", &[]);
        check("runtime/src/plugin/call.rs", "unsafe { f() }", &[]);
        check(
            "runtime/tests/plugins/panics/src/lib.rs",
            "unsafe { f() }",
            &[],
        );
        check(
            "sdk/src/macros.rs",
            "#[unsafe(no_mangle)] unsafe extern \"C\" fn f() { unsafe { $crate::export::sink::open() } }",
            &[],
        );
    }

    #[test]
    fn the_word_alone_is_fine() {
        check(
            "runtime/src/lib.rs",
            "// unsafe\nlet a = \"unsafe\"; unsafe_op_in_unsafe_fn",
            &[],
        );
    }
}
