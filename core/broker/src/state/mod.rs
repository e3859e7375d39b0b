//! What exists: streams, topics, partitions, groups and their members. Pure rules without I/O; `broker`
//! journals every [`Change`] before it is applied here.

mod apply;
mod catalog;
mod change;
mod group;
mod named;
mod propose;
mod stream;
mod topic;

pub(crate) use self::{
    apply::Added,
    catalog::{Catalog, GroupAt, PartitionAt, no_group, no_partition, no_topic},
    change::Change,
    group::{Fence, Group},
    stream::Stream,
    topic::{PartitionEntry, Topic},
};
