//! The arrows between the runtime's modules, as in ARCHITECTURE.md: `pipeline` stands on its own ports and knows neither the
//! fence nor Iggy's client, and nothing calls back up.

use super::{
    Finding, Tree,
    rust::{self, Source},
};

const RUNTIME: &str = "runtime/src/";
const PORTS: &str = "runtime/src/pipeline/mod.rs";

/// What a module may use of the others. One that is not listed is at the top and may use all of them: `main`, `lib`, `app`, `cli`.
const ARROWS: [(&str, &[&str]); 9] = [
    ("api", &["supervisor", "provider", "config", "telemetry"]),
    (
        "supervisor",
        &[
            "pipeline",
            "plugin",
            "stream",
            "state",
            "config",
            "telemetry",
        ],
    ),
    ("provider", &["config"]),
    ("pipeline", &["config"]),
    ("plugin", &["pipeline", "config"]),
    ("stream", &["pipeline", "config"]),
    ("state", &["pipeline", "config"]),
    ("telemetry", &["config"]),
    ("config", &[]),
];
/// They implement the pipeline's ports and see nothing else of it.
const BEHIND_PORTS: [&str; 3] = ["plugin", "stream", "state"];
const TOP: [&str; 4] = ["main", "lib", "app", "cli"];

/// Crates that belong to one module: everyone else goes through it.
const OWNED: [(&str, &[&str]); 8] = [
    ("iggy", &["stream"]),
    ("iggy_common", &["stream"]),
    ("iggy_binary_protocol", &["stream"]),
    ("iggy_connector_abi", &["plugin"]),
    ("dlopen2", &["plugin"]),
    ("iggy_connector_broker", &["app"]),
    ("axum", &["api"]),
    ("reqwest", &["provider"]),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let ports = tree
        .file(PORTS)
        .map(|file| ports(&file.text))
        .unwrap_or_default();
    let sources = tree
        .rust()
        .filter(|source| source.path.starts_with(RUNTIME));
    sources
        .flat_map(|source| misplaced(&source, &ports))
        .collect()
}

/// A path in code: where it stands and its segments, without a leading `::`.
struct Reference {
    line: usize,
    path: Vec<String>,
}

fn misplaced(source: &Source, ports: &[String]) -> Vec<Finding> {
    let module = module(&source.path);
    let mut found = Vec::new();
    for reference in references(source) {
        let finding = |what| Finding::new(&source.path, reference.line, what);
        found.extend(upwards(module, &reference.path).map(finding));
        found.extend(past_ports(module, &reference.path, ports).map(finding));
        found.extend(not_its_crate(module, &reference.path).map(finding));
    }
    found.extend(climbs(source));
    found.dedup();
    found
}

/// The name of the module right below the crate's root.
fn module(path: &str) -> &str {
    let inside = path.strip_prefix(RUNTIME).unwrap_or(path);
    inside
        .split('/')
        .next()
        .unwrap_or(inside)
        .trim_end_matches(".rs")
}

fn upwards(module: &str, path: &[String]) -> Option<String> {
    let target = (path.first()? == "crate").then(|| path.get(1))??;
    let known =
        |name: &str| ARROWS.iter().any(|(module, _)| *module == name) || TOP.contains(&name);
    if !known(module) {
        return Some(format!(
            "no rule says what `{module}` may use: add one to xtask's `modules`"
        ));
    }
    let (_, allowed) = ARROWS.iter().find(|(name, _)| *name == module)?;
    let allowed = target == module || !known(target) || allowed.contains(&target.as_str());
    (!allowed).then(|| format!("`{module}` must not use `{target}`"))
}

fn past_ports(module: &str, path: &[String], ports: &[String]) -> Option<String> {
    let path = if path.first()? == "crate" {
        &path[1..]
    } else {
        path
    };
    let [first, item, ..] = path else { return None };
    let behind = BEHIND_PORTS.contains(&module) && first == "pipeline";
    let allowed = item == "self" || ports.contains(item);
    (behind && !allowed)
        .then(|| format!("`{module}` must not use `pipeline::{item}`, only the pipeline's ports"))
}

fn not_its_crate(module: &str, path: &[String]) -> Option<String> {
    let (owned, owners) = OWNED
        .iter()
        .find(|(name, _)| path.first().is_some_and(|first| first == name))?;
    let allowed = owners.contains(&module);
    (!allowed).then(|| {
        format!(
            "`{module}` must not use {owned}: it belongs to `{}`",
            owners.join("`, `")
        )
    })
}

/// Modules are named from the root where another one is meant, so that the arrows can be read, here and by people.
fn climbs(source: &Source) -> Option<Finding> {
    let code = source.code_outside_tests();
    let inside = source.path.strip_prefix(RUNTIME)?;
    let is_top =
        !inside.contains('/') || (inside.ends_with("/mod.rs") && inside.matches('/').count() == 1);
    let climb = if is_top {
        "super::"
    } else {
        "super::super::super::"
    };
    let at = code.find(climb)?;
    Some(Finding::new(
        &source.path,
        rust::line(&code, at),
        "write `crate::` where another module is meant",
    ))
}

/// Every `use` and every path in an expression or a type.
fn references(source: &Source) -> Vec<Reference> {
    let imports = source.imports().into_iter();
    let mut found: Vec<Reference> = imports
        .map(|it| Reference {
            line: it.line,
            path: it.path,
        })
        .collect();
    for word in rust::words(&source.code) {
        if continues_a_path(&source.code, word) {
            continue;
        }
        let path = path_from(&source.code, word);
        if path.len() > 1 {
            found.push(Reference {
                line: source.line(word.at),
                path,
            });
        }
    }
    found
}

fn continues_a_path(code: &str, word: rust::Word<'_>) -> bool {
    let before = code[..word.at].trim_end();
    before.ends_with('$')
        || before
            .strip_suffix("::")
            .is_some_and(|rest| rest.ends_with(|char: char| char.is_alphanumeric()))
}

fn path_from(code: &str, word: rust::Word<'_>) -> Vec<String> {
    let mut path = vec![word.text.to_owned()];
    let mut rest = rust::after(code, word);
    while let Some(next) = rest.strip_prefix("::").map(str::trim_start) {
        let Some(word) = rust::words(next).next().filter(|word| word.at == 0) else {
            break;
        };
        path.push(word.text.to_owned());
        rest = rust::after(next, word);
    }
    path
}

/// What `pipeline/mod.rs` re-exports from its ports.
fn ports(text: &str) -> Vec<String> {
    let imports = Source::new(PORTS, text).imports();
    let ports = imports
        .into_iter()
        .filter(|import| import.path.first().is_some_and(|first| first == "ports"));
    ports
        .filter_map(|import| import.path.last().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Tree, check};

    fn found(path: &str, text: &str) -> Vec<String> {
        let ports = (
            "runtime/src/pipeline/mod.rs",
            "pub use ports::{Failure, Batch};\npub use stages::Stages;",
        );
        let found = check(&Tree::of(&[ports, (path, text)]));
        found
            .into_iter()
            .map(|finding| format!("{} {}", finding.line, finding.what))
            .collect()
    }

    fn refused(path: &str, text: &str, what: &str) {
        assert_eq!(found(path, text), [what], "{path}: {text}");
    }

    fn allowed(path: &str, text: &str) {
        assert_eq!(found(path, text), [""; 0], "{path}: {text}");
    }

    #[test]
    fn an_arrow_that_runs_upwards_is_found() {
        let sink = "runtime/src/pipeline/sink.rs";
        refused(
            sink,
            "use crate::plugin;",
            "1 `pipeline` must not use `plugin`",
        );
        refused(
            sink,
            "\nuse crate::{config, stream::Consumer};",
            "2 `pipeline` must not use `stream`",
        );
        refused(
            sink,
            "fn f(a: crate::supervisor::Handle) {}",
            "1 `pipeline` must not use `supervisor`",
        );
        refused(
            "runtime/src/pipeline.rs",
            "use crate::api;",
            "1 `pipeline` must not use `api`",
        );
        refused(
            "runtime/src/api/dto.rs",
            "use crate::pipeline::sink;",
            "1 `api` must not use `pipeline`",
        );
        refused(
            "runtime/src/config/mod.rs",
            "use crate::app;",
            "1 `config` must not use `app`",
        );
        refused(
            "runtime/src/more.rs",
            "use crate::app;",
            "1 no rule says what `more` may use: add one to xtask's `modules`",
        );
    }

    #[test]
    fn what_lies_behind_the_ports_is_found() {
        let what = "1 `plugin` must not use `pipeline::Stages`, only the pipeline's ports";
        refused(
            "runtime/src/plugin/sink.rs",
            "use crate::pipeline::{Batch, Stages};",
            what,
        );
        refused(
            "runtime/src/plugin/sink.rs",
            "use crate::pipeline; fn f(_: pipeline::Stages) {}",
            what,
        );
    }

    #[test]
    fn a_crate_in_the_wrong_module_is_found() {
        let what = |module: &str| format!("1 `{module}` must not use iggy: it belongs to `stream`");
        refused(
            "runtime/src/pipeline/sink.rs",
            "use iggy::prelude::Client;",
            &what("pipeline"),
        );
        refused(
            "runtime/src/supervisor/mod.rs",
            "let a = iggy::b();",
            &what("supervisor"),
        );
        refused("runtime/src/app.rs", "let a = ::iggy::b();", &what("app"));
    }

    #[test]
    fn climbing_out_of_a_module_is_found() {
        let what = "1 write `crate::` where another module is meant";
        refused("runtime/src/plugin/mod.rs", "use super::supervisor;", what);
        refused("runtime/src/app.rs", "use super::api;", what);
        refused(
            "runtime/src/api/a/b.rs",
            "use super::super::super::pipeline;",
            what,
        );
    }

    #[test]
    fn an_arrow_that_runs_downwards_is_fine() {
        allowed(
            "runtime/src/pipeline/sink.rs",
            "use crate::config::spec; use super::ports; use std::fmt;",
        );
        allowed(
            "runtime/src/pipeline/sink.rs",
            "use crate::pipeline::Stages; let iggy = 1; a.iggy.b();",
        );
        allowed(
            "runtime/src/plugin/mod.rs",
            "use crate::pipeline::{self, Batch}; fn f(_: pipeline::Failure) {}",
        );
        allowed("runtime/src/stream/client.rs", "use iggy::prelude::Client;");
        allowed(
            "runtime/src/supervisor/mod.rs",
            "use crate::{pipeline::Stages, plugin, stream};",
        );
        allowed(
            "runtime/src/app.rs",
            "use crate::{api, supervisor}; #[cfg(test)] mod tests { use super::run; }",
        );
        allowed(
            "runtime/src/main.rs",
            "fn main() { iggy_connectors::app::run() }",
        );
    }
}
