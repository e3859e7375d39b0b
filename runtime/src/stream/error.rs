//! What an error of the Iggy client means for a connector: try again, reconnect, join again, or give up. The rest of `stream`
//! asks here and matches no codes itself.

use std::fmt::Display;

use iggy_common::IggyError;

use crate::pipeline::{Failure, FailureKind};

/// Puts what was being done before the reason: `poll orders/new of Iggy at localhost:8090: the topic does not exist`.
pub(super) fn failure(doing: impl Display, error: &IggyError) -> Failure {
    Failure::new(kind(error), format!("{doing}: {}", reason(error)))
}

/// The same about what keeps messages from the broker and says nothing about them.
pub(super) fn unreachable(failure: Failure) -> Failure {
    match failure.kind {
        FailureKind::Transient => Failure {
            kind: FailureKind::Unreachable,
            ..failure
        },
        _ => failure,
    }
}

/// Whether the connection, or the session on it, is gone, or of no more use because a request on it was not answered in time.
pub(super) fn is_lost(error: &IggyError) -> bool {
    matches!(
        error,
        IggyError::Disconnected
            | IggyError::NotConnected
            | IggyError::CannotEstablishConnection
            | IggyError::TcpError
            | IggyError::EmptyResponse
            | IggyError::StaleClient
            | IggyError::Unauthenticated
            | IggyError::ConnectionClosed
            | IggyError::TaskTimeout
    )
}

/// Whether the broker did not accept who asks.
pub(super) fn is_refused_login(error: &IggyError) -> bool {
    matches!(
        error,
        IggyError::InvalidCredentials
            | IggyError::InvalidUsername
            | IggyError::InvalidPassword
            | IggyError::InvalidPersonalAccessToken
            | IggyError::PersonalAccessTokenExpired(..)
            | IggyError::UserInactive
            | IggyError::InvalidUserStatus
            | IggyError::Unauthenticated
    )
}

/// Whether this connection is not (any more) a member of the group it spoke for, or the group itself is gone.
pub(super) fn is_not_member(error: &IggyError) -> bool {
    matches!(
        error,
        IggyError::ConsumerGroupIdNotFound(..)
            | IggyError::ConsumerGroupNameNotFound(..)
            | IggyError::ConsumerGroupMemberNotFound(..)
    )
}

/// Whether the partition belongs to another member now, or does not exist any more.
pub(super) fn is_not_owner(error: &IggyError) -> bool {
    matches!(
        error,
        IggyError::ConsumerGroupPartitionNotOwned(..) | IggyError::PartitionNotFound(..)
    )
}

/// Whether the stream or the topic does not exist.
pub(super) fn is_missing_topic(error: &IggyError) -> bool {
    matches!(
        error,
        IggyError::StreamIdNotFound(..)
            | IggyError::StreamNameNotFound(..)
            | IggyError::TopicIdNotFound(..)
            | IggyError::TopicNameNotFound(..)
    )
}

/// Whether the log ends before the offset, or is gone.
pub(super) fn is_cut(error: &IggyError) -> bool {
    matches!(
        error,
        IggyError::InvalidOffset(..) | IggyError::PartitionNotFound(..)
    )
}

/// Whether an offset was refused because of what happened to its partition meanwhile: it moved, it shrank, it is gone. Servers
/// answer `ResourceNotFound` where they mean the first.
pub(super) fn is_refused_offset(error: &IggyError) -> bool {
    is_not_owner(error)
        || is_not_member(error)
        || matches!(
            error,
            IggyError::InvalidOffset(..) | IggyError::ResourceNotFound(..)
        )
}

fn kind(error: &IggyError) -> FailureKind {
    match error {
        IggyError::TooBigMessagePayload
        | IggyError::TooBigUserHeaders
        | IggyError::EmptyMessagePayload
        | IggyError::InvalidMessagePayloadLength
        | IggyError::InvalidHeaderKey
        | IggyError::InvalidHeaderValue
        | IggyError::InvalidHeaderKind(..) => FailureKind::Invalid,
        IggyError::InvalidIdentifier
        | IggyError::InvalidStreamName
        | IggyError::InvalidTopicName
        | IggyError::InvalidConsumerGroupName
        | IggyError::InvalidPartitionsCount
        | IggyError::TooManyPartitions
        | IggyError::InvalidConnectionString
        | IggyError::InvalidTlsDomain
        | IggyError::InvalidTlsCertificatePath
        | IggyError::InvalidTlsCertificate
        | IggyError::FailedToAddCertificate
        | IggyError::IncompatibleProtocolVersion(..) => FailureKind::Fatal,
        _ => FailureKind::Transient,
    }
}

/// The client rebuilds errors from their code alone, so that names and ids in its own texts are made up.
fn reason(error: &IggyError) -> String {
    let reason = match error {
        // The transport says so, and no broker.
        IggyError::TaskTimeout => "no answer within `[iggy] request_timeout`",
        IggyError::Unauthenticated => "the session has ended",
        error if is_lost(error) => "the connection was lost",
        IggyError::StreamIdNotFound(..) | IggyError::StreamNameNotFound(..) => {
            "the stream does not exist"
        }
        IggyError::TopicIdNotFound(..) | IggyError::TopicNameNotFound(..) => {
            "the topic does not exist"
        }
        IggyError::PartitionNotFound(..) => "the partition does not exist",
        IggyError::ConsumerGroupIdNotFound(..) => "the consumer group does not exist",
        IggyError::ConsumerGroupMemberNotFound(..) => "not a member of the consumer group",
        IggyError::ConsumerGroupPartitionNotOwned(..) => {
            "the partition belongs to another member of the consumer group"
        }
        IggyError::Unauthorized => "the user lacks the permission",
        IggyError::InvalidTlsCertificatePath => "the file in `[iggy.tls] ca_file` cannot be read",
        IggyError::InvalidTlsCertificate => {
            "the file in `[iggy.tls] ca_file` holds no usable certificate"
        }
        IggyError::InvalidTlsDomain => "`[iggy.tls] domain` is not a host name",
        _ => return error.to_string(),
    };
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: u32, expected: FailureKind, text: &str) {
        let failure = failure("send to orders/new", &IggyError::from_code(code));
        assert_eq!(failure.kind, expected, "{code}");
        assert_eq!(failure.message, format!("send to orders/new: {text}"));
    }

    #[test]
    fn failures_say_what_can_be_done_and_name_no_made_up_ids() {
        check(8, FailureKind::Transient, "the connection was lost");
        check(31, FailureKind::Transient, "the connection was lost");
        check(
            12001,
            FailureKind::Transient,
            "no answer within `[iggy] request_timeout`",
        );
        check(41, FailureKind::Transient, "the user lacks the permission");
        check(1009, FailureKind::Transient, "the stream does not exist");
        check(2010, FailureKind::Transient, "the topic does not exist");
        check(3007, FailureKind::Transient, "the partition does not exist");
        check(4022, FailureKind::Invalid, "Too big message payload");
        check(2014, FailureKind::Fatal, "Invalid topic name");
    }

    #[test]
    fn every_refusal_of_an_offset_is_known() {
        for code in [20, 3007, 4100, 5000, 5006, 5009] {
            assert!(is_refused_offset(&IggyError::from_code(code)), "{code}");
        }
        for code in [8, 41, 1009, 2010] {
            assert!(!is_refused_offset(&IggyError::from_code(code)), "{code}");
        }
    }
}
