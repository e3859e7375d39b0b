//! What a connector ought to be after whatever was asked of it: [`Model`], which `trial` holds against a live task.

use super::fake::{Opens, UNOPENABLE};
use crate::{
    config::spec,
    supervisor::{Phase, Status, Target},
};

/// What the connector ought to be.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) target: Target,
    /// As its operator has left it: what a restart of the daemon keeps.
    pub(super) kept: Option<Target>,
    pub(super) version: u32,
    pub(super) enabled: bool,
    pub(super) is_unopenable: bool,
    /// Why it does not run although it is to.
    pub(super) held: Option<Status>,
    pub(super) opens: Opens,
    pub(super) is_open: bool,
    /// An instance that was open must have been closed since.
    pub(super) has_closed: bool,
}

impl Model {
    pub(super) fn keeps(&self) -> bool {
        self.is_open && !self.has_closed && self.held.is_none()
    }

    /// What it is to be when nobody has asked for anything since the daemon's start, or since one came that is not as `enabled`.
    pub(super) fn left(&self) -> Target {
        self.kept.unwrap_or(match self.enabled {
            true => Target::Running,
            false => Target::Stopped,
        })
    }

    /// Another version has come.
    pub(super) fn becomes(&mut self, spec: &spec::Connector) {
        self.version = spec.version;
        let was_enabled = std::mem::replace(&mut self.enabled, spec.enabled);
        self.is_unopenable = spec.path == UNOPENABLE;
        self.held = None;
        self.has_closed = true;
        if self.enabled != was_enabled {
            self.target = self.left();
        }
    }

    /// Another version has not come. Once it was good as far as could be seen, what could not be open beside it may be `closed`.
    pub(super) fn stays(&mut self, phase: Phase, closed: bool) {
        if phase == Phase::Check {
            return;
        }
        self.has_closed |= closed;
        if self.held == Some(Status::Starting) {
            self.held = None;
        }
    }

    pub(super) fn expected(&self) -> Status {
        match (self.target, self.held, self.opens) {
            (Target::Stopped, ..) => Status::Stopped,
            (Target::Paused, ..) => Status::Paused,
            (_, Some(held), _) => held,
            _ if self.keeps() => Status::Running,
            _ if self.is_unopenable => Status::Error,
            (_, _, Opens::Never) => Status::Error,
            (_, _, Opens::Hang) => Status::Starting,
            _ => Status::Running,
        }
    }
}
