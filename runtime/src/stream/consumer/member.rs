//! One membership: a consumer group of one topic, on this connection. Makes the requests about it and knows what the broker
//! last assigned.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use iggy::prelude::{ConsumerGroupClient, ConsumerOffsetClient, MessageClient};
use iggy_binary_protocol::{
    WireConsumer, WireIdentifier, WirePollingStrategy,
    codec::{WireDecode, WireEncode},
    codes::{POLL_MESSAGES_CODE, SYNC_CONSUMER_GROUP_CODE},
    requests::{consumer_groups::SyncConsumerGroupRequest, messages::PollMessagesRequest},
    responses::consumer_groups::SyncConsumerGroupResponse,
};
use iggy_common::{
    BinaryTransport, Consumer, ConsumerOffsetInfo, Identifier, IggyError, PolledMessages,
    PollingStrategy,
};
use iggy_connector_message::TopicMetadata;
use tracing::{debug, info};

use super::{
    super::{
        client::Client,
        error::{failure, is_not_member},
        topics::{Name, identifier},
    },
    partition::Mark,
};
use crate::{
    config::spec::{self, StartFrom},
    pipeline::Failure,
};

#[derive(Debug)]
pub(super) struct Member {
    /// Which `[[streams]]` entry, from 0.
    pub(super) input: usize,
    pub(super) topic: Arc<TopicMetadata>,
    pub(super) name: Name,
    pub(super) poll_interval: Duration,
    /// Most messages of one batch.
    pub(super) batch_length: u32,
    /// How long messages are gathered into a fuller one.
    pub(super) batch_timeout: Duration,
    /// What the broker said last; 0 is before the first time.
    pub(super) generation: u64,
    pub(super) assigned: Vec<u32>,
    /// The broker is to be asked before the next poll.
    pub(super) is_stale: bool,
    /// How many stores were refused in a row, in this generation.
    pub(super) refusals: u32,
    pub(super) group: String,
    pub(super) start_from: StartFrom,
    consumer: Consumer,
    /// Sent with partition, offset and count filled in.
    poll: PollMessagesRequest,
    sync: Bytes,
}

/// Which partitions a member owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) generation: u64,
    pub(super) partitions: Vec<u32>,
}

impl Member {
    pub(super) fn new(input: usize, spec: &spec::Input, topic: &str) -> Result<Self, Failure> {
        let name = Name::new(&spec.stream, topic)?;
        let group = identifier("consumer group", &spec.consumer_group)?;
        let wire = |name: &str| {
            WireIdentifier::named(name)
                .map_err(|error| Failure::fatal(format!("name `{name}`: {error}")))
        };
        let (stream_id, topic_id, group_id) = (
            wire(&spec.stream)?,
            wire(topic)?,
            wire(&spec.consumer_group)?,
        );
        let sync = SyncConsumerGroupRequest {
            stream_id: stream_id.clone(),
            topic_id: topic_id.clone(),
            group_id: group_id.clone(),
        };
        Ok(Self {
            input,
            topic: Arc::new(TopicMetadata {
                stream: spec.stream.clone(),
                topic: topic.to_owned(),
            }),
            name,
            poll_interval: spec.poll_interval,
            batch_length: spec.batch_length.max(1),
            batch_timeout: spec.batch_timeout,
            generation: 0,
            assigned: Vec::new(),
            is_stale: true,
            refusals: 0,
            group: spec.consumer_group.clone(),
            start_from: spec.start_from,
            consumer: Consumer::group(group),
            poll: PollMessagesRequest {
                consumer: WireConsumer::consumer_group(group_id),
                stream_id,
                topic_id,
                partition_id: None,
                strategy: WirePollingStrategy::offset(0),
                count: 0,
                auto_commit: false,
            },
            sync: sync.to_bytes(),
        })
    }

    /// Makes this connection a member, of a new group if there is none, and says whether it is new. Joining twice is fine.
    pub(super) async fn join(&self, client: &Client) -> Result<bool, Failure> {
        match self.request_join(client).await {
            Err(
                IggyError::ConsumerGroupIdNotFound(..)
                | IggyError::ConsumerGroupNameNotFound(..)
                | IggyError::ResourceNotFound(..),
            ) => {}
            joined => {
                return joined
                    .map(|()| false)
                    .map_err(|error| self.failure(client, "join", &error));
            }
        }
        let created = client
            .tcp()
            .create_consumer_group(&self.name.stream, &self.name.topic, &self.group)
            .await;
        let is_new = match created {
            Ok(_) => true,
            Err(IggyError::ConsumerGroupNameAlreadyExists(..)) => false,
            Err(error) => return Err(self.failure(client, "create", &error)),
        };
        if is_new {
            info!(group = self.group, topic = %self.name, "created the consumer group");
        }
        let joined = self.request_join(client).await;
        joined
            .map(|()| is_new)
            .map_err(|error| self.failure(client, "join", &error))
    }

    /// The numbers of the group's members, this one among them if it has joined. A missing group has none.
    pub(super) async fn members(&self, client: &Client) -> Result<Vec<u32>, Failure> {
        let Name { stream, topic, .. } = &self.name;
        let found = client
            .tcp()
            .get_consumer_group(stream, topic, self.group_id())
            .await;
        match found {
            Ok(Some(group)) => Ok(group.members.iter().map(|member| member.id).collect()),
            Ok(None) => Ok(Vec::new()),
            Err(error) if is_not_member(&error) => Ok(Vec::new()),
            Err(error) => Err(self.failure(client, "look up the members", &error)),
        }
    }

    /// What this member owns, `None` when it is no member.
    pub(super) async fn assignment(
        &self,
        client: &Client,
    ) -> Result<Option<Assignment>, IggyError> {
        let reply = client
            .tcp()
            .send_raw_with_response(SYNC_CONSUMER_GROUP_CODE, self.sync.clone())
            .await?;
        if reply.is_empty() {
            return Ok(None);
        }
        let (reply, _) =
            SyncConsumerGroupResponse::decode(&reply).map_err(|_| IggyError::InvalidFormat)?;
        Ok(Some(Assignment {
            generation: reply.generation,
            partitions: reply.partitions,
        }))
    }

    pub(super) async fn leave(&self, client: &Client) {
        let left = client
            .tcp()
            .leave_consumer_group(&self.name.stream, &self.name.topic, self.group_id())
            .await;
        if let Err(error) = left {
            debug!(group = self.group, topic = %self.name, %error, "leaving the consumer group");
        }
    }

    /// Reads one message of a partition, without being a member and without storing anything.
    pub(super) async fn peek(
        &self,
        client: &Client,
        partition: u32,
        strategy: &PollingStrategy,
    ) -> Result<PolledMessages, Failure> {
        let Name { stream, topic, .. } = &self.name;
        let reader = Consumer::new(self.group_id().clone());
        let polled = client
            .tcp()
            .poll_messages(stream, topic, Some(partition), &reader, strategy, 1, false)
            .await;
        polled.map_err(|error| {
            self.failure(client, &format!("look at partition {partition}"), &error)
        })
    }

    /// Whether another message stands where this one was read. One that is gone tells nothing.
    pub(super) async fn has_other(
        &self,
        client: &Client,
        partition: u32,
        mark: Mark,
    ) -> Result<bool, Failure> {
        let strategy = PollingStrategy::offset(mark.offset);
        let found = self.peek(client, partition, &strategy).await?;
        let found = found.messages.first().map(|message| Mark {
            offset: message.header.offset,
            id: message.header.id,
            origin_timestamp: message.header.origin_timestamp,
            checksum: message.header.checksum,
        });
        Ok(found.is_some_and(|found| found.offset == mark.offset && found != mark))
    }

    pub(super) async fn poll(
        &mut self,
        client: &Client,
        partition: u32,
        offset: u64,
        count: u32,
    ) -> Result<Bytes, IggyError> {
        self.poll.partition_id = Some(partition);
        self.poll.count = count;
        self.poll.strategy = WirePollingStrategy::offset(offset);
        client
            .tcp()
            .send_raw_with_response(POLL_MESSAGES_CODE, self.poll.to_bytes())
            .await
    }

    pub(super) async fn stored(
        &self,
        client: &Client,
        partition: u32,
    ) -> Result<Option<ConsumerOffsetInfo>, IggyError> {
        client
            .tcp()
            .get_consumer_offset(
                &self.consumer,
                &self.name.stream,
                &self.name.topic,
                Some(partition),
            )
            .await
    }

    pub(super) async fn store(
        &self,
        client: &Client,
        partition: u32,
        offset: u64,
    ) -> Result<(), IggyError> {
        client
            .tcp()
            .store_consumer_offset(
                &self.consumer,
                &self.name.stream,
                &self.name.topic,
                Some(partition),
                offset,
            )
            .await
    }

    /// Forgets what is stored. That nothing is stored is fine.
    pub(super) async fn delete(&self, client: &Client, partition: u32) -> Result<(), IggyError> {
        let deleted = client
            .tcp()
            .delete_consumer_offset(
                &self.consumer,
                &self.name.stream,
                &self.name.topic,
                Some(partition),
            )
            .await;
        match deleted {
            Err(IggyError::ConsumerOffsetNotFound(..)) => Ok(()),
            deleted => deleted,
        }
    }

    pub(super) fn failure(&self, client: &Client, doing: &str, error: &IggyError) -> Failure {
        failure(client.doing(format_args!("{doing} as {self}")), error)
    }

    async fn request_join(&self, client: &Client) -> Result<(), IggyError> {
        client
            .tcp()
            .join_consumer_group(&self.name.stream, &self.name.topic, self.group_id())
            .await
    }

    fn group_id(&self) -> &Identifier {
        &self.consumer.id
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consumer group `{}` of topic {}", self.group, self.name)
    }
}
