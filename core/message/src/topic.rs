//! Where a batch came from: [`TopicMetadata`], [`MessagesMetadata`].

use crate::Schema;

/// The stream and topic of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicMetadata {
    /// The stream's name.
    pub stream: String,
    /// The topic's name.
    pub topic: String,
}

/// The partition of a batch, and how its payloads are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagesMetadata {
    /// The partition, from 0.
    pub partition_id: u32,
    /// The last offset of the partition when the batch was read.
    pub current_offset: u64,
    /// What the payloads are now, after decoding and transforms.
    pub schema: Schema,
}
