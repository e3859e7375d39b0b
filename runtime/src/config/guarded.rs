//! A part of a configuration as it is used, which knows what of it may be shown: [`Guarded`].

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde_json::Value;

use super::{
    path::{Step, around, field, walk},
    plugin_schema::PluginSchema,
    problem::{Code, Problem, Problems, Report, Source},
    secrets::{HIDDEN, Secrets},
    text,
};

/// A value of a configuration, with the places that are secret.
#[derive(Clone)]
pub struct Guarded {
    value: Value,
    /// The file it was read from, with what is known of each place in it.
    source: Arc<Source>,
    /// Where it stands in that file.
    at: String,
    /// Secret places that a plugin's schema names, by their path in that file.
    marked: BTreeSet<String>,
}

impl Guarded {
    pub(super) fn new(value: Value, source: &Arc<Source>, at: String) -> Self {
        Self {
            value,
            source: source.clone(),
            at,
            marked: BTreeSet::new(),
        }
    }

    /// The value itself, secrets and all: for whoever works with it.
    pub fn expose(&self) -> &Value {
        &self.value
    }

    /// The value with `***` in place of each secret.
    pub fn shown(&self) -> Value {
        let mut shown = self.value.clone();
        self.hide_in(&mut shown);
        shown
    }

    /// Puts `***` in place of what is secret in `value`, which has keys of this document at their places, and maybe others.
    pub fn hide_in(&self, value: &mut Value) {
        each_leaf(value, &mut vec![], &mut |steps, leaf| {
            if !leaf.is_null() && self.is_secret(steps) {
                *leaf = Value::from(HIDDEN);
            }
        });
    }

    /// The document as its plugin's schema wants it: texts from outside the file in the schema's types, and what the schema calls
    /// secret hidden from now on, in `secrets` too.
    ///
    /// # Errors
    ///
    /// Everything in it that does not fit the schema.
    pub fn fitted(&self, schema: &PluginSchema, secrets: &Secrets) -> Result<Self, Problems> {
        let mut fitted = self.clone();
        each_leaf(&mut fitted.value, &mut vec![], &mut |steps, leaf| {
            let written = self.source.texts.get(&walk(&self.at, steps));
            if let Some(typed) = written.and_then(|text| typed(text, schema, steps)) {
                *leaf = typed;
            }
        });
        fitted.mark(schema, secrets);
        let mut report = Report::of_table(&self.source, &self.at);
        for flaw in schema.flaws(&fitted.value) {
            let path = walk("", &flaw.steps);
            report.add(&path, flaw.code, flaw.reason, flaw.remedy.as_deref());
        }
        match report.into_problems() {
            problems if problems.is_empty() => Ok(fitted),
            problems => Err(Problems(problems)),
        }
    }

    /// The same document with what its plugin's schema calls secret hidden from now on, in `secrets` too, whether it fits or not.
    #[must_use]
    pub fn marked(&self, schema: &PluginSchema, secrets: &Secrets) -> Self {
        let mut marked = self.clone();
        marked.mark(schema, secrets);
        marked
    }

    /// A problem of a key of this document, with its file and line.
    pub fn problem(&self, key: &str, reason: &str) -> Problem {
        Problem {
            origin: self.source.origin(&field(&self.at, key)),
            key: field(&self.at, key),
            code: Code::Invalid,
            reason: reason.to_owned(),
            remedy: None,
        }
    }

    /// The problem of a key that this document lacks.
    pub(super) fn missing(&self, key: &str, remedy: &str) -> Problem {
        Problem {
            code: Code::Missing,
            ..self.problem(key, "missing").with_remedy(remedy)
        }
    }

    /// Takes note of what the schema calls secret.
    fn mark(&mut self, schema: &PluginSchema, secrets: &Secrets) {
        each_leaf(&mut self.value, &mut vec![], &mut |steps, leaf| {
            let calls_secret = (0..=steps.len()).any(|end| schema.is_secret_at(&steps[..end]));
            if !calls_secret {
                return;
            }
            self.marked.insert(walk(&self.at, steps));
            if let Value::String(text) = leaf {
                secrets.learn(text);
            }
        });
    }

    fn is_secret(&self, steps: &[Step]) -> bool {
        let path = walk(&self.at, steps);
        around(&path)
            .any(|path| self.marked.contains(path) || self.source.secrets.contains_key(path))
    }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Says only that there is one: what is secret in a plugin's configuration is not known before the plugin is loaded.
impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// A text in the type that the schema expects there. One that cannot be read so stays, and the schema refuses it by its type.
fn typed(written: &str, schema: &PluginSchema, steps: &[Step]) -> Option<Value> {
    text::read(written, schema.kind_at(steps)?).ok()
}

/// Visits every value that holds no others.
fn each_leaf(
    value: &mut Value,
    steps: &mut Vec<Step>,
    visit: &mut impl FnMut(&[Step], &mut Value),
) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (key, value) in table {
                steps.push(Step::Key(key.clone()));
                each_leaf(value, steps, visit);
                steps.pop();
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter_mut().enumerate() {
                steps.push(Step::Index(index));
                each_leaf(value, steps, visit);
                steps.pop();
            }
        }
        leaf => visit(steps, leaf),
    }
}
