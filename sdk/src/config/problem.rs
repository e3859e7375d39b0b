//! Why a configuration could not be read: [`Problem`].

use std::fmt;

use serde::de::{Error, Expected, Unexpected};
use simd_json::{OwnedValue, StaticNode};

/// Shorter texts are not taken out of a message about a map or a list: they are no secrets, and occur in words.
const SHORTEST_SECRET: usize = 4;

/// What does not fit, and where.
#[derive(Debug)]
pub(super) struct Problem {
    message: String,
    /// From the inside out.
    path: Vec<Segment>,
    /// The message may hold values: it was written by a type's own code.
    may_quote: bool,
}

#[derive(Debug)]
enum Segment {
    Field(String),
    Index(usize),
}

impl Problem {
    /// Says that the problem is inside this field.
    pub(super) fn in_field(mut self, name: &str) -> Self {
        self.path.push(Segment::Field(name.to_owned()));
        self
    }

    /// Says that the problem is inside this element.
    pub(super) fn in_element(mut self, index: usize) -> Self {
        self.path.push(Segment::Index(index));
        self
    }

    /// Takes the texts of `value` out of a message that may quote them.
    pub(super) fn within(mut self, value: &OwnedValue) -> Self {
        if self.may_quote {
            self.may_quote = false;
            redact(&mut self.message, value, 1);
        }
        self
    }

    fn new(message: String) -> Self {
        Self {
            message,
            path: Vec::new(),
            may_quote: false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plugin_config")?;
        for segment in self.path.iter().rev() {
            match segment {
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Problem {}

impl Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            may_quote: true,
            ..Self::new(message.to_string())
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!(
            "invalid type: {}, expected {expected}",
            kind(&unexpected)
        ))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!(
            "invalid value: {}, expected {expected}",
            kind(&unexpected)
        ))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("invalid length {length}, expected {expected}"))
    }

    fn unknown_variant(_variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown variant, expected {}", one_of(expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!(
            "unknown field `{field}`, expected {}",
            one_of(expected)
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("duplicate field `{field}`"))
    }
}

fn kind(unexpected: &Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "number",
        Unexpected::Char(_) | Unexpected::Str(_) => "string",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "list",
        Unexpected::Map => "map",
        _ => "value",
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [only] => format!("`{only}`"),
        many => {
            let quoted: Vec<_> = many.iter().map(|name| format!("`{name}`")).collect();
            format!("one of {}", quoted.join(", "))
        }
    }
}

fn redact(message: &mut String, value: &OwnedValue, shortest: usize) {
    match value {
        OwnedValue::String(text) => hide(message, text, shortest),
        OwnedValue::Static(StaticNode::Null | StaticNode::Bool(_)) => {}
        OwnedValue::Static(number) => hide(message, &number.to_string(), shortest),
        OwnedValue::Array(values) => {
            for value in values.iter() {
                redact(message, value, SHORTEST_SECRET);
            }
        }
        OwnedValue::Object(fields) => {
            for value in fields.values() {
                redact(message, value, SHORTEST_SECRET);
            }
        }
    }
}

fn hide(message: &mut String, text: &str, shortest: usize) {
    if text.len() >= shortest && message.contains(text) {
        *message = message.replace(text, "***");
    }
}
