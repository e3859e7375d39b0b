//! Makes sure that a stream and a topic exist, and counts partitions. `consumer` and `producer` ask before they start.

use iggy::prelude::{StreamClient, TopicClient};
use iggy_common::{Identifier, IggyError, TopicCreateOptions};
use tracing::info;

use super::{client::Client, error::failure};
use crate::pipeline::Failure;

/// A stream and topic by name, as requests carry them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) stream: Identifier,
    pub(super) topic: Identifier,
    text: String,
}

impl Name {
    /// Digits are a name too, not an id.
    pub(super) fn new(stream: &str, topic: &str) -> Result<Self, Failure> {
        Ok(Self {
            stream: identifier("stream", stream)?,
            topic: identifier("topic", topic)?,
            text: format!("{stream}/{topic}"),
        })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

pub(super) fn identifier(what: &str, name: &str) -> Result<Identifier, Failure> {
    Identifier::named(name).map_err(|_| {
        Failure::fatal(format!(
            "{what} name `{name}` is not valid: Iggy takes 1 to 255 bytes"
        ))
    })
}

/// What to do about a stream or topic that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Create { partitions: u32 },
    Refuse,
}

impl Missing {
    pub(super) fn new(create: bool, partitions: u32) -> Self {
        if create {
            Self::Create { partitions }
        } else {
            Self::Refuse
        }
    }
}

/// Says how many partitions the topic has, after creating what is missing if that is wanted. Others may create it at the same
/// time.
pub(super) async fn ensure(client: &Client, name: &Name, missing: Missing) -> Result<u32, Failure> {
    if let Some(partitions) = partitions(client, name).await? {
        return Ok(partitions);
    }
    let Missing::Create { partitions: wanted } = missing else {
        // Somebody may create it: whoever asks waits for it.
        return Err(Failure::transient(format!(
            "topic {name} does not exist on Iggy at {}: create it, or set `create = true` in its `[[streams]]` entry",
            client.address()
        )));
    };
    create_stream(client, name).await?;
    create_topic(client, name, wanted).await?;
    partitions(client, name).await?.ok_or_else(|| {
        Failure::transient(format!(
            "topic {name} was deleted on Iggy at {} just after it was created",
            client.address()
        ))
    })
}

/// How many partitions the topic has, `None` when it does not exist.
pub(super) async fn partitions(client: &Client, name: &Name) -> Result<Option<u32>, Failure> {
    match client.tcp().get_topic(&name.stream, &name.topic).await {
        Ok(Some(topic)) if topic.partitions_count == 0 => Err(Failure::transient(format!(
            "topic {name} on Iggy at {} has no partitions: add one",
            client.address()
        ))),
        Ok(topic) => Ok(topic.map(|topic| topic.partitions_count)),
        Err(error) if super::error::is_missing_topic(&error) => Ok(None),
        Err(error) => Err(failure(
            client.doing(format_args!("look up topic {name}")),
            &error,
        )),
    }
}

async fn create_stream(client: &Client, name: &Name) -> Result<(), Failure> {
    let doing = || client.doing(format_args!("create the stream of {name}"));
    let existing = client.tcp().get_stream(&name.stream).await;
    if existing
        .map_err(|error| failure(doing(), &error))?
        .is_some()
    {
        return Ok(());
    }
    match client.tcp().create_stream(&text(&name.stream)).await {
        Ok(_) => info!(stream = %name.stream, "created the stream"),
        Err(IggyError::StreamNameAlreadyExists(..)) => {}
        Err(error) => return Err(failure(doing(), &error)),
    }
    Ok(())
}

async fn create_topic(client: &Client, name: &Name, partitions: u32) -> Result<(), Failure> {
    let options = TopicCreateOptions {
        partitions_count: Some(partitions),
        ..TopicCreateOptions::default()
    };
    match client
        .tcp()
        .create_topic(&name.stream, &text(&name.topic), &options)
        .await
    {
        Ok(_) => info!(topic = %name, partitions, "created the topic"),
        Err(IggyError::TopicNameAlreadyExists(..)) => {}
        Err(error) => {
            return Err(failure(
                client.doing(format_args!("create topic {name}")),
                &error,
            ));
        }
    }
    Ok(())
}

fn text(identifier: &Identifier) -> String {
    identifier.get_string_value().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::FailureKind;

    #[test]
    fn digits_are_a_name() {
        let name = Name::new("1", "2").unwrap();
        assert_eq!(text(&name.stream), "1");
        assert_eq!(text(&name.topic), "2");
        assert_eq!(name.to_string(), "1/2");
    }

    #[test]
    fn names_that_iggy_refuses_are_fatal() {
        for name in [String::new(), "x".repeat(256)] {
            assert_eq!(Name::new(&name, "t").unwrap_err().kind, FailureKind::Fatal);
            assert_eq!(Name::new("s", &name).unwrap_err().kind, FailureKind::Fatal);
        }
    }
}
