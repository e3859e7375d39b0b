//! Where a connector is in its life: [`Status`], and the moves between two of them that are legal. Only the connector's own task
//! changes a status, through `snapshot::Reporter`, which checks every move here.

/// Where a connector is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The plugin is opened, or Iggy is being connected to.
    Starting,
    Running,
    /// It runs and waits to try something again.
    Retrying,
    /// Nothing moves. The plugin stays open if it was, and no group of consumers has it as a member.
    Paused,
    /// What is in flight is finished and the plugin is closed.
    Stopping,
    Stopped,
    /// It has failed. It is started again at `next_attempt`, or, without one, when somebody says so.
    Error,
}

use Status::{Error, Paused, Retrying, Running, Starting, Stopped, Stopping};

/// Every status with those that may follow it.
const MOVES: [(Status, &[Status]); 7] = [
    (Starting, &[Running, Retrying, Paused, Stopping, Error]),
    (Running, &[Retrying, Paused, Stopping, Error]),
    (Retrying, &[Running, Paused, Stopping, Error]),
    (Paused, &[Starting, Stopping, Stopped]),
    // A restart goes on with starting; a pause that was asked for meanwhile ends as one.
    (Stopping, &[Starting, Paused, Stopped]),
    (Stopped, &[Starting]),
    (Error, &[Starting, Paused, Stopped]),
];

impl Status {
    pub const ALL: [Self; 7] = [
        Starting, Running, Retrying, Paused, Stopping, Stopped, Error,
    ];

    /// The status in one word, as the API shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Starting => "starting",
            Running => "running",
            Retrying => "retrying",
            Paused => "paused",
            Stopping => "stopping",
            Stopped => "stopped",
            Error => "error",
        }
    }

    /// Whether `next` may follow.
    pub(super) fn may_become(self, next: Self) -> bool {
        let found = MOVES.iter().find(|(from, _)| *from == self);
        found.is_some_and(|(_, to)| to.contains(&next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row for each status, one column for each in the order of [`Status::ALL`].
    const EXPECTED: [(Status, &str); 7] = [
        (Starting, ".xxxx.x"),
        (Running, "..xxx.x"),
        (Retrying, ".x.xx.x"),
        (Paused, "x...xx."),
        (Stopping, "x..x.x."),
        (Stopped, "x......"),
        (Error, "x..x.x."),
    ];

    #[test]
    fn every_move_is_legal_or_not_as_written_here() {
        for (from, row) in EXPECTED {
            let found: String = Status::ALL
                .iter()
                .map(|to| if from.may_become(*to) { 'x' } else { '.' })
                .collect();
            assert_eq!(found, row, "from {}", from.name());
        }
    }

    #[test]
    fn every_status_can_be_reached_from_every_other() {
        for from in Status::ALL {
            let mut reached = vec![from];
            while let Some(next) = Status::ALL.into_iter().find(|next| {
                !reached.contains(next) && reached.iter().any(|known| known.may_become(*next))
            }) {
                reached.push(next);
            }
            assert_eq!(reached.len(), Status::ALL.len(), "from {}", from.name());
        }
    }
}
