//! Streams that a plugin proposes for a connector whose configuration names none: [`proposed`]. They are read and checked as those of a
//! file are. Called when the plugin has opened.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    connector::{ConnectorConfig, InputConfig, OutputConfig},
    problem::{Problem, Report, Source},
    resolve::{Entry, only_tables, transformable},
    spec::{Connector, Direction, Streams},
    strict,
};

/// Most entries.
const MOST: usize = 1000;
/// What to say about a connector that has no streams at all.
const NO_STREAMS: &str = "say where its messages are: add a `[[streams]]` entry";

/// What the connector's streams are when `plugin` proposes `entries`, the text of a JSON list, and the configuration has none.
///
/// # Errors
///
/// Nothing is proposed, or everything that is wrong with what is.
pub fn proposed(connector: &Connector, plugin: &str, entries: &str) -> Result<Streams, String> {
    let unusable = |why: String| {
        format!(
            "plugin `{plugin}` proposes streams that cannot be used: {why}; `[[streams]]` entries of the connector take their place"
        )
    };
    let entries = read(entries).map_err(unusable)?;
    if entries.is_empty() {
        return Err(connector.written.missing("streams", NO_STREAMS).to_string());
    }
    let resolved = match connector.direction {
        Direction::Sink => resolve::<InputConfig>(entries, connector),
        Direction::Source => resolve::<OutputConfig>(entries, connector),
    };
    resolved.map_err(|problems| unusable(in_words(&problems)))
}

fn read(text: &str) -> Result<Vec<Value>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Array(entries)) if entries.len() <= MOST => Ok(entries),
        Ok(Value::Array(entries)) => Err(format!("{} are more than {MOST}", entries.len())),
        Ok(other) => Err(format!("a list is expected, not {}", strict::kind(&other))),
        Err(error) => Err(format!("they are not JSON: {error}")),
    }
}

fn resolve<S>(entries: Vec<Value>, connector: &Connector) -> Result<Streams, Vec<Problem>>
where
    S: Entry + Serialize + DeserializeOwned,
{
    // They stand in no file.
    let source = Source::default();
    let mut report = Report::new(&source);
    let mut table = Map::from_iter([("streams".to_owned(), Value::Array(entries))]);
    only_tables(&mut table, &mut report);
    let config: ConnectorConfig<S> = strict::read(table, &mut report);
    if !connector.transforms.is_empty() {
        transformable(&config.streams, &mut report);
    }
    let streams = S::resolve(config.streams, &connector.key, &mut report);
    match report.into_problems() {
        problems if problems.is_empty() => Ok(streams),
        problems => Err(problems),
    }
}

fn in_words(problems: &[Problem]) -> String {
    let words = problems.iter().map(|problem| {
        let (key, reason) = (&problem.key, &problem.reason);
        match &problem.remedy {
            Some(remedy) => format!("`{key}`: {reason} ({remedy})"),
            None => format!("`{key}`: {reason}"),
        }
    });
    words.collect::<Vec<_>>().join("; ")
}
