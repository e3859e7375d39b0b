//! All streams with what they hold, and how a request's identifiers find it. Changes are proposed in
//! `propose` and carried out in `apply`; membership of groups changes here, since it is not journaled.

use std::{time::Duration, time::Instant};

use iggy_binary_protocol::WireIdentifier;
use iggy_common::{Identifier, IggyError};

use super::{
    apply::{Added, added},
    group::Group,
    named::Named,
    stream::Stream,
    topic::Topic,
};

#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) streams: Named<Stream>,
    /// Log ids below this were given.
    pub(super) next_log: u64,
    pub(super) patience: Duration,
}

/// A partition that a request named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionAt {
    pub(crate) stream: u32,
    pub(crate) topic: u32,
    pub(crate) partition: u32,
    pub(crate) log: u64,
}

/// A group that a request named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupAt {
    pub(crate) stream: u32,
    pub(crate) topic: u32,
    pub(crate) group: u32,
}

impl Catalog {
    /// An empty catalog whose groups wait `patience` for a member to let go of a partition.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            ..Self::default()
        }
    }

    /// Log ids below this were given.
    pub(crate) fn next_log(&self) -> u64 {
        self.next_log
    }

    pub(crate) fn stream(&self, stream: &WireIdentifier) -> Result<(u32, &Stream), IggyError> {
        let id = self.streams.resolve(stream);
        id.and_then(|id| Some((id, self.streams.get(id)?)))
            .ok_or_else(no_stream)
    }

    pub(crate) fn topic(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
    ) -> Result<(u32, u32, &Topic), IggyError> {
        let (stream, entry) = self.stream(stream)?;
        let id = entry.topics.resolve(topic);
        id.and_then(|id| Some((stream, id, entry.topics.get(id)?)))
            .ok_or_else(no_topic)
    }

    pub(crate) fn partition(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
        partition: u32,
    ) -> Result<PartitionAt, IggyError> {
        let (stream, topic, entry) = self.topic(stream, topic)?;
        let found = entry
            .partitions
            .get(partition as usize)
            .ok_or_else(no_partition)?;
        Ok(PartitionAt {
            stream,
            topic,
            partition,
            log: found.log,
        })
    }

    pub(crate) fn group_at(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
        group: &WireIdentifier,
    ) -> Result<GroupAt, IggyError> {
        let (stream, topic, entry) = self.topic(stream, topic)?;
        let group = entry.groups.resolve(group).ok_or_else(no_group)?;
        Ok(GroupAt {
            stream,
            topic,
            group,
        })
    }

    pub(crate) fn topic_at(&self, stream: u32, topic: u32) -> Option<&Topic> {
        self.streams.get(stream)?.topics.get(topic)
    }

    pub(crate) fn group_mut(&mut self, at: GroupAt) -> Option<&mut Group> {
        self.topic_mut(at.stream, at.topic)?
            .groups
            .get_mut(at.group)
    }

    pub(crate) fn join(&mut self, at: GroupAt, member: u32, now: Instant) {
        let patience = self.patience;
        if let Some(group) = self.group_mut(at) {
            group.join(member, now, patience);
        }
    }

    pub(crate) fn leave(&mut self, at: GroupAt, member: u32, now: Instant) -> bool {
        let patience = self.patience;
        self.group_mut(at)
            .is_some_and(|group| group.leave(member, now, patience))
    }

    /// Takes a connection out of every group it is in.
    pub(crate) fn leave_all(&mut self, member: u32, now: Instant) {
        let patience = self.patience;
        let topics = self
            .streams
            .values_mut()
            .flat_map(|stream| stream.topics.values_mut());
        for group in topics.flat_map(|topic| topic.groups.values_mut()) {
            group.leave(member, now, patience);
        }
    }

    /// Whether a connection is in any group.
    pub(crate) fn is_member(&self, member: u32) -> bool {
        !self.memberships(member).is_empty()
    }

    /// The groups a connection is in.
    pub(crate) fn memberships(&self, member: u32) -> Vec<GroupAt> {
        let mut found = Vec::new();
        for (stream, _, entry) in self.streams.iter() {
            for (topic, _, entry) in entry.topics.iter() {
                let joined = entry
                    .groups
                    .iter()
                    .filter(|(_, _, group)| group.is_member(member));
                found.extend(joined.map(|(group, _, _)| GroupAt {
                    stream,
                    topic,
                    group,
                }));
            }
        }
        found
    }

    /// Every partition with its topic.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = Added> {
        let topics = self
            .streams
            .iter()
            .flat_map(|(_, _, stream)| stream.topics.iter());
        topics.flat_map(|(_, _, topic)| {
            (0..)
                .zip(&topic.partitions)
                .map(|(number, entry)| added(topic, number, *entry))
        })
    }

    pub(super) fn topic_mut(&mut self, stream: u32, topic: u32) -> Option<&mut Topic> {
        self.streams.get_mut(stream)?.topics.get_mut(topic)
    }
}

pub(crate) fn no_stream() -> IggyError {
    IggyError::StreamIdNotFound(Identifier::default())
}

pub(crate) fn no_topic() -> IggyError {
    IggyError::TopicIdNotFound(Identifier::default(), Identifier::default())
}

pub(crate) fn no_partition() -> IggyError {
    IggyError::PartitionNotFound(0, Identifier::default(), Identifier::default())
}

pub(crate) fn no_group() -> IggyError {
    IggyError::ConsumerGroupIdNotFound(Identifier::default(), Identifier::default())
}

#[cfg(test)]
mod tests;
