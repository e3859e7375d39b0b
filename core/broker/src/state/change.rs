//! The metadata journal's records: facts with the numbers already given, in a format of their own, so that
//! neither a change of the rules nor one of the protocol makes old data unreadable.

use serde::{Deserialize, Serialize};

/// One accepted change. Times are microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(crate) enum Change {
    /// Numbers below these were given before; written when the journal is condensed.
    Reserved {
        streams: u32,
        logs: u64,
    },
    StreamCreated {
        id: u32,
        name: String,
        at: u64,
        /// Topic numbers below this were given before.
        #[serde(default)]
        topics: u32,
    },
    StreamRenamed {
        id: u32,
        name: String,
    },
    StreamDeleted {
        id: u32,
    },
    TopicCreated {
        stream: u32,
        id: u32,
        name: String,
        at: u64,
        /// The client's options block, in the protocol's encoding of user headers.
        options: Vec<u8>,
        partitions: Vec<PartitionCreated>,
        /// Group numbers below this were given before.
        #[serde(default)]
        groups: u32,
    },
    TopicUpdated {
        stream: u32,
        id: u32,
        name: String,
        options: Vec<u8>,
    },
    TopicDeleted {
        stream: u32,
        id: u32,
    },
    PartitionsAdded {
        stream: u32,
        topic: u32,
        partitions: Vec<PartitionCreated>,
    },
    PartitionsRemoved {
        stream: u32,
        topic: u32,
        count: u32,
    },
    /// A purge: every partition begins anew with a log of its own.
    TopicPurged {
        stream: u32,
        topic: u32,
        logs: Vec<u64>,
    },
    GroupCreated {
        stream: u32,
        topic: u32,
        id: u32,
        name: String,
    },
    GroupDeleted {
        stream: u32,
        topic: u32,
        id: u32,
    },
}

/// A partition's log and the time it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionCreated {
    pub(crate) log: u64,
    pub(crate) at: u64,
}
