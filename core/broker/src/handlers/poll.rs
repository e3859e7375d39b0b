//! Messages on their way out. Batches are read from their files straight into the reply; an empty poll may be
//! held for a while, so that idle consumers cost little.

use std::{io, pin::pin, time::Instant};

use iggy_binary_protocol::{
    HEADER_SIZE, WireDecode, WireEncode, WirePollingStrategy,
    requests::messages::PollMessagesRequest, responses::messages::PollMessagesResponseHeader,
};
use iggy_common::{IggyError, RESYNC_REQUIRED_PARTITION_SENTINEL};

use super::{
    Call,
    offsets::{self, Reader},
};
use crate::{
    broker::Shared,
    error::Failure,
    state::{Catalog, Fence, PartitionAt},
    store::{
        batch,
        partition::{Partition, Plan},
    },
    sync::{blocking, lock, stopped},
    wire::Reply,
};

const OFFSET: u8 = 1;
const TIMESTAMP: u8 = 2;
const FIRST: u8 = 3;
const LAST: u8 = 4;
/// Bytes of the response header.
const PREFIX: usize = 16;
/// How often a poll looks again when what it found was removed before it was read.
const LOOKS: usize = 3;

/// How a look at the partition ended.
#[derive(Debug, PartialEq, Eq)]
enum Served {
    /// The reply is complete.
    Answered,
    /// There was nothing; the reply says so, but may wait.
    Empty,
}

pub(crate) async fn poll(mut call: Call<'_>) -> Result<(), Failure> {
    let request = PollMessagesRequest::decode_from(call.body)?;
    if serve(&mut call, &request)? == Served::Answered || call.shared.config.poll_hold.is_zero() {
        return Ok(());
    }
    hold(&mut call, &request).await
}

/// Waits for messages. The wake-up is registered before each look, or messages that arrive between the look
/// and the wait would be found only when the time is up.
async fn hold(call: &mut Call<'_>, request: &PollMessagesRequest) -> Result<(), Failure> {
    let arrivals = {
        let catalog = lock(&call.shared.catalog);
        let (_, _, topic) = catalog.topic(&request.stream_id, &request.topic_id)?;
        topic.arrivals.clone()
    };
    let mut over = pin!(tokio::time::sleep(call.shared.config.poll_hold));
    loop {
        let mut arrival = pin!(arrivals.notified());
        arrival.as_mut().enable();
        call.reply.rewind();
        if serve(call, request)? == Served::Answered {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = stopped(call.stop) => return Ok(()),
            () = &mut over => return Ok(()),
            () = arrival => {}
        }
    }
}

fn serve(call: &mut Call<'_>, request: &PollMessagesRequest) -> Result<Served, Failure> {
    for _ in 0..LOOKS {
        if let Some(served) = look(call, request)? {
            return Ok(served);
        }
    }
    Err(IggyError::CannotReadMessage.into())
}

/// Looks for messages; `None` if retention or a purge took away what was being looked at.
fn look(call: &mut Call<'_>, request: &PollMessagesRequest) -> Result<Option<Served>, Failure> {
    let (shared, connection) = (call.shared, call.connection);
    let Some((at, reader)) = admit(shared, connection, request)? else {
        fence(call.reply);
        return Ok(Some(Served::Answered));
    };
    let Some(partition) = shared.logs.get(at.log) else {
        return Ok(None);
    };
    let Some(plan) = found(plan(&partition, reader, request))? else {
        return Ok(None);
    };
    if plan.wanted.is_empty() {
        call.reply.encode(&PollMessagesResponseHeader {
            partition_id: at.partition,
            current_offset: plan.current,
            messages_count: 0,
        });
        let wait = request.count > 0 && !has_more_elsewhere(shared, connection, at, reader);
        return Ok(Some(if wait {
            Served::Empty
        } else {
            Served::Answered
        }));
    }
    let Some(last) = found(blocking(|| read(call.reply, at, &plan)))? else {
        call.reply.rewind();
        return Ok(None);
    };
    if !hand_out(shared, connection, at, reader, last, request.auto_commit)? {
        call.reply.rewind();
        fence(call.reply);
    }
    Ok(Some(Served::Answered))
}

/// Tells files that are gone from files that cannot be read.
fn found<T>(result: io::Result<T>) -> Result<Option<T>, IggyError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            tracing::error!(%error, "messages not readable");
            Err(IggyError::CannotReadMessage)
        }
    }
}

/// Finds the partition, or `None` if the member has to ask for its partitions first.
fn admit(
    shared: &Shared,
    connection: u32,
    request: &PollMessagesRequest,
) -> Result<Option<(PartitionAt, Reader)>, IggyError> {
    let (stream, topic) = (&request.stream_id, &request.topic_id);
    let mut catalog = lock(&shared.catalog);
    let reader = match offsets::reader(&catalog, &request.consumer, stream, topic) {
        // The group was deleted: the client finds out that it is no member, and joins again.
        Err(IggyError::ConsumerGroupIdNotFound(..)) => return Ok(None),
        reader => reader?,
    };
    let Some(number) = admit_member(&mut catalog, connection, reader, request.partition_id) else {
        return Ok(None);
    };
    let at = catalog.partition(stream, topic, number)?;
    Ok(Some((at, reader)))
}

fn admit_member(
    catalog: &mut Catalog,
    connection: u32,
    reader: Reader,
    partition: Option<u32>,
) -> Option<u32> {
    let Some(at) = reader.group else {
        return Some(partition.unwrap_or(0));
    };
    let group = catalog.group_mut(at)?;
    let partition = match partition {
        Some(partition) => partition,
        None => group
            .positions(connection)
            .map(|(partition, _)| partition)
            .next()?,
    };
    match group.fence(connection, partition, Instant::now()) {
        Fence::Pass => Some(partition),
        Fence::Resync => None,
    }
}

fn plan(partition: &Partition, reader: Reader, request: &PollMessagesRequest) -> io::Result<Plan> {
    let WirePollingStrategy { kind, value } = request.strategy;
    let start = match kind {
        OFFSET => value,
        TIMESTAMP => blocking(|| partition.since(value))?,
        FIRST => 0,
        LAST => partition.last(request.count),
        _ => partition
            .stored_offset(reader.key)
            .map_or(0, |stored| stored.saturating_add(1)),
    };
    Ok(partition.plan(start, request.count))
}

/// Reads whole batches behind the room for the prefix, cuts them to what is wanted, and lets the frame begin
/// right before the first wanted one. Returns the last offset in the reply.
fn read(reply: &mut Reply, at: PartitionAt, plan: &Plan) -> io::Result<u64> {
    reply.rewind();
    let body = reply.space(PREFIX + plan.length);
    let run = &mut body[PREFIX..];
    plan.read(run)?;
    let cut = batch::cut(run, plan.wanted.clone()).map_err(io::Error::other)?;
    if cut.messages == 0 {
        return Err(io::Error::other(
            "the batches do not hold the offsets their index promises",
        ));
    }
    let prefix = PollMessagesResponseHeader {
        partition_id: at.partition,
        current_offset: plan.current,
        messages_count: cut.messages,
    };
    body[cut.start..cut.start + PREFIX].copy_from_slice(&prefix.to_bytes());
    reply.keep(cut.start..PREFIX + cut.end);
    debug_assert!(reply.frame().len() >= HEADER_SIZE + PREFIX);
    Ok(cut.last)
}

/// Takes note of what is given to whom, and stores it if so wanted. False if the partition moved meanwhile.
fn hand_out(
    shared: &Shared,
    connection: u32,
    at: PartitionAt,
    reader: Reader,
    last: u64,
    auto_commit: bool,
) -> Result<bool, IggyError> {
    if let Some(group) = reader.group {
        let mut catalog = lock(&shared.catalog);
        let group = catalog.group_mut(group);
        let fence = group.map(|group| group.polled(connection, at.partition, last));
        if fence != Some(Fence::Pass) {
            return Ok(false);
        }
    }
    if !auto_commit {
        return Ok(true);
    }
    match blocking(|| offsets::store_for(shared, connection, at, reader, last)) {
        Err(IggyError::ConsumerGroupPartitionNotOwned(..)) => Ok(false),
        stored => stored.map(|()| true),
    }
}

/// Whether another partition of this member has messages it was not given yet: it asks for one partition
/// after the other, so waiting for this one would delay the others.
fn has_more_elsewhere(shared: &Shared, connection: u32, at: PartitionAt, reader: Reader) -> bool {
    let Some(group) = reader.group else {
        return false;
    };
    let others: Vec<(u64, Option<u64>)> = {
        let mut catalog = lock(&shared.catalog);
        let positions: Vec<_> = catalog
            .group_mut(group)
            .map(|group| group.positions(connection).collect())
            .unwrap_or_default();
        let Some(topic) = catalog.topic_at(at.stream, at.topic) else {
            return false;
        };
        let other = |(partition, position): (u32, Option<u64>)| {
            let entry = topic
                .partitions
                .get(partition as usize)
                .filter(|_| partition != at.partition)?;
            Some((entry.log, position))
        };
        positions.into_iter().filter_map(other).collect()
    };
    others.into_iter().any(|(log, position)| {
        shared.logs.get(log).is_some_and(|partition| {
            let stored = partition.stored_offset(reader.key).map(|stored| stored + 1);
            partition.end() > position.max(stored).unwrap_or(0)
        })
    })
}

/// An empty poll of a partition that does not exist, which tells a member to ask for its partitions.
fn fence(reply: &mut Reply) {
    reply.encode(&PollMessagesResponseHeader {
        partition_id: RESYNC_REQUIRED_PARTITION_SENTINEL,
        current_offset: 0,
        messages_count: 0,
    });
}
