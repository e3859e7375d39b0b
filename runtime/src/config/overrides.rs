//! How variables override keys: `IGGY_CONNECTORS_HTTP_API_KEY`, `IGGY_CONNECTORS_SINK_STDOUT_STREAMS_0_TOPICS`.
//!
//! Names of keys and connectors hold underscores, so that a variable's name cannot be split: each is matched against the keys of the
//! typed tree.

use serde_json::{Map, Value};

use super::{
    environment::{CONFIG_PATH, ENV_PATH, Environment, OLDER_CONFIG_PATH, PREFIX},
    keys::{Key, Keys, Kind, Place},
    path::{Step, walk},
    problem::{Code, Origin, Problem, Variables},
    references::{self, Found},
    secrets::Secrets,
    spec::Direction,
    suggest::nearest,
    text,
};

/// Keys of the runtime file that are connectors, which have variables of their own.
const CONNECTORS: [&str; 2] = ["sinks", "sources"];

/// A variable that sets a key.
#[derive(Debug)]
pub(super) struct Assignment {
    variable: String,
    text: String,
    kind: Kind,
    /// By every name that a step may have in the tree.
    steps: Vec<Slot>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Index(usize),
    Key(Vec<String>),
}

/// What variables say about one tree.
#[derive(Debug, Default)]
pub(super) struct Assignments {
    list: Vec<Assignment>,
    pub(super) problems: Vec<Problem>,
}

/// Who connectors are, as far as a variable's name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) direction: Direction,
    pub(super) key: String,
}

/// Every variable that sets a key of the runtime file, with the key.
pub fn variables() -> Vec<(String, String)> {
    runtime_keys(&Keys::of::<super::runtime::RuntimeConfig>())
        .map(|key| (variable(PREFIX, key), walk("", &key.example())))
        .collect()
}

/// Every variable that sets a key of the connector `key`, with that key. `0` stands for any entry of a list, `NAME` for any key of a
/// plugin's configuration.
pub fn connector_variables(direction: Direction, key: &str) -> Vec<(String, String)> {
    let keys = super::tables::keys_of(direction);
    let prefix = prefix(direction, key);
    keys.iter()
        .map(|key| (variable(&prefix, key), walk("", &key.example())))
        .collect()
}

/// What the environment says about the runtime's own keys, and warnings about variables that name none.
pub(super) fn of_runtime(environment: &Environment, keys: &Keys) -> (Assignments, Vec<String>) {
    let (mut assignments, mut warnings) = (Assignments::default(), vec![]);
    for (name, text) in environment.ours() {
        let used_elsewhere = [CONFIG_PATH, OLDER_CONFIG_PATH, ENV_PATH].contains(&name);
        if used_elsewhere || direction_of(name).is_some() {
            continue;
        }
        let found = runtime_keys(keys)
            .find_map(|key| Some((key, slots(&key.place, &name[PREFIX.len()..])?)));
        match found {
            Some((key, steps)) => assignments
                .list
                .push(Assignment::new(name, text, key, steps)),
            None => {
                let known: Vec<_> = runtime_keys(keys)
                    .map(|key| variable(PREFIX, key))
                    .collect();
                warnings.push(no_effect(name, "no key has this name", &known));
            }
        }
    }
    (assignments, warnings)
}

/// What the environment says about each of the connectors, in their order, and warnings about variables that name none.
pub(super) fn of_connectors(
    environment: &Environment,
    names: &[Name],
) -> (Vec<Assignments>, Vec<String>) {
    let mut all: Vec<_> = names.iter().map(|_| Assignments::default()).collect();
    let mut warnings = vec![];
    let keys = [Direction::Sink, Direction::Source]
        .map(|direction| (direction, super::tables::keys_of(direction)));
    for (name, text) in environment.ours() {
        let Some(direction) = direction_of(name) else {
            continue;
        };
        let (_, keys) = &keys[usize::from(direction == Direction::Source)];
        let fitting = fitting(name, direction, names, keys);
        let Some((connector, ..)) = fitting.first() else {
            warnings.push(fits_nothing(name, direction, names, keys));
            continue;
        };
        let other = fitting
            .iter()
            .find(|(other, ..)| other.key != connector.key);
        for (connector, key, steps) in &fitting {
            let of_connector = names
                .iter()
                .zip(&mut all)
                .filter(|(name, _)| name == connector);
            for (_, assignments) in of_connector {
                match other {
                    None => assignments
                        .list
                        .push(Assignment::new(name, text, key, steps.clone())),
                    Some(_) => assignments.problems.push(ambiguous(name, &fitting)),
                }
            }
        }
    }
    (all, warnings)
}

/// The connectors that a variable may mean, with the key it sets: those with the longest name.
fn fitting<'a>(
    variable: &str,
    direction: Direction,
    names: &'a [Name],
    keys: &'a Keys,
) -> Vec<(&'a Name, &'a Key, Vec<Slot>)> {
    let mut fitting: Vec<(&Name, &Key, Vec<Slot>)> = vec![];
    for name in names.iter().filter(|name| name.direction == direction) {
        let Some(rest) = variable.strip_prefix(&prefix(direction, &name.key)) else {
            continue;
        };
        let found = keys
            .iter()
            .find_map(|key| Some((key, slots(&key.place, rest)?)));
        let Some((key, steps)) = found else { continue };
        if fitting.iter().any(|(other, ..)| *other == name) {
            continue;
        }
        match fitting.first().map_or(0, |(other, ..)| other.key.len()) {
            longest if longest > name.key.len() => {}
            longest if longest == name.key.len() => fitting.push((name, key, steps)),
            _ => fitting = vec![(name, key, steps)],
        }
    }
    fitting
}

fn prefix(direction: Direction, key: &str) -> String {
    let key = key.to_uppercase().replace('-', "_");
    format!("{PREFIX}{}_{key}_", direction.name().to_uppercase())
}

/// Which connectors a variable is about.
fn direction_of(variable: &str) -> Option<Direction> {
    let rest = variable.strip_prefix(PREFIX)?;
    [Direction::Sink, Direction::Source]
        .into_iter()
        .find(|direction| {
            let name = direction.name().to_uppercase();
            rest.strip_prefix(&name)
                .is_some_and(|rest| rest.starts_with('_'))
        })
}

fn runtime_keys(keys: &Keys) -> impl Iterator<Item = &Key> {
    keys.iter().filter(|key| match key.place.first() {
        Some(Place::Named(names)) => !CONNECTORS.contains(&names[0].as_str()),
        _ => true,
    })
}

fn variable(prefix: &str, key: &Key) -> String {
    let words: Vec<_> = key
        .example()
        .into_iter()
        .map(|step| match step {
            Step::Key(key) => key.to_uppercase(),
            Step::Index(index) => index.to_string(),
        })
        .collect();
    format!("{prefix}{}", words.join("_"))
}

/// The steps that the rest of a variable's name takes to a key; `None` when it means another one.
fn slots(place: &[Place], rest: &str) -> Option<Vec<Slot>> {
    let (first, others) = place.split_first()?;
    let last = others.is_empty();
    let next = |slot: Slot, tail: &str| match (last, tail.strip_prefix('_')) {
        (true, None) if tail.is_empty() => Some(vec![slot]),
        (false, Some(tail)) => Some([vec![slot], slots(others, tail)?].concat()),
        _ => None,
    };
    match first {
        Place::Named(names) => names.iter().find_map(|name| {
            let tail = rest.strip_prefix(&name.to_uppercase())?;
            next(Slot::Key(names.clone()), tail)
        }),
        Place::Element => {
            let digits = rest.len()
                - rest
                    .trim_start_matches(|digit: char| digit.is_ascii_digit())
                    .len();
            let (index, tail) = rest.split_at(digits);
            next(Slot::Index(index.parse().ok()?), tail)
        }
        Place::Free if last && !rest.is_empty() => Some(vec![Slot::Key(vec![rest.to_lowercase()])]),
        Place::Free => None,
    }
}

impl Assignment {
    fn new(variable: &str, text: &str, key: &Key, steps: Vec<Slot>) -> Self {
        Self {
            variable: variable.to_owned(),
            text: text.to_owned(),
            kind: key.kind,
            steps,
        }
    }
}

impl Assignments {
    /// Sets the keys in the tree at `at`, and notes which variable set what. What comes into a plugin's configuration from outside
    /// its file may be a secret.
    pub(super) fn apply(
        mut self,
        tree: &mut Map<String, Value>,
        at: &str,
        secrets: &Secrets,
        found: &mut Found,
    ) -> (Variables, Vec<Problem>) {
        // Whole lists before their entries, and entries in their order.
        self.list.sort_by(|one, other| one.steps.cmp(&other.steps));
        let mut variables = Variables::new();
        let mut root = Value::Object(std::mem::take(tree));
        for assignment in self.list {
            let steps = resolved(&root, &assignment.steps);
            let path = walk(at, &steps);
            let is_free = assignment.kind == Kind::Free;
            let value = match references::is_in(&assignment.text) {
                true => Ok(Value::String(assignment.text.clone())),
                false => text::read(&assignment.text, assignment.kind),
            };
            let set = value.and_then(|value| set(&mut root, &steps, value));
            if let Err(reason) = set {
                self.problems
                    .push(problem(&assignment.variable, &path, Code::Invalid, reason));
                continue;
            }
            if is_free && !references::is_in(&assignment.text) {
                secrets.learn(&assignment.text);
                found
                    .secrets
                    .insert(steps.clone(), vec![assignment.text.clone()]);
                found.texts.insert(steps, assignment.text);
            }
            variables.insert(path, assignment.variable);
        }
        if let Value::Object(set) = root {
            *tree = set;
        }
        (variables, self.problems)
    }
}

/// The steps by the names that the tree has: a key may stand there under an older one.
fn resolved(root: &Value, slots: &[Slot]) -> Vec<Step> {
    let mut steps = vec![];
    let mut value = Some(root);
    for slot in slots {
        let step = match slot {
            Slot::Index(index) => {
                value = value.and_then(|value| value.get(index));
                Step::Index(*index)
            }
            Slot::Key(names) => {
                let has =
                    |name: &&String| value.is_some_and(|value| value.get(name.as_str()).is_some());
                let name = names.iter().find(has).unwrap_or(&names[0]);
                value = value.and_then(|value| value.get(name.as_str()));
                Step::Key(name.clone())
            }
        };
        steps.push(step);
    }
    steps
}

/// Sets a value. Where something else stands in its way, it stays for the reader to report.
fn set(value: &mut Value, steps: &[Step], new: Value) -> Result<(), &'static str> {
    let Some((first, others)) = steps.split_first() else {
        *value = new;
        return Ok(());
    };
    if value.is_null() {
        *value = match first {
            Step::Key(_) => Value::Object(Map::new()),
            Step::Index(_) => Value::Array(vec![]),
        };
    }
    match (value, first) {
        (Value::Object(table), Step::Key(key)) => {
            set(table.entry(key.clone()).or_insert(Value::Null), others, new)
        }
        (Value::Array(list), Step::Index(index)) => {
            if *index == list.len() {
                list.push(Value::Null);
            }
            let entry = list
                .get_mut(*index)
                .ok_or("the entries before it are not there; lists are counted from 0")?;
            set(entry, others, new)
        }
        (_, Step::Key(_)) => Err("there is no table that it could be set in"),
        (_, Step::Index(_)) => Err("there is no list that it could be set in"),
    }
}

fn fits_nothing(variable: &str, direction: Direction, names: &[Name], keys: &Keys) -> String {
    let kind = direction.name();
    let of_direction = || names.iter().filter(|name| name.direction == direction);
    let known: Vec<_> = of_direction()
        .flat_map(|name| {
            keys.iter()
                .map(|key| self::variable(&prefix(direction, &name.key), key))
        })
        .collect();
    let meant = of_direction()
        .filter(|name| variable.starts_with(&prefix(direction, &name.key)))
        .max_by_key(|name| name.key.len());
    let reason = match meant {
        Some(name) => format!("a {kind} such as `{}` has no key of this name", name.key),
        None => format!("no {kind} has a key that it begins with"),
    };
    no_effect(variable, &reason, &known)
}

fn no_effect(variable: &str, reason: &str, known: &[String]) -> String {
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    match nearest(variable, &known) {
        Some(nearest) => format!("{variable} has no effect: {reason}; did you mean {nearest}?"),
        None => format!("{variable} has no effect: {reason}"),
    }
}

fn ambiguous(variable: &str, fitting: &[(&Name, &Key, Vec<Slot>)]) -> Problem {
    let keys: Vec<_> = fitting
        .iter()
        .map(|(name, ..)| format!("`{}`", name.key))
        .collect();
    let mut problem = problem(
        variable,
        "",
        Code::Conflict,
        &format!("it could mean each of {}", keys.join(", ")),
    );
    problem.remedy = Some("rename one of them, or write the value into its file".to_owned());
    problem
}

fn problem(variable: &str, key: &str, code: Code, reason: &str) -> Problem {
    Problem {
        origin: Origin::Variable(variable.to_owned()),
        key: key.to_owned(),
        code,
        reason: reason.to_owned(),
        remedy: None,
    }
}

#[cfg(test)]
mod tests;
