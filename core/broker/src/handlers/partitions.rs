//! Partitions of a topic and their segments: create, delete.

use iggy_binary_protocol::{
    WireDecode,
    requests::{
        partitions::{CreatePartitionsRequest, DeletePartitionsRequest},
        segments::DeleteSegmentsRequest,
    },
};
use iggy_common::IggyError;

use super::Call;
use crate::{
    error::Failure,
    sync::{blocking, now_micros},
};

pub(crate) fn create(call: Call<'_>) -> Result<(), Failure> {
    let request = CreatePartitionsRequest::decode_from(call.body)?;
    let at = now_micros();
    blocking(|| {
        call.shared.change(|catalog| {
            catalog.create_partitions(
                &request.stream_id,
                &request.topic_id,
                request.partitions_count,
                at,
            )
        })
    })?;
    Ok(())
}

pub(crate) fn delete(call: Call<'_>) -> Result<(), Failure> {
    let request = DeletePartitionsRequest::decode_from(call.body)?;
    blocking(|| {
        call.shared.change(|catalog| {
            catalog.delete_partitions(
                &request.stream_id,
                &request.topic_id,
                request.partitions_count,
            )
        })
    })?;
    Ok(())
}

/// Deletes the oldest full segments of a partition.
pub(crate) fn delete_segments(call: Call<'_>) -> Result<(), Failure> {
    let request = DeleteSegmentsRequest::decode_from(call.body)?;
    let (_, partition) =
        call.shared
            .partition(&request.stream_id, &request.topic_id, request.partition_id)?;
    let removed = blocking(|| partition.remove_segments(request.segments_count));
    removed.map_err(|error| {
        tracing::error!(%error, "segments not deleted");
        IggyError::CannotDeleteFile
    })?;
    Ok(())
}
