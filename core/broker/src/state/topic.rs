//! A topic: its options, partitions and consumer groups.

use std::sync::Arc;

use bytes::Bytes;
use iggy_binary_protocol::WireOptions;
use iggy_common::{CompressionAlgorithm, TopicCreateOptions};
use tokio::sync::Notify;

use super::{change::PartitionCreated, group::Group, named::Named};
use crate::store::retention::Limits;

/// Set as limit, it means that there is none.
const UNLIMITED: u64 = u64::MAX;

#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) created_at: u64,
    /// The block a client sent, returned to clients unchanged.
    pub(crate) options: WireOptions,
    pub(crate) settings: TopicCreateOptions,
    pub(crate) partitions: Vec<PartitionEntry>,
    pub(crate) groups: Named<Group>,
    /// Wakes held polls when messages arrive in any partition.
    pub(crate) arrivals: Arc<Notify>,
}

/// One partition, by its place in [`Topic::partitions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionEntry {
    pub(crate) log: u64,
    pub(crate) created_at: u64,
}

impl From<PartitionCreated> for PartitionEntry {
    fn from(created: PartitionCreated) -> Self {
        Self {
            log: created.log,
            created_at: created.at,
        }
    }
}

impl Topic {
    pub(crate) fn new(created_at: u64, options: WireOptions) -> Self {
        Self {
            created_at,
            settings: TopicCreateOptions::parse_committed(&options),
            options,
            partitions: Vec::new(),
            groups: Named::default(),
            arrivals: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn set_options(&mut self, options: WireOptions) {
        self.settings = TopicCreateOptions::parse_committed(&options);
        self.options = options;
    }

    /// How many partitions there are; they are numbered from 0.
    pub(crate) fn partitions_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// As the protocol shows it: microseconds, `u64::MAX` for never.
    pub(crate) fn message_expiry(&self) -> u64 {
        self.settings.message_expiry.map_or(UNLIMITED, u64::from)
    }

    /// As the protocol shows it: bytes, `u64::MAX` for unlimited.
    pub(crate) fn max_size(&self) -> u64 {
        self.settings.max_topic_size.map_or(UNLIMITED, u64::from)
    }

    pub(crate) fn compression(&self) -> u8 {
        self.settings
            .compression_algorithm
            .unwrap_or(CompressionAlgorithm::None)
            .as_code()
    }

    pub(crate) fn limits(&self) -> Limits {
        let limited = |value: u64| (value != UNLIMITED && value != 0).then_some(value);
        Limits {
            expiry: limited(self.message_expiry()),
            size: limited(self.max_size()),
        }
    }
}

/// Options as they come out of the journal. They were checked when they came in; a block that does not hold
/// now counts as none rather than keeping the broker from starting.
pub(crate) fn journaled_options(bytes: Vec<u8>) -> WireOptions {
    WireOptions::from_bytes(Bytes::from(bytes)).unwrap_or_else(|error| {
        tracing::error!(%error, "topic options in the metadata journal do not decode: using defaults");
        WireOptions::empty()
    })
}
