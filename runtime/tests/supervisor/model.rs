//! What a connector ought to be after whatever was asked of it: [`Model`], which `trial` holds against a running daemon.

use std::{collections::BTreeMap, ops::RangeInclusive};

use iggy_connectors::{
    config::spec::Direction,
    supervisor::{Request, Status, Target},
};

use super::acts::{Candidate, Opens};

/// What the connector ought to be.
#[derive(Debug)]
pub struct Model {
    pub direction: Direction,
    pub target: Target,
    /// As its operator has left it: what a restart of the daemon keeps.
    pub kept: Option<Target>,
    pub versions: BTreeMap<u32, Candidate>,
    /// The version that it has.
    pub version: u32,
    /// The one that was chosen for the next start, if one was.
    pub chosen: Option<u32>,
    /// Why it does not run although it is to.
    pub held: Option<Status>,
    pub opens: Opens,
    pub is_open: bool,
    /// An instance that was open must have been closed since.
    pub has_closed: bool,
}

impl Model {
    /// A connector whose first version has come, and runs.
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            target: Target::Running,
            kept: None,
            versions: [(0, Candidate::Good)].into(),
            version: 0,
            chosen: None,
            held: None,
            opens: Opens::Well,
            is_open: false,
            has_closed: false,
        }
    }

    pub fn candidate(&self) -> Candidate {
        self.versions[&self.version]
    }

    /// The version of the next start.
    pub fn active(&self) -> u32 {
        let highest = self.versions.keys().next_back().copied();
        self.chosen
            .or(highest)
            .expect("the version that runs is one of them")
    }

    /// Where the numbers of versions go on.
    pub fn next(&self) -> u32 {
        self.versions
            .keys()
            .next_back()
            .map_or(0, |highest| highest + 1)
    }

    /// Another instance can only be open when this one is closed.
    pub fn is_alone(&self) -> bool {
        self.direction == Direction::Source || self.candidate() == Candidate::Exclusive
    }

    /// A request was accepted.
    pub fn follow(&mut self, request: Request) {
        match request {
            Request::Pause => self.target = Target::Paused,
            Request::Stop => self.target = Target::Stopped,
            Request::Resume if self.target == Target::Running => {}
            // It is starting already.
            Request::Start
                if self.target == Target::Running && self.held == Some(Status::Starting) => {}
            Request::Resume | Request::Start | Request::Restart => {
                self.target = Target::Running;
                self.held = None;
            }
        }
        self.has_closed |= matches!(request, Request::Stop | Request::Restart);
        self.kept = Some(self.target).filter(|target| *target != Target::Running);
    }

    /// Another version has come.
    pub fn becomes(&mut self, version: u32) {
        self.chosen = Some(version);
        self.adopt(version);
    }

    /// It has this version from now on, without that anybody has chosen it by that.
    pub fn adopt(&mut self, version: u32) {
        let was_disabled = self.candidate() == Candidate::Disabled;
        self.version = version;
        self.held = None;
        self.has_closed = true;
        let is_disabled = self.candidate() == Candidate::Disabled;
        if is_disabled != was_disabled {
            self.target = self.left();
        }
    }

    /// The daemon starts with this version.
    pub fn begins(&mut self, version: u32) {
        self.adopt(version);
        self.target = self.left();
    }

    /// What it is to be when nobody has started it although it is disabled.
    fn left(&self) -> Target {
        self.kept.unwrap_or(match self.candidate() {
            Candidate::Disabled => Target::Stopped,
            _ => Target::Running,
        })
    }

    /// Another version has not come. What could not be open beside it may be `closed`.
    pub fn stays(&mut self, version: u32, closed: bool, was_sent: bool) {
        self.has_closed |= closed;
        if self.held == Some(Status::Starting) {
            self.held = None;
        }
        if version != self.version && (was_sent || self.active() == version) {
            self.chosen = Some(self.version);
        }
    }

    /// A run that was under way has failed, and another may follow.
    pub fn fails(&mut self) {
        self.has_closed = true;
    }

    /// It has come to rest, with so many instances open.
    pub fn rests(&mut self, open: usize, opens: Opens) {
        let expected = self.expected();
        if self.target == Target::Running && expected != Status::Running {
            self.held = Some(expected);
        }
        self.is_open = open > 0;
        self.has_closed = false;
        self.opens = opens;
    }

    pub fn expected(&self) -> Status {
        match (self.target, self.held, self.opens) {
            (Target::Stopped, ..) => Status::Stopped,
            (Target::Paused, ..) => Status::Paused,
            (_, Some(held), _) => held,
            _ if self.keeps() => Status::Running,
            _ if matches!(self.candidate(), Candidate::Unopenable(_)) => Status::Error,
            (_, _, Opens::Never) => Status::Error,
            (_, _, Opens::Hang) => Status::Starting,
            _ => Status::Running,
        }
    }

    fn keeps(&self) -> bool {
        self.is_open && !self.has_closed && self.held.is_none()
    }

    /// Instances that are open when it is at rest.
    pub fn instances(&self) -> RangeInclusive<usize> {
        match self.expected() {
            Status::Running => 1..=1,
            // The plugin stays open over a pause, if it was and nothing else was asked for.
            Status::Paused if self.keeps() => 1..=1,
            Status::Paused => 0..=1,
            _ => 0..=0,
        }
    }

    /// Connections to Iggy that it has when it is at rest.
    pub fn connections(&self) -> RangeInclusive<usize> {
        match (self.expected(), self.direction) {
            (Status::Running, _) => 1..=1,
            // Now and then it is seen how far a sink lags behind.
            (Status::Paused | Status::Error, Direction::Sink) => 0..=1,
            _ => 0..=0,
        }
    }

    /// Members of its consumer group when it is at rest.
    pub fn members(&self) -> u32 {
        let reads = self.direction == Direction::Sink && self.expected() == Status::Running;
        u32::from(reads)
    }
}
