//! A stream: a name, a birthday, topics.

use super::{named::Named, topic::Topic};

#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) created_at: u64,
    pub(crate) topics: Named<Topic>,
}

impl Stream {
    pub(crate) fn new(created_at: u64) -> Self {
        Self {
            created_at,
            topics: Named::default(),
        }
    }
}
