//! Topics: get, list, create, update, delete, purge.

use iggy_binary_protocol::{
    WireDecode, WireIdentifier, WireOptions,
    requests::topics::{
        CreateTopicRequest, DeleteTopicRequest, GetTopicRequest, GetTopicsRequest,
        PurgeTopicRequest, UpdateTopicRequest,
    },
    responses::{
        streams::TopicHeader,
        topics::{GetTopicResponse, GetTopicsResponse, PartitionResponse},
    },
};
use iggy_common::IggyError;

use super::{Call, wire_name};
use crate::{
    broker::Shared,
    error::Failure,
    state::{Change, PartitionEntry, Topic},
    sync::{blocking, lock, now_micros},
};

/// A response without sizes, which are added once the catalog is free.
pub(super) struct Draft {
    header: TopicHeader,
    partitions: Vec<PartitionEntry>,
}

impl Draft {
    pub(super) fn new(id: u32, name: &str, topic: &Topic) -> Result<Self, IggyError> {
        Ok(Self {
            header: TopicHeader {
                id,
                created_at: topic.created_at,
                partitions_count: topic.partitions_count(),
                message_expiry: topic.message_expiry(),
                compression_algorithm: topic.compression(),
                max_topic_size: topic.max_size(),
                size_bytes: 0,
                messages_count: 0,
                name: wire_name(name)?,
                options: topic.options.clone(),
                derived_options: WireOptions::empty(),
            },
            partitions: topic.partitions.clone(),
        })
    }

    pub(super) fn complete(mut self, shared: &Shared) -> GetTopicResponse {
        let numbered = (0..).zip(&self.partitions);
        let partitions: Vec<_> = numbered
            .map(|(id, entry)| partition(shared, id, *entry))
            .collect();
        self.header.size_bytes = partitions
            .iter()
            .map(|partition| partition.size_bytes)
            .sum();
        self.header.messages_count = partitions
            .iter()
            .map(|partition| partition.messages_count)
            .sum();
        GetTopicResponse {
            topic: self.header,
            partitions,
        }
    }
}

fn partition(shared: &Shared, id: u32, entry: PartitionEntry) -> PartitionResponse {
    let stats = shared.stats(entry.log);
    PartitionResponse {
        id,
        created_at: entry.created_at,
        // One before the first message as well: it is made by the first append.
        segments_count: stats.segments.max(1),
        current_offset: stats.current_offset(),
        size_bytes: stats.bytes,
        messages_count: stats.messages,
    }
}

pub(crate) fn get(call: Call<'_>) -> Result<(), Failure> {
    let request = GetTopicRequest::decode_from(call.body)?;
    let Some(found) = find(call.shared, &request.stream_id, &request.topic_id)? else {
        return Ok(());
    };
    call.reply.encode(&found.complete(call.shared));
    Ok(())
}

fn find(
    shared: &Shared,
    stream: &WireIdentifier,
    topic: &WireIdentifier,
) -> Result<Option<Draft>, IggyError> {
    let catalog = lock(&shared.catalog);
    let Ok((stream, id, topic)) = catalog.topic(stream, topic) else {
        return Ok(None);
    };
    let name = catalog
        .streams
        .get(stream)
        .and_then(|stream| stream.topics.name(id));
    Draft::new(id, name.unwrap_or_default(), topic).map(Some)
}

pub(crate) fn list(call: Call<'_>) -> Result<(), Failure> {
    let request = GetTopicsRequest::decode_from(call.body)?;
    let found: Vec<_> = {
        let catalog = lock(&call.shared.catalog);
        let (_, stream) = catalog.stream(&request.stream_id)?;
        let topics = stream
            .topics
            .iter()
            .map(|(id, name, topic)| Draft::new(id, name, topic));
        topics.collect::<Result<_, _>>()?
    };
    let topics = found
        .into_iter()
        .map(|topic| topic.complete(call.shared).topic)
        .collect();
    call.reply.encode(&GetTopicsResponse { topics });
    Ok(())
}

pub(crate) fn create(call: Call<'_>) -> Result<(), Failure> {
    let request = CreateTopicRequest::decode_from(call.body)?;
    let at = now_micros();
    let change = blocking(|| {
        call.shared.change(|catalog| {
            let (stream, name, partitions) =
                (&request.stream_id, &request.name, request.partitions_count);
            catalog.create_topic(stream, name, partitions, &request.options, at)
        })
    })?;
    let Change::TopicCreated { stream, id, .. } = change else {
        return Err(IggyError::Error.into());
    };
    let found = find(
        call.shared,
        &WireIdentifier::Numeric(stream),
        &WireIdentifier::Numeric(id),
    )?;
    let found = found.ok_or_else(crate::state::no_topic)?;
    call.reply.encode(&found.complete(call.shared));
    Ok(())
}

pub(crate) fn update(call: Call<'_>) -> Result<(), Failure> {
    let request = UpdateTopicRequest::decode_from(call.body)?;
    blocking(|| {
        call.shared.change(|catalog| {
            catalog.update_topic(
                &request.stream_id,
                &request.topic_id,
                &request.name,
                &request.options,
            )
        })
    })?;
    Ok(())
}

pub(crate) fn delete(call: Call<'_>) -> Result<(), Failure> {
    let request = DeleteTopicRequest::decode_from(call.body)?;
    blocking(|| {
        call.shared
            .change(|catalog| catalog.delete_topic(&request.stream_id, &request.topic_id))
    })?;
    Ok(())
}

pub(crate) fn purge(call: Call<'_>) -> Result<(), Failure> {
    let request = PurgeTopicRequest::decode_from(call.body)?;
    blocking(|| {
        call.shared
            .change(|catalog| catalog.purge_topic(&request.stream_id, &request.topic_id))
    })?;
    Ok(())
}

/// Purges one topic of a stream that is purged as a whole.
pub(super) fn purge_one(shared: &Shared, stream: u32, topic: u32) -> Result<(), IggyError> {
    let (stream, topic) = (
        WireIdentifier::Numeric(stream),
        WireIdentifier::Numeric(topic),
    );
    match shared.change(|catalog| catalog.purge_topic(&stream, &topic)) {
        // Deleted in the meantime: there is nothing left to purge.
        Err(IggyError::TopicIdNotFound(..)) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
