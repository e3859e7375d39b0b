//! The JSON Schema that a plugin exports for its configuration: [`PluginSchema`]. It says what is wrong with one before the plugin is
//! opened, what type a text is to be read as, and which keys are secret.

use std::fmt;

use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::Value;

use super::{keys::Kind, path::Step, problem::Code, strict::kind, suggest::suggest};

/// How deep references and alternatives are followed from one value.
const DEEPEST: usize = 32;

/// A plugin's schema, ready to be used.
pub struct PluginSchema {
    root: Value,
    validator: Validator,
}

/// What does not fit the schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) steps: Vec<Step>,
    pub(super) code: Code,
    pub(super) reason: String,
    pub(super) remedy: Option<String>,
}

impl PluginSchema {
    /// Reads a schema.
    ///
    /// # Errors
    ///
    /// Why the text is no JSON Schema, or none that stands on its own.
    pub fn parse(text: &str) -> Result<Self, String> {
        let root: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let validator = jsonschema::options()
            .should_validate_formats(false)
            .build(&root)
            .map_err(|error| error.to_string())?;
        Ok(Self { root, validator })
    }

    /// The schema as the plugin wrote it.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Everything in a configuration that does not fit.
    pub(super) fn flaws(&self, config: &Value) -> Vec<Flaw> {
        let mut flaws = vec![];
        for error in self.validator.iter_errors(config) {
            self.explain(&error, config, &mut flaws);
        }
        flaws
    }

    /// Whether the schema marks what stands there as secret: `writeOnly`, or `format: password`.
    pub(super) fn is_secret_at(&self, steps: &[Step]) -> bool {
        self.at(steps).iter().any(|schema| {
            schema.get("writeOnly") == Some(&Value::Bool(true))
                || schema.get("format").and_then(Value::as_str) == Some("password")
        })
    }

    /// What a text that stands there is to be read as; `None` when the schema does not say.
    pub(super) fn kind_at(&self, steps: &[Step]) -> Option<Kind> {
        let schemas = self.at(steps);
        let mut types = schemas
            .iter()
            .flat_map(|schema| types(schema))
            .collect::<Vec<_>>();
        types.retain(|name| *name != "null");
        // A text that may stay one does.
        [
            ("string", Kind::Text),
            ("boolean", Kind::Boolean),
            ("integer", Kind::Number),
            ("number", Kind::Number),
            ("array", Kind::List),
            ("object", Kind::Table),
        ]
        .into_iter()
        .find(|(name, _)| types.contains(name))
        .map(|(_, kind)| kind)
    }

    /// The schemas that say something about a place.
    fn at(&self, steps: &[Step]) -> Vec<&Value> {
        let mut schemas = self.meant(&self.root, DEEPEST);
        for step in steps {
            schemas = schemas
                .into_iter()
                .filter_map(|schema| inner(schema, step))
                .flat_map(|schema| self.meant(schema, DEEPEST))
                .collect();
        }
        schemas
    }

    /// A schema and those that it refers to or chooses from.
    fn meant<'a>(&'a self, schema: &'a Value, depth: usize) -> Vec<&'a Value> {
        let mut all = vec![schema];
        if depth == 0 {
            return all;
        }
        let reference = schema.get("$ref").and_then(Value::as_str);
        let referred = reference
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| self.root.pointer(pointer));
        let choices = ["anyOf", "oneOf", "allOf"]
            .into_iter()
            .filter_map(|keyword| schema.get(keyword)?.as_array())
            .flatten();
        let conditional = ["then", "else"]
            .into_iter()
            .filter_map(|keyword| schema.get(keyword));
        for schema in referred.into_iter().chain(choices).chain(conditional) {
            all.extend(self.meant(schema, depth - 1));
        }
        all
    }

    /// Says in our words what is wrong, without the value, which may be a secret.
    fn explain(&self, error: &ValidationError<'_>, config: &Value, flaws: &mut Vec<Flaw>) {
        let steps = steps(error.instance_path().as_str(), config);
        let mut add = |steps: Vec<Step>, code, reason: String, remedy| {
            flaws.push(Flaw {
                steps,
                code,
                reason,
                remedy,
            });
        };
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = self.names_at(&steps);
                for key in unexpected {
                    let mut place = steps.clone();
                    place.push(Step::Key(key.clone()));
                    let remedy = suggest(key, &known);
                    add(place, Code::UnknownKey, "unknown key".to_owned(), remedy);
                }
            }
            ValidationErrorKind::Required { property } => {
                let mut place = steps;
                place.push(Step::Key(property.as_str().unwrap_or_default().to_owned()));
                let remedy = Some("the plugin does nothing without it".to_owned());
                add(place, Code::Missing, "missing".to_owned(), remedy);
            }
            ValidationErrorKind::Type { kind: expected } => {
                let found = error.instance();
                add(steps, Code::Invalid, mismatch(expected, found), None);
            }
            ValidationErrorKind::Enum { options } => {
                let words: Vec<_> = options
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                let remedy = suggest(error.instance().as_str().unwrap_or_default(), &words);
                add(steps, Code::Invalid, "unknown value".to_owned(), remedy);
            }
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context } => match nearest(context) {
                Some(errors) => {
                    for error in errors {
                        self.explain(error, config, flaws);
                    }
                }
                None => {
                    let words = self.constants_at(&steps);
                    let remedy = suggest(error.instance().as_str().unwrap_or_default(), &words);
                    add(
                        steps,
                        Code::Invalid,
                        "it is none of what is expected".to_owned(),
                        remedy,
                    );
                }
            },
            _ => add(
                steps,
                Code::Invalid,
                error.masked_with("it").to_string(),
                None,
            ),
        }
    }

    /// The names of the keys that a table there may have.
    fn names_at(&self, steps: &[Step]) -> Vec<&str> {
        let tables = self
            .at(steps)
            .into_iter()
            .filter_map(|schema| schema.get("properties")?.as_object());
        tables
            .flat_map(|table| table.keys().map(String::as_str))
            .collect()
    }

    /// The words that may stand there.
    fn constants_at(&self, steps: &[Step]) -> Vec<&str> {
        let schemas = self.at(steps).into_iter();
        schemas
            .flat_map(|schema| {
                let words = schema
                    .get("enum")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten();
                schema.get("const").into_iter().chain(words)
            })
            .filter_map(Value::as_str)
            .collect()
    }
}

impl fmt::Debug for PluginSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginSchema").finish_non_exhaustive()
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => match schema
            .get("const")
            .into_iter()
            .chain(schema.get("enum"))
            .next()
        {
            Some(Value::Array(_) | Value::String(_)) => vec!["string"],
            _ => vec![],
        },
    }
}

/// The schema of a value inside what another one describes.
fn inner<'a>(schema: &'a Value, step: &Step) -> Option<&'a Value> {
    match step {
        Step::Key(key) => schema
            .get("properties")
            .and_then(|properties| properties.get(key))
            .or_else(|| schema.get("additionalProperties")),
        Step::Index(index) => schema
            .get("prefixItems")
            .and_then(|items| items.get(index))
            .or_else(|| schema.get("items")),
    }
}

/// The alternative that was most likely meant: the one that took the value's type, with the fewest errors.
fn nearest<'a>(
    context: &'a [Vec<ValidationError<'static>>],
) -> Option<&'a Vec<ValidationError<'static>>> {
    let is_other = |error: &ValidationError<'_>| {
        let is_here = matches!(
            error.kind(),
            ValidationErrorKind::Type { .. } | ValidationErrorKind::Constant { .. }
        );
        is_here && error.instance_path().as_str().is_empty()
    };
    // Alternatives for one value begin at the same place; the shortest path of all is that of the value itself.
    let place = context
        .iter()
        .flatten()
        .map(|error| error.instance_path().as_str().len())
        .min()?;
    let is_of_type = |errors: &&Vec<ValidationError<'static>>| {
        !errors.iter().any(|error| {
            is_other(error)
                || error.instance_path().as_str().len() == place
                    && matches!(
                        error.kind(),
                        ValidationErrorKind::Type { .. } | ValidationErrorKind::Constant { .. }
                    )
        })
    };
    let of_type = context
        .iter()
        .filter(is_of_type)
        .min_by_key(|errors| errors.len());
    // Only one that is not `null`: its type is what is expected.
    let is_null = |errors: &Vec<ValidationError<'static>>| {
        errors.iter().any(|error| {
            matches!(
                error.kind(),
                ValidationErrorKind::Type {
                    kind: TypeKind::Single(JsonType::Null)
                }
            )
        })
    };
    of_type.or_else(|| {
        let mut others = context.iter().filter(|errors| !is_null(errors));
        match (others.next(), others.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    })
}

fn mismatch(expected: &TypeKind, found: &Value) -> String {
    let names: Vec<_> = match expected {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(several) => several.iter().collect(),
    }
    .into_iter()
    .filter(|name| *name != JsonType::Null)
    .map(expectation)
    .collect();
    let found = match found {
        Value::Number(number) if names.contains(&"a whole number") && number.is_f64() => {
            "a fraction"
        }
        other => kind(other),
    };
    format!("{} is expected, not {found}", names.join(" or "))
}

fn expectation(name: JsonType) -> &'static str {
    match name {
        JsonType::Null => "nothing",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a string",
        JsonType::Array => "a list",
        JsonType::Object => "a table",
    }
}

/// The steps of a JSON pointer through a value, which tells lists and tables apart.
fn steps(pointer: &str, value: &Value) -> Vec<Step> {
    let (mut steps, mut value) = (vec![], Some(value));
    for word in pointer.split('/').skip(1) {
        let key = word.replace("~1", "/").replace("~0", "~");
        let index = value
            .and_then(Value::as_array)
            .and_then(|_| key.parse::<usize>().ok());
        match index {
            Some(index) => {
                value = value.and_then(|value| value.get(index));
                steps.push(Step::Index(index));
            }
            None => {
                value = value.and_then(|value| value.get(&key));
                steps.push(Step::Key(key));
            }
        }
    }
    steps
}
