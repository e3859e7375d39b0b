//! What happens to a tree between its file and its types: variables override keys, and references get their values. [`prepare`].

use std::{path::Path, sync::Arc};

use serde_json::{Map, Value};

use super::{
    environment::Environment,
    keys::Keys,
    overrides::Assignments,
    path::walk,
    problem::{Code, Lines, Problem, Report, Source},
    references::{Expansion, Failure, Found},
    secrets::Secrets,
};

/// Where a tree was read.
pub(super) struct Origin<'a> {
    pub(super) file: &'a Path,
    pub(super) lines: &'a Arc<Lines>,
    /// Its place in that file; empty for the whole of it.
    pub(super) at: &'a str,
}

/// A tree that is ready to be read.
pub(super) struct Prepared {
    pub(super) values: Map<String, Value>,
    pub(super) source: Arc<Source>,
    pub(super) at: String,
    failures: Vec<Failure>,
    problems: Vec<Problem>,
}

/// Applies what the environment says to `values`, whose keys are `keys`.
pub(super) fn prepare(
    mut values: Map<String, Value>,
    origin: Origin<'_>,
    assignments: Assignments,
    (environment, keys, secrets): (&Environment, &Keys, &Secrets),
) -> Prepared {
    let mut found = Found::default();
    let (variables, problems) = assignments.apply(&mut values, origin.at, secrets, &mut found);
    let mut expansion = Expansion {
        environment,
        secrets,
        keys,
        found,
    };
    let mut tree = Value::Object(values);
    expansion.expand(&mut tree, &mut vec![]);
    // Only texts are expanded: a table stays one.
    let values = match tree {
        Value::Object(values) => values,
        _ => Map::new(),
    };
    let Found {
        secrets,
        texts,
        failures,
    } = expansion.found;
    let source = Source {
        file: origin.file.to_owned(),
        lines: origin.lines.clone(),
        variables,
        secrets: secrets
            .into_iter()
            .map(|(steps, texts)| (walk(origin.at, &steps), texts))
            .collect(),
        texts: texts
            .into_iter()
            .map(|(steps, text)| (walk(origin.at, &steps), text))
            .collect(),
    };
    Prepared {
        values,
        source: Arc::new(source),
        at: origin.at.to_owned(),
        failures,
        problems,
    }
}

impl Prepared {
    /// A report about this tree, which begins with what could not be prepared.
    pub(super) fn report(&self) -> Report<'_> {
        let mut report = Report::of_table(&self.source, &self.at);
        for problem in &self.problems {
            report.note(problem.clone());
        }
        for Failure {
            steps,
            reason,
            remedy,
        } in &self.failures
        {
            report.add(&walk("", steps), Code::Unreadable, reason, Some(remedy));
        }
        report
    }
}
