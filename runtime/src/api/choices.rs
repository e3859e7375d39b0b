//! Which version was chosen last for each connector: choices are recorded one after another, and one that was undone is taken back.
//!
//! A configuration service that does not answer may have taken a choice all the same. The connector does not wait for it; here it is
//! waited for, and then told again which version runs.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;
use tracing::{error, info};

use super::Api;
use crate::{
    config::spec,
    provider::{Error, Id},
    supervisor::Handle,
};

/// The waits before a choice is taken back again: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// By connector.
#[derive(Clone, Default)]
pub(super) struct Choices(Arc<Mutex<HashMap<Id, Arc<Choice>>>>);

/// What was chosen for one connector.
#[derive(Default)]
pub(super) struct Choice {
    /// The number of the last choice.
    last: AtomicU64,
    /// Who has it may record one.
    turn: tokio::sync::Mutex<()>,
    /// How many are being taken back.
    undoing: AtomicUsize,
}

/// Whether an activation's choice was sent to be recorded, which is settled once.
#[derive(Default)]
pub(super) struct Sending(OnceLock<Option<u64>>);

impl Sending {
    /// It is sent now, with this number. `None`: it was given up before.
    pub(super) fn begin(&self, choice: &Choice) -> Option<u64> {
        *self.0.get_or_init(|| Some(choice.next()))
    }

    /// It is not sent any more. Returns its number if it was.
    pub(super) fn give_up(&self) -> Option<u64> {
        *self.0.get_or_init(|| None)
    }
}

/// A choice is being taken back until this is dropped: what is recorded is not what holds.
struct Undoing(Arc<Choice>);

impl Drop for Undoing {
    fn drop(&mut self) {
        self.0.undoing.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A choice that may be recorded although the connector does not follow it.
pub(super) struct Undone {
    pub(super) id: Id,
    /// The version that was not activated, and the one that runs.
    pub(super) failed: u32,
    pub(super) runs: u32,
    /// Whether it was sent to be recorded, so that it does not matter what is active now: it may come late.
    pub(super) was_sent: bool,
    /// The last choice when this was undone: once there is another, that one counts.
    pub(super) number: u64,
}

impl Choices {
    pub(super) fn of(&self, id: &Id) -> Arc<Choice> {
        let mut choices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        choices.entry(id.clone()).or_default().clone()
    }
}

impl Choice {
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    /// Another choice is being made: what was undone before it is not taken back any more.
    pub(super) fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// Records a choice of its own, without an activation: the connector goes on with what it has.
pub(super) async fn record(api: &Api, id: &Id, spec: &spec::Connector) -> Result<(), Error> {
    let choice = api.choices.of(id);
    let _turn = choice.turn.lock().await;
    let handle = api.connectors.find(id.direction(), id.key());
    let decision = handle.map(|handle| handle.decide());
    let recorded = api.provider.activate(id, spec.version).await;
    if recorded.is_ok() {
        // Before the decision ends: one that is ended later looks whether it is the last.
        choice.next();
    }
    if let Some(decision) = decision {
        // Also after a failure: a service that has not answered may have taken it.
        decision.ends_with(spec.clone());
    }
    recorded
}

/// Records the choice with this number, unless it is the last no longer when its turn has come.
pub(super) async fn record_as(api: &Api, id: &Id, version: u32, number: u64) -> Result<(), Error> {
    let choice = api.choices.of(id);
    let _turn = choice.turn.lock().await;
    if choice.last() != number {
        return Err(Error::Conflict(
            "another version was chosen since".to_owned(),
        ));
    }
    api.provider.activate(id, version).await
}

/// Makes sure that a version is the active one, and stays so when its connector takes it.
///
/// # Errors
///
/// Another is, or nobody knows.
pub(super) async fn confirm(
    api: &Api,
    handle: &Handle,
    id: &Id,
    version: u32,
) -> Result<(), String> {
    let choice = api.choices.of(id);
    let _turn = choice.turn.lock().await;
    if handle.decided().is_underway() || choice.undoing.load(Ordering::SeqCst) > 0 {
        return Err("another version is being chosen".to_owned());
    }
    let active = api.provider.active(id).await;
    let active = active.map_err(|error| error.to_string())?;
    match active.version.spec.version {
        active if active == version => Ok(()),
        other => Err(format!("version {other} was chosen since")),
    }
}

/// Begins to take a choice back, again and again until that has succeeded or another is made.
pub(super) fn take_back(api: &Api, undone: Undone) -> JoinHandle<()> {
    let choice = api.choices.of(&undone.id);
    choice.undoing.fetch_add(1, Ordering::SeqCst);
    let undoing = Undoing(choice);
    let api = api.clone();
    tokio::spawn(async move {
        let _undoing = undoing;
        keep_taking_back(api, undone).await;
    })
}

async fn keep_taking_back(api: Api, undone: Undone) {
    let (id, mut wait) = (&undone.id, FIRST_WAIT);
    while let Err(error) = try_to_take_back(&api, &undone).await {
        let (runs, failed) = (undone.runs, undone.failed);
        let reason = api.secrets.hide(&error.to_string()).into_owned();
        if matches!(error, Error::NotFound(_)) {
            error!(connector = %id, runs, failed, %reason, "the next start of the daemon may take the version that was not activated");
            return;
        }
        error!(connector = %id, runs, failed, %reason, again_in = ?wait, "the next start of the daemon may take the version that was not activated, until that is taken back");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn try_to_take_back(api: &Api, undone: &Undone) -> Result<(), Error> {
    let choice = api.choices.of(&undone.id);
    // What was given up is still being sent, until its turn ends.
    let _turn = choice.turn.lock().await;
    if choice.last() != undone.number {
        return Ok(());
    }
    if !undone.was_sent {
        // As the highest it may be the next start's without having been chosen.
        let active = api.provider.active(&undone.id).await?;
        if active.version.spec.version != undone.failed {
            return Ok(());
        }
    }
    api.provider.activate(&undone.id, undone.runs).await?;
    info!(connector = %undone.id, version = undone.runs, "the version that runs is recorded again");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_before_it_was_sent_is_not_sent_and_what_was_sent_is_known() {
        let (choice, sending) = (Choice::default(), Sending::default());
        assert_eq!(sending.give_up(), None);
        assert_eq!(sending.begin(&choice), None);
        assert_eq!(choice.last(), 0, "it is no choice");

        let sending = Sending::default();
        assert_eq!(sending.begin(&choice), Some(1));
        assert_eq!(sending.give_up(), Some(1));
    }
}
