//! Which command code leads to which handler, and who may use it. A handler's error becomes the reply's
//! status; what is not listed here is not available.

use iggy_binary_protocol::{EvictionReason, codes};
use iggy_common::IggyError;

use crate::{
    error::Failure,
    handlers::{Call, groups, messages, offsets, partitions, poll, streams, system, topics, users},
    session::Session,
    wire::{Action, Request},
};

/// Decides whether a request may be handled with the session its connection has.
pub(crate) fn authorize(request: &Request, session: Option<Session>) -> Result<(), Failure> {
    let Action::Command { code, replicated } = request.action else {
        return Ok(());
    };
    match code {
        codes::PING_CODE => return Ok(()),
        // Logins of the time before sessions.
        codes::LOGIN_USER_CODE | codes::LOGIN_WITH_PERSONAL_ACCESS_TOKEN_CODE => {
            return Err(Failure::Evict(EvictionReason::MalformedLogin));
        }
        _ => {}
    }
    if !replicated {
        return match session {
            Some(_) => Ok(()),
            None => Err(Failure::Status(IggyError::Unauthenticated)),
        };
    }
    let sent = Session {
        client: request.header.client,
        number: request.header.session,
    };
    match session == Some(sent) {
        true => Ok(()),
        false => Err(Failure::Evict(EvictionReason::NoSession)),
    }
}

/// Handles a command.
pub(crate) async fn dispatch(code: u32, call: Call<'_>) -> Result<(), Failure> {
    match code {
        codes::PING_CODE => Ok(()),
        codes::GET_STATS_CODE => system::stats(call),
        codes::GET_CLUSTER_METADATA_CODE => system::cluster_metadata(call),
        codes::DESCRIBE_OPTIONS_CODE => system::options(call),
        codes::GET_ME_CODE => system::me(call),
        codes::GET_CLIENT_CODE => system::client(call),
        codes::GET_CLIENTS_CODE => system::clients(call),
        codes::GET_USER_CODE => users::get(call),
        codes::GET_USERS_CODE => users::list(call),
        // The configured token has no name, so there is none to list.
        codes::GET_PERSONAL_ACCESS_TOKENS_CODE => Ok(()),
        codes::POLL_MESSAGES_CODE => poll::poll(call).await,
        codes::SEND_MESSAGES_CODE => messages::send(call),
        codes::FLUSH_UNSAVED_BUFFER_CODE => messages::flush(call),
        codes::GET_CONSUMER_OFFSET_CODE => offsets::get(call),
        codes::STORE_CONSUMER_OFFSET_CODE => offsets::store(call),
        codes::DELETE_CONSUMER_OFFSET_CODE => offsets::delete(call),
        codes::GET_STREAM_CODE => streams::get(call),
        codes::GET_STREAMS_CODE => streams::list(call),
        codes::CREATE_STREAM_CODE => streams::create(call),
        codes::DELETE_STREAM_CODE => streams::delete(call),
        codes::UPDATE_STREAM_CODE => streams::update(call),
        codes::PURGE_STREAM_CODE => streams::purge(call),
        codes::GET_TOPIC_CODE => topics::get(call),
        codes::GET_TOPICS_CODE => topics::list(call),
        codes::CREATE_TOPIC_CODE => topics::create(call),
        codes::DELETE_TOPIC_CODE => topics::delete(call),
        codes::UPDATE_TOPIC_CODE => topics::update(call),
        codes::PURGE_TOPIC_CODE => topics::purge(call),
        codes::CREATE_PARTITIONS_CODE => partitions::create(call),
        codes::DELETE_PARTITIONS_CODE => partitions::delete(call),
        codes::DELETE_SEGMENTS_CODE => partitions::delete_segments(call),
        codes::GET_CONSUMER_GROUP_CODE => groups::get(call),
        codes::GET_CONSUMER_GROUPS_CODE => groups::list(call),
        codes::CREATE_CONSUMER_GROUP_CODE => groups::create(call),
        codes::DELETE_CONSUMER_GROUP_CODE => groups::delete(call),
        codes::JOIN_CONSUMER_GROUP_CODE => groups::join(call),
        codes::LEAVE_CONSUMER_GROUP_CODE => groups::leave(call),
        codes::SYNC_CONSUMER_GROUP_CODE => groups::sync(call),
        _ => Err(Failure::Status(IggyError::FeatureUnavailable)),
    }
}
