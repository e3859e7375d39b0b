//! Applies what changes about connectors while the daemon runs: [`follow`], which `app` starts when `connectors.poll_interval` is set.
//!
//! At each look, what every connector is to be is compared with what it is. Where that differs, it takes what it is to be as it takes a
//! version that is activated over the API, or nothing changes and it shows why. `steps` knows when that is due, `apply` does it.

mod apply;
mod steps;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use self::{
    apply::{Applied, apply},
    steps::{Attempt, Steps},
};
use crate::{
    config::spec,
    provider::{Id, Wanted, Watch},
    supervisor::{Decided, Handle, Supervisor},
};

/// A file that is being written looks the same twice only when its writer is done, or takes longer than this for its next piece.
const SETTLES_IN: Duration = Duration::from_secs(1);

/// Ends when it is dropped. What it has begun by then is carried out by the connectors themselves.
pub(super) async fn follow(mut watch: Watch, connectors: Supervisor) {
    let mut follower = Follower {
        connectors,
        steps: Steps::default(),
        applying: JoinSet::new(),
    };
    loop {
        let pause = match follower.steps.are_settled() {
            true => watch.interval(),
            false => watch.interval().min(SETTLES_IN),
        };
        tokio::time::sleep(pause).await;
        let before = follower.standing();
        if let Some(wanted) = watch.look().await {
            follower.collect();
            follower.compare(&before, wanted);
        }
    }
}

struct Follower {
    connectors: Supervisor,
    steps: Steps,
    /// None waits for another: one plugin may take long to open.
    applying: JoinSet<Applied>,
}

/// A connector as it was at one moment.
struct Standing {
    handle: Handle,
    spec: Arc<spec::Connector>,
    decided: Decided,
}

impl Follower {
    fn standing(&self) -> BTreeMap<Id, Standing> {
        let handles = self.connectors.all().into_iter().map(Standing::of);
        handles
            .map(|standing| (Id::of(&standing.spec), standing))
            .collect()
    }

    /// Takes note of what was applied since the last look, or could not be.
    fn collect(&mut self) {
        while let Some(ended) = self.applying.try_join_next_with_id() {
            match ended {
                Ok((task, applied)) => self.steps.ended(task, applied),
                // It has panicked, which has been logged.
                Err(error) => self.steps.ended(error.id(), Applied::Never),
            }
        }
    }

    /// Does what is due about every connector, as a look began that has found what is `wanted`.
    fn compare(&mut self, before: &BTreeMap<Id, Standing>, mut wanted: BTreeMap<Id, Wanted>) {
        for id in before.keys() {
            wanted.entry(id.clone()).or_insert(Wanted::Nothing);
        }
        self.steps.retain(|id| wanted.contains_key(id));
        for (id, wanted) in wanted {
            let found = self.connectors.find(id.direction(), id.key());
            let now = found.map(Standing::of);
            // What a look says that began before a connector was changed by command may be older than the command.
            if is_still(before.get(&id), now.as_ref()) {
                self.decide(id, wanted, now.as_ref());
            }
        }
    }

    fn decide(&mut self, id: Id, wanted: Wanted, standing: Option<&Standing>) {
        let stays = match standing {
            Some(standing) if standing.decided.is_underway() => return,
            Some(standing) => standing.stays(&wanted),
            // Of one that is not there nobody needs to know what it was to be.
            None => matches!(wanted, Wanted::Nothing | Wanted::Unknown(_)),
        };
        if stays {
            return self.steps.forget(&id);
        }
        if let Some(attempt) = self.steps.next(&id, wanted, Instant::now()) {
            let decided = standing.map(|standing| standing.decided.clone());
            self.begin(id, attempt, decided.unwrap_or_default());
        }
    }

    fn begin(&mut self, id: Id, attempt: Attempt, decided: Decided) {
        let applying = apply(self.connectors.clone(), id.clone(), attempt, decided);
        let task = self.applying.spawn(applying).id();
        self.steps.begun(&id, task);
    }
}

impl Standing {
    fn of(handle: Handle) -> Self {
        Self {
            spec: handle.spec(),
            decided: handle.decided(),
            handle,
        }
    }

    /// Whether it is what it is to be, or is to go on as it is by a decision that holds.
    fn stays(&self, wanted: &Wanted) -> bool {
        let is_in_step = self.is(wanted);
        let spec = wanted.spec();
        let is_decided = spec.is_some_and(|spec| self.decided.is_about(spec));
        if is_in_step || !is_decided {
            self.handle.forget_decided(&self.decided);
        }
        let stays = is_in_step || is_decided;
        if stays && self.handle.snapshot().not_applied.is_some() {
            self.handle.applied();
        }
        stays
    }

    fn is(&self, wanted: &Wanted) -> bool {
        let unusable = self.handle.snapshot().unusable;
        match wanted {
            Wanted::Usable(wanted) => unusable.is_none() && self.spec.is_same_as(wanted),
            Wanted::Unusable(wanted) => {
                unusable.as_deref() == Some(&*wanted.reason) && self.spec.is_same_as(&wanted.spec)
            }
            Wanted::Nothing | Wanted::Unknown(_) => false,
        }
    }
}

/// Whether there is the same connector, with the same version, and no decision about it was made between.
fn is_still(before: Option<&Standing>, now: Option<&Standing>) -> bool {
    match (before, now) {
        (None, None) => true,
        (Some(before), Some(now)) => {
            before.handle.id == now.handle.id
                && Arc::ptr_eq(&before.spec, &now.spec)
                && before.decided.is_still(&now.decided)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
