//! Stored consumer offsets: get, store, delete.

use std::time::Instant;

use iggy_binary_protocol::{
    KIND_CONSUMER_GROUP, WireConsumer, WireDecode, WireIdentifier,
    requests::consumer_offsets::{
        DeleteConsumerOffsetRequest, GetConsumerOffsetRequest, StoreConsumerOffsetRequest,
    },
    responses::consumer_offsets::ConsumerOffsetResponse,
};
use iggy_common::{IggyError, calculate_32};

use super::Call;
use crate::{
    broker::Shared,
    error::Failure,
    state::{Catalog, GroupAt, PartitionAt},
    store::offsets::Key,
    sync::{blocking, lock},
};

/// Who reads, and which group's rules apply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    pub(super) key: Key,
    pub(super) group: Option<GroupAt>,
}

/// A plain consumer is known by its number; names are hashed to one, as clients expect.
pub(super) fn reader(
    catalog: &Catalog,
    consumer: &WireConsumer,
    stream: &WireIdentifier,
    topic: &WireIdentifier,
) -> Result<Reader, IggyError> {
    if consumer.kind != KIND_CONSUMER_GROUP {
        let id = match &consumer.id {
            WireIdentifier::Numeric(id) => *id,
            WireIdentifier::String(name) => calculate_32(name.as_bytes()),
        };
        return Ok(Reader {
            key: Key::Consumer(id),
            group: None,
        });
    }
    let at = catalog.group_at(stream, topic, &consumer.id)?;
    Ok(Reader {
        key: Key::Group(at.group),
        group: Some(at),
    })
}

fn resolve(
    shared: &Shared,
    consumer: &WireConsumer,
    stream: &WireIdentifier,
    topic: &WireIdentifier,
    partition: Option<u32>,
) -> Result<(PartitionAt, Reader), IggyError> {
    let catalog = lock(&shared.catalog);
    let at = catalog.partition(stream, topic, partition.unwrap_or(0))?;
    Ok((at, reader(&catalog, consumer, stream, topic)?))
}

pub(crate) fn get(call: Call<'_>) -> Result<(), Failure> {
    let request = GetConsumerOffsetRequest::decode_from(call.body)?;
    let (stream, topic) = (&request.stream_id, &request.topic_id);
    let found = resolve(
        call.shared,
        &request.consumer,
        stream,
        topic,
        request.partition_id,
    );
    let (at, reader) = match found {
        Err(IggyError::ConsumerGroupIdNotFound(..)) => return Ok(()),
        found => found?,
    };
    let partition = call.shared.log(at)?;
    if let Some(stored_offset) = partition.stored_offset(reader.key) {
        call.reply.encode(&ConsumerOffsetResponse {
            partition_id: at.partition,
            current_offset: partition.stats().current_offset(),
            stored_offset,
        });
    }
    Ok(())
}

pub(crate) fn store(call: Call<'_>) -> Result<(), Failure> {
    let request = StoreConsumerOffsetRequest::decode_from(call.body)?;
    let (stream, topic) = (&request.stream_id, &request.topic_id);
    let (at, reader) = resolve(
        call.shared,
        &request.consumer,
        stream,
        topic,
        request.partition_id,
    )?;
    blocking(|| store_for(call.shared, call.connection, at, reader, request.offset))?;
    Ok(())
}

/// Stores an offset by the rules of the reader's group.
pub(super) fn store_for(
    shared: &Shared,
    connection: u32,
    at: PartitionAt,
    reader: Reader,
    offset: u64,
) -> Result<(), IggyError> {
    let partition = shared.log(at)?;
    partition.store_offset(reader.key, offset, || {
        permit(shared, connection, at, reader)
    })?;
    if let Some(group) = reader.group
        && let Some(group) = lock(&shared.catalog).group_mut(group)
    {
        group.stored(connection, at.partition, offset);
    }
    Ok(())
}

pub(crate) fn delete(call: Call<'_>) -> Result<(), Failure> {
    let request = DeleteConsumerOffsetRequest::decode_from(call.body)?;
    let (stream, topic) = (&request.stream_id, &request.topic_id);
    let (at, reader) = resolve(
        call.shared,
        &request.consumer,
        stream,
        topic,
        request.partition_id,
    )?;
    let partition = call.shared.log(at)?;
    blocking(|| {
        partition.delete_offset(reader.key, || {
            permit(call.shared, call.connection, at, reader)
        })
    })?;
    Ok(())
}

/// Keeps a slow former owner from moving its group's offset.
fn permit(
    shared: &Shared,
    connection: u32,
    at: PartitionAt,
    reader: Reader,
) -> Result<(), IggyError> {
    let Some(group) = reader.group else {
        return Ok(());
    };
    let mut catalog = lock(&shared.catalog);
    let group = catalog
        .group_mut(group)
        .ok_or_else(crate::state::no_group)?;
    match group.may_store(connection, at.partition, Instant::now()) {
        true => Ok(()),
        false => Err(IggyError::ConsumerGroupPartitionNotOwned(
            connection,
            at.partition,
        )),
    }
}

/// Drops what a deleted group had stored. Its number is never used again, so failing to do so harms nobody.
pub(super) fn forget_group(shared: &Shared, group: GroupAt) {
    let logs: Vec<u64> = {
        let catalog = lock(&shared.catalog);
        let topic = catalog.topic_at(group.stream, group.topic);
        topic
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|entry| entry.log)
            .collect()
    };
    for partition in logs.into_iter().filter_map(|log| shared.logs.get(log)) {
        let _ = partition.delete_offset(Key::Group(group.group), || Ok(()));
    }
}
