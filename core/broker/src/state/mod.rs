//! What exists: streams, topics, partitions, groups and their members. Pure rules without I/O; `broker`
//! journals every [`Change`] before it is applied here.

mod catalog;
mod change;
mod group;
mod named;
mod stream;
mod topic;

pub(crate) use self::{
    catalog::{Added, Catalog, GroupAt, PartitionAt, no_group, no_partition, no_topic},
    change::Change,
    group::{Fence, Group},
    stream::Stream,
    topic::{PartitionEntry, Topic},
};
