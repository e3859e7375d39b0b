//! Streams: get, list, create, update, delete, purge.

use iggy_binary_protocol::{
    WireDecode, WireOptions,
    requests::streams::{
        CreateStreamRequest, DeleteStreamRequest, GetStreamRequest, PurgeStreamRequest,
        UpdateStreamRequest,
    },
    responses::streams::{GetStreamResponse, GetStreamsResponse, StreamResponse},
};
use iggy_common::IggyError;

use super::{Call, count, topics, wire_name};
use crate::{
    broker::Shared,
    error::Failure,
    state::{Change, Stream},
    sync::{blocking, lock, now_micros},
};

/// A response without sizes, which are added once the catalog is free.
struct Draft {
    response: StreamResponse,
    topics: Vec<topics::Draft>,
}

impl Draft {
    fn new(id: u32, name: &str, stream: &Stream) -> Result<Self, IggyError> {
        let topics = stream
            .topics
            .iter()
            .map(|(id, name, topic)| topics::Draft::new(id, name, topic));
        Ok(Self {
            response: StreamResponse {
                id,
                created_at: stream.created_at,
                topics_count: count(stream.topics.len()),
                size_bytes: 0,
                messages_count: 0,
                name: wire_name(name)?,
                options: WireOptions::empty(),
            },
            topics: topics.collect::<Result<_, _>>()?,
        })
    }

    fn complete(mut self, shared: &Shared) -> GetStreamResponse {
        let topics: Vec<_> = self
            .topics
            .into_iter()
            .map(|topic| topic.complete(shared).topic)
            .collect();
        self.response.size_bytes = topics.iter().map(|topic| topic.size_bytes).sum();
        self.response.messages_count = topics.iter().map(|topic| topic.messages_count).sum();
        GetStreamResponse {
            stream: self.response,
            topics,
        }
    }
}

pub(crate) fn get(call: Call<'_>) -> Result<(), Failure> {
    let request = GetStreamRequest::decode_from(call.body)?;
    let found = {
        let catalog = lock(&call.shared.catalog);
        let Ok((id, stream)) = catalog.stream(&request.stream_id) else {
            return Ok(());
        };
        Draft::new(id, catalog.streams.name(id).unwrap_or_default(), stream)?
    };
    call.reply.encode(&found.complete(call.shared));
    Ok(())
}

pub(crate) fn list(call: Call<'_>) -> Result<(), Failure> {
    let found: Vec<_> = {
        let catalog = lock(&call.shared.catalog);
        let streams = catalog
            .streams
            .iter()
            .map(|(id, name, stream)| Draft::new(id, name, stream));
        streams.collect::<Result<_, _>>()?
    };
    let streams = found
        .into_iter()
        .map(|stream| stream.complete(call.shared).stream)
        .collect();
    call.reply.encode(&GetStreamsResponse { streams });
    Ok(())
}

pub(crate) fn create(call: Call<'_>) -> Result<(), Failure> {
    let request = CreateStreamRequest::decode_from(call.body)?;
    let at = now_micros();
    let change = blocking(|| {
        call.shared
            .change(|catalog| catalog.create_stream(&request.name, &request.options, at))
    })?;
    let Change::StreamCreated { id, .. } = change else {
        return Err(IggyError::Error.into());
    };
    call.reply.encode(&StreamResponse {
        id,
        created_at: at,
        topics_count: 0,
        size_bytes: 0,
        messages_count: 0,
        name: request.name,
        options: WireOptions::empty(),
    });
    Ok(())
}

pub(crate) fn update(call: Call<'_>) -> Result<(), Failure> {
    let request = UpdateStreamRequest::decode_from(call.body)?;
    blocking(|| {
        call.shared.change(|catalog| {
            catalog.update_stream(&request.stream_id, &request.name, &request.options)
        })
    })?;
    Ok(())
}

pub(crate) fn delete(call: Call<'_>) -> Result<(), Failure> {
    let request = DeleteStreamRequest::decode_from(call.body)?;
    blocking(|| {
        call.shared
            .change(|catalog| catalog.delete_stream(&request.stream_id))
    })?;
    Ok(())
}

pub(crate) fn purge(call: Call<'_>) -> Result<(), Failure> {
    let request = PurgeStreamRequest::decode_from(call.body)?;
    let (stream, topics) = lock(&call.shared.catalog).topics_of(&request.stream_id)?;
    blocking(|| {
        topics
            .into_iter()
            .try_for_each(|topic| topics::purge_one(call.shared, stream, topic))
    })?;
    Ok(())
}
