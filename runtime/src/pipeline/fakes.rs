//! What the tests of both loops work with: a journal of what happened, topics that fail on request, a policy.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use iggy_connector_message::TopicMetadata;
use iggy_connector_transform::Chain;
use serde_json::json;

use super::{
    Failure, FailureKind, Monitor, Produced, Producer, Rejected, Shipment,
    dead_letter::Sender,
    policy::{DeadLetters, Policy},
};
use crate::config::{
    Secrets,
    spec::{self, Direction, OnFailure},
};

/// What happened, in order, told by all fakes.
pub(super) type Journal = Arc<Mutex<Vec<String>>>;

pub(super) fn note(journal: &Journal, what: impl Into<String>) {
    journal.lock().unwrap().push(what.into());
}

pub(super) fn topic() -> Arc<TopicMetadata> {
    topic_of("s", "t")
}

pub(super) fn topic_of(stream: &str, topic: &str) -> Arc<TopicMetadata> {
    Arc::new(TopicMetadata {
        stream: stream.to_owned(),
        topic: topic.to_owned(),
    })
}

pub(super) fn add_hello() -> Chain {
    let config = json!({ "fields": [{ "key": "message", "value": { "static": "hello" } }] });
    Chain::from_config(&[("add_fields".to_owned(), config)]).unwrap()
}

/// A producer that journals what it is given, after failing as often as it is told.
pub(super) struct Topics {
    name: &'static str,
    /// How many messages are confirmed before each. A hung one never ends.
    failures: Mutex<VecDeque<(usize, Failure)>>,
    /// Payloads that are refused for good: before anything is sent, and only then.
    refused: Vec<&'static str>,
    refused_when_sent: Vec<&'static str>,
    journal: Journal,
    /// The headers of what was sent, in order.
    pub(super) headers: Mutex<Vec<bytes::Bytes>>,
}

impl Topics {
    pub(super) fn new(
        name: &'static str,
        failures: impl IntoIterator<Item = Failure>,
        journal: &Journal,
    ) -> Self {
        let failures = failures.into_iter().map(|failure| (0, failure));
        Self::confirming(name, failures, journal)
    }

    pub(super) fn confirming(
        name: &'static str,
        failures: impl IntoIterator<Item = (usize, Failure)>,
        journal: &Journal,
    ) -> Self {
        Self {
            name,
            failures: Mutex::new(failures.into_iter().collect()),
            refused: Vec::new(),
            refused_when_sent: Vec::new(),
            journal: journal.clone(),
            headers: Mutex::default(),
        }
    }

    pub(super) fn refusing(
        self,
        refused: Vec<&'static str>,
        refused_when_sent: Vec<&'static str>,
    ) -> Self {
        Self {
            refused,
            refused_when_sent,
            ..self
        }
    }
}

/// What is left of a batch: position, output, message.
#[derive(Default)]
pub(super) struct Parcel {
    left: Vec<(usize, usize, Produced)>,
    rejected: Vec<(Rejected, Produced)>,
}

impl Parcel {
    fn reject(&mut self, payloads: &[&'static str]) {
        let left = std::mem::take(&mut self.left).into_iter();
        let (refused, left): (Vec<_>, _) = left.partition(|(_, _, message)| {
            payloads
                .iter()
                .any(|payload| message.payload == payload.as_bytes())
        });
        self.left = left;
        self.rejected
            .extend(refused.into_iter().map(|(index, _, message)| {
                let rejected = Rejected {
                    index,
                    stage: "deliver",
                    message: "too large".to_owned(),
                };
                (rejected, message)
            }));
    }
}

impl Shipment for Parcel {
    fn take_rejected(&mut self) -> Vec<(Rejected, Produced)> {
        std::mem::take(&mut self.rejected)
    }

    fn give_up(&mut self) -> Vec<(usize, Produced)> {
        let left = std::mem::take(&mut self.left).into_iter();
        left.map(|(position, _, message)| (position, message))
            .collect()
    }
}

impl Producer for Topics {
    type Shipment = Parcel;

    async fn prepare(
        &self,
        messages: &mut Vec<(usize, Produced)>,
    ) -> Result<Self::Shipment, Failure> {
        let messages = std::mem::take(messages).into_iter().enumerate();
        let mut parcel = Parcel {
            left: messages
                .map(|(position, (output, message))| (position, output, message))
                .collect(),
            ..Parcel::default()
        };
        parcel.reject(&self.refused);
        Ok(parcel)
    }

    async fn send(&self, parcel: &mut Self::Shipment) -> Result<(), Failure> {
        let payloads = parcel.left.iter().map(|(_, output, message)| {
            let payload = String::from_utf8_lossy(&message.payload);
            match output {
                0 => payload.into_owned(),
                output => format!("{payload}@{output}"),
            }
        });
        note(
            &self.journal,
            format!("{} {}", self.name, payloads.collect::<Vec<_>>().join(" ")),
        );
        parcel.reject(&self.refused_when_sent);
        let failure = self.failures.lock().unwrap().pop_front();
        if let Some((_, failure)) = &failure
            && failure.kind == FailureKind::Hung
        {
            std::future::pending::<()>().await;
        }
        let (confirmed, result) = match failure {
            Some((confirmed, failure)) => (confirmed, Err(failure)),
            None => (parcel.left.len(), Ok(())),
        };
        let confirmed = parcel.left.drain(..confirmed);
        let headers = confirmed.map(|(_, _, message)| message.headers);
        self.headers.lock().unwrap().extend(headers);
        result
    }
}

/// The policy of a connector whose dead letters go to `topics`.
pub(super) fn policy<'a>(
    errors: spec::Errors,
    max_attempts: u32,
    topics: &'a Topics,
    monitor: &'a Monitor,
) -> Policy<'a, Topics> {
    let retry = spec::Backoff {
        max_attempts,
        ..spec::Backoff::default()
    };
    let sender = Sender {
        connector: "quickwit".to_owned(),
        direction: Direction::Sink,
        config_version: 0,
        plugin_version: "0.1.0".to_owned(),
        secrets: Secrets::default(),
    };
    let dead_letters = DeadLetters {
        producer: topics,
        sender,
    };
    Policy::new(errors, retry, Some(dead_letters), monitor)
}

pub(super) fn dead_letter_topic(failures: Vec<Failure>, journal: &Journal) -> Topics {
    Topics::new("dead letter", failures, journal)
}

pub(super) fn on_invalid(policy: OnFailure) -> spec::Errors {
    spec::Errors {
        on_invalid: policy,
        ..spec::Errors::default()
    }
}
