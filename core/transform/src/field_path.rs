//! The way to a field inside nested objects, as configurations write it: [`FieldPath`].

use std::{fmt, str::FromStr};

use iggy_connector_message::Error;
use serde::{Deserialize, Serialize};
use simd_json::{OwnedValue, StaticNode, owned::Object};

/// The way to a field: keys of nested objects, joined by dots.
///
/// `user.address.city` is the field `city` of the object `address` of the object `user`. A dot that belongs to a key is
/// written `\.`, a backslash before a dot or a backslash `\\`.
///
/// Ways lead through objects only. What is missing or null on the way counts as an empty object; anything else there is an
/// error of that message, since the field it should have cannot be set, or may stand where it is not looked for (in an array).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPath {
    parents: Vec<String>,
    key: String,
}

impl FieldPath {
    /// Sets the field, making the objects on the way to it that are missing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecordValue`] when something on the way is not an object.
    pub fn set(&self, root: &mut OwnedValue, value: OwnedValue) -> Result<(), Error> {
        let mut object = object_mut(root).map_err(|found| self.blocked(0, found))?;
        for (depth, key) in self.parents.iter().enumerate() {
            let next = object.entry(key.clone()).or_insert_with(empty_object);
            if is_null(next) {
                *next = empty_object();
            }
            object = object_mut(next).map_err(|found| self.blocked(depth + 1, found))?;
        }
        remove_all(object, &self.key);
        object.insert(self.key.clone(), value);
        Ok(())
    }

    /// Removes the field, if it is there.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecordValue`] when something on the way is not an object.
    pub fn remove(&self, root: &mut OwnedValue) -> Result<(), Error> {
        let mut object = object_mut(root).map_err(|found| self.blocked(0, found))?;
        for (depth, key) in self.parents.iter().enumerate() {
            let Some(next) = object.get_mut(key).filter(|next| !is_null(next)) else {
                return Ok(());
            };
            object = object_mut(next).map_err(|found| self.blocked(depth + 1, found))?;
        }
        remove_all(object, &self.key);
        Ok(())
    }

    fn blocked(&self, depth: usize, found: &str) -> Error {
        let way = match depth {
            0 => "the payload".to_owned(),
            _ => format!("`{}`", join(&self.parents[..depth])),
        };
        Error::InvalidRecordValue(format!("field `{self}`: {way} is {found}, not an object"))
    }
}

/// As it is written in a configuration.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for parent in &self.parents {
            write!(f, "{}.", escape(parent))?;
        }
        f.write_str(&escape(&self.key))
    }
}

impl FromStr for FieldPath {
    type Err = Error;

    fn from_str(path: &str) -> Result<Self, Error> {
        let mut parents = split(path);
        if parents.iter().any(String::is_empty) {
            return Err(Error::InvalidConfigValue(empty_part(path)));
        }
        let key = parents.pop().unwrap_or_default();
        Ok(Self { parents, key })
    }
}

impl TryFrom<String> for FieldPath {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        path.parse().map_err(|_| empty_part(&path))
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> Self {
        path.to_string()
    }
}

/// Splits at dots that are not escaped; there is always at least one part.
fn split(path: &str) -> Vec<String> {
    let mut parts = vec![];
    let mut part = String::new();
    let mut letters = path.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '.' => parts.push(std::mem::take(&mut part)),
            '\\' => part.push(
                letters
                    .next_if(|next| matches!(next, '.' | '\\'))
                    .unwrap_or('\\'),
            ),
            _ => part.push(letter),
        }
    }
    parts.push(part);
    parts
}

fn join(keys: &[String]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| escape(key)).collect();
    keys.join(".")
}

fn escape(key: &str) -> String {
    key.replace('\\', "\\\\").replace('.', "\\.")
}

fn empty_part(path: &str) -> String {
    format!("the path `{path}` has an empty part; a literal dot is written `\\.`")
}

fn empty_object() -> OwnedValue {
    OwnedValue::Object(Box::default())
}

fn is_null(value: &OwnedValue) -> bool {
    matches!(value, OwnedValue::Static(StaticNode::Null))
}

/// Removes a key as often as it is there: a parsed object keeps repeated keys, and a reader may take any of them.
fn remove_all(object: &mut Object, key: &str) {
    while object.remove(key).is_some() {}
}

fn object_mut(value: &mut OwnedValue) -> Result<&mut Object, &'static str> {
    match value {
        OwnedValue::Object(object) => Ok(object),
        OwnedValue::Array(_) => Err("an array"),
        OwnedValue::String(_) => Err("a string"),
        OwnedValue::Static(StaticNode::Null) => Err("null"),
        OwnedValue::Static(StaticNode::Bool(_)) => Err("a boolean"),
        OwnedValue::Static(_) => Err("a number"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simd_json::json;

    use super::*;

    fn path(text: &str) -> FieldPath {
        text.parse().unwrap()
    }

    #[test]
    fn dots_split_unless_escaped() {
        let cases: [(&str, &[&str]); 6] = [
            ("city", &["city"]),
            ("user.address.city", &["user", "address", "city"]),
            (r"user\.name.first", &["user.name", "first"]),
            (r"a\\.b", &["a\\", "b"]),
            (r"c:\dir", &[r"c:\dir"]),
            ("имя. ", &["имя", " "]),
        ];
        for (text, keys) in cases {
            assert_eq!(split(text), keys, "{text}");
            let path = path(text);
            assert_eq!(path.to_string().parse(), Ok(path), "{text}");
        }
        for empty in ["", ".", "a.", ".a", "a..b"] {
            assert!(empty.parse::<FieldPath>().is_err(), "{empty}");
        }
    }

    #[test]
    fn setting_makes_the_objects_on_the_way() {
        let cases = [
            ("a", json!({}), json!({"a": 1})),
            ("a", json!({"a": {"b": 2}}), json!({"a": 1})),
            (
                "a.b.c",
                json!({"z": 0}),
                json!({"z": 0, "a": {"b": {"c": 1}}}),
            ),
            (
                "a.b",
                json!({"a": {"c": 2}}),
                json!({"a": {"c": 2, "b": 1}}),
            ),
            ("a.b", json!({"a": null}), json!({"a": {"b": 1}})),
            (r"a\.b", json!({"a": 2}), json!({"a": 2, "a.b": 1})),
        ];
        for (text, mut root, expected) in cases {
            path(text).set(&mut root, 1.into()).unwrap();
            assert_eq!(root, expected, "{text}");
        }
    }

    #[test]
    fn removing_leaves_everything_else() {
        let cases = [
            ("a", json!({"a": {"b": 1}, "c": 2}), json!({"c": 2})),
            (
                "a.b",
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"c": 2}}),
            ),
            ("a.b", json!({"a": {"b": 1}}), json!({"a": {}})),
            ("a.b", json!({"c": 2}), json!({"c": 2})),
            ("a.b.c", json!({"a": null}), json!({"a": null})),
            (
                r"a\.b",
                json!({"a.b": 1, "a": {"b": 2}}),
                json!({"a": {"b": 2}}),
            ),
        ];
        for (text, mut root, expected) in cases {
            path(text).remove(&mut root).unwrap();
            assert_eq!(root, expected, "{text}");
        }
    }

    #[test]
    fn a_way_through_something_else_is_an_error_that_shows_no_value() {
        let cases = [
            ("a.b", json!({"a": "secret"}), "`a` is a string"),
            (
                "a.b.c",
                json!({"a": {"b": [{"c": 1}]}}),
                "`a.b` is an array",
            ),
            ("a.b", json!({"a": 5}), "`a` is a number"),
            ("a.b", json!({"a": true}), "`a` is a boolean"),
            ("a", json!([1]), "the payload is an array"),
            ("a", json!(null), "the payload is null"),
        ];
        for (text, root, found) in cases {
            let expected =
                Error::InvalidRecordValue(format!("field `{text}`: {found}, not an object"));
            let mut changed = root.clone();
            assert_eq!(
                path(text).set(&mut changed, 1.into()),
                Err(expected.clone())
            );
            assert_eq!(path(text).remove(&mut changed), Err(expected));
            assert_eq!(changed, root, "a refused message stays as it was");
        }
    }

    #[test]
    fn repeated_keys_are_all_removed() {
        let parse = |text: &str| simd_json::to_owned_value(&mut text.as_bytes().to_vec()).unwrap();
        let mut root = parse(r#"{"a": 1, "a": 2}"#);
        path("a").set(&mut root, 3.into()).unwrap();
        assert_eq!(simd_json::to_string(&root).unwrap(), r#"{"a":3}"#);
        let mut root = parse(r#"{"a": 1, "b": 0, "a": 2}"#);
        path("a").remove(&mut root).unwrap();
        assert_eq!(simd_json::to_string(&root).unwrap(), r#"{"b":0}"#);
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_an_error(text in any::<String>()) {
            if let Ok(path) = text.parse::<FieldPath>() {
                prop_assert_eq!(path.to_string().parse::<FieldPath>(), Ok(path));
            }
        }
    }
}
