//! Every version of every connector that was found ([`History`]), and which one of each runs: the one that was activated, else the
//! highest.

use std::{fmt, path::PathBuf};

use super::{
    Unusable,
    active::ActiveVersions,
    document::Document,
    problem::{Code, Origin, Problem, Problems},
    spec::{Connector, Direction},
};

/// One version of a connector, as it was found.
#[derive(Clone, Debug)]
pub struct Version {
    /// As far as it was understood, with defaults for the rest.
    pub spec: Connector,
    /// What is wrong with it: with any problem it cannot run.
    pub problems: Vec<Problem>,
    /// As written.
    pub document: Document,
    pub place: Place,
}

/// Where a version was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between the runtime's own keys.
    Inline(PathBuf),
    /// In a file of its own.
    File(PathBuf),
    /// At this URL of a configuration service.
    Service(String),
    /// It was handed in, to be checked or stored.
    Given,
}

/// One file or table as it was found.
#[derive(Clone)]
pub(super) struct Candidate {
    /// `None`: not even its direction and key could be read.
    pub(super) spec: Option<Connector>,
    pub(super) problems: Vec<Problem>,
    pub(super) document: Document,
    pub(super) place: Place,
}

/// All versions that were found, and the choices between them.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By direction, key and version.
    pub versions: Vec<Version>,
    pub active: ActiveVersions,
    /// What is wrong with files that do not even say whose version they are.
    pub unnamed: Vec<Problem>,
    /// About the places that were looked at.
    pub warnings: Vec<String>,
}

/// What is to run.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    pub connectors: Vec<Connector>,
    pub unusable: Vec<Unusable>,
    /// About what was found and would not have run.
    pub warnings: Vec<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(path) | Self::File(path) => write!(f, "{}", path.display()),
            Self::Service(url) => f.write_str(url),
            Self::Given => f.write_str("the document"),
        }
    }
}

impl Version {
    fn identity(&self) -> (Direction, &str, u32) {
        (self.spec.direction, &self.spec.key, self.spec.version)
    }

    fn is_of(&self, direction: Direction, key: &str) -> bool {
        self.spec.direction == direction && self.spec.key == key
    }
}

impl History {
    /// Puts versions in order and notes those that occur twice.
    pub fn new(versions: Vec<Version>, active: ActiveVersions) -> Self {
        let mut history = Self {
            active,
            ..Self::default()
        };
        history.add(&versions);
        history
    }

    /// Adds versions from another place.
    pub fn add(&mut self, versions: &[Version]) {
        self.versions.extend_from_slice(versions);
        self.versions
            .sort_by(|one, other| one.identity().cmp(&other.identity()));
        refuse_repeated(&mut self.versions);
    }

    pub(super) fn of_candidates(candidates: Vec<Candidate>, active: ActiveVersions) -> Self {
        let (mut versions, mut unnamed) = (vec![], vec![]);
        for candidate in candidates {
            match candidate.spec {
                Some(spec) => versions.push(Version {
                    spec,
                    problems: candidate.problems,
                    document: candidate.document,
                    place: candidate.place,
                }),
                None => unnamed.extend(candidate.problems),
            }
        }
        Self {
            unnamed,
            ..Self::new(versions, active)
        }
    }

    /// What is wrong with anything that was found.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let of_versions = self.versions.iter().flat_map(|version| &version.problems);
        of_versions.chain(&self.unnamed)
    }

    /// Everything that is wrong with anything that was found.
    pub(super) fn into_problems(self) -> impl Iterator<Item = Problem> {
        let of_versions = self.versions.into_iter();
        of_versions
            .flat_map(|version| version.problems)
            .chain(self.unnamed)
    }

    /// The versions of one connector, the oldest first.
    pub fn of(&self, direction: Direction, key: &str) -> &[Version] {
        let start = self.versions.partition_point(|version| {
            (version.spec.direction, version.spec.key.as_str()) < (direction, key)
        });
        let rest = &self.versions[start..];
        &rest[..rest.partition_point(|version| version.is_of(direction, key))]
    }

    /// The number of the version that runs: the one that was activated, else the highest.
    pub fn active_version(&self, direction: Direction, key: &str) -> Option<u32> {
        let highest = self.of(direction, key).last()?.spec.version;
        Some(self.active.get(direction, key).unwrap_or(highest))
    }

    /// Picks the active version of each connector. When that one cannot be used, no other one takes its place.
    pub fn choose(&self) -> Chosen {
        let unnamed = self.unnamed.iter();
        let mut chosen = Chosen {
            warnings: unnamed
                .map(|problem| format!("connector not started: {problem}"))
                .collect(),
            ..Chosen::default()
        };
        let mut rest = self.versions.as_slice();
        while let Some(first) = rest.first() {
            let versions = self.of(first.spec.direction, &first.spec.key);
            rest = &rest[versions.len()..];
            self.choose_of(versions, &mut chosen);
        }
        chosen.warnings.extend(self.choices_of_nothing());
        chosen
    }

    /// `versions` are those of one connector, at least one.
    fn choose_of(&self, versions: &[Version], chosen: &mut Chosen) {
        let Some(highest) = versions.last() else {
            return;
        };
        let Connector { direction, key, .. } = &highest.spec;
        let number = self.active_version(*direction, key);
        let is_active = |version: &&Version| Some(version.spec.version) == number;
        let others = versions.iter().filter(|version| !is_active(version));
        chosen.warnings.extend(others.flat_map(|other| {
            other.problems.iter().map(|problem| {
                format!(
                    "version {} of {} `{key}`: {problem}",
                    other.spec.version,
                    direction.name()
                )
            })
        }));
        let Some(active) = versions.iter().rfind(is_active) else {
            chosen
                .unusable
                .push(missing(&highest.spec, number.unwrap_or_default()));
            return;
        };
        match active.problems.as_slice() {
            [] => chosen.connectors.push(active.spec.clone()),
            problems => chosen.unusable.push(Unusable {
                spec: active.spec.clone(),
                reason: Problems(problems.to_vec()).in_lines(),
            }),
        }
    }

    fn choices_of_nothing(&self) -> impl Iterator<Item = String> {
        let without = self
            .active
            .iter()
            .filter(|(direction, key, _)| self.of(*direction, key).is_empty());
        without.map(|(direction, key, version)| {
            format!(
                "version {version} of {} `{key}` was activated, but no version of it is there any more",
                direction.name()
            )
        })
    }
}

/// A connector whose active version is gone.
fn missing(any: &Connector, version: u32) -> Unusable {
    Unusable {
        spec: Connector {
            version,
            ..any.clone()
        },
        reason: format!(
            "version {version} of {} `{}` was activated and is not there: put it back, or activate another",
            any.direction.name(),
            any.key
        ),
    }
}

/// Notes versions that occur twice. None of them is the one that was meant.
fn refuse_repeated(versions: &mut [Version]) {
    for index in 0..versions.len() {
        let version = &versions[index];
        let neighbours = [index.checked_sub(1), index.checked_add(1)];
        let other = neighbours
            .into_iter()
            .flatten()
            .filter_map(|place| versions.get(place))
            .find(|other| other.identity() == version.identity());
        let Some(other) = other else {
            continue;
        };
        let problem = repeated(version, other);
        if !version.problems.contains(&problem) {
            versions[index].problems.push(problem);
        }
    }
}

fn repeated(version: &Version, other: &Version) -> Problem {
    let Connector {
        direction,
        key,
        version: number,
        ..
    } = &version.spec;
    Problem {
        origin: Origin::File {
            path: version.place.to_string().into(),
            line: None,
        },
        key: String::new(),
        code: Code::Conflict,
        reason: format!(
            "{} `{key}` has version {number} in {} too",
            direction.name(),
            other.place
        ),
        remedy: Some("give one of them another `version`, or remove it".into()),
    }
}
