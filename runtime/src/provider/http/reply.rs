//! What a configuration service answers, as far as it can be believed: where the data is, where an error.

use serde_json::Value;

use crate::config;

/// The longest text of a service that is repeated to people.
const MAX_TOLD: usize = 300;

/// Where services put why they refuse, when nobody says where.
const REASONS: [&str; 3] = ["reason", "message", "error"];

/// Finds data and errors in replies.
pub(super) struct Layout {
    pub(super) data_path: Option<String>,
    pub(super) error_path: Option<String>,
}

/// A reply with status 2xx.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    Data(Value),
    /// The service says that something went wrong.
    Error(String),
    /// The service says something else than it should.
    Odd(String),
}

impl Layout {
    /// Reads the body of a reply that says it is fine.
    pub(super) fn read(&self, body: &[u8]) -> Read {
        let reply = match parse(body) {
            Ok(reply) => reply,
            Err(reason) => return Read::Odd(reason),
        };
        if let Some(error) = self.error(&reply) {
            return Read::Error(told(error));
        }
        let Some(path) = &self.data_path else {
            return Read::Data(reply);
        };
        if reply.is_null() {
            return Read::Data(reply);
        }
        match at(&reply, path) {
            Some(data) => Read::Data(data.clone()),
            None => Read::Odd(format!(
                "its answer holds nothing at `{path}` (connectors.response.data_path)"
            )),
        }
    }

    /// Why a service says that it refuses.
    pub(super) fn reason(&self, body: &[u8]) -> Option<String> {
        let reply = parse(body).ok()?;
        let usual = || {
            let mut reasons = REASONS.iter().filter_map(|key| reply.get(key));
            reasons.find(|reason| reason.is_string())
        };
        self.error(&reply).or_else(usual).map(told)
    }

    fn error<'a>(&self, reply: &'a Value) -> Option<&'a Value> {
        let error = at(reply, self.error_path.as_deref()?)?;
        let is_none = matches!(error, Value::Null | Value::Bool(false)) || error == "";
        (!is_none).then_some(error)
    }
}

/// No body at all says nothing, which is enough for some requests.
fn parse(body: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(body).map_err(|_| "its answer is no text".to_owned())?;
    match text.trim() {
        "" => Ok(Value::Null),
        text => config::parse_json(text)
            .map_err(|reason| format!("its answer is no JSON: {}", shortened(&reason))),
    }
}

/// A value by its dotted path; numbers index lists.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Object(table) => table.get(step),
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

fn told(error: &Value) -> String {
    let reason = REASONS.iter().filter_map(|key| error.get(key)?.as_str());
    match (error.as_str(), reason.into_iter().next()) {
        (Some(text), _) | (None, Some(text)) => shortened(text),
        (None, None) => shortened(&error.to_string()),
    }
}

/// A text of a stranger, fit for a line of a log.
pub(super) fn shortened(text: &str) -> String {
    let mut letters = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    let short: String = letters.by_ref().take(MAX_TOLD).collect();
    match letters.next() {
        Some(_) => short + "…",
        None => short,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layout(data: &str, error: &str) -> Layout {
        let path = |path: &str| (!path.is_empty()).then(|| path.to_owned());
        Layout {
            data_path: path(data),
            error_path: path(error),
        }
    }

    fn check(data: &str, error: &str, body: &str, expected: Read) {
        assert_eq!(
            layout(data, error).read(body.as_bytes()),
            expected,
            "{body}"
        );
    }

    #[test]
    fn data_is_found_by_its_path() {
        let data = |value: Value| Read::Data(value);
        check("", "", r#"{"a": 1}"#, data(json!({ "a": 1 })));
        check("", "", " ", data(Value::Null));
        check(
            "data.0.x",
            "",
            r#"{"data": [{"x": [1]}]}"#,
            data(json!([1])),
        );
        check("data", "", "", data(Value::Null));
        let odd = "its answer holds nothing at `data.1` (connectors.response.data_path)";
        for body in [r#"{"data": [1]}"#, r#"{"data": 1}"#, "[1]", "5"] {
            check("data.1", "", body, Read::Odd(odd.into()));
        }
    }

    #[test]
    fn an_error_in_a_reply_wins_over_its_data() {
        let body = r#"{"data": 1, "error": {"code": 7, "reason": "no\nluck"}}"#;
        check("data", "error", body, Read::Error("no luck".into()));
        check(
            "data",
            "error",
            r#"{"data": 1, "error": [7]}"#,
            Read::Error("[7]".into()),
        );
        for fine in [r#"null"#, r#""""#, "false"] {
            let body = format!(r#"{{"data": 1, "error": {fine}}}"#);
            check("data", "error", &body, Read::Data(json!(1)));
        }
        check("data", "error", r#"{"data": 1}"#, Read::Data(json!(1)));
    }

    #[test]
    fn what_is_no_json_is_told_without_repeating_all_of_it() {
        let Read::Odd(reason) = layout("", "").read(b"<html>") else {
            panic!();
        };
        assert!(reason.starts_with("its answer is no JSON: "), "{reason}");
        let key = "x".repeat(10_000);
        let Read::Odd(reason) =
            layout("", "").read(format!("{{\"{key}\":1,\"{key}\":2}}").as_bytes())
        else {
            panic!();
        };
        assert!(reason.chars().count() < 400, "{reason}");
        check(
            "",
            "",
            "\u{feff}",
            Read::Odd("its answer is no JSON: expected value".into()),
        );
        assert_eq!(
            layout("", "").read(&[0xff, 0xfe]),
            Read::Odd("its answer is no text".into())
        );
        let nested = "[".repeat(100_000);
        assert!(matches!(
            layout("", "").read(nested.as_bytes()),
            Read::Odd(_)
        ));
    }

    #[test]
    fn a_refusal_is_told_with_the_reason_of_the_service() {
        let reason = |body: &str| layout("", "oops").reason(body.as_bytes());
        assert_eq!(reason(r#"{"oops": "a"}"#).as_deref(), Some("a"));
        assert_eq!(
            reason(r#"{"code": "x", "reason": "b"}"#).as_deref(),
            Some("b")
        );
        assert_eq!(reason(r#"{"message": "c"}"#).as_deref(), Some("c"));
        assert_eq!(reason("<html>"), None);
        assert_eq!(reason("[]"), None);
    }
}
