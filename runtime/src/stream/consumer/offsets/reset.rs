//! What a reset is asked for, and what it does: values without a connection. `offsets` plans and carries out.

use std::{fmt, sync::Arc};

use iggy_connector_message::TopicMetadata;

use super::super::member::Member;
use crate::{config::spec::StartFrom, pipeline::Failure};

/// A partition as a group reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub topic: Arc<TopicMetadata>,
    pub group: Arc<str>,
    pub partition: u32,
}

/// Which partitions are meant: all, as far as nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub stream: Option<String>,
    pub topic: Option<String>,
    pub partition: Option<u32>,
}

/// Where reading is to go on.
#[derive(Clone, Debug)]
pub enum Reset {
    /// In these partitions at this place. What lies outside of a partition is drawn to its first or its next message.
    To(StartFrom, Selection),
    /// Everywhere as `start_from` says, as if the sink had never run.
    Forget,
}

/// What a reset does to one partition.
#[derive(Clone, Debug)]
pub struct Move {
    pub place: Place,
    /// The offset of the next message to be read, before and after.
    pub from: u64,
    pub to: u64,
}

/// Why nothing, or not everything, was moved.
#[derive(Debug, thiserror::Error)]
pub enum NotMoved {
    /// Somebody else reads in the group.
    #[error("{0}")]
    InUse(String),
    /// What was selected is not there.
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Failed(Failure),
    /// It broke off: what was to be moved before `done` is moved, and perhaps that one.
    #[error("{failure}")]
    Partly { failure: Failure, done: usize },
    /// What the sink has saved could not be forgotten.
    #[error("{0}")]
    State(Failure),
}

impl From<Failure> for NotMoved {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Place {
    pub(super) fn new(member: &Member, partition: u32) -> Self {
        Self {
            topic: member.topic.clone(),
            group: member.group.as_str().into(),
            partition,
        }
    }

    pub(super) fn is_of(&self, member: &Member) -> bool {
        self.topic == member.topic && *self.group == *member.group
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicMetadata { stream, topic } = &*self.topic;
        write!(f, "partition {} of {stream}/{topic}", self.partition)
    }
}

impl Selection {
    pub(super) fn is_all(&self) -> bool {
        self.stream.is_none() && self.topic.is_none() && self.partition.is_none()
    }

    fn has(&self, topic: &TopicMetadata, partition: u32) -> bool {
        let is =
            |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|it| it == name);
        is(&self.stream, &topic.stream)
            && is(&self.topic, &topic.topic)
            && self.partition.is_none_or(|wanted| wanted == partition)
    }
}

impl Move {
    /// Messages that will be read again.
    pub fn replayed(&self) -> u64 {
        self.from.saturating_sub(self.to)
    }

    /// Messages that will not be read.
    pub fn skipped(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// The same the other way round.
    #[must_use]
    pub fn back(&self) -> Self {
        Self {
            place: self.place.clone(),
            from: self.to,
            to: self.from,
        }
    }
}

impl Reset {
    pub(super) fn concerns(&self, member: &Member, id: u32) -> bool {
        match self {
            Self::To(_, selection) => selection.has(&member.topic, id),
            Self::Forget => true,
        }
    }
}
