//! Consumer groups: get, list, create, delete, join, leave, and the assignment members ask for.

use std::time::Instant;

use iggy_binary_protocol::{
    WireDecode,
    requests::consumer_groups::{
        CreateConsumerGroupRequest, DeleteConsumerGroupRequest, GetConsumerGroupRequest,
        GetConsumerGroupsRequest, JoinConsumerGroupRequest, LeaveConsumerGroupRequest,
        SyncConsumerGroupRequest,
    },
    responses::consumer_groups::{
        ConsumerGroupDetailsResponse, ConsumerGroupMemberResponse, ConsumerGroupResponse,
        GetConsumerGroupsResponse, SyncConsumerGroupResponse,
    },
};
use iggy_common::{Identifier, IggyError};

use super::{Call, count, wire_name};
use crate::{
    error::Failure,
    state::{Change, Group, GroupAt, Topic},
    sync::{blocking, lock},
};

pub(crate) fn get(call: Call<'_>) -> Result<(), Failure> {
    let request = GetConsumerGroupRequest::decode_from(call.body)?;
    let response = {
        let catalog = lock(&call.shared.catalog);
        let (_, _, topic) = catalog.topic(&request.stream_id, &request.topic_id)?;
        let Some(id) = topic.groups.resolve(&request.group_id) else {
            return Ok(());
        };
        details(topic, id)?
    };
    call.reply.encode(&response);
    Ok(())
}

pub(crate) fn list(call: Call<'_>) -> Result<(), Failure> {
    let request = GetConsumerGroupsRequest::decode_from(call.body)?;
    let response = {
        let catalog = lock(&call.shared.catalog);
        let (_, _, topic) = catalog.topic(&request.stream_id, &request.topic_id)?;
        let groups = topic
            .groups
            .iter()
            .map(|(id, name, group)| summary(topic, id, name, group));
        GetConsumerGroupsResponse {
            groups: groups.collect::<Result<_, _>>()?,
        }
    };
    call.reply.encode(&response);
    Ok(())
}

pub(crate) fn create(call: Call<'_>) -> Result<(), Failure> {
    let request = CreateConsumerGroupRequest::decode_from(call.body)?;
    let change = blocking(|| {
        call.shared.change(|catalog| {
            catalog.create_group(&request.stream_id, &request.topic_id, &request.name)
        })
    })?;
    let Change::GroupCreated {
        stream, topic, id, ..
    } = change
    else {
        return Err(IggyError::Error.into());
    };
    let response = {
        let catalog = lock(&call.shared.catalog);
        let topic = catalog
            .topic_at(stream, topic)
            .ok_or_else(crate::state::no_topic)?;
        details(topic, id)?
    };
    call.reply.encode(&response);
    Ok(())
}

pub(crate) fn delete(call: Call<'_>) -> Result<(), Failure> {
    let request = DeleteConsumerGroupRequest::decode_from(call.body)?;
    let shared = call.shared;
    blocking(|| {
        let change = shared.change(|catalog| {
            catalog.delete_group(&request.stream_id, &request.topic_id, &request.group_id)
        })?;
        if let Change::GroupDeleted { stream, topic, id } = change {
            super::offsets::forget_group(
                shared,
                GroupAt {
                    stream,
                    topic,
                    group: id,
                },
            );
        }
        Ok::<_, IggyError>(())
    })?;
    Ok(())
}

pub(crate) fn join(call: Call<'_>) -> Result<(), Failure> {
    let request = JoinConsumerGroupRequest::decode_from(call.body)?;
    let mut catalog = lock(&call.shared.catalog);
    let at = catalog.group_at(&request.stream_id, &request.topic_id, &request.group_id)?;
    catalog.join(at, call.connection, Instant::now());
    Ok(())
}

pub(crate) fn leave(call: Call<'_>) -> Result<(), Failure> {
    let request = LeaveConsumerGroupRequest::decode_from(call.body)?;
    let mut catalog = lock(&call.shared.catalog);
    let at = catalog.group_at(&request.stream_id, &request.topic_id, &request.group_id)?;
    if !catalog.leave(at, call.connection, Instant::now()) {
        let missing =
            IggyError::ConsumerGroupMemberNotFound(0, Identifier::default(), Identifier::default());
        return Err(missing.into());
    }
    Ok(())
}

/// Answers with the member's partitions. An empty body tells the client that it is not a member, also when
/// the group is gone: it joins again by itself.
pub(crate) fn sync(call: Call<'_>) -> Result<(), Failure> {
    let request = SyncConsumerGroupRequest::decode_from(call.body)?;
    let assignment = {
        let mut catalog = lock(&call.shared.catalog);
        let Ok(at) = catalog.group_at(&request.stream_id, &request.topic_id, &request.group_id)
        else {
            return Ok(());
        };
        let group = catalog.group_mut(at);
        group.and_then(|group| group.sync(call.connection, Instant::now()))
    };
    if let Some(assignment) = assignment {
        call.reply.encode(&SyncConsumerGroupResponse {
            generation: assignment.generation,
            partitions: assignment.partitions,
        });
    }
    Ok(())
}

fn summary(
    topic: &Topic,
    id: u32,
    name: &str,
    group: &Group,
) -> Result<ConsumerGroupResponse, IggyError> {
    Ok(ConsumerGroupResponse {
        id,
        partitions_count: topic.partitions_count(),
        members_count: group.members_count(),
        name: wire_name(name)?,
    })
}

fn details(topic: &Topic, id: u32) -> Result<ConsumerGroupDetailsResponse, IggyError> {
    let group = topic.groups.get(id).ok_or_else(crate::state::no_group)?;
    let member = |id: u32| {
        let partitions = group.partitions(id);
        ConsumerGroupMemberResponse {
            id,
            partitions_count: count(partitions.len()),
            partitions,
        }
    };
    Ok(ConsumerGroupDetailsResponse {
        group: summary(topic, id, topic.groups.name(id).unwrap_or_default(), group)?,
        members: group.members().map(member).collect(),
    })
}
