//! Reads a transform's configuration strictly, and says in one sentence what is wrong: the key's path, and the nearest key.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The key that every transform has besides its own.
const ENABLED: &str = "enabled";

/// Takes `enabled` out of a configuration.
pub(crate) fn split_enabled(config: &Value) -> Result<(bool, Value), String> {
    let Value::Object(keys) = config else {
        return Err("a table is expected".into());
    };
    let enabled = match keys.get(ENABLED) {
        None => true,
        Some(Value::Bool(enabled)) => *enabled,
        Some(_) => return Err(format!("`{ENABLED}`: true or false is expected")),
    };
    let mut own = keys.clone();
    own.remove(ENABLED);
    Ok((enabled, Value::Object(own)))
}

/// Reads `config` as `T`, which denies unknown keys.
pub(crate) fn read<T: DeserializeOwned>(config: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(config).map_err(|error| {
        let place = error.path().to_string();
        let is_top_level = error.path().iter().count() == 1;
        let reason = reason(error.inner().to_string(), is_top_level);
        match place.as_str() {
            "." => reason,
            _ => format!("`{place}`: {reason}"),
        }
    })
}

/// Names the nearest of `known`, or all of them when none is near.
pub(crate) fn suggest(word: &str, known: &[&str]) -> String {
    let typos = (word.chars().count() / 3).max(1);
    let nearest = known
        .iter()
        .map(|known| (strsim::osa_distance(word, known), known))
        .filter(|(distance, _)| *distance <= typos)
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, nearest)) => format!("did you mean `{nearest}`?"),
        None => format!("known are `{}`", known.join("`, `")),
    }
}

/// Turns serde's two messages about unknown names into one with a suggestion; they quote the name and then all known ones.
fn reason(message: String, is_top_level: bool) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(word) = quoted.next() else {
        return message;
    };
    if message.starts_with("unknown field") {
        let known: Vec<_> = quoted.chain(is_top_level.then_some(ENABLED)).collect();
        return format!("unknown key; {}", suggest(word, &known));
    }
    if message.starts_with("unknown variant") {
        let known: Vec<_> = quoted.collect();
        return format!("unknown value `{word}`; {}", suggest(word, &known));
    }
    message
}
