//! Which version of each connector runs: the highest that was found.

use std::collections::BTreeMap;

use super::{
    Unusable,
    problem::{Code, Origin, Problem},
    spec::Connector,
};

/// One connector as it was found, and what is wrong with it.
pub(super) struct Candidate {
    /// `None`: not even its direction and key could be read.
    pub(super) spec: Option<Connector>,
    pub(super) problems: Vec<Problem>,
}

/// One version of a connector, and what is wrong with it.
type Version = (Connector, Vec<Problem>);

/// What the candidates came to.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) connectors: Vec<Connector>,
    pub(super) unusable: Vec<Unusable>,
    /// About candidates that would not have run, or cannot be listed as a connector.
    pub(super) warnings: Vec<String>,
}

/// Picks the highest version of each connector. When that one cannot be used, no older one takes its place.
pub(super) fn choose(candidates: Vec<Candidate>) -> Chosen {
    let mut chosen = Chosen::default();
    let mut versions = BTreeMap::<_, Vec<Version>>::new();
    for Candidate { spec, problems } in candidates {
        match spec {
            Some(spec) => versions
                .entry((spec.direction, spec.key.clone()))
                .or_default()
                .push((spec, problems)),
            None => chosen.warnings.extend(
                problems
                    .iter()
                    .map(|problem| format!("connector not started: {problem}")),
            ),
        }
    }
    for mut versions in versions.into_values() {
        refuse_repeated(&mut versions);
        versions.sort_by_key(|(spec, _)| spec.version);
        let Some((spec, problems)) = versions.pop() else {
            continue;
        };
        for (older, problems) in versions {
            chosen.warnings.extend(problems.iter().map(|problem| {
                format!(
                    "version {} of {} `{}`: {problem}",
                    older.version,
                    older.direction.name(),
                    older.key
                )
            }));
        }
        match problems.as_slice() {
            [] => chosen.connectors.push(spec),
            problems => {
                let reason = told(problems);
                chosen.unusable.push(Unusable { spec, reason });
            }
        }
    }
    chosen
}

/// Notes versions that occur twice. None of them is the one that was meant.
fn refuse_repeated(versions: &mut [Version]) {
    for index in 0..versions.len() {
        let (spec, _) = &versions[index];
        let other = versions
            .iter()
            .enumerate()
            .find(|(place, (other, _))| *place != index && other.version == spec.version);
        let Some((_, (other, _))) = other else {
            continue;
        };
        let problem = Problem {
            origin: Origin::File {
                path: spec.origin.clone(),
                line: None,
            },
            key: String::new(),
            code: Code::Conflict,
            reason: format!(
                "{} `{}` has version {} in {} too",
                spec.direction.name(),
                spec.key,
                spec.version,
                other.origin.display()
            ),
            remedy: Some("give one of them another `version`, or remove it".into()),
        };
        versions[index].1.push(problem);
    }
}

fn told(problems: &[Problem]) -> String {
    let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
    problems.join("\n")
}
