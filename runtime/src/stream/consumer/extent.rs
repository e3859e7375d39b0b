//! What a partition holds, and where in it a place such as `last` or a time lies. `starts` asks where a group begins, `offsets` where
//! it is moved to.

use iggy_common::{IggyTimestamp, PollingStrategy};

use super::{super::client::Client, member::Member};
use crate::{config::spec::StartFrom, pipeline::Failure};

/// The messages of a partition at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first message that is there; `next` when there is none.
    pub(super) first: u64,
    /// The last message that is there.
    pub(super) last: Option<u64>,
    /// The next message to come.
    pub(super) next: u64,
}

impl Extent {
    pub(super) async fn of(client: &Client, member: &Member, id: u32) -> Result<Self, Failure> {
        let newest = member.peek(client, id, &PollingStrategy::last()).await?;
        let last = newest.messages.first().map(|message| message.header.offset);
        let next = match (last, newest.current_offset) {
            (Some(last), _) => last.saturating_add(1),
            // Never written to, or its only message is gone.
            (None, 0) => 0,
            (None, last) => last.saturating_add(1),
        };
        let first = match last {
            Some(last) => {
                let oldest = member.peek(client, id, &PollingStrategy::first()).await?;
                let first = oldest.messages.first();
                first.map_or(next, |message| message.header.offset.min(last))
            }
            None => next,
        };
        Ok(Self { first, last, next })
    }

    /// The last message's offset, also when that message is gone; `None` when none was ever written.
    pub(super) fn head(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// The offset at which reading from a place begins; that of an [`StartFrom::Offset`] may lie before the first message.
    pub(super) async fn find(
        &self,
        client: &Client,
        member: &Member,
        id: u32,
        place: StartFrom,
    ) -> Result<u64, Failure> {
        Ok(match place {
            StartFrom::First => self.first,
            StartFrom::Last => self.last.unwrap_or(self.next),
            StartFrom::Next => self.next,
            StartFrom::Offset(offset) => offset.min(self.next),
            StartFrom::Timestamp(micros) => {
                let strategy = PollingStrategy::timestamp(IggyTimestamp::from(micros));
                let since = member.peek(client, id, &strategy).await?;
                let first = since.messages.first();
                // What came since the extent was looked up is not part of it.
                first.map_or(self.next, |message| message.header.offset.min(self.next))
            }
        })
    }
}
