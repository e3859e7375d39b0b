//! The broker about itself: cluster metadata, connections, options, statistics.

use bytes::Bytes;
use iggy_binary_protocol::{
    IGGY_PROTOCOL_VERSION, ProtocolVersion, WireDecode, WireName,
    requests::system::{
        DescribeOptionsRequest, GetClientRequest, describe_options::OPTIONS_SCOPE_TOPIC,
    },
    responses::{
        clients::{
            ClientDetailsResponse, ClientResponse, ConsumerGroupInfoResponse, GetClientsResponse,
        },
        system::{
            ClusterMetadataResponse, DescribeOptionsResponse, describe_options::OptionDescriptor,
            get_cluster_metadata::ClusterNodeResponse, get_stats::StatsResponse,
        },
    },
};
use iggy_common::{
    DEFAULT_MAX_TOPIC_SIZE, DEFAULT_MESSAGE_EXPIRY, DEFAULT_MESSAGES_REQUIRED_TO_SAVE,
    DEFAULT_PREALLOCATE_SEGMENTS, DEFAULT_SIZE_OF_MESSAGES_REQUIRED_TO_SAVE, HeaderKind, IggyError,
    topic_option_keys,
};

use super::{Call, count, wire_name};
use crate::{
    broker::Shared,
    error::Failure,
    handlers::users,
    process,
    session::Client,
    sync::{lock, now_micros},
};

/// Transport codes of the protocol.
const TCP: u8 = 1;
/// What stands for "not signed in".
const NO_USER: u32 = u32::MAX;

/// One healthy leader: the node that was asked. With it a client neither looks for another node nor routes
/// polls. It is told the address it reached the broker under, which it adds to those it redials.
pub(crate) fn cluster_metadata(call: Call<'_>) -> Result<(), Failure> {
    call.reply.encode(&ClusterMetadataResponse {
        name: "embedded".to_owned(),
        nodes: vec![ClusterNodeResponse {
            name: "embedded".to_owned(),
            ip: call.local.ip().to_string(),
            tcp_port: call.local.port(),
            quic_port: 0,
            http_port: 0,
            websocket_port: 0,
            role: 0,
            status: 0,
        }],
    });
    Ok(())
}

pub(crate) fn me(call: Call<'_>) -> Result<(), Failure> {
    let connection = call.connection;
    client_details(call, connection)
}

pub(crate) fn client(call: Call<'_>) -> Result<(), Failure> {
    let request = GetClientRequest::decode_from(call.body)?;
    client_details(call, request.client_id)
}

fn client_details(call: Call<'_>, connection: u32) -> Result<(), Failure> {
    let groups = memberships(call.shared, connection);
    let clients = lock(&call.shared.clients);
    if let Some(client) = clients.get(connection) {
        call.reply.encode(&ClientDetailsResponse {
            client: client_response(connection, client, groups.len()),
            consumer_groups: groups,
        });
    }
    Ok(())
}

pub(crate) fn clients(call: Call<'_>) -> Result<(), Failure> {
    let shared = call.shared;
    let connections: Vec<u32> = lock(&shared.clients)
        .iter()
        .map(|(connection, _)| connection)
        .collect();
    let groups = connections
        .iter()
        .map(|&connection| (connection, memberships(shared, connection).len()));
    let groups: Vec<_> = groups.collect();
    let known = lock(&shared.clients);
    let response = |(connection, groups): (u32, usize)| {
        let client = known.get(connection)?;
        Some(client_response(connection, client, groups))
    };
    call.reply.encode(&GetClientsResponse {
        clients: groups.into_iter().filter_map(response).collect(),
    });
    Ok(())
}

fn memberships(shared: &Shared, connection: u32) -> Vec<ConsumerGroupInfoResponse> {
    let found = lock(&shared.catalog).memberships(connection);
    let response = |at: crate::state::GroupAt| ConsumerGroupInfoResponse {
        stream_id: at.stream,
        topic_id: at.topic,
        group_id: at.group,
    };
    found.into_iter().map(response).collect()
}

fn client_response(connection: u32, client: &Client, groups: usize) -> ClientResponse {
    ClientResponse {
        client_id: connection,
        user_id: if client.signed_in { users::ID } else { NO_USER },
        transport: TCP,
        address: client.address.to_string(),
        consumer_groups_count: count(groups),
    }
}

/// The options a topic may be created with. Streams and users have none.
pub(crate) fn options(call: Call<'_>) -> Result<(), Failure> {
    let request = DescribeOptionsRequest::decode_from(call.body)?;
    let entries = match request.scope {
        OPTIONS_SCOPE_TOPIC => topic_options(call.shared.config.segment_size)?,
        _ => Vec::new(),
    };
    call.reply.encode(&DescribeOptionsResponse { entries });
    Ok(())
}

fn topic_options(segment_size: u64) -> Result<Vec<OptionDescriptor>, IggyError> {
    use topic_option_keys::{
        COMPRESSION_ALGORITHM, CONSUMER_OFFSET_DURABILITY, DURABILITY, MAX_TOPIC_SIZE,
        MESSAGE_EXPIRY, MESSAGES_REQUIRED_TO_SAVE, PREALLOCATE_SEGMENTS, SEGMENT_SIZE,
        SIZE_OF_MESSAGES_REQUIRED_TO_SAVE,
    };
    let number = |value: u64| Bytes::copy_from_slice(&value.to_le_bytes());
    let text = |value: &'static str| Bytes::from_static(value.as_bytes());
    let table = [
        (
            COMPRESSION_ALGORITHM,
            HeaderKind::String,
            text("none"),
            "what producers compress payloads with; kept as a note",
        ),
        (
            MESSAGE_EXPIRY,
            HeaderKind::Uint64,
            number(DEFAULT_MESSAGE_EXPIRY),
            "microseconds a message is kept",
        ),
        (
            MAX_TOPIC_SIZE,
            HeaderKind::Uint64,
            number(DEFAULT_MAX_TOPIC_SIZE),
            "bytes kept; the oldest segments go first",
        ),
        (
            SEGMENT_SIZE,
            HeaderKind::Uint64,
            number(segment_size),
            "bytes of a segment file",
        ),
        (
            DURABILITY,
            HeaderKind::String,
            text("replicated"),
            "`persisted` syncs messages before they are acknowledged",
        ),
        (
            CONSUMER_OFFSET_DURABILITY,
            HeaderKind::String,
            text("replicated"),
            "`persisted` does the same for stored offsets",
        ),
        (
            MESSAGES_REQUIRED_TO_SAVE,
            HeaderKind::Uint32,
            Bytes::copy_from_slice(&DEFAULT_MESSAGES_REQUIRED_TO_SAVE.to_le_bytes()),
            "accepted and without effect: every batch is written at once",
        ),
        (
            SIZE_OF_MESSAGES_REQUIRED_TO_SAVE,
            HeaderKind::Uint64,
            number(DEFAULT_SIZE_OF_MESSAGES_REQUIRED_TO_SAVE),
            "accepted and without effect: every batch is written at once",
        ),
        (
            PREALLOCATE_SEGMENTS,
            HeaderKind::Bool,
            Bytes::copy_from_slice(&[u8::from(DEFAULT_PREALLOCATE_SEGMENTS)]),
            "accepted and without effect: segments grow as they are written",
        ),
    ];
    let descriptor = |(key, kind, default_value, description): (&str, HeaderKind, Bytes, &str)| {
        Ok(OptionDescriptor {
            key: wire_name(key)?,
            kind: kind.as_code(),
            default_value,
            description: description.to_owned(),
        })
    };
    table.into_iter().map(descriptor).collect()
}

pub(crate) fn stats(call: Call<'_>) -> Result<(), Failure> {
    let shared = call.shared;
    let totals = totals(shared);
    let process = process::usage();
    let (free_disk_space, total_disk_space) = process::disk_space(&shared.config.dir);
    let now = now_micros();
    call.reply.encode(&StatsResponse {
        process_id: std::process::id(),
        cpu_usage: process.cpu_percent(now.saturating_sub(shared.started_at)),
        total_cpu_usage: process.load_percent,
        memory_usage: process.memory,
        total_memory: process.total_memory,
        available_memory: process.available_memory,
        run_time: now.saturating_sub(shared.started_at),
        start_time: shared.started_at,
        read_bytes: process.read_bytes,
        written_bytes: process.written_bytes,
        messages_size_bytes: totals.bytes,
        streams_count: totals.streams,
        topics_count: totals.topics,
        partitions_count: totals.partitions,
        segments_count: totals.segments,
        messages_count: totals.messages,
        clients_count: count(lock(&shared.clients).iter().count()),
        consumer_groups_count: totals.groups,
        hostname: process.hostname,
        os_name: std::env::consts::OS.to_owned(),
        os_version: std::env::consts::ARCH.to_owned(),
        kernel_version: process.kernel,
        iggy_server_version: version(),
        iggy_server_semver: Some(IGGY_PROTOCOL_VERSION),
        cache_metrics: Vec::new(),
        threads_count: process.threads,
        free_disk_space,
        total_disk_space,
    });
    Ok(())
}

/// The version of the protocol, which is what clients compare.
pub(crate) fn version() -> String {
    ProtocolVersion(IGGY_PROTOCOL_VERSION).to_string()
}

/// [`version`] as a login reply carries it.
pub(crate) fn version_name() -> Result<WireName, IggyError> {
    wire_name(&version())
}

#[derive(Debug, Default)]
struct Totals {
    streams: u32,
    topics: u32,
    partitions: u32,
    groups: u32,
    segments: u32,
    messages: u64,
    bytes: u64,
}

fn totals(shared: &Shared) -> Totals {
    let mut totals = Totals::default();
    let logs: Vec<u64> = {
        let catalog = lock(&shared.catalog);
        totals.streams = count(catalog.streams.len());
        for (_, _, topic) in catalog
            .streams
            .iter()
            .flat_map(|(_, _, stream)| stream.topics.iter())
        {
            totals.topics += 1;
            totals.groups += count(topic.groups.len());
        }
        catalog
            .partitions()
            .map(|partition| partition.log)
            .collect()
    };
    for log in logs {
        let stats = shared.stats(log);
        totals.partitions += 1;
        totals.segments += stats.segments;
        totals.messages += stats.messages;
        totals.bytes += stats.bytes;
    }
    totals
}
