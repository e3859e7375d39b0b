//! All streams with what they hold. The methods that propose a change check it and give numbers; `apply`
//! carries a change out and cannot fail, whether it comes from a client or from the journal.

use std::{sync::Arc, time::Duration, time::Instant};

use iggy_binary_protocol::{WireIdentifier, WireOptions};
use iggy_common::{
    Identifier, IggyError, MAX_TOPIC_SEGMENT_SIZE, OptionsProvenance, ResourceOptions,
    TopicCreateOptions, UPDATABLE_TOPIC_OPTION_KEYS, topic_option_keys,
    validate_topic_segment_size,
    wire_conversions::{resource_options_from_wire, resource_options_to_wire},
};
use tokio::sync::Notify;

use super::{
    change::{Change, PartitionCreated},
    group::Group,
    named::Named,
    stream::Stream,
    topic::{PartitionEntry, Topic, journaled_options},
};

/// Partitions a topic may have, and be given at once.
pub(crate) const MAX_PARTITIONS: u32 = 1000;

#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) streams: Named<Stream>,
    next_log: u64,
    patience: Duration,
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

/// What has to happen to logs after a change.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    pub(crate) added: Vec<Added>,
    pub(crate) removed: Vec<u64>,
}

/// A partition that needs an empty log.
#[derive(Debug)]
pub(crate) struct Added {
    pub(crate) partition: u32,
    pub(crate) log: u64,
    pub(crate) settings: TopicCreateOptions,
    pub(crate) arrivals: Arc<Notify>,
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

    pub(crate) fn create_stream(
        &self,
        name: &str,
        options: &WireOptions,
        at: u64,
    ) -> Result<Change, IggyError> {
        refuse_options(options)?;
        if self.streams.contains_name(name) {
            return Err(IggyError::StreamNameAlreadyExists(name.to_owned()));
        }
        Ok(Change::StreamCreated {
            id: self.streams.next_id(),
            name: name.to_owned(),
            at,
            topics: 0,
        })
    }

    pub(crate) fn update_stream(
        &self,
        stream: &WireIdentifier,
        name: &str,
        options: &WireOptions,
    ) -> Result<Change, IggyError> {
        let (id, _) = self.stream(stream)?;
        refuse_options(options)?;
        if self.streams.contains_name(name) && self.streams.name(id) != Some(name) {
            return Err(IggyError::StreamNameAlreadyExists(name.to_owned()));
        }
        Ok(Change::StreamRenamed {
            id,
            name: name.to_owned(),
        })
    }

    pub(crate) fn delete_stream(&self, stream: &WireIdentifier) -> Result<Change, IggyError> {
        let (id, _) = self.stream(stream)?;
        Ok(Change::StreamDeleted { id })
    }

    pub(crate) fn create_topic(
        &self,
        stream: &WireIdentifier,
        name: &str,
        partitions: u32,
        options: &WireOptions,
        at: u64,
    ) -> Result<Change, IggyError> {
        let (stream, entry) = self.stream(stream)?;
        check_options(options)?;
        if partitions > MAX_PARTITIONS {
            return Err(IggyError::TooManyPartitions);
        }
        if entry.topics.contains_name(name) {
            return Err(IggyError::TopicNameAlreadyExists(
                name.to_owned(),
                Identifier::default(),
            ));
        }
        Ok(Change::TopicCreated {
            stream,
            id: entry.topics.next_id(),
            name: name.to_owned(),
            at,
            options: options.as_bytes().to_vec(),
            partitions: self.new_partitions(partitions, at),
            groups: 0,
        })
    }

    pub(crate) fn update_topic(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
        name: &str,
        options: &WireOptions,
    ) -> Result<Change, IggyError> {
        let (stream, id, entry) = self.topic(stream, topic)?;
        let merged = merge_options(&entry.options, options)?;
        let topics = &self.streams.get(stream).ok_or_else(no_stream)?.topics;
        if topics.contains_name(name) && topics.name(id) != Some(name) {
            return Err(IggyError::TopicNameAlreadyExists(
                name.to_owned(),
                Identifier::default(),
            ));
        }
        Ok(Change::TopicUpdated {
            stream,
            id,
            name: name.to_owned(),
            options: merged.as_bytes().to_vec(),
        })
    }

    pub(crate) fn delete_topic(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
    ) -> Result<Change, IggyError> {
        let (stream, id, _) = self.topic(stream, topic)?;
        Ok(Change::TopicDeleted { stream, id })
    }

    pub(crate) fn purge_topic(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
    ) -> Result<Change, IggyError> {
        let (stream, topic, entry) = self.topic(stream, topic)?;
        let logs = self.new_logs(entry.partitions_count());
        Ok(Change::TopicPurged {
            stream,
            topic,
            logs,
        })
    }

    /// The purges of a stream's topics. They must be applied one after the other: each gives logs.
    pub(crate) fn topics_of(&self, stream: &WireIdentifier) -> Result<(u32, Vec<u32>), IggyError> {
        let (id, entry) = self.stream(stream)?;
        Ok((id, entry.topics.iter().map(|(topic, _, _)| topic).collect()))
    }

    pub(crate) fn create_partitions(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
        count: u32,
        at: u64,
    ) -> Result<Change, IggyError> {
        let (stream, topic, entry) = self.topic(stream, topic)?;
        if count == 0 {
            return Err(IggyError::TooManyPartitions);
        }
        if count > MAX_PARTITIONS || count + entry.partitions_count() > MAX_PARTITIONS {
            return Err(IggyError::InvalidPartitionsCount);
        }
        Ok(Change::PartitionsAdded {
            stream,
            topic,
            partitions: self.new_partitions(count, at),
        })
    }

    pub(crate) fn delete_partitions(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
        count: u32,
    ) -> Result<Change, IggyError> {
        let (stream, topic, entry) = self.topic(stream, topic)?;
        if count == 0 {
            return Err(IggyError::TooManyPartitions);
        }
        if count > entry.partitions_count() {
            return Err(IggyError::InvalidPartitionsCount);
        }
        Ok(Change::PartitionsRemoved {
            stream,
            topic,
            count,
        })
    }

    pub(crate) fn create_group(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
        name: &str,
    ) -> Result<Change, IggyError> {
        let (stream, topic, entry) = self.topic(stream, topic)?;
        if entry.groups.contains_name(name) {
            let taken =
                IggyError::ConsumerGroupNameAlreadyExists(name.to_owned(), Identifier::default());
            return Err(taken);
        }
        Ok(Change::GroupCreated {
            stream,
            topic,
            id: entry.groups.next_id(),
            name: name.to_owned(),
        })
    }

    pub(crate) fn delete_group(
        &self,
        stream: &WireIdentifier,
        topic: &WireIdentifier,
        group: &WireIdentifier,
    ) -> Result<Change, IggyError> {
        let at = self.group_at(stream, topic, group)?;
        Ok(Change::GroupDeleted {
            stream: at.stream,
            topic: at.topic,
            id: at.group,
        })
    }

    /// Carries out a change. One that names something unknown, which only a damaged journal could hold, is
    /// without effect.
    pub(crate) fn apply(&mut self, change: Change, now: Instant) -> Effect {
        match change {
            Change::Reserved { streams, logs } => {
                self.streams.reserve(streams);
                self.next_log = self.next_log.max(logs);
                Effect::default()
            }
            Change::StreamCreated {
                id,
                name,
                at,
                topics,
            } => {
                let mut stream = Stream::new(at);
                stream.topics.reserve(topics);
                self.streams.insert(id, name, stream);
                Effect::default()
            }
            Change::StreamRenamed { id, name } => {
                self.streams.rename(id, name);
                Effect::default()
            }
            Change::StreamDeleted { id } => self.stream_deleted(id),
            Change::TopicDeleted { stream, id } => self.topic_deleted(stream, id),
            Change::TopicCreated {
                stream,
                id,
                name,
                at,
                options,
                partitions,
                groups,
            } => {
                let mut topic = Topic::new(at, journaled_options(options));
                topic.groups.reserve(groups);
                if let Some(stream) = self.streams.get_mut(stream) {
                    stream.topics.insert(id, name, topic);
                }
                self.partitions_added(stream, id, &partitions, now)
            }
            Change::TopicUpdated {
                stream,
                id,
                name,
                options,
            } => {
                self.topic_updated(stream, id, name, journaled_options(options));
                Effect::default()
            }
            Change::PartitionsAdded {
                stream,
                topic,
                partitions,
            } => self.partitions_added(stream, topic, &partitions, now),
            Change::PartitionsRemoved {
                stream,
                topic,
                count,
            } => self.partitions_removed(stream, topic, count, now),
            Change::TopicPurged {
                stream,
                topic,
                logs,
            } => self.topic_purged(stream, topic, &logs),
            Change::GroupCreated {
                stream,
                topic,
                id,
                name,
            } => {
                if let Some(topic) = self.topic_mut(stream, topic) {
                    let group = Group::new(topic.partitions_count());
                    topic.groups.insert(id, name, group);
                }
                Effect::default()
            }
            Change::GroupDeleted { stream, topic, id } => {
                if let Some(topic) = self.topic_mut(stream, topic) {
                    topic.groups.remove(id);
                }
                Effect::default()
            }
        }
    }

    /// The shortest list of changes that leads here.
    pub(crate) fn snapshot(&self) -> Vec<Change> {
        let mut changes = vec![Change::Reserved {
            streams: self.streams.next_id(),
            logs: self.next_log,
        }];
        for (id, name, stream) in self.streams.iter() {
            changes.push(Change::StreamCreated {
                id,
                name: name.to_owned(),
                at: stream.created_at,
                topics: stream.topics.next_id(),
            });
            for (topic_id, name, topic) in stream.topics.iter() {
                changes.push(topic_snapshot(id, topic_id, name, topic));
                let group = |(group, name, _): (u32, &str, &Group)| Change::GroupCreated {
                    stream: id,
                    topic: topic_id,
                    id: group,
                    name: name.to_owned(),
                };
                changes.extend(topic.groups.iter().map(group));
            }
        }
        changes
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

    fn topic_mut(&mut self, stream: u32, topic: u32) -> Option<&mut Topic> {
        self.streams.get_mut(stream)?.topics.get_mut(topic)
    }

    fn new_logs(&self, count: u32) -> Vec<u64> {
        (self.next_log..).take(count as usize).collect()
    }

    fn new_partitions(&self, count: u32, at: u64) -> Vec<PartitionCreated> {
        let logs = self.new_logs(count);
        logs.into_iter()
            .map(|log| PartitionCreated { log, at })
            .collect()
    }

    fn stream_deleted(&mut self, id: u32) -> Effect {
        let Some(stream) = self.streams.remove(id) else {
            return Effect::default();
        };
        let logs = stream
            .topics
            .iter()
            .flat_map(|(_, _, topic)| logs_of(topic));
        Effect {
            removed: logs.collect(),
            ..Effect::default()
        }
    }

    fn topic_deleted(&mut self, stream: u32, id: u32) -> Effect {
        let topic = self
            .streams
            .get_mut(stream)
            .and_then(|stream| stream.topics.remove(id));
        Effect {
            removed: topic.iter().flat_map(logs_of).collect(),
            ..Effect::default()
        }
    }

    fn topic_updated(&mut self, stream: u32, id: u32, name: String, options: WireOptions) {
        if let Some(topic) = self.topic_mut(stream, id) {
            topic.set_options(options);
        }
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.topics.rename(id, name);
        }
    }

    fn partitions_added(
        &mut self,
        stream: u32,
        id: u32,
        partitions: &[PartitionCreated],
        now: Instant,
    ) -> Effect {
        let highest = partitions.iter().map(|partition| partition.log + 1).max();
        self.next_log = self.next_log.max(highest.unwrap_or(0));
        let patience = self.patience;
        let Some(topic) = self.topic_mut(stream, id) else {
            return Effect::default();
        };
        let first = topic.partitions_count();
        topic
            .partitions
            .extend(partitions.iter().copied().map(PartitionEntry::from));
        resize_groups(topic, now, patience);
        let new = (0..).zip(&topic.partitions).skip(first as usize);
        Effect {
            added: new
                .map(|(number, entry)| added(topic, number, *entry))
                .collect(),
            ..Effect::default()
        }
    }

    fn partitions_removed(&mut self, stream: u32, id: u32, count: u32, now: Instant) -> Effect {
        let patience = self.patience;
        let Some(topic) = self.topic_mut(stream, id) else {
            return Effect::default();
        };
        let kept = topic.partitions.len().saturating_sub(count as usize);
        let removed = topic.partitions.split_off(kept);
        resize_groups(topic, now, patience);
        Effect {
            removed: removed.iter().map(|entry| entry.log).collect(),
            ..Effect::default()
        }
    }

    fn topic_purged(&mut self, stream: u32, id: u32, logs: &[u64]) -> Effect {
        let highest = logs.iter().map(|log| log + 1).max();
        self.next_log = self.next_log.max(highest.unwrap_or(0));
        let Some(topic) = self.topic_mut(stream, id) else {
            return Effect::default();
        };
        let removed = logs_of(topic).collect();
        for (entry, log) in topic.partitions.iter_mut().zip(logs) {
            entry.log = *log;
        }
        topic.groups.values_mut().for_each(Group::purge);
        let entries = (0..).zip(&topic.partitions);
        Effect {
            added: entries
                .map(|(number, entry)| added(topic, number, *entry))
                .collect(),
            removed,
        }
    }
}

fn added(topic: &Topic, partition: u32, entry: PartitionEntry) -> Added {
    Added {
        partition,
        log: entry.log,
        settings: topic.settings.clone(),
        arrivals: topic.arrivals.clone(),
    }
}

fn logs_of(topic: &Topic) -> impl Iterator<Item = u64> {
    topic.partitions.iter().map(|entry| entry.log)
}

fn resize_groups(topic: &mut Topic, now: Instant, patience: Duration) {
    let partitions = topic.partitions_count();
    for group in topic.groups.values_mut() {
        group.resize(partitions, now, patience);
    }
}

fn topic_snapshot(stream: u32, id: u32, name: &str, topic: &Topic) -> Change {
    let partition = |entry: &PartitionEntry| PartitionCreated {
        log: entry.log,
        at: entry.created_at,
    };
    Change::TopicCreated {
        stream,
        id,
        name: name.to_owned(),
        at: topic.created_at,
        options: topic.options.as_bytes().to_vec(),
        partitions: topic.partitions.iter().map(partition).collect(),
        groups: topic.groups.next_id(),
    }
}

/// Streams have no options.
fn refuse_options(options: &WireOptions) -> Result<(), IggyError> {
    match options.iter().next() {
        Some(entry) => {
            let key = String::from_utf8_lossy(entry.key).into_owned();
            Err(IggyError::UnsupportedOptionKey(key))
        }
        None => Ok(()),
    }
}

fn check_options(options: &WireOptions) -> Result<(), IggyError> {
    let parsed = TopicCreateOptions::parse(options)?;
    match parsed.segment_size {
        Some(size) => validate_topic_segment_size(size.as_bytes_u64(), MAX_TOPIC_SEGMENT_SIZE),
        None => Ok(()),
    }
}

fn merge_options(old: &WireOptions, new: &WireOptions) -> Result<WireOptions, IggyError> {
    check_options(new)?;
    for entry in new {
        let key = String::from_utf8_lossy(entry.key);
        if !UPDATABLE_TOPIC_OPTION_KEYS.contains(&key.as_ref()) {
            return Err(IggyError::UnsupportedOptionKey(key.into_owned()));
        }
    }
    let mut merged = resource_options_from_wire(old, true)?;
    merged.extend(said_options(new)?);
    resource_options_to_wire(&merged, OptionsProvenance::All)
}

/// Clients send zero for an expiry or a size that their user did not give: it must not replace the one there is.
fn said_options(options: &WireOptions) -> Result<ResourceOptions, IggyError> {
    let parsed = TopicCreateOptions::parse(options)?;
    let unsaid = [
        (
            parsed.message_expiry.is_none(),
            topic_option_keys::MESSAGE_EXPIRY,
        ),
        (
            parsed.max_topic_size.is_none(),
            topic_option_keys::MAX_TOPIC_SIZE,
        ),
    ];
    let mut said = resource_options_from_wire(options, true)?;
    said.retain(|key, _| !unsaid.contains(&(true, &String::from_utf8_lossy(key.as_bytes()))));
    Ok(said)
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
