//! One file per family of commands. A handler decodes the body, asks or changes the broker's state, and
//! encodes the answer; which code leads to which handler is decided in `dispatch`.

pub(crate) mod groups;
pub(crate) mod messages;
pub(crate) mod offsets;
pub(crate) mod partitions;
pub(crate) mod poll;
pub(crate) mod streams;
pub(crate) mod system;
pub(crate) mod topics;
pub(crate) mod users;

use std::net::SocketAddr;

use iggy_binary_protocol::WireName;
use iggy_common::IggyError;
use tokio::sync::watch;

use crate::{broker::Shared, wire::Reply};

/// One request on its way through a handler.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Shared,
    /// The number of the connection it came over, which is also its name as a group member.
    pub(crate) connection: u32,
    /// The address the client reached the broker under.
    pub(crate) local: SocketAddr,
    pub(crate) body: &'a mut [u8],
    pub(crate) reply: &'a mut Reply,
    /// Turns true when the broker shuts down.
    pub(crate) stop: &'a mut watch::Receiver<bool>,
}

/// A name that came in over the wire, on its way out again.
fn wire_name(name: &str) -> Result<WireName, IggyError> {
    WireName::new(name).map_err(|_| IggyError::InvalidFormat)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
