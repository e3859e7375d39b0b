//! Random commands to a sink and a source, and what happens to their plugins meanwhile: what `trial` performs.

use iggy_connectors::{config::spec::Direction, supervisor::Request};
use proptest::prelude::*;

/// Something that is asked or happens.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Request(Direction, Request),
    /// How opens go from now on.
    Opens(Direction, Opens),
    /// How closes go from now on; well without a deed.
    Closes(Direction, Option<&'static str>),
    /// What the run that is under way, if there is one, does.
    Tell(Direction, Deed),
    /// Another version comes in the place of the one that there is.
    Activate(Direction, Candidate, Waits),
    /// One of those that there are comes again.
    Return(Direction, prop::sample::Index, Waits),
    /// One of those that there are is the next start's.
    Choose(Direction, prop::sample::Index),
    Delete(Direction, prop::sample::Index),
    /// A document comes that nothing can be made of.
    Reject(Direction),
    RestartDaemon(End),
    Settle,
}

/// Whether something else may be asked before an activation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    Well,
    /// So many times not, in this way.
    Badly(u32, &'static str),
    /// Trying again is of no use.
    Never,
    /// They wait until they are cancelled.
    Hang,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A batch or a poll fails.
    Work(&'static str),
    /// What has come of a batch of the source's is not taken.
    Result(&'static str),
    Health(&'static str),
    /// A batch is refused for the moment.
    Retry,
}

/// What is to take the place of the version that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    Good,
    /// No other instance may be open beside it.
    Exclusive,
    /// It fails for good when its health is bad.
    Delicate,
    Disabled,
    /// Nobody knows that it cannot be opened before it is; this is what it does.
    Unopenable(&'static str),
    /// There is no place to keep the choice.
    Unrecorded,
}

/// How a daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Stopped,
    Killed,
}

pub fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(), 1..25)
}

fn act() -> impl Strategy<Value = Act> {
    let of = || prop::sample::select(vec![Direction::Sink, Direction::Source]);
    let waits = || prop::sample::select(vec![Waits::Yes, Waits::No]);
    let requests = prop::sample::select(vec![
        Request::Restart,
        Request::Pause,
        Request::Resume,
        Request::Stop,
        Request::Start,
    ]);
    let closes = prop::sample::select(vec![None, Some("fatal"), Some("panic"), Some("slow")]);
    let ends = prop::sample::select(vec![End::Stopped, End::Killed]);
    let version = any::<prop::sample::Index>;
    prop_oneof![
        120 => (of(), requests).prop_map(|(of, request)| Act::Request(of, request)),
        20 => (of(), opens()).prop_map(|(of, opens)| Act::Opens(of, opens)),
        10 => (of(), closes).prop_map(|(of, closes)| Act::Closes(of, closes)),
        40 => (of(), deeds()).prop_map(|(of, deed)| Act::Tell(of, deed)),
        60 => (of(), candidates(), waits())
            .prop_map(|(of, candidate, waits)| Act::Activate(of, candidate, waits)),
        20 => (of(), version(), waits())
            .prop_map(|(of, version, waits)| Act::Return(of, version, waits)),
        10 => (of(), version()).prop_map(|(of, version)| Act::Choose(of, version)),
        10 => (of(), version()).prop_map(|(of, version)| Act::Delete(of, version)),
        5 => of().prop_map(Act::Reject),
        4 => ends.prop_map(Act::RestartDaemon),
        30 => Just(Act::Settle),
    ]
}

fn opens() -> impl Strategy<Value = Opens> {
    prop_oneof![
        4 => Just(Opens::Well),
        2 => (1..4_u32).prop_map(|times| Opens::Badly(times, "fatal")),
        1 => (1..4_u32).prop_map(|times| Opens::Badly(times, "panic")),
        1 => Just(Opens::Never),
        2 => Just(Opens::Hang),
    ]
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop::sample::select(vec![
        Deed::Work("fatal"),
        Deed::Work("panic"),
        Deed::Result("fatal"),
        Deed::Result("panic"),
        Deed::Health("fatal"),
        Deed::Health("panic"),
        Deed::Retry,
    ])
}

fn candidates() -> impl Strategy<Value = Candidate> {
    let unopenable = prop::sample::select(vec!["fatal", "panic", "invalid", "wait"]);
    prop_oneof![
        40 => Just(Candidate::Good),
        10 => Just(Candidate::Exclusive),
        10 => Just(Candidate::Delicate),
        10 => Just(Candidate::Disabled),
        30 => unopenable.prop_map(Candidate::Unopenable),
        4 => Just(Candidate::Unrecorded),
    ]
}
