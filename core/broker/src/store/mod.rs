//! Everything on disk: the data directory, the metadata journal and the partitions' logs.
//!
//! Layout: `format` (marker), `lock`, `metadata` (journal), `logs/<id>/` (one per partition, never reused).

pub(crate) mod batch;
pub(crate) mod directory;
mod file;
mod index;
pub(crate) mod journal;
pub(crate) mod logs;
pub(crate) mod offsets;
pub(crate) mod partition;
pub(crate) mod retention;
mod salvage;
mod segment;
