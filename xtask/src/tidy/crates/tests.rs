//! The crates' arrows, over a small workspace in which one manifest at a time is changed.

use super::{Tree, check};

const CRATES: [(&str, &str); 11] = [
    ("core/abi", "iggy_connector_abi"),
    ("core/message", "iggy_connector_message"),
    ("core/codec", "iggy_connector_codec"),
    ("core/broker", "iggy_connector_broker"),
    ("sdk", "iggy_connector_sdk"),
    ("runtime", "iggy-connectors"),
    ("runtime/tests/plugins/panics", "panics"),
    ("runtime/tests/plugins/misbehaviour", "misbehaviour"),
    ("sinks/stdout_sink", "iggy_connector_stdout_sink"),
    ("examples/producer", "producer"),
    ("xtask", "xtask"),
];

/// What is found when `body` is added to the manifest in `folder`.
fn found(folder: &str, body: &str) -> Vec<String> {
    let mut files: Vec<(String, String)> = CRATES
        .iter()
        .map(|(folder, name)| {
            (
                format!("{folder}/Cargo.toml"),
                format!("[package]\nname = \"{name}\"\n"),
            )
        })
        .collect();
    let path = format!("{folder}/Cargo.toml");
    let changed = files.iter_mut().find(|(other, _)| *other == path);
    changed.expect("a known folder").1.push_str(body);
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    check(&Tree::of(&files))
        .into_iter()
        .map(|finding| finding.what)
        .collect()
}

/// One dependency of the crate in `folder`, in `section`, is the one thing that is found.
fn refused(folder: &str, section: &str, name: &str) {
    let found = found(folder, &format!("[{section}]\n{name} = \"1\""));
    let what = format!("must not depend on {name} ");
    assert!(
        found.len() == 1 && found[0].contains(&what),
        "{folder}, {section}, {name}: {found:?}"
    );
}

fn allowed(folder: &str, body: &str) {
    assert_eq!(found(folder, body), [""; 0], "{folder}: {body}");
}

#[test]
fn an_arrow_that_runs_upwards_is_found() {
    refused("core/abi", "dependencies", "libc");
    refused("core/message", "dependencies", "iggy_connector_codec");
    refused("core/codec", "dependencies", "iggy_common");
    refused("core/broker", "dependencies", "iggy_connector_message");
    refused("core/broker", "dev-dependencies", "iggy-connectors");
    refused("sdk", "dependencies", "iggy_connector_codec");
    refused("sdk", "dev-dependencies", "iggy_connector_stdout_sink");
    refused("runtime", "dependencies", "iggy_connector_sdk");
    refused("runtime", "dev-dependencies", "iggy_connector_sdk");
    refused("runtime", "dependencies", "panics");
    refused("sinks/stdout_sink", "dependencies", "misbehaviour");
    refused("runtime", "dependencies", "xtask");
    refused(
        "sinks/stdout_sink",
        "dependencies",
        "iggy_connector_message",
    );
    refused("sinks/stdout_sink", "build-dependencies", "iggy");
    refused(
        "sinks/stdout_sink",
        "target.'cfg(unix)'.dependencies",
        "iggy",
    );
}

#[test]
fn an_arrow_that_runs_downwards_is_fine() {
    allowed(
        "core/message",
        "[dependencies]\nserde = \"1\"\n[dev-dependencies]\niggy_common = \"1\"",
    );
    allowed(
        "core/codec",
        "[dependencies]\niggy_connector_message = \"1\"",
    );
    allowed(
        "core/broker",
        "[dependencies]\niggy_common = \"1\"\n[dev-dependencies]\niggy = \"1\"",
    );
    allowed(
        "sdk",
        "[dependencies]\niggy_connector_codec = { version = \"1\", optional = true }",
    );
    allowed(
        "sdk",
        "[dev-dependencies]\niggy_connector_sdk = { path = \".\" }",
    );
    allowed(
        "runtime",
        "[dependencies]\niggy = \"1\"\n[dev-dependencies]\npanics = \"1\"",
    );
    allowed(
        "runtime/tests/plugins/panics",
        "[dependencies]\niggy_connector_abi = \"1\"",
    );
    allowed(
        "runtime/tests/plugins/panics",
        "[dependencies]\nmisbehaviour = { path = \"../misbehaviour\" }",
    );
    allowed("examples/producer", "[dependencies]\niggy = \"1\"");
}

#[test]
fn a_crate_in_an_unknown_place_is_found() {
    let tree = Tree::of(&[("elsewhere/Cargo.toml", "[package]\nname = \"elsewhere\"")]);
    assert!(check(&tree)[0].what.starts_with("no rule says"));
}

#[test]
fn the_first_run_plugins_are_optional_and_on() {
    let optional =
        "[dependencies]\niggy_connector_stdout_sink = { path = \"\", optional = true }\n";
    let features =
        "[features]\ndefault = [\"first_run\"]\nfirst_run = [\"dep:iggy_connector_stdout_sink\"]";
    allowed("runtime", &format!("{optional}{features}"));
    let off = found("runtime", optional);
    assert_eq!(
        off,
        ["iggy_connector_stdout_sink must be turned on by a default feature"]
    );
    let always = "[features]\ndefault = [\"iggy_connector_stdout_sink\"]\n[dependencies]\niggy_connector_stdout_sink = \"1\"";
    let always = found("runtime", always);
    assert_eq!(
        always,
        ["iggy-connectors must not depend on iggy_connector_stdout_sink (a dependency)"]
    );
}

#[test]
fn the_runtime_must_not_name_what_it_loads() {
    let text = "\nuse iggy_connector_stdout_sink as _; // iggy_connector_sdk";
    let tree = Tree::of(&[("runtime/src/a.rs", text)]);
    let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        ["runtime/src/a.rs:2: the runtime's code must not know iggy_connector_stdout_sink"]
    );
}
