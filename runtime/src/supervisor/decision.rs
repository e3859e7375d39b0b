//! What somebody decides about a connector's version by command: [`Decision`]. Whoever follows the provider reads it in [`Decided`], so as
//! not to decide the same again.
//!
//! A choice may be recorded without being followed, or be recorded although the connector could not take it. Both hold for as long as
//! the provider says that and nothing else, and until the connector is to begin anew.

use std::sync::{Arc, Mutex, PoisonError};

use super::{plan::Request, status::Status};
use crate::config::spec;

/// What was decided about one connector.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    /// How many decisions are being carried out.
    underway: u32,
    /// How many there were, counting those that were given up for what the provider says.
    made: u64,
    /// The version of the last one.
    of: Option<Arc<spec::Connector>>,
}

/// A decision that is being carried out until it is dropped.
pub struct Decision(Shared);

#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Decided>>);

impl Decided {
    pub fn is_underway(&self) -> bool {
        self.underway > 0
    }

    /// Whether nothing was decided between the two.
    pub fn is_still(&self, other: &Self) -> bool {
        (self.made, self.underway) == (other.made, other.underway)
    }

    /// Whether the last decision was about this.
    pub fn is_about(&self, spec: &spec::Connector) -> bool {
        self.of.as_ref().is_some_and(|of| of.is_same_as(spec))
    }
}

impl Decision {
    /// It was about this version. What the connector makes of it is to stay.
    pub fn ends_with(self, version: spec::Connector) {
        self.ends_with_if(version, || true);
    }

    /// The same if this holds at that moment. Otherwise what was decided since stays.
    pub fn ends_with_if(self, version: spec::Connector, holds: impl FnOnce() -> bool) {
        self.0.change(|decided| {
            if holds() {
                decided.of = Some(Arc::new(version));
            }
        });
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        self.0.change(|decided| decided.underway -= 1);
    }
}

impl Shared {
    pub(super) fn begin(&self) -> Decision {
        self.change(|decided| {
            decided.underway += 1;
            decided.made += 1;
        });
        Decision(self.clone())
    }

    pub(super) fn read(&self) -> Decided {
        self.change(|decided| decided.clone())
    }

    /// Forgets what was decided, unless that was something else meanwhile.
    pub(super) fn forget(&self, read: &Decided) {
        self.change(|decided| {
            if decided.is_still(read) {
                decided.of = None;
            }
        });
    }

    /// A connector that is to begin anew, in this status, is to begin with what the provider says.
    pub(super) fn heed(&self, request: Request, status: Status) {
        let begins_anew = match request {
            Request::Restart | Request::Stop => true,
            Request::Start => matches!(status, Status::Stopped | Status::Error),
            Request::Pause | Request::Resume => false,
        };
        if begins_anew {
            self.change(|decided| {
                let was_decided = decided.of.take().is_some();
                decided.made += u64::from(was_decided);
            });
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Decided) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
