//! Dead letters: what could not be delivered, kept with its payload and headers byte for byte, and the reason beside it.

use std::{fmt, time::SystemTime};

use bytes::{Bytes, BytesMut};
use iggy_connector_message::{TopicMetadata, headers};

use super::Produced;
use crate::config::{Secrets, spec::Direction};

/// Longest value of a header, by Iggy's rules.
const MAX_VALUE: usize = 255;
/// Longest payload, by Iggy's rules.
const MAX_PAYLOAD: usize = 64_000_000;
/// Payload of one part of what is too large.
const PART: usize = 8 * 1024 * 1024;

/// What is the same in every dead letter of a connector.
#[derive(Clone, Debug)]
pub struct Sender {
    pub connector: String,
    pub direction: Direction,
    pub config_version: u32,
    pub plugin_version: String,
    /// What no reason may show: a plugin's may quote its configuration.
    pub secrets: Secrets,
}

/// Why and where one message could not be delivered.
#[derive(Clone, Debug)]
pub struct Reason<'a> {
    /// `decode`, `transform`, `encode` or `deliver`.
    pub stage: &'static str,
    /// A stable word: `invalid`, `exhausted` or `unconfirmed`.
    pub code: &'static str,
    pub error: &'a str,
    /// How often it was tried.
    pub attempts: u32,
}

/// Where the message stands, or was to go.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Without names when it was to go nowhere.
    pub topic: &'a TopicMetadata,
    /// Sinks only.
    pub partition_and_offset: Option<(u32, u64)>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.topic {
            topic if topic.stream.is_empty() => f.write_str("no topic")?,
            topic => write!(f, "{}/{}", topic.stream, topic.topic)?,
        }
        match self.partition_and_offset {
            Some((partition, offset)) => write!(f, ", partition {partition}, offset {offset}"),
            None => Ok(()),
        }
    }
}

impl Sender {
    /// The dead letter of a message with these headers and this payload. What Iggy would not take as it is, because it is too large or
    /// because its headers are none, comes in parts whose payloads are to be joined.
    pub fn letters(
        &self,
        headers: &Bytes,
        payload: &Bytes,
        place: Place<'_>,
        reason: &Reason<'_>,
    ) -> Vec<Produced> {
        if payload.len() <= MAX_PAYLOAD && headers::decode(headers).is_ok() {
            return vec![self.letter(headers, payload, place, reason)];
        }
        let parts: Vec<_> = parts("headers", headers)
            .chain(parts("payload", payload))
            .collect();
        let letter = uuid::Uuid::new_v4().to_string();
        let part = |(at, (of, bytes)): (usize, &(&str, Bytes))| {
            let mut headers = self.headers(place, reason);
            push(&mut headers, "dlq.letter", &letter);
            push(&mut headers, "dlq.part", &(at + 1).to_string());
            push(&mut headers, "dlq.parts", &parts.len().to_string());
            push(&mut headers, "dlq.part_of", of);
            Produced {
                headers: headers.into(),
                payload: bytes.clone(),
                ..Produced::default()
            }
        };
        parts.iter().enumerate().map(part).collect()
    }

    fn letter(
        &self,
        headers: &Bytes,
        payload: &Bytes,
        place: Place<'_>,
        reason: &Reason<'_>,
    ) -> Produced {
        let added = self.headers(place, reason);
        let headers = [added, Self::fewest(&self.connector, place, reason)]
            .into_iter()
            .find(|added| headers.len() + added.len() <= headers::MAX_ENCODED_LEN)
            .map_or_else(|| headers.clone(), |added| joined(headers, &added));
        Produced {
            headers,
            payload: payload.clone(),
            ..Produced::default()
        }
    }

    fn headers(&self, place: Place<'_>, reason: &Reason<'_>) -> Vec<u8> {
        let timestamp = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let attempts = reason.attempts.to_string();
        let version = self.config_version.to_string();
        // Before it is cut: half a secret would be no longer known.
        let error = self.secrets.hide(reason.error);
        let mut added = vec![
            ("dlq.direction", self.direction.name()),
            ("dlq.stage", reason.stage),
            ("dlq.error", &error),
            ("dlq.stream", &place.topic.stream),
            ("dlq.topic", &place.topic.topic),
            ("dlq.attempts", &attempts),
            ("dlq.timestamp", &timestamp),
            ("dlq.config_version", &version),
            ("dlq.plugin_version", &self.plugin_version),
        ];
        let mut bytes = Self::fewest(&self.connector, place, reason);
        for (key, value) in added.drain(..) {
            push(&mut bytes, key, value);
        }
        bytes
    }

    /// What is added even when there is no room for the rest.
    fn fewest(connector: &str, place: Place<'_>, reason: &Reason<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        push(&mut bytes, "dlq.connector", connector);
        push(&mut bytes, "dlq.error_code", reason.code);
        if let Some((partition, offset)) = place.partition_and_offset {
            push(&mut bytes, "dlq.partition", &partition.to_string());
            push(&mut bytes, "dlq.offset", &offset.to_string());
        }
        bytes
    }
}

/// The bytes in pieces that are sent with ease, each with what it is a part of.
fn parts<'a>(of: &'a str, bytes: &'a Bytes) -> impl Iterator<Item = (&'a str, Bytes)> {
    let starts = (0..bytes.len()).step_by(PART);
    starts.map(move |start| {
        let end = bytes.len().min(start + PART);
        (of, bytes.slice(start..end))
    })
}

/// Appends one text header in Iggy's encoding, in which headers stand one after another. An empty value is left out.
fn push(bytes: &mut Vec<u8>, key: &str, value: &str) {
    let value = cut(value);
    let (Ok(key), Ok(value)) = (
        headers::HeaderKey::try_from(key),
        headers::HeaderValue::try_from(value),
    ) else {
        return;
    };
    bytes.extend(headers::encode(&headers::UserHeaders::from([(key, value)])));
}

/// Cuts on a character's boundary.
fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_VALUE)]
}

fn joined(original: &Bytes, added: &[u8]) -> Bytes {
    let mut headers = BytesMut::with_capacity(original.len() + added.len());
    headers.extend_from_slice(original);
    headers.extend_from_slice(added);
    headers.freeze()
}

#[cfg(test)]
mod tests {
    use iggy_connector_message::headers::{HeaderKey, HeaderValue, UserHeaders};

    use super::*;

    fn sender() -> Sender {
        Sender {
            connector: "quickwit".to_owned(),
            direction: Direction::Sink,
            config_version: 3,
            plugin_version: "0.1.0".to_owned(),
            secrets: Secrets::default(),
        }
    }

    fn topic() -> TopicMetadata {
        TopicMetadata {
            stream: "qw".to_owned(),
            topic: "records".to_owned(),
        }
    }

    fn letter(headers: &Bytes, error: &str) -> Produced {
        let reason = Reason {
            stage: "deliver",
            code: "invalid",
            error,
            attempts: 2,
        };
        let topic = topic();
        let place = Place {
            topic: &topic,
            partition_and_offset: Some((1, 42)),
        };
        sender().letter(headers, &Bytes::from_static(b"{"), place, &reason)
    }

    fn letters(headers: &Bytes, payload: &Bytes) -> Vec<Produced> {
        let reason = Reason {
            stage: "deliver",
            code: "invalid",
            error: "too large",
            attempts: 1,
        };
        let topic = topic();
        let place = Place {
            topic: &topic,
            partition_and_offset: None,
        };
        sender().letters(headers, payload, place, &reason)
    }

    /// The payloads of the parts of something, joined.
    fn joined_parts(letters: &[Produced], of: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, letter) in letters.iter().enumerate() {
            let headers = headers::decode(&letter.headers).unwrap();
            let text = |key| text(&headers, key).unwrap();
            assert_eq!(text("dlq.part"), (at + 1).to_string());
            assert_eq!(text("dlq.parts"), letters.len().to_string());
            assert_eq!(text("dlq.error"), "too large");
            if text("dlq.part_of") == of {
                bytes.extend_from_slice(&letter.payload);
            }
        }
        bytes
    }

    #[test]
    fn what_iggy_would_not_take_comes_in_parts_and_is_whole_when_they_are_joined() {
        let large: Bytes = (0..MAX_PAYLOAD + 1).map(|at| at as u8).collect();
        let fits = large.slice(1..);
        assert_eq!(letters(&Bytes::new(), &fits).len(), 1);
        let parts = letters(&Bytes::new(), &large);
        assert!(parts.iter().all(|part| part.payload.len() <= PART));
        assert!(joined_parts(&parts, "payload") == large);
        assert!(joined_parts(&parts, "headers").is_empty());

        let too_many = Bytes::from(vec![7; headers::MAX_ENCODED_LEN + 1]);
        let none = Bytes::from_static(&[1, 2, 3]);
        for headers in [too_many, none] {
            let payload = Bytes::from_static(b"{}");
            let parts = letters(&headers, &payload);
            assert_eq!(parts.len(), 2);
            assert!(joined_parts(&parts, "headers") == headers);
            assert_eq!(joined_parts(&parts, "payload"), b"{}");
            let name = |part: &Produced| {
                let headers = headers::decode(&part.headers).unwrap();
                text(&headers, "dlq.letter").unwrap()
            };
            assert_eq!(name(&parts[0]), name(&parts[1]));
        }
    }

    fn text(headers: &UserHeaders, key: &str) -> Option<String> {
        let value = headers.get(&HeaderKey::try_from(key).unwrap())?;
        Some(value.as_str().unwrap().to_owned())
    }

    #[test]
    fn the_original_is_kept_byte_for_byte_and_the_reason_stands_beside_it() {
        let original = UserHeaders::from([(
            HeaderKey::try_from("trace").unwrap(),
            HeaderValue::from(7_u64),
        )]);
        let original = Bytes::from(headers::encode(&original));
        let letter = letter(&original, "no such field");
        assert_eq!(letter.payload, "{");
        assert!(letter.headers.starts_with(&original));
        let headers = headers::decode(&letter.headers).unwrap();
        for (key, expected) in [
            ("dlq.connector", "quickwit"),
            ("dlq.direction", "sink"),
            ("dlq.stage", "deliver"),
            ("dlq.error_code", "invalid"),
            ("dlq.error", "no such field"),
            ("dlq.stream", "qw"),
            ("dlq.topic", "records"),
            ("dlq.partition", "1"),
            ("dlq.offset", "42"),
            ("dlq.attempts", "2"),
            ("dlq.config_version", "3"),
            ("dlq.plugin_version", "0.1.0"),
        ] {
            assert_eq!(text(&headers, key).as_deref(), Some(expected), "{key}");
        }
        assert!(text(&headers, "dlq.timestamp").unwrap().ends_with('Z'));
    }

    #[test]
    fn a_long_reason_is_cut_on_a_character_and_an_empty_one_left_out() {
        let headers = headers::decode(&letter(&Bytes::new(), &"ä".repeat(300)).headers).unwrap();
        assert_eq!(text(&headers, "dlq.error").unwrap(), "ä".repeat(127));
        let headers = headers::decode(&letter(&Bytes::new(), "").headers).unwrap();
        assert_eq!(text(&headers, "dlq.error"), None);
    }

    #[test]
    fn a_reason_does_not_tell_a_secret_wherever_it_is_cut() {
        for before in [0, 200, 250] {
            let error = format!("{}c4nary-in-a-reason", "x ".repeat(before / 2));
            let of_me = sender();
            of_me.secrets.learn("c4nary-in-a-reason");
            let reason = Reason {
                stage: "deliver",
                code: "invalid",
                error: &error,
                attempts: 1,
            };
            let topic = topic();
            let place = Place {
                topic: &topic,
                partition_and_offset: None,
            };
            let letters = of_me.letters(&Bytes::new(), &Bytes::new(), place, &reason);
            let headers = headers::decode(&letters[0].headers).unwrap();
            let shown = text(&headers, "dlq.error").unwrap();
            assert!(!shown.contains("c4n"), "{shown}");
            assert!(shown.ends_with("***"), "{shown}");
        }
    }

    #[test]
    fn headers_without_room_keep_what_names_the_message() {
        let original = |pairs: usize| {
            let pair = |number: usize| {
                let key = HeaderKey::try_from(format!("{number:0>200}").as_str()).unwrap();
                (
                    key,
                    HeaderValue::try_from("x".repeat(255).as_str()).unwrap(),
                )
            };
            Bytes::from(headers::encode(&(0..pairs).map(pair).collect()))
        };
        let pair = original(1).len();
        let roomy = original((headers::MAX_ENCODED_LEN - 200) / pair);
        let kept = letter(&roomy, &"x".repeat(255));
        assert!(kept.headers.starts_with(&roomy) && kept.headers.len() <= headers::MAX_ENCODED_LEN);
        let read = headers::decode(&kept.headers).unwrap();
        assert_eq!(text(&read, "dlq.offset").as_deref(), Some("42"));
    }
}
