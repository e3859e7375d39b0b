//! The arrows between crates, as in ARCHITECTURE.md: dependencies run downwards, and a plugin builds without the Iggy client.

use super::{
    Finding, Tree,
    manifest::{self, Dependency, Manifest, Section},
};

/// What the crates in one place may depend on, among the repository's own and Iggy's. A name with a slash at the end means every
/// crate below that folder.
struct Rule {
    /// A crate's folder, or with a slash at the end every crate below it.
    place: &'static str,
    uses: &'static [&'static str],
    /// Only as an optional dependency.
    may_offer: &'static [&'static str],
    /// In addition, for tests, benches and examples.
    tests_use: &'static [&'static str],
}

const ABI: &str = "iggy_connector_abi";
const MESSAGE: &str = "iggy_connector_message";
const CODEC: &str = "iggy_connector_codec";
const TRANSFORM: &str = "iggy_connector_transform";
const BROKER: &str = "iggy_connector_broker";
const SDK: &str = "iggy_connector_sdk";
/// The client has about 300 dependencies: only what speaks Iggy's protocol may pay for it.
const CLIENT: [&str; 3] = ["iggy", "iggy_common", "iggy_binary_protocol"];
const RUNTIME: &str = "runtime";
/// Libraries that the runtime's tests and measurements load.
const FIXTURES: [&str; 2] = ["runtime/tests/plugins/", "runtime/benches/plugins/"];
/// The runtime's tests ask it for configurations.
const SERVICE: &str = "examples/config_service";
/// Built together with the runtime so that its first run finds them; no code of the runtime knows them.
const FIRST_RUN: [&str; 2] = ["iggy_connector_stdout_sink", "iggy_connector_random_source"];

const NOTHING: Rule = Rule {
    place: "",
    uses: &[],
    may_offer: &[],
    tests_use: &[],
};

/// The first place that fits a crate's folder decides.
const RULES: [Rule; 13] = [
    Rule {
        place: "core/abi",
        ..NOTHING
    },
    // Plugins that use Iggy's client beside the SDK may ask for conversions between the two.
    Rule {
        place: "core/message",
        may_offer: &["iggy_common"],
        ..NOTHING
    },
    Rule {
        place: "core/codec",
        uses: &[MESSAGE],
        ..NOTHING
    },
    Rule {
        place: "core/transform",
        uses: &[MESSAGE, CODEC],
        ..NOTHING
    },
    Rule {
        place: "core/broker",
        uses: &["iggy_common", "iggy_binary_protocol"],
        ..NOTHING
    },
    Rule {
        place: "sdk",
        uses: &[ABI, MESSAGE],
        may_offer: &[CODEC, TRANSFORM],
        tests_use: &[CODEC, TRANSFORM],
    },
    Rule {
        place: RUNTIME,
        uses: &[
            ABI,
            MESSAGE,
            CODEC,
            TRANSFORM,
            BROKER,
            "iggy",
            "iggy_common",
            "iggy_binary_protocol",
        ],
        may_offer: &FIRST_RUN,
        tests_use: &[FIXTURES[0], FIXTURES[1], SERVICE],
    },
    Rule {
        place: FIXTURES[0],
        uses: &[SDK, ABI, MESSAGE, FIXTURES[0]],
        ..NOTHING
    },
    Rule {
        place: FIXTURES[1],
        uses: &[SDK],
        ..NOTHING
    },
    Rule {
        place: "sinks/",
        uses: &[SDK],
        ..NOTHING
    },
    Rule {
        place: "sources/",
        uses: &[SDK],
        ..NOTHING
    },
    // Programs that fill topics stand beside the example plugins and are clients of Iggy.
    Rule {
        place: "examples/",
        uses: &[SDK, "iggy", "iggy_common"],
        ..NOTHING
    },
    // Chores may look at everything; nothing looks at them.
    Rule {
        place: "xtask",
        uses: &[
            ABI,
            MESSAGE,
            CODEC,
            TRANSFORM,
            BROKER,
            SDK,
            "iggy-connectors",
        ],
        ..NOTHING
    },
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let manifests = manifest::all(tree);
    let mut found = arrows(&manifests);
    found.extend(first_run(&manifests));
    found.extend(mentions(tree));
    found
}

fn arrows(manifests: &[Manifest]) -> Vec<Finding> {
    manifests
        .iter()
        .flat_map(|manifest| arrows_of(manifest, manifests))
        .collect()
}

fn arrows_of(manifest: &Manifest, all: &[Manifest]) -> Vec<Finding> {
    let Some(rule) = RULES.iter().find(|rule| fits(rule.place, &manifest.folder)) else {
        let what =
            "no rule says what a crate in this folder may depend on: add one to xtask's `crates`";
        return vec![Finding::new(&manifest.path, 0, what)];
    };
    let refused = manifest.dependencies.iter().filter(|dependency| {
        let own = all.iter().find(|other| other.name == dependency.name);
        let ruled = own.is_some()
            || CLIENT.contains(&dependency.name.as_str())
            || manifest.folder == "core/abi";
        ruled && dependency.name != manifest.name && !rule.allows(dependency, own)
    });
    let finding = |dependency: &Dependency| {
        let what = format!(
            "{} must not depend on {} {}",
            manifest.name,
            dependency.name,
            section(dependency)
        );
        Finding::new(&manifest.path, manifest.line(&dependency.name), what)
    };
    refused.map(finding).collect()
}

impl Rule {
    fn allows(&self, dependency: &Dependency, own: Option<&Manifest>) -> bool {
        let name = dependency.name.as_str();
        let listed = |list: &[&str]| {
            list.iter()
                .any(|place| *place == name || own.is_some_and(|own| fits(place, &own.folder)))
        };
        let in_tests = dependency.section == Section::Dev;
        listed(self.uses)
            || !in_tests && dependency.optional && listed(self.may_offer)
            || in_tests && listed(self.tests_use)
            // Tests may use what they like, Iggy's client too, as long as it is not the repository's own.
            || in_tests && own.is_none()
    }
}

/// The two plugins of the first run are built unless someone turns them off, or the first run would not find them.
fn first_run(manifests: &[Manifest]) -> Vec<Finding> {
    let Some(runtime) = manifests.iter().find(|manifest| manifest.folder == RUNTIME) else {
        return Vec::new();
    };
    let features = runtime.default_features();
    let named = runtime
        .dependencies
        .iter()
        .filter(|it| FIRST_RUN.contains(&it.name.as_str()));
    let off = named.filter(|dependency| !features.contains(&dependency.name));
    let what = |name: &str| format!("{name} must be turned on by a default feature");
    off.map(|it| Finding::new(&runtime.path, runtime.line(&it.name), what(&it.name)))
        .collect()
}

/// The runtime loads its first plugins like any other: by file name, never by crate.
fn mentions(tree: &Tree) -> Vec<Finding> {
    let sources: Vec<_> = tree
        .rust()
        .filter(|source| source.path.starts_with("runtime/src/"))
        .collect();
    let mut found = Vec::new();
    for name in FIRST_RUN.iter().chain([&SDK]) {
        for source in &sources {
            let line = manifest::first_use(source, name);
            found.extend(line.map(|line| {
                Finding::new(
                    &source.path,
                    line,
                    format!("the runtime's code must not know {name}"),
                )
            }));
        }
    }
    found
}

fn fits(place: &str, folder: &str) -> bool {
    place == folder || below(place, folder)
}

fn below(place: &str, folder: &str) -> bool {
    place.ends_with('/') && folder.starts_with(place)
}

fn section(dependency: &Dependency) -> &'static str {
    match dependency.section {
        Section::Normal if dependency.optional => "(an optional dependency)",
        Section::Normal => "(a dependency)",
        Section::Dev => "(a dev-dependency)",
        Section::Build => "(a build-dependency)",
    }
}

#[cfg(test)]
mod tests;
