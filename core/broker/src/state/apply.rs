//! Carrying out changes, and the shortest list of changes that leads to a catalog.

use std::{sync::Arc, time::Duration, time::Instant};

use iggy_binary_protocol::WireOptions;
use iggy_common::TopicCreateOptions;
use tokio::sync::Notify;

use super::{
    catalog::Catalog,
    change::{Change, PartitionCreated},
    group::Group,
    stream::Stream,
    topic::{PartitionEntry, Topic, journaled_options},
};

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

pub(super) fn added(topic: &Topic, partition: u32, entry: PartitionEntry) -> Added {
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
