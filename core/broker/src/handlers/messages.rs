//! Messages on their way in: send, and flush on request. Polling is in `poll`.

use iggy_binary_protocol::{
    WireDecode, WirePartitioning,
    codec::read_u32_le,
    requests::messages::{FlushUnsavedBufferRequest, SendMessagesHeader},
    responses::messages::SendMessagesConfirmationResponse,
};
use iggy_common::IggyError;

use super::Call;
use crate::{
    broker::Shared,
    error::Failure,
    state::PartitionAt,
    store::{
        batch::{self, Admitted},
        partition::AppendError,
    },
    sync::blocking,
};

/// Bytes in front of the metadata: its length.
const LENGTH_PREFIX: usize = 4;

pub(crate) fn send(call: Call<'_>) -> Result<(), Failure> {
    let length = read_u32_le(call.body, 0)? as usize;
    let body = call.body.get_mut(LENGTH_PREFIX..).unwrap_or_default();
    let (metadata, batch) = body
        .split_at_mut_checked(length)
        .ok_or(IggyError::InvalidCommand)?;
    let header = SendMessagesHeader::decode_from(metadata)?;
    let (at, base_offset) = blocking(|| append(call.shared, &header, batch))?;
    call.reply.put(&1u32.to_le_bytes());
    call.reply.encode(&SendMessagesConfirmationResponse {
        stream_id: at.stream,
        topic_id: at.topic,
        partition_id: at.partition,
        base_offset,
    });
    Ok(())
}

fn append(
    shared: &Shared,
    header: &SendMessagesHeader,
    batch: &mut [u8],
) -> Result<(PartitionAt, u64), IggyError> {
    // Clients resolve balanced and keyed partitioning themselves.
    let WirePartitioning::PartitionId(partition) = header.partitioning else {
        return Err(IggyError::FeatureUnavailable);
    };
    // Looked up before the batch is verified: a missing topic is the more useful answer.
    shared.partition(&header.stream_id, &header.topic_id, partition)?;
    let mut batch = batch::admit(batch)?;
    if batch.messages() != header.messages_count {
        return Err(IggyError::InvalidMessagesCount);
    }
    match append_once(shared, header, partition, &mut batch) {
        // Purged since it was looked up: the topic has a new, empty partition.
        Err(AppendError::Retired) => append_once(shared, header, partition, &mut batch),
        appended => appended,
    }
    .map_err(append_error)
}

fn append_once(
    shared: &Shared,
    header: &SendMessagesHeader,
    partition: u32,
    batch: &mut Admitted<'_>,
) -> Result<(PartitionAt, u64), AppendError> {
    let found = shared.partition(&header.stream_id, &header.topic_id, partition);
    let (at, partition) = found.map_err(|_| AppendError::Retired)?;
    Ok((at, partition.append(batch)?))
}

fn append_error(error: AppendError) -> IggyError {
    match error {
        AppendError::Retired => crate::state::no_partition(),
        AppendError::Io(error) => {
            tracing::error!(%error, "messages not written");
            IggyError::CannotAppendMessage
        }
    }
}

/// Everything acknowledged is in its file already; what a client can ask for is that it is on the disk.
pub(crate) fn flush(call: Call<'_>) -> Result<(), Failure> {
    let request = FlushUnsavedBufferRequest::decode_from(call.body)?;
    let (_, partition) =
        call.shared
            .partition(&request.stream_id, &request.topic_id, request.partition_id)?;
    if !request.fsync {
        return Ok(());
    }
    blocking(|| partition.flush()).map_err(|error| {
        tracing::error!(%error, "partition not synced to stable storage");
        IggyError::CannotSyncFile
    })?;
    Ok(())
}
