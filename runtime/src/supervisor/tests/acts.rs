//! Random commands to a connector, and what happens to its plugin meanwhile: what `trial` performs.

use proptest::prelude::*;

use super::fake::{Deed, Opens};
use crate::supervisor::Request;

/// Something that is asked or happens.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Request(Request),
    /// Changes nothing of what the model knows, whether it is done or refused.
    Reset,
    /// Lets the task work for a while.
    Yield(u32),
    /// How opens go from now on.
    Opens(Opens),
    ClosesBadly(bool),
    Turns(u32),
    /// What the run that is under way, if there is one, does.
    Tell(Deed),
    Activate {
        candidate: Candidate,
        /// Nothing else is asked meanwhile.
        waits: bool,
    },
    RestartDaemon,
    Settle,
}

/// What is to take the place of the version that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Candidate {
    Good,
    Disabled,
    Unloadable,
    /// Nobody knows that it cannot be opened before it is.
    Unopenable,
    /// There is no such version any more when the choice is to be kept, or no place to keep it.
    Unrecorded,
}

/// Whether the connector is exclusive, and what becomes of it.
pub(super) fn trials() -> impl Strategy<Value = (bool, Vec<Act>)> {
    (any::<bool>(), acts())
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let requests = prop::sample::select(vec![
        Request::Restart,
        Request::Pause,
        Request::Resume,
        Request::Stop,
        Request::Start,
    ]);
    let opens = prop_oneof![
        6 => Just(Opens::Well),
        2 => (1..4_u32).prop_map(Opens::Badly),
        1 => Just(Opens::Never),
        2 => Just(Opens::Hang),
    ];
    let deeds = prop::sample::select(vec![
        Deed::Fail,
        Deed::FailForGood,
        Deed::End,
        Deed::Panic,
        Deed::Reconnect,
        Deed::Retry(true),
        Deed::Retry(false),
    ]);
    let candidates = prop_oneof![
        4 => Just(Candidate::Good),
        1 => Just(Candidate::Disabled),
        1 => Just(Candidate::Unloadable),
        2 => Just(Candidate::Unopenable),
        2 => Just(Candidate::Unrecorded),
    ];
    let activations = (candidates, any::<bool>());
    let act = prop_oneof![
        12 => requests.prop_map(Act::Request),
        2 => Just(Act::Reset),
        3 => (0..30_u32).prop_map(Act::Yield),
        2 => opens.prop_map(Act::Opens),
        1 => any::<bool>().prop_map(Act::ClosesBadly),
        1 => (0..12_u32).prop_map(Act::Turns),
        3 => deeds.prop_map(Act::Tell),
        6 => activations.prop_map(|(candidate, waits)| Act::Activate { candidate, waits }),
        1 => Just(Act::RestartDaemon),
        2 => Just(Act::Settle),
    ];
    prop::collection::vec(act, 1..30)
}
