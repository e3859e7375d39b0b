//! Proposing changes: every rule a request must keep, and the numbers for what it creates.

use iggy_binary_protocol::{WireIdentifier, WireOptions};
use iggy_common::{
    Identifier, IggyError, MAX_TOPIC_SEGMENT_SIZE, OptionsProvenance, ResourceOptions,
    TopicCreateOptions, UPDATABLE_TOPIC_OPTION_KEYS, topic_option_keys,
    validate_topic_segment_size,
    wire_conversions::{resource_options_from_wire, resource_options_to_wire},
};

use super::{
    catalog::{Catalog, no_stream},
    change::{Change, PartitionCreated},
};

/// Partitions a topic may have, and be given at once.
const MAX_PARTITIONS: u32 = 1000;

impl Catalog {
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

    fn new_logs(&self, count: u32) -> Vec<u64> {
        (self.next_log..).take(count as usize).collect()
    }

    fn new_partitions(&self, count: u32, at: u64) -> Vec<PartitionCreated> {
        let logs = self.new_logs(count);
        logs.into_iter()
            .map(|log| PartitionCreated { log, at })
            .collect()
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
